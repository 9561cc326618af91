package docker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// lastPullRetry is the longest time between attempts: a registry that is back, or an image that was pushed at last, is seen
// within it.
const lastPullRetry = 5 * time.Minute

// puller fetches images in the background, a few at a time and each reference once. A lane never waits for a pull.
type puller struct {
	e      *Engine
	ctx    context.Context //nolint:containedctx // the pulls' own life, which Close ends
	cancel context.CancelFunc
	slots  chan struct{}
	wg     sync.WaitGroup

	mu   sync.Mutex
	jobs map[node.ImageRef]*job
}

// job is a pull that runs or ended.
type job struct {
	why      string
	running  bool
	layers   map[string]layer
	err      error
	failures int
	due      time.Time // of the next attempt
}

type layer struct{ done, total int64 }

func newPuller(e *Engine) *puller {
	ctx, cancel := context.WithCancel(context.Background())
	return &puller{e: e, ctx: ctx, cancel: cancel, slots: make(chan struct{}, e.cfg.PullParallel), jobs: map[node.ImageRef]*job{}}
}

func (p *puller) close() {
	p.cancel()
	p.wg.Wait()
}

// start begins a pull unless one of this reference runs.
func (p *puller) start(a plan.Pull) error {
	platform, err := parsePlatform(a.Platform)
	if err != nil {
		return err
	}
	ref := node.ImageRef{Ref: a.Image, Platform: a.Platform}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	j := p.jobs[ref]
	if j == nil {
		j = &job{}
		p.jobs[ref] = j
	}
	if j.running {
		return nil
	}
	j.why, j.running, j.layers = a.For, true, map[string]layer{}
	p.wg.Go(func() { p.run(ref, j, platform) })
	return nil
}

// run pulls and records how it ended.
func (p *puller) run(ref node.ImageRef, j *job, platform *ocispec.Platform) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-p.ctx.Done():
		return
	}
	began := p.e.cfg.Now()
	err := p.pull(ref, j, platform)
	failpoint.Hit(failpoint.PullEnded)
	if p.ctx.Err() != nil {
		return // shut down: no failure of the pull
	}
	p.e.images.forget(ref)
	p.mu.Lock()
	j.running, j.layers, j.err = false, nil, err
	if err == nil {
		j.failures = 0
	} else {
		j.failures++
		j.due = p.e.cfg.Now().Add(p.retry(j.failures, err))
	}
	p.mu.Unlock()
	if err != nil {
		p.e.metrics.pulls.WithLabelValues("error").Inc()
		p.e.log.Warn("pull failed", zap.String("image", ref.Ref), zap.Error(err))
	} else {
		p.e.metrics.pulls.WithLabelValues("ok").Inc()
		p.e.log.Info("pulled", zap.String("image", ref.Ref), zap.Duration("took", p.e.cfg.Now().Sub(began)))
	}
	p.e.wake()
}

// retry is the time to the next attempt: doubling with jitter. What looks final is not asked for often.
func (p *puller) retry(failures int, err error) time.Duration {
	d := min(p.e.cfg.PullRetry<<min(failures-1, 16), lastPullRetry)
	if final(err) {
		d = lastPullRetry
	}
	return d - d/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}

// final reports whether trying again soon is of no use: the image does not exist, or access to it is denied.
func final(err error) bool {
	return cerrdefs.IsNotFound(err) || cerrdefs.IsUnauthorized(err) || cerrdefs.IsPermissionDenied(err) || cerrdefs.IsInvalidArgument(err) ||
		containsAny(err.Error(), "not found", "manifest unknown", "denied", "unauthorized", "does not exist", "no matching manifest")
}

var errStalled = errors.New("no progress")

// pull runs one pull to its end. There is no time-out of the whole, because on a slow link a large image takes as long as it
// takes; but one that makes no progress is given up.
func (p *puller) pull(ref node.ImageRef, j *job, platform *ocispec.Platform) error {
	idle := p.e.cfg.PullIdle
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	watch := time.AfterFunc(idle, func() { cancel(errStalled) })
	defer watch.Stop()
	err := p.stream(ctx, ref, platform, func(m jsonstream.Message) {
		if p.progress(j, m) {
			watch.Reset(idle)
		}
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errStalled):
		return fmt.Errorf("no progress for %s: is the registry reachable?", idle)
	case client.IsErrConnectionFailed(err):
		return &UnreachableError{Host: p.e.cfg.Host, Err: err}
	}
	return hintLogin(plain(err), ref.Ref)
}

// stream sends the request and reads the messages. Status 200 only means that the engine began: the error is in the stream.
func (p *puller) stream(ctx context.Context, ref node.ImageRef, platform *ocispec.Platform, each func(jsonstream.Message)) error {
	auth, err := registryAuth(ctx, p.e.cfg.AuthDir, ref.Ref)
	if err != nil {
		return err
	}
	c, err := p.e.conns.get(ctx)
	if err != nil {
		return err
	}
	o := client.ImagePullOptions{RegistryAuth: auth}
	if platform != nil {
		o.Platforms = []ocispec.Platform{*platform}
	}
	res, err := c.ImagePull(ctx, ref.Ref, o)
	if err != nil {
		if unusable(err) {
			p.e.conns.lost(c)
		}
		return err
	}
	defer res.Close() //nolint:errcheck // it was read to its end, or given up
	for m, err := range res.JSONMessages(ctx) {
		if err != nil {
			return fmt.Errorf("the engine broke off: %w", err)
		}
		if m.Error != nil {
			return m.Error
		}
		each(m)
		failpoint.Hit(failpoint.PullRunning)
	}
	// A dockerd that dies ends the stream as if it were complete. The list of images tells.
	answer, err := p.e.inspectImage(ctx, ref)
	if err == nil && !answer.local {
		err = errors.New("the pull ended, but the image is not there: pull it again by hand to see why")
	}
	return err
}

// progress books a message and reports whether it shows progress: a line that only repeats itself does not.
func (p *puller) progress(j *job, m jsonstream.Message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.ID == "" {
		return true
	}
	l := j.layers[m.ID]
	before := l
	switch {
	case m.Progress != nil && m.Status == "Downloading":
		l.done, l.total = m.Progress.Current, max(l.total, m.Progress.Total)
	case m.Status == "Download complete", m.Status == "Pull complete", m.Status == "Already exists":
		l.done = l.total
	default:
		return !strings.HasPrefix(m.Status, "Retrying") // but extracting, verifying
	}
	j.layers[m.ID] = l
	return l != before || m.Progress == nil
}

// observed returns the pulls as the planner sees them. One that ended stays as long as its image is wanted: its error until
// the next attempt, its success because pull_policy always asks for one pull per hash.
func (p *puller) observed(wanted []node.ImageRef) map[node.ImageRef]node.Pull {
	want := map[node.ImageRef]bool{}
	for _, r := range wanted {
		want[r] = true
	}
	now := p.e.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[node.ImageRef]node.Pull{}
	for ref, j := range p.jobs {
		if !j.running && !want[ref] {
			delete(p.jobs, ref)
			continue
		}
		o := node.Pull{For: j.why, Running: j.running}
		for _, l := range j.layers {
			o.Done, o.Total = o.Done+l.done, o.Total+l.total
		}
		if !j.running && j.err != nil {
			o.Err, o.RetryIn = j.err.Error(), max(0, j.due.Sub(now))
		}
		out[ref] = o
	}
	return out
}
