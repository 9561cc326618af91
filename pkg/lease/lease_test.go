package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/lease/leasetest"
)

// The default times: 5 s to live, renewed every 5/3 s, suspended 1 s early, freed after 10 s and a lock-delay of 1 s.
const (
	ttl   = lease.ShortTTL
	valid = ttl - ttl/5
)

func TestFirstLeader(t *testing.T) {
	in(t, func(r *rig) {
		for _, name := range []string{"pi1", "pi2", "pi3"} {
			r.start(name, lease.Options{})
		}
		// Nobody knows whether the key was missing for ever, or since a moment ago with its holder still at work.
		_, after := r.until(10*time.Second, anybody)
		if after < ttl {
			t.Errorf("the first leader of a new key is valid after %v, want %v or more", after, ttl)
		}
		pass(10 * time.Minute)
		_, value, index := r.s.Holder()
		if r.s.Sessions() != 1 || !strings.Contains(value, `"term":`) {
			t.Errorf("sessions = %d, want the leader's alone; the key says %s", r.s.Sessions(), value)
		}
		pass(10 * time.Minute)
		if _, _, now := r.s.Holder(); now != index {
			t.Errorf("the key was written again while nothing happened: index %d, then %d", index, now)
		}
		for _, n := range r.nodes {
			n.is("suspended", 0)
		}
	})
}

// The server's clock may have begun to run when it got the request: the time that the answer took is lost.
func TestDeadlineCountsFromTheRequest(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		n.link.Break(leasetest.Fault{Delay: 700 * time.Millisecond})
		pass(time.Minute)
		if err := n.check(); err != nil {
			t.Fatalf("with slow answers: %v", err)
		}
		n.link.Break(leasetest.Fault{Hang: true})
		pass(1500 * time.Millisecond) // what was under way arrives
		pass(time.Until(r.s.Renewed().Add(valid)))
		if err := n.check(); !errors.Is(err, lease.ErrSuspended) {
			t.Errorf("Check = %v, %v after the last renewal arrived", err, valid)
		}
		if n.scopeEnded() {
			t.Error("lead's context ended, although the term may go on")
		}
	})
}

func TestSuspendedUntilRead(t *testing.T) {
	for name, fault := range map[string]leasetest.Fault{
		"silent":            {Hang: true},
		"cut":               {Drop: true},
		"without a leader":  {Err: errors.New("500 (No cluster leader)")},
		"no answer arrives": {Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(r *rig) {
				n := r.leads("pi1", lease.Options{})
				number := n.term().Number()
				n.link.Break(fault)
				pass(valid - ttl/3)
				if err := n.check(); err != nil && !fault.Lose {
					t.Errorf("Check before the deadline = %v", err)
				}
				pass(ttl / 3)
				if err := n.check(); !errors.Is(err, lease.ErrSuspended) {
					t.Errorf("Check after the deadline = %v", err)
				}
				// The session lives, and that is known; who holds the lock is not.
				n.link.Break(leasetest.Fault{Only: []leasetest.Call{leasetest.Read, leasetest.Watch}, Drop: true})
				pass(time.Minute)
				if err := n.check(); !errors.Is(err, lease.ErrSuspended) {
					t.Errorf("Check without a read = %v", err)
				}
				if n.scopeEnded() {
					t.Error("lead's context ended")
				}
				n.link.Heal()
				pass(ttl)
				if err := n.check(); err != nil || n.term().Number() != number {
					t.Errorf("Check when all is well = %v, term %d, want %d", err, n.term().Number(), number)
				}
				n.is("suspended", 1)
				n.is("resumed", 1)
				n.is("elected", 1)
				if n.count()["brambled_leader_renew_failures_total"] == 0 {
					t.Error("no failure was counted")
				}
			})
		})
	}
}

// A read alone does not resume a term either, if the session was not renewed.
func TestSuspendedUntilRenewed(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		n.link.Break(leasetest.Fault{Only: []leasetest.Call{leasetest.Renew}, Drop: true})
		pass(valid + ttl/3)
		if err := n.check(); !errors.Is(err, lease.ErrSuspended) {
			t.Errorf("Check = %v", err)
		}
		pass(2 * ttl)
		if err := n.check(); !errors.Is(err, lease.ErrEnded) && !errors.Is(err, lease.ErrSuspended) {
			t.Errorf("Check after the session's end = %v", err)
		}
		n.is("lock-lost", 1)
	})
}

