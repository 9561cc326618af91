package consul

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

func TestNextIndex(t *testing.T) {
	for _, c := range []struct{ sent, got, want uint64 }{
		{0, 7, 7}, {7, 7, 7}, {7, 9, 9},
		{9, 7, 0},            // went back: start over
		{0, 0, 1}, {1, 0, 1}, // 0 does not block
		{9, 0, 0},
	} {
		if got := nextIndex(c.sent, c.got); got != c.want {
			t.Errorf("nextIndex(%d, %d) = %d, want %d", c.sent, c.got, got, c.want)
		}
	}
}

func TestWatchIndexBlocks(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		pass(3 * maxWait)
		if got := r.tap.indexes(); len(got) > 4 || slices.Contains(got, 0) {
			t.Errorf("an idle watch sent %v", got)
		}
	})
}

func TestWatchIndexLower(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Put(keyStack+"db", "x")
		r.consul.Delete(keyStack + "db")
		r.rest()
		r.consul.ReapTombstones() // the list's index is web's again
		r.tap.forget()
		pass(2 * maxWait)
		if got := r.tap.indexes(); !slices.Contains(got, 0) {
			t.Errorf("the index went back and the watch sent %v, want it to start over at 0", got)
		}
		if got := r.sound(); got != "web" {
			t.Errorf("stacks = %q", got)
		}
	})
}

func TestWatchIndexZero(t *testing.T) {
	watchStore(t, WatchOptions{}, func(s *consultest.Server) {
		seed(s)
		s.ReportIndex(keyStack, 0)
	}, func(r *rig) {
		pass(time.Minute)
		got := r.tap.indexes()
		if len(got) < 2 || slices.Contains(got[1:], 0) {
			t.Errorf("sent %v, want 1 after the first", got)
		}
		r.sound()
	})
}

func TestWatchIndexAfterError(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		heal := r.consul.Break(consultest.Failure{Path: "kv/" + keyStack, Status: 500, Body: "rpc error"})
		synctest.Wait()
		heal()
		r.rest()
		if got := r.tap.indexes(); len(got) == 0 || got[0] != 0 {
			t.Errorf("after an error the watch sent %v, want 0 first", got)
		}
		r.sound()
	})
}

func TestWatchWaitIsBounded(t *testing.T) {
	watch(t, WatchOptions{Wait: time.Hour}, func(r *rig) {
		pass(2 * time.Minute)
		r.tap.mu.Lock()
		defer r.tap.mu.Unlock()
		for _, q := range r.tap.asked {
			if q.wait > time.Minute {
				t.Errorf("wait = %v", q.wait)
			}
		}
	})
}

func TestWatchChurnIsRateLimited(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		for range 1000 {
			r.consul.Put(keyStack+"web", time.Now().String())
			pass(10 * time.Millisecond)
		}
		if got := len(r.tap.indexes()); got > 45 {
			t.Errorf("%d queries in 10 s of churn", got)
		}
	})
}

func TestWatchRequestsAreConsistent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := consultest.New()
		seed(s)
		seen := &spy{RoundTripper: s.Transport()}
		c, err := New(Config{Transport: seen})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go newWatcher(c, WatchOptions{}, zap.NewNop(), c.metrics).Run(ctx)
		pass(2 * maxWait)
		stop()
		synctest.Wait()
		seen.mu.Lock()
		defer seen.mu.Unlock()
		if len(seen.asked) < 6 {
			t.Fatalf("only %d requests", len(seen.asked))
		}
		for _, q := range seen.asked {
			if !strings.Contains(q, "consistent") || strings.Contains(q, "stale") || strings.Contains(q, "cached") {
				t.Errorf("query %q is not a consistent read", q)
			}
		}
	})
}

// spy notes the queries of the requests that pass.
type spy struct {
	http.RoundTripper
	mu    sync.Mutex
	asked []string
}

func (s *spy) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.RawQuery)
	s.mu.Unlock()
	return s.RoundTripper.RoundTrip(r)
}

func TestWatchWakesOnPut(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Put(keyStack+"db", "x")
		pass(150 * time.Millisecond)
		if got := r.sound(); !r.signalled() || got != "db web" {
			t.Errorf("stacks = %q", got)
		}
	})
}

