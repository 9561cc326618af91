package consul

import (
	"context"
	"math/rand/v2"
	"time"
)

// bucket limits how often a watch asks. A sleep would delay the first change after a quiet time; a bucket delays none
// but those of a storm, and folds them (Consul's documentation of blocking queries asks for one).
type bucket struct {
	most   int
	every  time.Duration
	tokens float64
	last   time.Time
}

func newBucket(most int, every time.Duration) *bucket {
	return &bucket{most: most, every: every, tokens: float64(most), last: time.Now()}
}

// take waits for a token; the error is the context's.
func (b *bucket) take(ctx context.Context) error {
	now := time.Now()
	b.tokens = min(float64(b.most), b.tokens+float64(now.Sub(b.last))/float64(b.every))
	b.last = now
	if b.tokens >= 1 {
		b.tokens--
		return ctx.Err()
	}
	short := time.Duration((1 - b.tokens) * float64(b.every))
	b.tokens, b.last = 0, now.Add(short)
	return pause(ctx, short)
}

// pause sleeps unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// retryAfter grows from a quarter of a second to five, with jitter: all Pis lose Consul at the same moment, and should not
// all come back at the same one.
func retryAfter(failures int) time.Duration {
	d := min(250*time.Millisecond<<min(max(failures-1, 0), 10), 5*time.Second)
	return d/2 + rand.N(d)
}
