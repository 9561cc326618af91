package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
)

// Options wire one loop. D is what is desired, O what is observed.
type Options[D, O any] struct {
	// Desired returns what is desired now; false while nothing could be read yet, and then nothing is planned.
	Desired func() (D, bool)
	// Observe looks at the world. The facts of the loop's own doing become part of what was observed.
	Observe func(context.Context, Facts) (O, error)
	// Plan is pure.
	Plan func(D, O) plan.Plan
	// Check judges the plan; one it refuses is not applied.
	Check func(D, O, plan.Plan) error
	// Apply performs one action. It decides nothing.
	Apply func(context.Context, plan.Action) error
	// Report is told of each pass, on the loop's own goroutine: it must not block.
	Report func(Pass[D, O])
	// Done is told of each step that was applied or failed, from the lane's goroutine. May be nil.
	Done func(lane string, s plan.Step, took time.Duration, err error)

	// Resync is how long the loop sleeps at most between two passes, before jitter.
	Resync time.Duration
	// Parallel is how many steps are applied at a time, besides stops, which only wait; 0 means 8.
	Parallel int
	// Beat, if set, is called by the loop's goroutine whenever it gets around, at least every BeatEvery: proof that it
	// is neither stuck nor dead, for systemd's watchdog.
	Beat      func()
	BeatEvery time.Duration
}

// Facts are what the loop knows of its own doing.
type Facts struct {
	Busy     map[string]bool    // lanes that still run
	Failures map[string]Failure // lanes whose last attempt failed
	// Remedies are what was done of late against what comes back.
	Remedies map[plan.Remedy]plan.Repeats
}

// Failure is the last failed attempt of a lane.
type Failure struct {
	Step, Err string
	For       string // what the lane worked toward
	Count     int
	RetryIn   time.Duration // 0 when another attempt is due
}

// Pass is the account of one pass.
type Pass[D, O any] struct {
	Number   uint64
	Desired  D
	Observed O
	Plan     plan.Plan
	// Err is why the pass ended early: the world could not be observed, or the plan was refused.
	Err   error
	Ready bool // false while nothing is desired yet
	Took  time.Duration
}

// ErrRefused marks a plan that Check refused.
var ErrRefused = errors.New("plan refused")

// Loop runs passes. Create it with [New], start it with Run.
type Loop[D, O any] struct {
	opts    Options[D, O]
	trigger chan struct{}
	ended   chan laneEnd
	lanes   *lanes
	number  uint64
	errs    int // passes that failed in a row

	mu     sync.Mutex
	forget []func(lane string) bool // asked for, and not done yet
}

// New returns a loop that has not started.
func New[D, O any](opts Options[D, O]) *Loop[D, O] {
	if opts.Parallel <= 0 {
		opts.Parallel = 8
	}
	if opts.Resync <= 0 {
		opts.Resync = time.Minute
	}
	if opts.BeatEvery <= 0 {
		opts.BeatEvery = 10 * time.Second
	}
	return &Loop[D, O]{opts: opts, trigger: make(chan struct{}, 1), ended: make(chan laneEnd), lanes: newLanes(opts.Parallel)}
}

// Trigger asks for a pass. Many requests make at least one later pass; it never blocks.
func (l *Loop[D, O]) Trigger() {
	select {
	case l.trigger <- struct{}{}:
	default: // one is pending already
	}
}

// Forget asks for a pass that knows of no failure and no repetition of these lanes: a person wants them tried again now.
func (l *Loop[D, O]) Forget(these func(lane string) bool) {
	l.mu.Lock()
	l.forget = append(l.forget, these)
	l.mu.Unlock()
	l.Trigger()
}

// forgotten does what Forget was asked for, on the goroutine that owns the books.
func (l *Loop[D, O]) forgotten() {
	l.mu.Lock()
	asked := l.forget
	l.forget = nil
	l.mu.Unlock()
	for _, these := range asked {
		l.lanes.forget(these)
	}
}

