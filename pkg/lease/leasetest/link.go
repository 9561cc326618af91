package leasetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/brambled/brambled/pkg/lease"
)

// Call names a kind of request.
type Call string

// The kinds of requests. A Watch is a Read that waits.
const (
	Open    Call = "open"
	Renew   Call = "renew"
	Close   Call = "close"
	Acquire Call = "acquire"
	Rewrite Call = "rewrite"
	Release Call = "release"
	Read    Call = "read"
	Watch   Call = "watch"
)

// Fault is how a link misbehaves. At most one of Drop, Hang, Lose and Err is of use.
type Fault struct {
	Only  []Call        // the requests it concerns; none means all
	Delay time.Duration // each way
	Drop  bool          // the request fails at once and never arrives
	Hang  bool          // it never arrives and nobody says so, until the fault is over
	Lose  bool          // it is carried out, and the answer never arrives
	Err   error         // the answer, as of a Consul without a leader
}

var errCut = errors.New("connection reset")

// readWait is how long a Watch waits, watchPause the least time between two.
const (
	readWait   = 20 * time.Second
	watchPause = 50 * time.Millisecond
)

// Link is one elector's way to the server. It is a lease.Store.
type Link struct {
	s *Server

	mu      sync.Mutex
	fault   Fault
	healed  chan struct{} // closed and replaced when the fault changes
	calls   map[Call]int
	stopped chan struct{} // while the process is paused
}

// Link returns a new way to the server.
func (s *Server) Link() *Link {
	return &Link{s: s, healed: make(chan struct{}), calls: map[Call]int{}}
}

// Break makes requests fail from now on, also those that wait; the zero Fault heals.
func (l *Link) Break(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
	close(l.healed)
	l.healed = make(chan struct{})
}

// Heal ends the fault.
func (l *Link) Heal() { l.Break(Fault{}) }

// Calls counts the requests of a kind that were sent.
func (l *Link) Calls(c Call) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[c]
}

func (l *Link) now(c Call) (Fault, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fault.Only) > 0 && !slices.Contains(l.fault.Only, c) {
		return Fault{}, l.healed
	}
	return l.fault, l.healed
}

// Pause stops the process that uses the link: Still blocks, and nothing is sent or received, until resume is called.
func (l *Link) Pause() (resume func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = make(chan struct{})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.stopped)
		l.stopped = nil
	}
}

// Paused tells whether the process is paused.
func (l *Link) Paused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped != nil
}

// Still blocks while the process is paused.
func (l *Link) Still() {
	l.mu.Lock()
	stopped := l.stopped
	l.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

// send carries one request out under the fault that is there when it is sent.
func (l *Link) send(ctx context.Context, c Call, do func() error) error {
	l.Still()
	defer l.Still()
	l.mu.Lock()
	l.calls[c]++
	l.mu.Unlock()
	f, healed := l.now(c)
	switch {
	case f.Drop:
		return errCut
	case f.Err != nil:
		return f.Err
	case f.Hang:
		return hang(ctx, healed)
	}
	// A request under way arrives whatever becomes of who sent it.
	done := make(chan error, 1)
	go func() {
		rest(f.Delay)
		err := do()
		rest(f.Delay)
		done <- err
	}()
	if f.Lose {
		return hang(ctx, healed)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func hang(ctx context.Context, healed <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-healed:
		return errCut
	}
}

func rest(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// Open is of lease.Sessions.
func (l *Link) Open(ctx context.Context, name string, ttl, lockDelay time.Duration) (id string, err error) {
	made := make(chan string, 1)
	err = l.send(ctx, Open, func() error {
		id, err := l.s.open(name, ttl, lockDelay)
		made <- id
		return err
	})
	if err != nil {
		return "", err
	}
	return <-made, nil
}

// Renew is of lease.Sessions.
func (l *Link) Renew(ctx context.Context, id string) (ttl time.Duration, err error) {
	got := make(chan time.Duration, 1)
	err = l.send(ctx, Renew, func() error {
		ttl, err := l.s.renew(id)
		got <- ttl
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-got, nil
}

// Close is of lease.Sessions.
func (l *Link) Close(ctx context.Context, id string) error {
	return l.send(ctx, Close, func() error { l.s.destroy(id); return nil })
}

// Acquire is of lease.Lock.
func (l *Link) Acquire(ctx context.Context, session string, value []byte, seen lease.Record) (uint64, bool, error) {
	type answer struct {
		index uint64
		held  bool
	}
	got := make(chan answer, 1)
	err := l.send(ctx, Acquire, func() error {
		index, held, err := l.s.acquire(session, value, seen)
		got <- answer{index, held}
		return err
	})
	if err != nil {
		return 0, false, err
	}
	a := <-got
	return a.index, a.held, nil
}

// Rewrite is of lease.Lock.
func (l *Link) Rewrite(ctx context.Context, session string, value []byte) error {
	return l.send(ctx, Rewrite, func() error { return l.s.rewrite(session, value) })
}

// Release is of lease.Lock.
func (l *Link) Release(ctx context.Context, session string, value []byte) error {
	return l.send(ctx, Release, func() error { l.s.release(session, value); return nil })
}

// Read is of lease.Reader.
func (l *Link) Read(ctx context.Context, cursor uint64) (lease.Record, error) {
	call := Read
	if cursor != 0 {
		call = Watch
		rest(watchPause)
	}
	got := make(chan lease.Record, 1)
	err := l.send(ctx, call, func() error { return l.read(ctx, cursor, got) })
	if err != nil {
		return lease.Record{}, err
	}
	return <-got, nil
}

// read waits at the server until the key's index is not the cursor.
func (l *Link) read(ctx context.Context, cursor uint64, got chan<- lease.Record) error {
	timeout := time.NewTimer(readWait)
	defer timeout.Stop()
	for {
		rec, moved := l.s.look()
		f, healed := l.now(Watch)
		switch {
		case cursor != 0 && (f.Drop || f.Err != nil):
			return errCut
		case cursor != 0 && (f.Hang || f.Lose):
			return hang(ctx, healed)
		case rec.Cursor != cursor:
			got <- rec
			return nil
		}
		select {
		case <-moved:
		case <-healed:
		case <-timeout.C:
			got <- rec
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
