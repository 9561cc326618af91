package lease_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/lease/leasetest"
)

// glance is how often the terms of all nodes are looked at.
const glance = 20 * time.Millisecond

// rig is some candidates around one Consul, in a bubble with a clock of its own. All the time it watches that no two terms
// are valid.
type rig struct {
	tb    testing.TB
	s     *leasetest.Server
	stop  chan struct{}
	ended sync.WaitGroup

	mu       sync.Mutex
	nodes    []*node
	overlaps []string
	outcomes map[string]float64 // of nodes that are gone
}

// node is one process.
type node struct {
	r      *rig
	id     lease.Identity
	link   *leasetest.Link
	e      *lease.Elector
	reg    *prometheus.Registry
	cancel context.CancelFunc
	done   chan struct{}
	dead   bool

	mu    sync.Mutex
	terms []*lease.Term
	over  []bool
}

func newRig(tb testing.TB) *rig {
	r := &rig{tb: tb, s: leasetest.New(), stop: make(chan struct{}), outcomes: map[string]float64{}}
	r.ended.Go(func() {
		tick := time.NewTicker(glance)
		defer tick.Stop()
		for {
			select {
			case <-r.stop:
				return
			case <-tick.C:
				r.glance()
			}
		}
	})
	return r
}

// in runs a test in a bubble.
func in(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer func() {
			r.close()
			for _, o := range r.overlaps {
				t.Errorf("two terms are valid: %s\n%s", o, r.s.Events())
			}
		}()
		f(r)
	})
}

// close kills whoever is left.
func (r *rig) close() {
	for _, n := range r.nodes {
		if !n.dead {
			n.kill()
		}
	}
	close(r.stop)
	r.ended.Wait()
	pass(10 * time.Second) // what is under way arrives
	r.s.Wipe()             // ends the sessions' timers
}

// valid returns the processes that have a valid term, as a process would find out that is about to act.
func (r *rig) valid() (names []string) {
	for _, n := range r.nodes {
		if n.dead || n.link.Paused() {
			continue
		}
		if t := n.term(); t != nil && t.Check() == nil {
			names = append(names, fmt.Sprintf("%s (term %d)", n.id.Node, t.Number()))
		}
	}
	return names
}

func (r *rig) glance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if names := r.valid(); len(names) > 1 {
		r.overlaps = append(r.overlaps, strings.Join(names, ", "))
	}
}

// leader returns the node that has a valid term, "" if none has.
func (r *rig) leader() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.nodes {
		if !n.dead && !n.link.Paused() && n.check() == nil {
			return n.id.Node
		}
	}
	return ""
}

func identity(name string) lease.Identity {
	return lease.Identity{Node: name, Boot: "boot-" + name, Instance: "/var/lib/brambled"}
}

// start starts a process on a node of that name.
func (r *rig) start(name string, opts lease.Options) *node { return r.boot(identity(name), opts) }

func (r *rig) boot(id lease.Identity, opts lease.Options) *node {
	r.tb.Helper()
	n := &node{r: r, id: id, link: r.s.Link(), reg: prometheus.NewRegistry(), done: make(chan struct{})}
	e, err := lease.New(n.link, id, opts, zap.NewNop(), n.reg)
	if err != nil {
		r.tb.Fatal(err)
	}
	e.SetClock(n.link.Still)
	n.e = e
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		e.Run(ctx, n.lead)
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes = append(r.nodes, n)
	return n
}

// lead notes the term and stays until it is over.
func (n *node) lead(ctx context.Context, t *lease.Term) {
	n.mu.Lock()
	i := len(n.terms)
	n.terms, n.over = append(n.terms, t), append(n.over, false)
	n.mu.Unlock()
	<-ctx.Done()
	n.mu.Lock()
	n.over[i] = true
	n.mu.Unlock()
}

// term is the newest one; nil before the first.
func (n *node) term() *lease.Term {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.terms) == 0 {
		return nil
	}
	return n.terms[len(n.terms)-1]
}

func (n *node) check() error {
	if t := n.term(); t != nil {
		return t.Check()
	}
	return lease.ErrEnded
}

// scope tells whether the context of the newest term's lead has ended.
func (n *node) scopeEnded() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.over) == 0 || n.over[len(n.over)-1]
}

// halt is a clean stop.
func (n *node) halt() {
	n.cancel()
	<-n.done
	n.forget()
}

// kill ends the process without a word, as kill -9 does.
func (n *node) kill() {
	n.link.Break(leasetest.Fault{Drop: true})
	n.cancel()
	<-n.done
	n.forget()
}

func (n *node) forget() {
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	n.dead = true
	for what, times := range n.count() {
		n.r.outcomes[what] += times
	}
}

// pause stops the process until resume; what is due happens as soon as it runs again.
func (n *node) pause() (resume func()) {
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	return n.link.Pause()
}

// count returns how often each change happened to this process.
func (n *node) count() map[string]float64 {
	families, err := n.reg.Gather()
	if err != nil {
		n.r.tb.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch {
			case len(m.GetLabel()) > 0:
				out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			case m.GetCounter() != nil:
				out[f.GetName()] = m.GetCounter().GetValue()
			default:
				out[f.GetName()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// pass lets time pass in the bubble.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock, not the machine's
	synctest.Wait()
}

// until lets time pass until there is a leader, and returns its name and how long that took.
func (r *rig) until(most time.Duration, is func(leader string) bool) (string, time.Duration) {
	r.tb.Helper()
	began := time.Now()
	for {
		leader := r.leader()
		if is(leader) {
			return leader, time.Since(began)
		}
		if time.Since(began) > most {
			r.tb.Fatalf("not within %v, the leader is %q\n%s", most, leader, r.s.Events())
		}
		pass(glance)
	}
}

func anybody(leader string) bool { return leader != "" }

// leads starts a node and waits until it leads and the key says so.
func (r *rig) leads(name string, opts lease.Options) *node {
	r.tb.Helper()
	n := r.start(name, opts)
	r.until(30*time.Second, func(l string) bool { return l == name })
	pass(time.Second)
	return n
}

// is requires a change to have happened so often.
func (n *node) is(what string, times float64) {
	n.r.tb.Helper()
	if got := n.count()[what]; got != times {
		n.r.tb.Errorf("%s: %s %v times, want %v: %v\n%s", n.id.Node, what, got, times, n.count(), n.r.s.Events())
	}
}
