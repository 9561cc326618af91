package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

const (
	// spread parts the candidates in time: most of them see who won before they make a session.
	spread = 250 * time.Millisecond
	// deference is how much later a node stands that is not preferred, or just gave a term up.
	deference = 2 * time.Second
	// retryLock is the least time between two attempts on a lock that looks free.
	retryLock = 150 * time.Millisecond
)

// win is a candidate until it holds the lock. It returns nil when ctx ends.
func (e *Elector) win(ctx context.Context) *Term {
	cursor := uint64(0)
	for ctx.Err() == nil {
		rec, err := e.store.Read(ctx, cursor)
		var t *Term
		if err == nil {
			cursor = rec.Cursor
			t, err = e.attempt(ctx, rec, &cursor)
		}
		switch {
		case t != nil:
			e.failures = 0
			return t
		case err == nil:
			e.failures = 0
		case ctx.Err() == nil:
			e.fail(err)
			cursor = 0
			pause(ctx, backoff(e.failures))
		}
	}
	return nil
}

// attempt does what a record of the key asks for. It sets the cursor to 0 where the key is to be read again at once.
func (e *Elector) attempt(ctx context.Context, rec Record, cursor *uint64) (*Term, error) {
	if rec.Index != 0 {
		e.note(rec.Index)
	}
	holder := claimOf(rec)
	switch {
	case rec.Session == "":
		*cursor = 0
		return e.stand(ctx, rec)
	case holder.Run == e.self.Run && holder.Run != "":
		// A term of this process, or an attempt whose answer was lost, whose session could not be ended at the time. No session
		// serves two terms of a process, or the fence of the first would work in the second.
		*cursor = 0
		e.part(ctx, rec.Session, holder.Term)
	case e.self.succeeds(holder):
		*cursor = 0
		return e.resume(ctx, rec)
	}
	return nil, nil
}

// fail tells of the first of several failures in a row.
func (e *Elector) fail(err error) {
	e.failures++
	if e.failures > 1 {
		return
	}
	if errors.Is(err, ErrTTL) {
		e.log.Warn("this node cannot become leader: raise session_ttl, or lower session_ttl_min of the Consul servers", zap.Error(err))
		return
	}
	e.log.Info("the leader's lock cannot be used at the moment", zap.Error(err))
}

// stand tries to get a lock that was seen free. It makes a session only if it is still free after a while, and ends that
// session if it does not get the lock.
func (e *Elector) stand(ctx context.Context, rec Record) (*Term, error) {
	if !pause(ctx, e.hesitation(rec)) {
		return nil, ctx.Err()
	}
	rec, err := e.store.Read(ctx, 0)
	if err != nil || rec.Session != "" {
		return nil, err
	}
	t, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	for {
		won, err := e.take(ctx, t, rec)
		if won {
			return t, nil
		}
		// A lock-delay that somebody made longer than ours runs, or the key has just changed.
		if err == nil && pause(ctx, retryLock+rand.N(2*retryLock)) {
			rec, err = e.store.Read(ctx, 0)
		}
		if err != nil || ctx.Err() != nil || rec.Session != "" || e.clock().since(t.renewed) > t.ttl/2 {
			e.part(ctx, t.session, claimOf(rec).Term)
			return nil, err
		}
	}
}

// hesitation is how long a candidate lets the others go first. After a term that did not end in order the lock-delay runs, and
// a session that is made before its end is made for nothing.
func (e *Elector) hesitation(rec Record) time.Duration {
	d := rand.N(spread)
	if rec.Index != 0 && !claimOf(rec).Released {
		d += e.timings[0].lockDelay
	}
	if !e.opts.Preferred() || e.gaveUp(deference) {
		d += deference
	}
	return d
}

// mayYield tells whether a term may be given up in favour of another now.
func (e *Elector) mayYield() bool {
	return !e.gaveUp(min(yieldFirst<<min(max(e.yields-1, 0), 10), yieldMost))
}

// gaveUp tells whether a term was given up in favour of another not longer ago than that.
func (e *Elector) gaveUp(within time.Duration) bool {
	return e.yielded != 0 && e.clock().since(e.yielded) < within
}

// open makes a session, with the best time to live that the servers allow.
func (e *Elector) open(ctx context.Context) (t *Term, err error) {
	for _, times := range e.timings {
		began := e.clock()
		limited, cancel := context.WithTimeout(ctx, times.ttl/2)
		id, err := e.store.Open(limited, "brambled leader "+e.self.Node, times.ttl, times.lockDelay)
		cancel()
		if err == nil {
			return &Term{timing: times, session: id, clock: e.clock, renewed: began}, nil
		}
		if !errors.Is(err, ErrTTL) || times.ttl == e.timings[len(e.timings)-1].ttl {
			return nil, err
		}
	}
	return nil, ErrTTL
}

// take acquires the lock for a term that has its session.
func (e *Elector) take(ctx context.Context, t *Term, rec Record) (won bool, err error) {
	t.seen = e.clock()
	limited, cancel := context.WithTimeout(ctx, t.ttl/2)
	defer cancel()
	index, held, err := e.store.Acquire(limited, t.session, e.self.encode(), rec)
	if err != nil || !held {
		return false, err
	}
	if rec.Index == 0 || claimOf(rec).Term == 0 {
		e.doubt(t.ttl)
	}
	e.note(index)
	t.number, t.settled, t.beat = index, e.unsettled, e.clock()
	return true, nil
}

// resume goes on with the session of a predecessor that is known to be dead. The lock is acquired again, so that the term is
// a new one. Where anything about the session is not as ours would be, it is ended instead.
func (e *Elector) resume(ctx context.Context, rec Record) (*Term, error) {
	began := e.clock()
	limited, cancel := context.WithTimeout(ctx, e.timings[0].ttl/2)
	ttl, err := e.store.Renew(limited, rec.Session)
	cancel()
	if err != nil {
		return nil, err
	}
	for _, times := range e.timings {
		if times.ttl != ttl {
			continue
		}
		t := &Term{timing: times, session: rec.Session, clock: e.clock, renewed: began}
		won, err := e.take(ctx, t, rec)
		if won {
			return t, nil
		}
		return nil, err
	}
	e.log.Info("ending the leader's session of the process before this one", zap.Duration("ttl", ttl))
	e.part(ctx, rec.Session, claimOf(rec).Term)
	return nil, nil
}
