package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/lease/leasetest"
)

func TestCleanStop(t *testing.T) {
	in(t, func(r *rig) {
		first := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		pass(time.Minute)
		term := first.term()
		first.halt()
		if err := term.Check(); !errors.Is(err, lease.ErrEnded) {
			t.Errorf("Check after the stop = %v", err)
		}
		if _, err := term.Fence(); !errors.Is(err, lease.ErrEnded) {
			t.Errorf("Fence after the stop = %v", err)
		}
		_, took := r.until(10*time.Second, anybody)
		if took > time.Second {
			t.Errorf("the hand-over took %v", took)
		}
		if next := r.nodes[1].term().Number(); next <= term.Number() {
			t.Errorf("terms %d, then %d", term.Number(), next)
		}
		if r.s.Sessions() != 1 {
			t.Errorf("sessions = %d\n%s", r.s.Sessions(), r.s.Events())
		}
		first.is("stopped", 1)
	})
}

// The lock is handed over only when nothing of the term is under way any more.
func TestStopWaitsForLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := leasetest.New()
		e, err := lease.New(s.Link(), identity("pi1"), lease.Options{}, zap.NewNop(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		finish, ran := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ran)
			e.Run(ctx, func(ctx context.Context, _ *lease.Term) { <-ctx.Done(); <-finish })
		}()
		pass(time.Minute)
		stop()
		pass(time.Second)
		if holder, _, _ := s.Holder(); holder == "" {
			t.Error("the lock was released while lead was at work")
		}
		close(finish)
		<-ran
		if holder, _, _ := s.Holder(); holder != "" || s.Sessions() != 0 {
			t.Error("the lock or the session is left")
		}
	})
}

// With Consul gone a stop takes a bounded time.
func TestStopWithoutConsul(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		n.link.Break(leasetest.Fault{Hang: true})
		began := time.Now()
		n.halt()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestPowerLoss(t *testing.T) {
	in(t, func(r *rig) {
		first := r.leads("pi1", lease.Options{})
		second := r.start("pi2", lease.Options{})
		pass(time.Minute)
		first.kill()
		_, took := r.until(30*time.Second, anybody)
		if took < 2*ttl-ttl/3 || took > 12*time.Second {
			t.Errorf("the fail-over took %v", took)
		}
		second.is("elected", 1)
		for _, delay := range r.s.LockDelays() {
			if delay != time.Second {
				t.Errorf("lock-delays = %v", r.s.LockDelays())
			}
		}
	})
}

func TestRestartResumes(t *testing.T) {
	in(t, func(r *rig) {
		first := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		pass(time.Minute)
		session, _, _ := r.s.Holder()
		first.kill()
		pass(time.Second)
		again := r.start("pi1", lease.Options{})
		leader, took := r.until(10*time.Second, anybody)
		if now, _, _ := r.s.Holder(); leader != "pi1" || now != session || took > time.Second {
			t.Errorf("%s leads after %v with %s, want pi1 with %s", leader, took, now, session)
		}
		if again.term().Number() <= first.term().Number() {
			t.Errorf("terms %d, then %d", first.term().Number(), again.term().Number())
		}
		pass(time.Minute)
		again.is("suspended", 0)
	})
}

func TestRestartDoesNotResume(t *testing.T) {
	for name, change := range map[string]func(*lease.Identity){
		"after a reboot":              func(id *lease.Identity) { id.Boot = "boot-2" },
		"with another state folder":   func(id *lease.Identity) { id.Instance = "/srv" },
		"under another name":          func(id *lease.Identity) { id.Node = "pi9" },
		"where the boot is not known": func(id *lease.Identity) { id.Boot = "" },
		"with another session_ttl":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(r *rig) {
				id, opts := identity("pi1"), lease.Options{}
				if strings.Contains(name, "not known") {
					id.Boot = ""
				}
				first := r.boot(id, opts)
				r.until(30*time.Second, anybody)
				session, _, _ := r.s.Holder()
				first.kill()
				if change == nil {
					opts.TTL = lease.LongTTL
				} else {
					change(&id)
				}
				r.boot(id, opts)
				r.until(30*time.Second, anybody)
				if now, _, _ := r.s.Holder(); now == session {
					t.Error("the session of the former process is in use")
				}
			})
		})
	}
}

func TestConsulElectsALeader(t *testing.T) {
	in(t, func(r *rig) {
		first := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		first.kill()
		pass(7 * time.Second)
		r.s.NewLeader() // all times to live start anew
		_, took := r.until(30*time.Second, anybody)
		if took < 2*ttl || took > 12*time.Second {
			t.Errorf("the fail-over took %v after Consul's", took)
		}
	})
}

func TestYield(t *testing.T) {
	never := func() bool { return false }
	always := func() bool { return true }
	t.Run("a preferred node goes first", func(t *testing.T) {
		in(t, func(r *rig) {
			r.start("worker", lease.Options{Preferred: never})
			r.start("manager", lease.Options{})
			if l, _ := r.until(20*time.Second, anybody); l != "manager" {
				t.Errorf("%s leads", l)
			}
		})
	})
	t.Run("another hands over", func(t *testing.T) {
		in(t, func(r *rig) {
			there := false
			n := r.leads("worker", lease.Options{Preferred: never, Yield: func() bool { return there }})
			r.start("manager", lease.Options{})
			pass(2 * time.Minute)
			n.is("yielded", 0)
			there = true
			_, took := r.until(10*time.Second, func(l string) bool { return l == "manager" })
			if took > 3*time.Second {
				t.Errorf("the hand-over took %v", took)
			}
			n.is("yielded", 1)
			pass(10 * time.Minute)
			n.is("elected", 1)
		})
	})
	t.Run("not again and again for a node that does not come", func(t *testing.T) {
		in(t, func(r *rig) {
			n := r.leads("worker", lease.Options{Preferred: never, Yield: always})
			pass(10 * time.Minute)
			if times := n.count()["yielded"]; times < 8 || times > 15 {
				t.Errorf("yielded %v times in ten minutes", times)
			}
			if r.leader() == "" && r.s.Sessions() > 1 {
				t.Errorf("sessions = %d", r.s.Sessions())
			}
		})
	})
	// The hazard: managers that could not reach Consul just when they were asked. The Swarm was without a leader that can
	// change it for a whole minute.
	t.Run("again soon for a node that comes late", func(t *testing.T) {
		in(t, func(r *rig) {
			n := r.leads("worker", lease.Options{Preferred: never, Yield: always})
			r.until(20*time.Second, func(l string) bool { return l == "worker" && n.count()["yielded"] > 0 })
			r.start("manager", lease.Options{})
			if _, took := r.until(time.Minute, func(l string) bool { return l == "manager" }); took > 10*time.Second {
				t.Errorf("the hand-over took %v", took)
			}
		})
	})
}

func TestLeadReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := leasetest.New()
		e, err := lease.New(s.Link(), identity("pi1"), lease.Options{}, zap.NewNop(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		times := 0
		e.Run(ctx, func(context.Context, *lease.Term) { times++ })
		if times < 5 || times > 30 || s.Sessions() != 0 {
			t.Errorf("lead was called %d times in a minute, %d sessions are left", times, s.Sessions())
		}
	})
}
