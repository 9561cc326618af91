package lease

import "time"

// instant is a moment on the monotonic clock, from when the elector was made. The date has no say: a Pi boots with a wrong
// one, and it steps when the network is there.
type instant time.Duration

type clock func() instant

func newClock() clock {
	base := time.Now()
	return func() instant { return instant(time.Since(base)) }
}

func (i instant) add(d time.Duration) instant { return i + instant(d) }

// since returns the time from an earlier moment on.
func (i instant) since(earlier instant) time.Duration { return time.Duration(i - earlier) }
