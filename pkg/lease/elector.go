package lease

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const (
	// partTimeout bounds the requests that end a term or an attempt: a daemon that is being stopped has little time.
	partTimeout = 2 * time.Second
	// yieldFirst and yieldMost bound how soon a term is given up again in favour of another node: the pause doubles, and is
	// short again after yieldRest without. That node may just have had no answer from Consul, or may never be able to lead, while
	// others that make room for it as well hand the term around.
	yieldFirst, yieldMost, yieldRest = 5 * time.Second, time.Minute, 10 * time.Minute
)

// Elector makes this daemon a candidate, and now and then the leader.
type Elector struct {
	store   Store
	self    claim
	opts    Options
	timings []timing
	log     *zap.Logger
	m       *metrics
	clock   clock

	// The rest belongs to Run.
	highest   uint64  // index of the leader key ever seen
	unsettled instant // until then a former world may still have a leader
	yielded   instant // when a term was last given up in favour of another
	yields    int     // how often in a row that was
	failures  int     // of attempts in a row
}

// New returns an elector that has not started, or the reason why the times of its options cannot work together. A nil
// registerer leaves its metrics unregistered.
func New(store Store, self Identity, opts Options, log *zap.Logger, reg prometheus.Registerer) (*Elector, error) {
	timings, err := opts.timings()
	if err != nil {
		return nil, err
	}
	if opts.Preferred == nil {
		opts.Preferred = func() bool { return true }
	}
	if opts.Yield == nil {
		opts.Yield = func() bool { return false }
	}
	return &Elector{
		store: store, self: claim{Identity: self, Run: newRun()}, opts: opts, timings: timings,
		log: log.Named("lease"), m: newMetrics(reg), clock: newClock(),
	}, nil
}

// Run is a candidate until ctx ends, and calls lead whenever it is elected. lead's context ends when the term does, not when
// it is only suspended; lead must return then, since neither another term nor the hand-over begins before. A lead that
// returns by itself gives its term up. At its end Run hands a term over at once.
func (e *Elector) Run(ctx context.Context, lead func(context.Context, *Term)) {
	for {
		t := e.win(ctx)
		if t == nil {
			return
		}
		e.serve(ctx, t, lead)
	}
}

// serve is one term from its begin to its end.
func (e *Elector) serve(ctx context.Context, t *Term, lead func(context.Context, *Term)) {
	e.m.hold(t.number)
	e.log.Info("leader", zap.Uint64("term", t.number), zap.Duration("ttl", t.ttl))
	scope, cancel := context.WithCancel(ctx)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		lead(scope, t)
	}()
	k := &keeper{e: e, t: t, nudge: make(chan struct{}, 1)}
	why := k.keep(ctx, returned)
	t.end() // first of all: whatever lead still does is refused from here on
	cancel()
	e.m.drop(why)
	e.log.Info("leader no longer", zap.Uint64("term", t.number), zap.String("reason", string(why)))
	<-returned
	switch why {
	case yielded, resigned:
		if !e.gaveUp(yieldRest) {
			e.yields = 0
		}
		e.yielded = e.clock()
		e.yields++
	case wentBack:
		e.rebuilt(t.ttl)
	default:
	}
	if why != lostSession {
		e.part(ctx, t.session, k.announced)
	}
}

// part gives up what a session holds and ends it. The key goes first: a session that ends while it holds the key leaves a
// lock-delay on it. It is fine if the session does not hold the key.
func (e *Elector) part(ctx context.Context, session string, term uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partTimeout)
	defer cancel()
	last := e.self
	last.Term, last.Released = term, true
	if e.clock() < e.unsettled {
		last.Term = 0 // who comes next has to wait as this node had to
	}
	if err := e.store.Release(ctx, session, last.encode()); err != nil {
		e.log.Info("the leader's lock could not be released, it frees itself", zap.Error(err))
	}
	if err := e.store.Close(ctx, session); err != nil {
		e.log.Debug("the leader's session could not be destroyed, it ends by itself", zap.Error(err))
	}
}

// note looks at the index of the key. One that is lower than it ever was is another world's, and in the former one somebody
// may lead until he notices.
func (e *Elector) note(index uint64) {
	if index < e.highest {
		e.rebuilt(e.timings[len(e.timings)-1].ttl)
	}
	e.highest = index
}

func (e *Elector) rebuilt(ttl time.Duration) {
	e.log.Warn("Consul was rebuilt or restored: the leader key is older than it was")
	e.doubt(ttl)
}

// doubt makes terms that begin now wait with being valid for a time to live.
func (e *Elector) doubt(ttl time.Duration) {
	if until := e.clock().add(ttl); until > e.unsettled {
		e.unsettled = until
	}
}

// pause sleeps unless ctx ends first, and tells whether it slept.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// backoff grows from a quarter of a second to five, with jitter: all nodes lose Consul at the same moment.
func backoff(failures int) time.Duration {
	d := min(250*time.Millisecond<<min(max(failures-1, 0), 10), 5*time.Second)
	return d/2 + rand.N(d)
}
