package consul

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// leaveTimeout bounds the goodbye: a daemon that is being stopped has little time.
	leaveTimeout = 2 * time.Second
	// againAfter is a little more than the lock-delay of 1 ms that a session's end leaves.
	againAfter = 20 * time.Millisecond
)

// Presenter holds this node's presence key through a session: no heartbeat is written to any disk, and the key is gone
// when the node is. It never takes the name from another machine.
type Presenter struct {
	c       *Client
	ttl     time.Duration
	log     *zap.Logger
	nudge   chan struct{}
	changed chan struct{}

	session string // only of Run

	mu      sync.Mutex
	self    Presence
	problem error
	seen    time.Time // the begin of the last round that held the key; of this presenter, before the first
}

// errNotYet is the problem of a presenter that has not held the key yet.
var errNotYet = errors.New("presence was not announced yet")

// NewPresenter returns a presenter that has not started. A ttl of 0 is DefaultTTL.
func NewPresenter(c *Client, self Presence, ttl time.Duration, log *zap.Logger) *Presenter {
	if ttl == 0 {
		ttl = DefaultTTL
	}
	return &Presenter{
		c: c, ttl: ttl, log: log, self: self, problem: errNotYet, seen: time.Now(),
		nudge: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

// SetCluster makes the presence name the cluster id this node belongs to.
func (p *Presenter) SetCluster(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.self.Cluster == id {
		return
	}
	p.self.Cluster = id
	signal(p.nudge)
}

// SetSwarm makes the presence name this machine's part in a Swarm.
func (p *Presenter) SetSwarm(part SwarmPart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.self.SwarmPart == part {
		return
	}
	p.self.SwarmPart = part
	signal(p.nudge)
}

// Problem is why the presence is not held now, nil while it is. It is an ErrNameTaken where another machine has the name.
func (p *Presenter) Problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.problem
}

// Unseen is for how long the other nodes may not have seen this one: since the begin of the last round that held the key, or
// since this process began. It is 0 while they see it.
func (p *Presenter) Unseen() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := time.Since(p.seen)
	if p.problem == nil && d < p.ttl { // longer than that only a process that was frozen goes without a round
		return 0
	}
	return d
}

// Changed receives after Problem changed.
func (p *Presenter) Changed() <-chan struct{} { return p.changed }

// Run holds the presence until ctx ends, then gives it up at once.
func (p *Presenter) Run(ctx context.Context) {
	defer p.leave()
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := p.round(ctx)
		if ctx.Err() != nil {
			return
		}
		next := p.ttl / 3
		switch {
		case err == nil || errors.Is(err, ErrNameTaken):
			failures = 0
		case errors.Is(err, errAgain) && failures == 0:
			failures++
			_ = pause(ctx, againAfter)
			continue
		default:
			failures++
			next = min(next, retryAfter(failures))
		}
		p.note(err, began)
		p.rest(ctx, next-time.Since(began))
	}
}

// rest waits for the next round, or for something to say.
func (p *Presenter) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.nudge:
	case <-t.C:
	}
}

// note remembers how it stands and tells of a change once.
func (p *Presenter) note(err error, began time.Time) {
	p.mu.Lock()
	old := p.problem
	p.problem = err
	if err == nil {
		p.seen = began
	}
	p.mu.Unlock()
	held := 0.0
	if err == nil {
		held = 1
	}
	p.c.metrics.present.Set(held)
	if sameProblem(old, err) {
		return
	}
	switch {
	case err != nil:
		p.log.Warn("presence is not held", zap.Error(err))
	case errors.Is(old, errNotYet):
		p.log.Debug("presence is held")
	default:
		p.log.Info("presence is held again")
	}
	signal(p.changed)
}

// sameProblem compares what a person would do about two problems: the texts differ from one attempt to the next.
func sameProblem(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return errors.Is(a, errNotYet) == errors.Is(b, errNotYet) && errors.Is(a, ErrNameTaken) == errors.Is(b, ErrNameTaken) && CauseOf(a) == CauseOf(b)
}

func (p *Presenter) describe() Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.self
}

// signal leaves one signal in a channel of size one, unless there is one already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
