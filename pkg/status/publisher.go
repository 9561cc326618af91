package status

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// interval is the least time between two writes: the steps of one change fold into few reports.
	interval = time.Second
	// slowest is the longest time between two attempts to write.
	slowest = 30 * time.Second
)

// Publisher writes reports to the store, in their stable form and only when it changed: each write costs every Consul
// server an fsync on its card.
type Publisher struct {
	put  func(context.Context, []byte) error
	get  func(context.Context) ([]byte, error)
	log  *zap.Logger
	wake chan struct{} // holds one token while there may be something to write

	mu      sync.Mutex
	next    *Node
	written string // the stable form of what the store has, "" when it is to be written in any case
	counter uint64
}

// NewPublisher returns a publisher that has not started. Put writes the report of this Pi.
func NewPublisher(put func(context.Context, []byte) error, log *zap.Logger) *Publisher {
	return &Publisher{put: put, log: log, wake: make(chan struct{}, 1)}
}

// Resume makes Run read the report that is in the store before it writes one, nil when there is none. Its counter is gone
// on from, and if nothing has changed since, nothing is written: a daemon that is started again is no event. It is called
// before Run.
func (p *Publisher) Resume(get func(context.Context) ([]byte, error)) { p.get = get }

// Publish hands over the newest report. It never blocks.
func (p *Publisher) Publish(n Node) {
	p.mu.Lock()
	p.next = &n
	p.mu.Unlock()
	p.poke()
}

// Written tells whether the store has a report of this kind, as far as is known.
func (p *Publisher) Written() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written != ""
}

// Again has the newest report written even if it was written before: the store may have lost it.
func (p *Publisher) Again() {
	p.mu.Lock()
	p.written = ""
	known := p.next != nil
	p.mu.Unlock()
	if known {
		p.poke()
	}
}

func (p *Publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default: // one is pending already, and it will take the newest report
	}
}

// Run writes until ctx ends.
func (p *Publisher) Run(ctx context.Context) {
	if p.get != nil {
		p.retry(ctx, "stored report is not read", p.resume)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.retry(ctx, "report is not written", p.write)
	}
}

// retry does something until it succeeds, then rests for the interval if it was worth it. The first failure of a row is
// logged: a store that is away is said by others.
func (p *Publisher) retry(ctx context.Context, text string, do func(context.Context) (wrote bool, err error)) {
	for failures := 0; ctx.Err() == nil; {
		wrote, err := do(ctx)
		wait := interval
		switch {
		case err != nil:
			if failures++; failures == 1 && ctx.Err() == nil {
				p.log.Warn(text, zap.Error(err))
			}
			wait = min(interval<<min(failures-1, 5), slowest)
		case !wrote:
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		if err == nil {
			return
		}
	}
}

// resume takes over what the store has. A report that cannot be read is written anew.
func (p *Publisher) resume(ctx context.Context) (bool, error) {
	value, err := p.get(ctx)
	if err != nil || value == nil {
		return false, err
	}
	var n Node
	if err := json.Unmarshal(value, &n); err != nil {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counter = n.Counter
	p.written = string(encode(n.Stable()))
	return false, nil
}

// write writes the newest report if it differs from the one in the store.
func (p *Publisher) write(ctx context.Context) (bool, error) {
	p.mu.Lock()
	n := p.next.Stable()
	plain := string(encode(n))
	same := plain == p.written
	n.Counter = p.counter + 1
	p.mu.Unlock()
	if same {
		return false, nil
	}
	if err := p.put(ctx, encode(n)); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counter, p.written = n.Counter, plain
	return true, nil
}

// encode cannot fail: a report is text and numbers.
func encode(n Node) []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic("status: encode report: " + err.Error())
	}
	return b
}
