package lease_test

import (
	"errors"
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/lease/leasetest"
)

func TestCutOffLeaderIsReplaced(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		n.link.Break(leasetest.Fault{Hang: true})
		r.until(20*time.Second, func(l string) bool { return l == "pi2" })
		if n.scopeEnded() {
			t.Error("who is cut off cannot know that its term has ended")
		}
		n.link.Heal()
		pass(time.Second)
		if err := n.check(); !errors.Is(err, lease.ErrEnded) || !n.scopeEnded() {
			t.Errorf("Check = %v, lead's context ended: %v", err, n.scopeEnded())
		}
		if c := n.count(); c["session-lost"]+c["lock-lost"] != 1 {
			t.Errorf("changes = %v", c)
		}
	})
}

func TestSessionDestroyed(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		pass(time.Minute)
		r.s.Destroy()
		pass(glance)
		if err := n.check(); err == nil {
			t.Error("the term is valid, although its session is gone")
		}
		pass(ttl / 3)
		if n.count()["session-lost"]+n.count()["lock-lost"] != 1 {
			t.Errorf("changes = %v", n.count())
		}
		_, took := r.until(10*time.Second, anybody)
		if took > 2*time.Second {
			t.Errorf("the next leader came %v later", took)
		}
	})
}

func TestKeyDeleted(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		r.start("pi2", lease.Options{})
		pass(time.Minute)
		n.link.Break(leasetest.Fault{Hang: true}) // and the holder does not hear of it
		r.s.Delete()
		pass(glance)
		r.until(20*time.Second, func(l string) bool { return l == "pi2" })
		n.link.Heal()
		pass(time.Minute)
		if r.s.Sessions() != 1 {
			t.Errorf("sessions = %d\n%s", r.s.Sessions(), r.s.Events())
		}
	})
}

func TestKeyOverwritten(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		r.s.Put("junk")
		pass(time.Minute)
		n.is("elected", 1)
		if err := n.check(); err != nil {
			t.Errorf("Check = %v", err)
		}
	})
}

func TestWiped(t *testing.T) {
	in(t, func(r *rig) {
		for _, name := range []string{"pi1", "pi2", "pi3"} {
			r.start(name, lease.Options{})
		}
		for range 5 {
			r.until(40*time.Second, anybody)
			pass(time.Minute)
			r.s.Wipe()
			pass(3 * time.Second)
			if l := r.leader(); l != "" {
				t.Errorf("%s leads an empty Consul right after it was wiped", l)
			}
		}
		r.until(40*time.Second, anybody)
	})
}

// A restored snapshot gives the lock to a session whose process is long gone.
func TestRestoredToDeadHolder(t *testing.T) {
	in(t, func(r *rig) {
		first := r.leads("pi1", lease.Options{})
		pass(time.Minute)
		image := r.s.Save()
		first.kill()
		second := r.leads("pi2", lease.Options{})
		r.start("pi3", lease.Options{})
		pass(time.Minute)
		r.s.Restore(image)
		pass(time.Second)
		if l := r.leader(); l != "" {
			t.Errorf("%s leads, the lock is a dead process's", l)
		}
		if second.count()["lock-lost"]+second.count()["session-lost"] != 1 {
			t.Errorf("changes = %v", second.count())
		}
		r.until(30*time.Second, anybody)
	})
}

// A restored snapshot gives the lock back to a process that led before, in the term of another.
func TestRestoredToFormerHolder(t *testing.T) {
	in(t, func(r *rig) {
		first := r.leads("pi1", lease.Options{})
		kept, err := first.term().Fence()
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		image := r.s.Save()
		r.start("pi2", lease.Options{})
		first.link.Break(leasetest.Fault{Hang: true})
		r.until(30*time.Second, func(l string) bool { return l == "pi2" })
		first.link.Heal()
		pass(time.Minute)
		r.s.Restore(image)
		pass(glance)
		r.until(40*time.Second, anybody)
		pass(time.Minute)
		for _, n := range r.nodes {
			if now, err := n.term().Fence(); err == nil && now == kept {
				t.Error("the fence of the old term is good again")
			}
		}
		if r.s.Sessions() != 1 {
			t.Errorf("sessions = %d\n%s", r.s.Sessions(), r.s.Events())
		}
	})
}

// A restored snapshot shows the session of the present term with an older key.
func TestRestoredToEarlierInTheTerm(t *testing.T) {
	in(t, func(r *rig) {
		n := r.leads("pi1", lease.Options{})
		pass(time.Minute)
		image := r.s.Save()
		r.s.Put("by hand")
		pass(time.Minute)
		r.s.Restore(image)
		pass(ttl / 3)
		n.is("went-back", 1)
		r.until(30*time.Second, anybody)
		n.is("elected", 2)
	})
}
