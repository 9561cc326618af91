package docker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/client"
	"go.uber.org/zap"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/swarm"
)

// pinner asks registries for digests in the background, a few at a time and for each reference once. A registry that is away
// lets a question hang for half a minute: no lane waits for that.
type pinner struct {
	e      *Engine
	ctx    context.Context //nolint:containedctx // the questions' own life, which close ends
	cancel context.CancelFunc
	slots  chan struct{}
	wg     sync.WaitGroup

	mu   sync.Mutex
	asks map[string]*ask
}

// ask is a question that is open or was answered.
type ask struct {
	running  bool
	image    string // the answer; kept while it is asked again
	err      error
	failures int
	due      time.Time // of the next attempt; while it runs, of its end
}

func newPinner(e *Engine) *pinner {
	ctx, cancel := context.WithCancel(context.Background())
	return &pinner{e: e, ctx: ctx, cancel: cancel, slots: make(chan struct{}, e.cfg.PullParallel), asks: map[string]*ask{}}
}

func (p *pinner) close() {
	p.cancel()
	p.wg.Wait()
}

// start asks unless that is under way.
func (p *pinner) start(a plan.Pin) error {
	named, err := reference.ParseNormalizedNamed(a.Image)
	if err != nil {
		return fmt.Errorf("image reference %q: %w", a.Image, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	q := p.asks[a.Image]
	if q == nil {
		q = &ask{}
		p.asks[a.Image] = q
	}
	if q.running {
		return nil
	}
	if _, pinned := named.(reference.Digested); pinned {
		q.image = a.Image // a person has done it
		return nil
	}
	q.running, q.due = true, p.e.cfg.Now().Add(p.e.cfg.PullIdle)
	p.wg.Go(func() { p.run(a.Image, reference.TagNameOnly(named), q) })
	return nil
}

// run asks and records the answer.
func (p *pinner) run(image string, named reference.Named, q *ask) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-p.ctx.Done():
		return
	}
	pinned, err := p.resolve(image, named)
	if p.ctx.Err() != nil {
		return // shut down: no failure of the registry
	}
	p.mu.Lock()
	q.running, q.err = false, err
	if err == nil {
		q.image, q.failures = pinned, 0
	} else {
		q.failures++
		q.due = p.e.cfg.Now().Add(p.e.pulls.retry(q.failures, err))
	}
	p.mu.Unlock()
	if err != nil {
		p.e.metrics.pins.WithLabelValues("error").Inc()
		p.e.log.Warn("no digest", zap.String("image", image), zap.Error(err))
	} else {
		p.e.metrics.pins.WithLabelValues("ok").Inc()
		p.e.log.Info("pinned", zap.String("image", image), zap.String("to", pinned))
	}
	p.e.wake()
}

// resolve returns the reference with the digest that the registry has for its tag.
func (p *pinner) resolve(image string, named reference.Named) (string, error) {
	auth, err := registryAuth(p.ctx, p.e.cfg.AuthDir, image)
	if err != nil {
		return "", err
	}
	var out string
	err = p.e.call(p.ctx, p.e.cfg.PullIdle, func(ctx context.Context, c *conn) error {
		res, err := c.DistributionInspect(ctx, named.String(), client.DistributionInspectOptions{EncodedRegistryAuth: auth})
		if err != nil {
			return err
		}
		canonical, err := reference.WithDigest(named, res.Descriptor.Digest)
		if err != nil {
			return fmt.Errorf("the registry's digest %q: %w", res.Descriptor.Digest, err)
		}
		out = reference.FamiliarString(canonical)
		return nil
	})
	if err != nil {
		return "", hintLogin(err, image)
	}
	return out, nil
}

// observed returns the answers as the planner sees them. What nobody wants any more is forgotten.
func (p *pinner) observed(wanted []string) map[string]swarm.Pin {
	now := p.e.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]swarm.Pin{}
	for image, q := range p.asks {
		if !q.running && !slices.Contains(wanted, image) {
			delete(p.asks, image)
			continue
		}
		out[image] = q.pin(now)
	}
	return out
}

// pin is the answer as the planner sees it. One that failed stands while the registry is asked again, and a question that is
// open is not due for another: a pass that found it so would follow the next without end.
func (q *ask) pin(now time.Time) swarm.Pin {
	out := swarm.Pin{Image: q.image}
	if q.err != nil {
		out.Err, out.RetryIn = q.err.Error(), max(0, q.due.Sub(now))
	}
	if q.running {
		out.RetryIn = max(time.Second, q.due.Sub(now))
	}
	return out
}