// Run passes until ctx ends, then waits for the steps under way to return.
func (l *Loop[D, O]) Run(ctx context.Context) {
	beat := time.NewTicker(l.opts.BeatEvery)
	defer beat.Stop()
	defer l.drain()
	next := time.NewTimer(0) // start with a pass
	defer next.Stop()
	for {
		l.beat()
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			continue
		case end := <-l.ended:
			l.lanes.finish(end)
		case <-l.trigger:
		case <-next.C:
		}
		took, wake := l.pass(ctx)
		next.Reset(wake)
		l.rest(ctx, took)
	}
}

// rest keeps back-to-back passes apart by a few times what a pass costs, so that forty lanes ending one after the other
// make a handful of passes and not forty. A pass after a quiet time is never delayed.
func (l *Loop[D, O]) rest(ctx context.Context, took time.Duration) {
	pause := time.NewTimer(min(max(3*took, 5*time.Millisecond), 300*time.Millisecond))
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case end := <-l.ended:
			l.lanes.finish(end)
			l.Trigger()
		case <-pause.C:
			return
		}
	}
}

func (l *Loop[D, O]) beat() {
	if l.opts.Beat != nil {
		l.opts.Beat()
	}
}

// pass runs once: observe, plan, check, start what the plan says, report. It returns how long to sleep at most.
func (l *Loop[D, O]) pass(ctx context.Context) (took, wake time.Duration) {
	began := time.Now()
	l.number++
	l.forgotten()
	p := Pass[D, O]{Number: l.number}
	p.Desired, p.Ready = l.opts.Desired()
	p.Observed, p.Err = l.opts.Observe(ctx, l.lanes.facts(began))
	if p.Err == nil && p.Ready {
		p.Plan = l.opts.Plan(p.Desired, p.Observed)
		if err := l.opts.Check(p.Desired, p.Observed, p.Plan); err != nil {
			p.Err = fmt.Errorf("%w: %w", ErrRefused, err)
		} else {
			l.start(ctx, p.Plan)
		}
	}
	p.Took = time.Since(began)
	if ctx.Err() == nil {
		l.opts.Report(p)
	}
	return p.Took, l.wake(p.Plan, p.Err)
}

// wake is how long to sleep when nothing happens: until the plan's own wake-up time, the next try after an error, or the
// resync.
func (l *Loop[D, O]) wake(p plan.Plan, err error) time.Duration {
	sleep := jitter(l.opts.Resync)
	if err != nil {
		l.errs++
		return min(sleep, backoff(l.errs, time.Second, 30*time.Second))
	}
	l.errs = 0
	if p.WakeAfter > 0 {
		sleep = min(sleep, p.WakeAfter+time.Millisecond)
	}
	return sleep
}

// start sets the plan's lanes going and does not wait for them.
func (l *Loop[D, O]) start(ctx context.Context, p plan.Plan) {
	for _, lane := range p.Lanes {
		l.lanes.begin(lane.Key)
		go func() {
			end := l.run(ctx, lane)
			l.ended <- end
		}()
	}
}

// run applies a lane's steps in order; the first that fails ends it.
func (l *Loop[D, O]) run(ctx context.Context, lane plan.Lane) laneEnd {
	end := laneEnd{key: lane.Key, goal: lane.For}
	end.remedy, _ = lane.Remedy()
	for _, s := range lane.Steps {
		release, err := l.lanes.slot(ctx, s.Action)
		if err != nil {
			end.aborted = true
			return end
		}
		began := time.Now()
		err = l.opts.Apply(ctx, s.Action)
		release()
		if l.opts.Done != nil {
			l.opts.Done(lane.Key, s, time.Since(began), err)
		}
		if err != nil {
			end.step, end.err = s.Action.String(), err
			return end
		}
	}
	return end
}

// drain waits for the lanes that still run, whose context has ended.
func (l *Loop[D, O]) drain() {
	for l.lanes.running() > 0 {
		l.lanes.finish(<-l.ended)
	}
}
