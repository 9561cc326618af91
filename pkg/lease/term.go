package lease

import (
	"errors"
	"sync"
)

// Why a term is not valid.
var (
	// ErrSuspended is a term that may be lost, or may go on: wait, or leave the pass.
	ErrSuspended = errors.New("the leader's term is suspended")
	// ErrEnded is a term that is over for good.
	ErrEnded = errors.New("the leader's term has ended")
)

// Fence is what a write to KV is fenced with.
type Fence struct {
	Lock    string // the leader key
	Session string // that must hold it
}

// Term is one time as leader. It is safe for concurrent use.
type Term struct {
	timing
	number  uint64
	session string
	clock   clock

	mu        sync.Mutex
	renewed   instant // when the request was sent that last renewed the session
	seen      instant // when the read was sent that last saw the lock with it
	beat      instant // when the keeper was last known to run
	settled   instant // before that the term is not valid yet
	suspended bool
	since     instant // when the suspension was noticed
	ended     bool
}

// Number is the term's number: the key's ModifyIndex at its acquisition.
func (t *Term) Number() uint64 { return t.number }

// Check returns nil while the term is valid, else ErrSuspended or ErrEnded. It asks nobody and is cheap: ask it before each
// effect.
func (t *Term) Check() error {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.check(now)
}

// Fence returns what to fence a write with, or why the term is not valid. The server refuses a write that comes with the fence
// of a term that is over: no session is used for a second term of one process.
func (t *Term) Fence() (Fence, error) {
	if err := t.Check(); err != nil {
		return Fence{}, err
	}
	return Fence{Lock: Key, Session: t.session}, nil
}

// check judges the term. A term that is once found suspended stays so until confirm.
func (t *Term) check(now instant) error {
	if t.ended {
		return ErrEnded
	}
	deadline := min(t.renewed, t.seen).add(t.ttl - t.margin)
	if now >= deadline || now.since(t.beat) > t.ttl/2 {
		t.suspend(now)
	}
	if t.suspended || now < t.settled {
		return ErrSuspended
	}
	return nil
}

func (t *Term) suspend(now instant) {
	if !t.suspended {
		t.suspended, t.since = true, now
	}
}

// doubt suspends the term because something speaks against it.
func (t *Term) doubt() {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suspended, t.since = true, now
}

// evidence is what one look at the store brought: when the requests were sent that were answered well, nil for those that
// were not.
type evidence struct {
	renewed, seen *instant
}

// confirm takes evidence into account. Evidence that was asked for before a suspension was noticed does not end it.
func (t *Term) confirm(e evidence) {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.check(now)
	t.beat = now
	if e.renewed != nil {
		t.renewed = *e.renewed
	}
	if e.seen != nil {
		t.seen = *e.seen
	}
	deadline := min(t.renewed, t.seen).add(t.ttl - t.margin)
	if t.suspended && e.seen != nil && *e.seen > t.since && now < deadline {
		t.suspended = false
	}
}

// alive tells that the keeper runs. A gap before it is noticed first.
func (t *Term) alive() {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.check(now)
	t.beat = now
}

func (t *Term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}
