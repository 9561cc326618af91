package consul

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

func TestWatchRestart(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Restart()
		r.rest()
		r.sound()
		r.consul.Put(keyStack+"db", "x")
		r.rest()
		if got := r.sound(); got != "db web" {
			t.Errorf("stacks after a restart = %q", got)
		}
	})
}

func TestWatchWiped(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Wipe()
		r.rest()
		r.held(Unvouched, "web")
		// Whoever sets it up again with the old id, in a hurry, has not put the stacks back yet.
		swap(r.consul, testID, lists[:]...)
		r.rest()
		r.held(Regressed, "web")
	})
}

func TestWatchWipedBehindAnAgent(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Rewind(consultest.Image{})
		pass(2*maxWait + 2*time.Second)
		r.held(Unvouched, "web")
	})
}

func TestWatchRestored(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		old := r.consul.Save()
		r.consul.Put(keyStack+"web", "newer")
		r.rest()
		r.consul.Restore(old)
		r.rest()
		first := r.held(Regressed, "web")
		r.consul.Put(keyStack+"db", "x")
		r.rest()
		if again := r.held(Regressed, "web"); again.ID != first.ID || again.Since != first.Since {
			t.Errorf("the same fault has another id or age: %+v, %+v", first, again)
		}
		r.consul.Put(keyStack+"web", "newest")
		r.rest()
		if got := r.sound(); got != "db web" {
			t.Errorf("stacks = %q", got)
		}
	})
}

func TestWatchRestoredOneListAtATime(t *testing.T) {
	// The restored stacks lack only a key that is newer: alone they look like a deletion. That the store went back
	// shows in the vars, whose reader is still parked.
	watch(t, WatchOptions{}, func(r *rig) {
		old := r.consul.Save()
		r.consul.Put(keyStack+"db", "x")
		r.consul.Put(keyVar+"TAG", "2")
		r.rest()
		r.consul.Rewind(old)
		heal := r.consul.Break(consultest.Failure{Path: "kv/" + keyStack, Drop: true})
		synctest.Wait()
		heal()
		for range 200 {
			pass(10 * time.Millisecond)
			if got := names(r.watcher.State().Snapshot.Stacks); got != "db web" {
				t.Fatalf("stacks = %q: a deletion was taken from a restored store", got)
			}
		}
		r.held(Regressed, "db web")
	})
}

func TestWatchRestoredBetweenQueries(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		old := r.consul.Save()
		r.consul.Put(keyStack+"web", "newer")
		r.rest()
		r.consul.Put(keyStack+"db", "x")
		synctest.Wait()
		// The stacks' reader has its answer and asks again in a moment: the restore wakes the other two only.
		r.consul.Restore(old)
		r.rest()
		r.held(Regressed, "web")
	})
}

func TestWatchKeyMadeAgain(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Delete(keyStack + "web")
		r.rest()
		r.consul.Put(keyStack+"web", "again")
		r.rest()
		if got := r.sound(); got != "web" {
			t.Errorf("stacks = %q", got)
		}
	})
}

// A store that was rebuilt and says the very same, with lower indexes, is sound: that is what putting last-known-good back
// looks like.
func TestWatchRebuiltTheSame(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Put(keyStack+"web", "newer")
		r.rest()
		was := r.watcher.State().Snapshot
		r.consul.Wipe()
		r.rest()
		r.held(Unvouched, "web")
		r.consul.Put(keyStack+"web", string(was.Stacks[0].Value))
		for _, v := range was.Vars {
			r.consul.Put("brambled/"+Vars+v.Key, string(v.Value))
		}
		for _, v := range was.Secrets {
			r.consul.Put("brambled/"+Secrets+v.Key, string(v.Value))
		}
		swap(r.consul, testID, lists[:]...)
		r.rest()
		r.sound()
	})
}

// A person may accept a store that went back: exactly the fault that was shown, and no other.
func TestWatchApprove(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		old := r.consul.Save()
		r.consul.Put(keyStack+"web", "newer")
		r.rest()
		r.consul.Restore(old)
		r.rest()
		fault := r.held(Regressed, "web")
		if r.watcher.Approve("another") {
			t.Error("an id that nobody showed is taken")
		}
		if !r.watcher.Approve(fault.ID) {
			t.Error("the fault's own id is not taken")
		}
		r.rest()
		r.sound()
		r.consul.Put(keyStack+"web", "newest")
		r.rest()
		r.sound()
		r.consul.Restore(old)
		r.rest()
		r.held(Regressed, "web")
		r.consul.Wipe()
		r.rest()
		if r.watcher.Approve(r.held(Unvouched, "web").ID) {
			t.Error("a wiped store can be approved")
		}
	})
}

// A deletion shows in the list's index, until something is written after it; a restored store shows none.
func TestWatchTellsOfADeletion(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		deleted := func() bool { return r.watcher.State().Snapshot.Deleted > 0 }
		old := r.consul.Save()
		r.consul.Put(keyStack+"db", "x")
		r.rest()
		if deleted() {
			t.Error("a put is taken for a deletion")
		}
		r.consul.Delete(keyStack + "db")
		r.rest()
		if !deleted() {
			t.Error("the deletion is not seen")
		}
		r.consul.Put(keyStack+"web", "newer")
		r.rest()
		if deleted() {
			t.Error("what was written after the deletion is taken for one")
		}
		r.consul.Put(keyStack+"db", "x")
		r.consul.Restore(old)
		r.consul.Put(keyStack+"other", "x")
		r.rest()
		if s := r.watcher.State(); s.Fault == nil && s.Snapshot.Deleted > 0 {
			t.Error("a restored store is taken for one with a deletion")
		}
	})
}
