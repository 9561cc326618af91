package consul

import (
	"cmp"
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The fold. Whoever edits three keys wants one pass, not three; the pause after the last change is short enough, and the
// whole bounded, so that a put is answered within 150 ms.
const (
	foldQuiet = 50 * time.Millisecond
	foldMost  = 100 * time.Millisecond
	// foldAsk is how long a feed with news waits before it asks again. Asking at once would spend the bucket on the first
	// keys of a burst, and leave the last one waiting for a token.
	foldAsk = 30 * time.Millisecond
)

// WatchOptions say what a watcher starts from.
type WatchOptions struct {
	// Cluster is the id this node belongs to. Empty takes the one of LastGood, and without that the first one that is read.
	Cluster string
	// LastGood is the snapshot that was accepted before, by an earlier process: keys older than its are a fault. One of
	// another cluster than Cluster is not considered.
	LastGood *Snapshot
	// Wait is how long a blocking query may block; 0 means half a minute, and more is not allowed.
	Wait time.Duration
}

// State is what is known of the desired state. Both are nil until Consul answered first.
type State struct {
	// Snapshot is the newest sound one; nil before the first. It stays through any fault.
	Snapshot *Snapshot
	// Fault is why the newest answers are not sound; nil while they are.
	Fault *Fault
}

// Watcher keeps a blocking query on each list and knows the newest sound snapshot.
type Watcher struct {
	source  lister
	log     *zap.Logger
	metrics *Metrics
	wait    time.Duration
	changed chan struct{} // for the reader; holds at most one signal
	news    chan struct{} // for the fold; likewise

	mu       sync.Mutex
	cluster  string
	base     *Snapshot
	approved string // the id of the regression that a person accepted
	feeds    [len(lists)]feed
	state    State
}

// NewWatcher returns a watcher that has not started.
func NewWatcher(c *Client, opts WatchOptions, log *zap.Logger, m *Metrics) *Watcher {
	return newWatcher(c, opts, log, m)
}

func newWatcher(source lister, opts WatchOptions, log *zap.Logger, m *Metrics) *Watcher {
	w := &Watcher{
		source: source, log: log, metrics: m, wait: min(cmp.Or(opts.Wait, maxWait), maxWait), cluster: opts.Cluster,
		changed: make(chan struct{}, 1), news: make(chan struct{}, 1),
	}
	if last := opts.LastGood; last != nil && (opts.Cluster == "" || opts.Cluster == last.Cluster) {
		w.base, w.cluster = last.Clone(), last.Cluster
	}
	for i, name := range lists {
		w.feeds[i].list = name
	}
	return w
}

// Changed receives after the contents of the snapshot, the indexes of its keys, or the fault changed. Many changes make at least
// one later signal. An index that moved alone is no news for who runs the stacks, but for who remembers them.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// State returns what is known now.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Approve accepts a store that was restored or rebuilt, as the fault with this id describes it: from now on it is the one
// that others are compared with. It reports whether there is such a fault. No other cause can be approved.
func (w *Watcher) Approve(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.state.Fault; f == nil || f.ID != id || f.Cause != Regressed {
		return false
	}
	w.approved = id
	signal(w.news)
	return true
}

// Run watches until ctx ends. No trouble with Consul ends it.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range w.feeds {
		wg.Go(func() { w.follow(ctx, &w.feeds[i]) })
	}
	wg.Go(func() { w.fold(ctx) })
	wg.Wait()
}

// fold waits for news, then for quiet, and settles.
func (w *Watcher) fold(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		}
		end := time.Now().Add(foldMost)
		for quiet := true; quiet; {
			t := time.NewTimer(min(foldQuiet, time.Until(end)))
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-w.news:
				t.Stop()
				quiet = time.Now().Before(end)
			case <-t.C:
				quiet = false
			}
		}
		w.settle()
	}
}

// settle works out the state from what the feeds brought, and wakes the reader if it differs.
func (w *Watcher) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := State{Snapshot: w.state.Snapshot}
	var answers [len(lists)]List
	var faults []*Fault
	waiting := false
	for i := range w.feeds {
		f := &w.feeds[i]
		answers[i] = f.answer
		waiting = waiting || !f.current
		if f.fault != nil {
			faults = append(faults, f.fault)
		}
	}
	switch {
	case len(faults) > 0:
		next.Fault = worst(faults)
	case waiting:
		return // a list is being read; put together with it, or not at all
	default:
		next.Snapshot, next.Fault = judge(answers, w.cluster, w.base)
		if next.Fault != nil && next.Fault.Cause == Regressed && next.Fault.ID == w.approved {
			next.Snapshot, next.Fault = judge(answers, w.cluster, nil)
		}
		if next.Fault != nil {
			next.Snapshot = w.state.Snapshot
			break
		}
		w.base, w.cluster = next.Snapshot, next.Snapshot.Cluster
	}
	w.publish(next)
}

// publish makes a state the current one. The caller holds the lock.
func (w *Watcher) publish(next State) {
	old := w.state
	news := !sameContents(old.Snapshot, next.Snapshot)
	if next.Fault != nil {
		dated := *next.Fault // readers may hold the one before
		dated.Since = time.Now()
		if sameFault(old.Fault, next.Fault) {
			dated.Since = old.Fault.Since
		}
		next.Fault = &dated
	}
	w.state = next
	if news {
		w.metrics.snapshots.Inc()
	}
	if news || !sameFault(old.Fault, next.Fault) {
		w.report(old, next)
	} else if sameIndexes(old.Snapshot, next.Snapshot) {
		return
	}
	signal(w.changed)
}

// report tells of a change, once for each: a store that is down for a day is one line.
func (w *Watcher) report(old, now State) {
	w.metrics.fault(now.Fault)
	switch {
	case sameFault(old.Fault, now.Fault):
		w.log.Debug("desired state changed in Consul", zap.String("cluster", now.Snapshot.Cluster))
	case now.Fault != nil:
		w.log.Warn("desired state cannot be read soundly, nothing is changed because of it", zap.String("cause", string(now.Fault.Cause)),
			zap.String("list", now.Fault.List), zap.String("detail", now.Fault.Detail), zap.String("fault", now.Fault.ID))
	default:
		w.log.Info("desired state is read soundly again", zap.String("cause", string(old.Fault.Cause)),
			zap.Duration("after", time.Since(old.Fault.Since).Round(time.Millisecond)))
	}
}
