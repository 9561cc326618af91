package consul

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

const (
	testID   = "3f9a1c2b"
	keyStack = "brambled/stacks/"
	keyVar   = "brambled/vars/"
)

// rig is a watcher on a fake Consul, in a bubble with a clock of its own.
type rig struct {
	t       *testing.T
	consul  *consultest.Server
	client  *Client
	watcher *Watcher
	tap     *tap
}

// tap notes what a watcher asks.
type tap struct {
	lister
	mu    sync.Mutex
	asked []query
}

func (p *tap) list(ctx context.Context, q query) (List, error) {
	p.mu.Lock()
	p.asked = append(p.asked, q)
	p.mu.Unlock()
	return p.lister.list(ctx, q)
}

// indexes returns the indexes sent for the stacks so far.
func (p *tap) indexes() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []uint64
	for _, q := range p.asked {
		if q.prefix == Stacks {
			out = append(out, q.index)
		}
	}
	return out
}

func (p *tap) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nil
}

func testClient(t *testing.T, s *consultest.Server) *Client {
	t.Helper()
	c, err := New(Config{Transport: s.Transport(), Metrics: NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// seed makes a sound store with one stack and one variable.
func seed(s *consultest.Server) {
	for range 5 { // a Consul that was in use before
		s.Put("other/key", newClusterID())
	}
	for _, list := range lists {
		s.Put("brambled/"+list+ClusterKey, testID)
	}
	s.Put(keyStack+"web", "services: {}")
	s.Put(keyVar+"TAG", "1")
}

// watch runs f in a bubble with a watcher on a seeded store that has come to rest.
func watch(t *testing.T, opts WatchOptions, f func(*rig)) {
	t.Helper()
	watchStore(t, opts, seed, func(r *rig) {
		r.rest()
		r.tap.forget()
		f(r)
	})
}

// watchStore is watch on a store that before has set up.
func watchStore(t *testing.T, opts WatchOptions, before func(*consultest.Server), f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := consultest.New()
		before(s)
		r := &rig{t: t, consul: s, client: testClient(t, s)}
		r.tap = &tap{lister: r.client}
		r.watcher = newWatcher(r.tap, opts, zap.NewNop(), r.client.metrics)
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go r.watcher.Run(ctx)
		f(r)
	})
}

// pass lets time pass in a bubble, where it costs nothing and everything that is due has happened afterwards.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock, not the machine's
	synctest.Wait()
}

// rest lets two seconds pass, more than any fold or token takes, and takes the signal.
func (r *rig) rest() bool {
	pass(2 * time.Second)
	return r.signalled()
}

func (r *rig) signalled() bool {
	select {
	case <-r.watcher.Changed():
		return true
	default:
		return false
	}
}

// sound requires that there is no fault, and returns the snapshot's stacks as one string.
func (r *rig) sound() string {
	r.t.Helper()
	st := r.watcher.State()
	if st.Fault != nil || st.Snapshot == nil {
		r.t.Fatalf("state = %v, fault %v; want a sound snapshot", st.Snapshot, st.Fault)
	}
	return names(st.Snapshot.Stacks)
}

// held requires a fault of this cause, and that the stacks are still those.
func (r *rig) held(cause Cause, stacks string) *Fault {
	r.t.Helper()
	st := r.watcher.State()
	if st.Fault == nil || st.Fault.Cause != cause {
		r.t.Fatalf("fault = %v, want %s", st.Fault, cause)
	}
	if st.Snapshot == nil || names(st.Snapshot.Stacks) != stacks {
		r.t.Fatalf("snapshot = %v, want the last sound one with %q", st.Snapshot, stacks)
	}
	return st.Fault
}

func names(entries []Entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Key)
	}
	return strings.Join(out, " ")
}
