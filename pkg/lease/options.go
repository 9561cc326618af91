package lease

import (
	"errors"
	"fmt"
	"time"
)

// The times of a term where the options leave them open.
const (
	// ShortTTL needs servers with a session_ttl_min of 5 s or less; LongTTL is the least that Consul allows by default.
	ShortTTL = 5 * time.Second
	LongTTL  = 10 * time.Second
	// DefaultLockDelay is how long a lock stays closed after its session was ended under it. The holder's watch tells it long
	// before that, if it can be told at all.
	DefaultLockDelay = time.Second
)

// Options are what an elector can be told. The zero value is for use.
type Options struct {
	// TTL is the session's time to live; 0 means ShortTTL where the servers allow it, else LongTTL.
	TTL time.Duration
	// Renew is how often it is renewed, and how long one request may take; 0 means a third of the TTL.
	Renew time.Duration
	// Margin is how long before its time to live a term is suspended; 0 means a fifth of the TTL. It covers clocks that run
	// at different speeds and the time an effect takes from Check to its end.
	Margin time.Duration
	// LockDelay is how long the lock stays closed when a session ends that holds it; 0 means DefaultLockDelay.
	LockDelay time.Duration

	// Preferred tells whether this node can do all that a leader may have to do; nil means always. Another leads only when no
	// preferred one takes the lock.
	Preferred func() bool
	// Yield tells a leader that is not preferred whether a preferred node is there to take over; nil means never.
	Yield func() bool
}

// timing is what follows from one time to live.
type timing struct {
	ttl, renew, margin, lockDelay time.Duration
}

// Limits that Consul sets: it takes a shorter lock-delay for none given, which it makes 15 s, and refuses a longer one.
const (
	leastLockDelay = time.Millisecond
	mostLockDelay  = time.Minute
	mostTTL        = 24 * time.Hour
)

// timings returns the times to try, the best first, or why they cannot work together.
func (o Options) timings() ([]timing, error) {
	ttls := []time.Duration{o.TTL}
	if o.TTL == 0 {
		ttls = []time.Duration{ShortTTL, LongTTL}
	}
	var out []timing
	for _, ttl := range ttls {
		t := timing{ttl: ttl, renew: o.Renew, margin: o.Margin, lockDelay: o.LockDelay}
		if t.renew == 0 {
			t.renew = ttl / 3
		}
		if t.margin == 0 {
			t.margin = ttl / 5
		}
		if t.lockDelay == 0 {
			t.lockDelay = DefaultLockDelay
		}
		if err := t.validate(); err != nil {
			return nil, fmt.Errorf("leader lease with a time to live of %v: %w", ttl, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (t timing) validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(t.ttl < time.Second || t.ttl > mostTTL, "it must be 1s to %v", mostTTL)
	bad(t.renew <= 0, "a renew interval of %v never comes", t.renew)
	bad(t.margin < t.ttl/20, "a margin of %v is less than a twentieth of it: an effect under way would outlive the term", t.margin)
	// One renewal that is lost takes the interval, its successor may take as long: that must not suspend a term.
	bad(2*t.renew >= t.ttl-t.margin, "with a renew interval of %v and a margin of %v one lost request suspends a term", t.renew, t.margin)
	// The pause detector calls half the time to live without a sign of life a pause.
	bad(2*t.renew >= t.ttl, "a renew interval of %v looks like a pause", t.renew)
	bad(t.lockDelay < leastLockDelay || t.lockDelay > mostLockDelay, "a lock-delay of %v is outside %v to %v", t.lockDelay, leastLockDelay, mostLockDelay)
	bad(t.lockDelay > t.ttl, "a lock-delay of %v is longer than it", t.lockDelay)
	return errors.Join(errs...)
}
