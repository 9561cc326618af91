package lease

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// soon is the time to the next look while a look has brought an answer but not yet certainty.
const soon = 50 * time.Millisecond

// keeper keeps one term: it renews the session, reads the lock, and finds out when the term is over.
type keeper struct {
	e     *Elector
	t     *Term
	nudge chan struct{}

	announced uint64 // the number as the key's value names it; 0 until then
	newest    uint64 // index of the key that this term has seen
	failed    bool   // the last look
	suspended bool   // as it was told last
}

// keep returns why the term is over.
func (k *keeper) keep(ctx context.Context, returned <-chan struct{}) change {
	k.newest = k.t.number
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		k.watch(watching)
	}()
	defer func() { stop(); <-watched }()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return stopped
		case <-returned:
			if ctx.Err() != nil {
				return stopped
			}
			return resigned
		case <-k.nudge:
		case <-next.C:
		}
		began := k.e.clock()
		if over := k.look(ctx); over != "" {
			return over
		}
		if k.yields() {
			return yielded
		}
		next.Reset(k.rest() - k.e.clock().since(began))
	}
}

// rest is the time from one look to the next.
func (k *keeper) rest() time.Duration {
	switch until := k.t.settled.since(k.e.clock()); {
	case k.failed:
		return k.t.renew / 4
	case k.suspended:
		return soon
	case until > 0:
		return min(until, k.t.renew) // to say in the key that the term is valid
	}
	return k.t.renew
}

// yields tells whether another node should lead in place of this one.
func (k *keeper) yields() bool {
	return !k.e.opts.Preferred() && k.e.opts.Yield() && k.e.mayYield()
}

// look renews the session and reads the lock, at the same time: one that is not answered must not hide what the other says.
// It returns why the term is over, "" if it is not.
func (k *keeper) look(ctx context.Context) change {
	k.t.alive()
	k.tell()
	limited, cancel := context.WithTimeout(ctx, k.t.renew)
	defer cancel()
	answers := make(chan answer, 2)
	began := k.e.clock()
	go func() { answers <- k.renew(limited) }()
	go func() { answers <- k.read(limited) }()
	k.failed = false
	var got evidence
	for range 2 {
		a := <-answers
		switch {
		case a.over != "":
			return a.over
		case a.err != nil:
			k.failed = true
		case a.renewed:
			got.renewed = &began
		default:
			got.seen = &began
		}
	}
	if ctx.Err() != nil {
		return stopped
	}
	k.t.confirm(got)
	k.tell()
	k.announce(limited)
	return ""
}

// answer is what one request of a look brought.
type answer struct {
	over    change
	err     error
	renewed bool // it was the renewal
}

func (k *keeper) renew(ctx context.Context) answer {
	_, err := k.e.store.Renew(ctx, k.t.session)
	switch {
	case errors.Is(err, ErrSessionGone):
		return answer{over: lostSession}
	case err != nil && !errors.Is(context.Cause(ctx), context.Canceled):
		k.e.m.failures.Inc()
	}
	return answer{err: err, renewed: true}
}

func (k *keeper) read(ctx context.Context) answer {
	rec, err := k.e.store.Read(ctx, 0)
	switch {
	case err != nil:
		return answer{err: err}
	case rec.Session != k.t.session:
		return answer{over: lostLock}
	case rec.Index < k.newest:
		// A snapshot was restored in which our session held the lock before. The former world went on without us, or with us:
		// nothing that was learnt in this term still stands.
		return answer{over: wentBack}
	}
	k.newest = rec.Index
	return answer{}
}

// announce makes the key's value name the term, once it was valid: from then on whoever comes next may begin at once.
func (k *keeper) announce(ctx context.Context) {
	if k.announced != 0 || k.t.Check() != nil {
		return
	}
	now := k.e.self
	now.Term = k.t.number
	if k.e.store.Rewrite(ctx, k.t.session, now.encode()) == nil {
		k.announced = k.t.number
	}
}

// tell logs and counts a suspension and its end, once.
func (k *keeper) tell() {
	k.t.mu.Lock()
	now := k.t.suspended
	k.t.mu.Unlock()
	if now == k.suspended {
		return
	}
	k.suspended = now
	if now {
		k.e.m.suspended.Set(1)
		k.e.m.count(suspended)
		k.e.log.Warn("the leader's term is suspended", zap.Uint64("term", k.t.number))
		return
	}
	k.e.m.suspended.Set(0)
	k.e.m.count(resumed)
	k.e.log.Info("the leader's term goes on", zap.Uint64("term", k.t.number))
}

// watch waits for changes of the key. It decides nothing: a lock that looks lost suspends the term until the keeper has had a
// look. That makes a lock-delay of a second long enough for everybody who can reach Consul.
func (k *keeper) watch(ctx context.Context) {
	cursor, failures := uint64(0), 0
	for ctx.Err() == nil {
		rec, err := k.e.store.Read(ctx, cursor)
		if err != nil {
			failures++
			cursor = 0
			pause(ctx, backoff(failures))
			continue
		}
		failures, cursor = 0, rec.Cursor
		if rec.Session == k.t.session {
			continue
		}
		k.t.doubt()
		select {
		case k.nudge <- struct{}{}:
		default:
		}
		pause(ctx, k.t.renew)
	}
}
