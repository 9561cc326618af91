package consul

import (
	"context"
	"time"
)

// The watch's token bucket: two answers may follow each other at once, then four a second.
const (
	askBurst = 2
	askEvery = 250 * time.Millisecond
)

// lister reads lists; *Client is one.
type lister interface {
	list(ctx context.Context, q query) (List, error)
}

// feed is the watch on one list. Its fields are guarded by the watcher's lock.
type feed struct {
	list   string
	answer List
	fault  *Fault // of the newest request; nil when it was answered
	// current is false while the answer must be read again before it counts.
	current bool
	asked   time.Time // when the request was sent that brought the answer

	again  bool // start over at 0, whatever the request under way brings
	cancel context.CancelFunc
}

// nextIndex is the index to wait on after an answer. One that went back starts the watch over (a restore, an upgrade, or a
// deleted newest key whose tombstone was reaped); zero would make a busy loop.
func nextIndex(sent, got uint64) uint64 {
	got = max(got, 1)
	if got < sent {
		return 0
	}
	return got
}

// cursor is what the loop on a list remembers from one query to the next.
type cursor struct {
	index    uint64
	failures int
	failed   time.Time // when the first of the failures since the last answer was seen
}

// follow keeps a query on one list until ctx ends.
func (w *Watcher) follow(ctx context.Context, f *feed) {
	bucket := newBucket(askBurst, askEvery)
	var at cursor
	for bucket.take(ctx) == nil {
		asked := time.Now()
		got, over, err := w.ask(ctx, f, &at.index)
		rest := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return
		case over:
			at.index = 0
		case err != nil:
			w.fail(f, &at, err)
			rest = retryAfter(at.failures)
		default:
			w.advance(f, &at, got, asked)
			if w.take(f, got, asked) {
				rest = foldAsk
			}
		}
		if rest > 0 && pause(ctx, rest) != nil {
			return
		}
	}
}

// advance moves the index behind an answer, or starts over.
func (w *Watcher) advance(f *feed, at *cursor, got List, asked time.Time) {
	next := nextIndex(at.index, got.Index)
	if at.index > 0 && got.Index <= at.index && time.Since(asked) < w.wait {
		// Answered early and nothing new: a snapshot was restored under the query, and the answer is still from the state
		// before. The index may never be reached again.
		next = 0
	}
	switch {
	case at.failures > 0:
		w.recheck(f, at.failed)
	case next < at.index:
		w.recheck(f, time.Now())
	}
	if next < at.index {
		w.metrics.restarts.WithLabelValues(f.list).Inc()
	}
	at.failures, at.index = 0, next
}

// ask sends one query. over tells that the list is to be read anew and the answer must not be used.
func (w *Watcher) ask(ctx context.Context, f *feed, index *uint64) (got List, over bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	if f.again {
		f.again, *index = false, 0
	}
	f.cancel = cancel
	w.mu.Unlock()
	got, err = w.source.list(ctx, query{prefix: f.list, index: *index, wait: w.wait})
	w.mu.Lock()
	defer w.mu.Unlock()
	f.cancel = nil
	return got, f.again, err
}

// recheck makes the other lists be read anew, if what is known of them was asked for no later than since. What rewound or
// interrupted one list happened to the whole store, but the others may be parked on an index that is never reached, and
// until they are read again they show a world that is gone.
func (w *Watcher) recheck(me *feed, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.feeds {
		f := &w.feeds[i]
		if f == me || f.asked.After(since) {
			continue
		}
		f.current, f.again = false, true
		if f.cancel != nil {
			f.cancel()
		}
	}
}

// take files an answer and tells whether it brought news.
func (w *Watcher) take(f *feed, got List, asked time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.metrics.answer(f.list, time.Now())
	// A query that returns is no proof of a change.
	news := !f.current || f.fault != nil || !sameAnswer(f.answer, got)
	f.answer, f.asked, f.fault, f.current = got, asked, nil, true
	if news {
		signal(w.news)
	}
	return news
}

// fail files an error and starts over: whoever answers next may be another Consul, with smaller indexes.
func (w *Watcher) fail(f *feed, at *cursor, err error) {
	at.index = 0
	if at.failures++; at.failures == 1 {
		at.failed = time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.metrics.restarts.WithLabelValues(f.list).Inc()
	// Consul's health is one matter, whichever list met it: the id does not name the list.
	f.fault = newFault(CauseOf(err), f.list, "", err.Error())
	f.current = false
	signal(w.news)
}