func TestShortTroubleIsNoLoss(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		for range 20 {
			pass(3 * time.Second)
			n.link.Break(leasetest.Fault{Err: errors.New("429 (rate limit)")})
			pass(1800 * time.Millisecond)
			n.link.Heal()
			if err := n.check(); err != nil {
				t.Fatalf("Check = %v", err)
			}
		}
		n.is("elected", 1)
		n.is("suspended", 0)
	})
}

func TestPause(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		pass(time.Minute)
		for time.Since(r.s.Renewed()) > 2*glance {
			pass(glance)
		}
		resume := n.pause()
		pass(3 * time.Second) // the deadline is not reached
		resume()
		if err := n.check(); !errors.Is(err, lease.ErrSuspended) {
			t.Errorf("Check after a pause of 3 s = %v", err)
		}
		pass(time.Second)
		if err := n.check(); err != nil {
			t.Errorf("Check after a read = %v", err)
		}
		n.is("resumed", 1)
		resume = n.pause()
		pass(30 * time.Second)
		if l := r.leader(); l != "pi2" {
			t.Errorf("%q leads after a long pause of the leader", l)
		}
		resume()
		if err := n.check(); err == nil {
			t.Error("the term is valid after a pause of 30 s")
		}
		pass(time.Second)
		if err := n.check(); !errors.Is(err, lease.ErrEnded) {
			t.Errorf("Check = %v", err)
		}
	})
}

func TestForeignLockDelay(t *testing.T) {
	in(t, func(r *rig) {
		other := r.s.Link()
		id, err := other.Open(context.Background(), "somebody", ttl, 15*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, held, err := other.Acquire(context.Background(), id, []byte("{}"), lease.Record{}); !held || err != nil {
			t.Fatal(held, err)
		}
		n := r.start("pi1", lease.Options{})
		pass(time.Second)
		r.s.Destroy()
		most := 0 // sessions at a time: one that is left behind ends by itself after a while
		_, took := r.until(40*time.Second, func(leader string) bool {
			most = max(most, r.s.Sessions())
			return anybody(leader)
		})
		if took < 15*time.Second || took > 25*time.Second {
			t.Errorf("the lock was taken after %v", took)
		}
		if most != 1 || n.link.Calls(leasetest.Acquire) > 60 {
			t.Errorf("sessions = %d, attempts = %d", most, n.link.Calls(leasetest.Acquire))
		}
	})
}

func TestTTLFallsBack(t *testing.T) {
	in(t, func(r *rig) {
		r.s.MinTTL = lease.LongTTL
		n := r.leads("pi1", lease.Options{})
		n.link.Break(leasetest.Fault{Hang: true})
		pass(4500 * time.Millisecond) // with 5 s to live that would be too much
		if err := n.check(); err != nil {
			t.Errorf("Check = %v", err)
		}
	})
	in(t, func(r *rig) {
		r.start("pi1", lease.Options{TTL: 4 * time.Second})
		pass(time.Minute)
		if l := r.leader(); l != "" || r.s.Sessions() != 0 {
			t.Errorf("%s leads with a time to live that the servers do not allow", l)
		}
	})
}

// An answer that is lost must leave neither a session nor a lock behind.
func TestLostAnswers(t *testing.T) {
	for _, call := range []leasetest.Call{leasetest.Open, leasetest.Acquire, leasetest.Rewrite, leasetest.Read} {
		t.Run(string(call), func(t *testing.T) {
			in(t, func(r *rig) {
				n := r.start("pi1", lease.Options{})
				n.link.Break(leasetest.Fault{Only: []leasetest.Call{call}, Lose: true})
				pass(time.Minute)
				n.link.Heal()
				r.until(30*time.Second, anybody)
				pass(time.Minute)
				if r.s.Sessions() != 1 || r.leader() != "pi1" {
					t.Errorf("sessions = %d, leader %q\n%s", r.s.Sessions(), r.leader(), r.s.Events())
				}
			})
		})
	}
}