func TestWatchFoldsBurst(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			r.consul.Put(keyStack+name, "x")
			pass(10 * time.Millisecond)
		}
		wakes := 0
		for range 300 {
			pass(10 * time.Millisecond)
			if r.signalled() {
				wakes++
			}
		}
		if got := r.sound(); wakes != 1 || got != "a b c d e f web" {
			t.Errorf("%d wakes, stacks %q; want one wake with all", wakes, got)
		}
	})
}

// A query that returns is no proof of a change: somebody made a folder in Consul's UI, or put the value that is there.
func TestWatchComparesContents(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Put(keyStack+"folder/", "")
		r.consul.Put(keyVar+"TAG", "1")
		if r.rest() {
			t.Error("the reader was woken though every value is what it was")
		}
	})
}

// A value that came and went leaves another index, which whoever remembers the snapshot must learn: a restored store is told by
// it.
func TestWatchTellsOfIndexes(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		before := r.watcher.State().Snapshot
		r.consul.Put(keyStack+"web", "other")
		r.consul.Put(keyStack+"web", "services: {}")
		if !r.rest() {
			t.Error("nobody was told of the stack's index")
		}
		r.consul.Delete(keyVar + ClusterKey)
		r.consul.Put(keyVar+ClusterKey, testID)
		if !r.rest() {
			t.Error("nobody was told of the cluster key's index")
		}
		after := r.watcher.State().Snapshot
		if after.Stacks[0].ModifyIndex <= before.Stacks[0].ModifyIndex || after.Vouched[Vars] <= before.Vouched[Vars] {
			t.Errorf("the snapshot was %+v, is %+v", before, after)
		}
	})
}

func TestWatchObeysDelete(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Delete(keyStack + "web")
		if !r.rest() || r.sound() != "" {
			t.Errorf("stacks = %q, want none", r.sound())
		}
	})
}

func TestWatchEveryList(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Put("brambled/vars/pi1/TAG", "2")
		r.consul.Put("brambled/secrets/pw", "s")
		r.rest()
		r.sound()
		st := r.watcher.State()
		if names(st.Snapshot.Vars) != "TAG pi1/TAG" || names(st.Snapshot.Secrets) != "pw" || st.Snapshot.Cluster != testID {
			t.Errorf("snapshot = %+v", st.Snapshot)
		}
	})
}

func TestWatchIgnoresFolders(t *testing.T) {
	watch(t, WatchOptions{}, func(r *rig) {
		r.consul.Put(keyStack, "")
		r.consul.Put(keyStack+"old/", "")
		if r.rest() || r.sound() != "web" {
			t.Errorf("stacks = %q", r.sound())
		}
	})
}

// ailment makes a Consul ill and returns what heals it.
type ailment func(*consultest.Server) (heal func())

func hide(tells bool, prefixes ...string) ailment {
	return func(s *consultest.Server) func() {
		var lifts []func()
		for _, p := range prefixes {
			lifts = append(lifts, s.Filter(p, tells))
		}
		s.Restart() // Consul wakes nobody for a changed policy; this test does not wait half a minute
		return func() {
			for _, lift := range lifts {
				lift()
			}
			s.Restart()
		}
	}
}

func answer(status int, body string) ailment {
	return func(s *consultest.Server) func() {
		return s.Break(consultest.Failure{Status: status, Body: body})
	}
}

func TestWatchFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause Cause
		do    ailment
	}{
		{"no connection", Unreachable, func(s *consultest.Server) func() { return s.Break(consultest.Failure{Drop: true}) }},
		{"no answer", Unreachable, func(s *consultest.Server) func() { return s.Break(consultest.Failure{Hang: true}) }},
		{"no leader", NoLeader, answer(500, "No cluster leader")},
		{"no servers", NoLeader, answer(500, "No known Consul servers")},
		{"500", Failing, answer(500, "rpc error making call: boom")},
		{"429", Overloaded, answer(429, "Your IP is issuing too many concurrent connections, please rate limit your calls")},
		{"503", Overloaded, answer(503, "rate limit exceeded, try again later")},
		{"403", Forbidden, answer(403, "ACL not found")},
		{"not Consul", Failing, answer(404, "<html>no such page")},
		{"filtered to empty", Filtered, hide(true, "brambled/")},
		{"filtered in part", Filtered, hide(true, keyStack+"web")},
		{"hidden without a word", Unvouched, hide(false, "brambled/")},
		{"one list hidden", Unvouched, hide(false, "brambled/secrets/")},
		{"foreign cluster", Foreign, func(s *consultest.Server) func() { return swap(s, "feedbeef", lists[:]...) }},
		{"two clusters mixed", Foreign, func(s *consultest.Server) func() { return swap(s, "feedbeef", Vars) }},
		{"id is empty", Unvouched, func(s *consultest.Server) func() { return swap(s, "", Vars) }},
		{"id is no id", Unvouched, func(s *consultest.Server) func() { return swap(s, "services:\n  web: {}", Vars) }},
		{"one id deleted", Unvouched, func(s *consultest.Server) func() {
			s.Delete(keyVar + ClusterKey)
			return func() { s.Put(keyVar+ClusterKey, testID) }
		}},
		{"everything deleted", Unvouched, func(s *consultest.Server) func() {
			for _, key := range []string{keyStack + "web", keyVar + "TAG", keyStack + ClusterKey, keyVar + ClusterKey, "brambled/secrets/" + ClusterKey} {
				s.Delete(key)
			}
			return func() { seed(s) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			watch(t, WatchOptions{}, func(r *rig) {
				heal := c.do(r.consul)
				pass(2 * maxWait)
				fault := r.held(c.cause, "web")
				if fault.ID == "" || fault.Detail == "" || fault.Since.IsZero() {
					t.Errorf("fault = %+v", fault)
				}
				if !r.signalled() {
					t.Error("the reader was not woken")
				}
				heal()
				pass(time.Minute)
				if got := r.sound(); got != "web" || !r.signalled() {
					t.Errorf("healed: stacks = %q", got)
				}
			})
		})
	}
}

// swap writes another id into lists, and back.
func swap(s *consultest.Server, id string, which ...string) (back func()) {
	for _, list := range which {
		s.Put("brambled/"+list+ClusterKey, id)
	}
	return func() { swap(s, testID, which...) }
}

func TestWatchBeforeFirstAnswer(t *testing.T) {
	watchStore(t, WatchOptions{}, func(s *consultest.Server) { seed(s); s.Break(consultest.Failure{Hang: true}) }, func(r *rig) {
		pass(time.Second)
		if st := r.watcher.State(); st.Snapshot != nil || st.Fault != nil {
			t.Errorf("state = %+v", st)
		}
		pass(time.Minute)
		if st := r.watcher.State(); st.Snapshot != nil || st.Fault == nil {
			t.Errorf("state = %+v, want a fault once the deadline is over", st)
		}
	})
}

func TestWatchEmptyStore(t *testing.T) {
	watchStore(t, WatchOptions{}, func(*consultest.Server) {}, func(r *rig) {
		r.rest()
		if st := r.watcher.State(); st.Snapshot != nil || st.Fault == nil || st.Fault.Cause != Unvouched {
			t.Errorf("state = %+v", st)
		}
	})
}

func TestWatchUnexpectedCluster(t *testing.T) {
	watchStore(t, WatchOptions{Cluster: "feedbeef"}, seed, func(r *rig) {
		r.rest()
		if st := r.watcher.State(); st.Snapshot != nil || st.Fault == nil || st.Fault.Cause != Foreign {
			t.Errorf("state = %+v", st)
		}
	})
}

func TestWatchClusterOfLastGood(t *testing.T) {
	watchStore(t, WatchOptions{LastGood: &Snapshot{Cluster: "feedbeef"}}, seed, func(r *rig) {
		r.rest()
		if st := r.watcher.State(); st.Snapshot != nil || st.Fault == nil || st.Fault.Cause != Foreign {
			t.Errorf("state = %+v", st)
		}
	})
}

func TestWatchOlderThanLastGood(t *testing.T) {
	last := &Snapshot{Cluster: testID, Stacks: []Entry{{Key: "web", ModifyIndex: 5000}}}
	watchStore(t, WatchOptions{LastGood: last}, seed, func(r *rig) {
		r.rest()
		if st := r.watcher.State(); st.Snapshot != nil || st.Fault == nil || st.Fault.Cause != Regressed {
			t.Errorf("state = %+v", st)
		}
	})
}
