package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

type (
	options = reconciler.Options[spec.Desired, node.Observed]
	pass    = reconciler.Pass[spec.Desired, node.Observed]
)

// rig is a loop on an engine in memory, within a synctest bubble.
type rig struct {
	t      *testing.T
	engine *nodetest.Engine
	loop   *reconciler.Loop[spec.Desired, node.Observed]
	cancel context.CancelFunc
	ended  chan struct{}
	beats  atomic.Int64

	mu      sync.Mutex
	desired string
	passes  []pass
	at      []time.Time // of the passes
}

// in runs a test in a bubble, with a loop that ends with it.
func in(t *testing.T, desired, observed string, change func(*options), test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, engine: nodetest.NewEngine(observed), desired: desired, ended: make(chan struct{})}
		opts := options{
			Desired: r.want, Observe: r.observe, Plan: node.Plan, Check: node.Check, Apply: r.engine.Apply, Report: r.report,
			Resync: time.Hour, Beat: func() { r.beats.Add(1) }, BeatEvery: 10 * time.Second,
		}
		if change != nil {
			change(&opts)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.cancel, r.loop = cancel, reconciler.New(opts)
		go func() { defer close(r.ended); r.loop.Run(ctx) }()
		synctest.Wait()
		test(r)
		cancel()
		<-r.ended
	})
}

func (r *rig) want() (spec.Desired, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return nodetest.ParseDesired(r.desired), r.desired != ""
}

func (r *rig) set(desired string) {
	r.mu.Lock()
	r.desired = desired
	r.mu.Unlock()
	r.loop.Trigger()
}

func (r *rig) observe(_ context.Context, f reconciler.Facts) (node.Observed, error) {
	failures := map[string]node.Failure{}
	for k, v := range f.Failures {
		failures[k] = node.Failure{Step: v.Step, Err: v.Err, Hash: v.For, Count: v.Count, RetryIn: v.RetryIn}
	}
	return r.engine.Observe(f.Busy, failures, f.Remedies)
}

func (r *rig) report(p pass) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passes = append(r.passes, p)
	r.at = append(r.at, time.Now())
}

func (r *rig) reports() []pass {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.passes)
}

func (r *rig) last() pass { all := r.reports(); return all[len(all)-1] }

// after lets time pass.
func (r *rig) after(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (r *rig) applied(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.engine.Applied()); diff != "" {
		r.t.Errorf("applied (-want +got):\n%s", diff)
	}
}

func has(r *rig, action string) bool { return slices.Contains(r.engine.Applied(), action) }

const (
	app1     = "stack web\n  svc app img=app:1"
	running1 = "image app:1 app:2\nbox web-app-1 c1/web/app/1 app:1 running"
)

func TestLoopBringsUpAndRests(t *testing.T) {
	in(t, "stack web\n net web_default\n vol web_data\n svc app img=app:1 net=web_default vol=web_data", "", nil, func(r *rig) {
		r.after(5 * time.Second)
		if want := "box web-app-1 app:1 running net=web_default\nnet web_default def1\nvol web_data def1\n"; r.engine.String() != want {
			t.Errorf("engine:\n%s", r.engine)
		}
		n := len(r.reports())
		r.after(30 * time.Minute)
		if got := len(r.reports()); got != n {
			t.Errorf("%d passes while nothing happened, want none", got-n)
		}
		if !r.last().Plan.Empty() {
			t.Errorf("the last plan is not empty:\n%s", r.last().Plan)
		}
	})
}

func TestLoopFoldsTriggers(t *testing.T) {
	in(t, app1, running1, nil, func(r *rig) {
		r.after(time.Minute)
		n := len(r.reports())
		for range 1000 {
			r.loop.Trigger()
		}
		r.after(time.Minute)
		if got := len(r.reports()) - n; got < 1 || got > 2 {
			t.Errorf("%d passes for 1000 triggers, want one or two", got)
		}
	})
}

func TestLoopPassesAfterTriggerDuringPass(t *testing.T) {
	var once sync.Once
	var started atomic.Pointer[rig]
	in(t, app1, running1, func(o *options) {
		look := o.Observe
		o.Observe = func(ctx context.Context, f reconciler.Facts) (node.Observed, error) {
			seen, err := look(ctx, f)
			time.Sleep(time.Second) // a slow engine: what happens now is not in what was seen
			if r := started.Load(); r != nil {
				once.Do(func() { r.set("stack web\n  svc app img=app:1 n=2") })
			}
			return seen, err
		}
	}, func(r *rig) {
		started.Store(r)
		r.loop.Trigger()
		r.after(10 * time.Second)
		if !has(r, "start web-app-2") {
			t.Errorf("a desired state that came during a pass was not acted on: %q", r.engine.Applied())
		}
	})
}

func TestLoopResyncs(t *testing.T) {
	in(t, app1, running1, func(o *options) { o.Resync = time.Minute }, func(r *rig) {
		r.engine.Change(func(o *node.Observed) { o.Containers = nil }) // and no event tells
		r.after(67 * time.Second)
		r.applied("create web-app-1", "start web-app-1")
		n := len(r.reports())
		r.after(time.Hour)
		if got := len(r.reports()) - n; got < 54 || got > 67 {
			t.Errorf("%d passes in an hour of a one-minute resync", got)
		}
	})
}

func TestLoopWakesWhenThePlanAsks(t *testing.T) {
	in(t, "stack web\n  svc app img=app:2 monitor=40s", running1, nil, func(r *rig) {
		r.after(39 * time.Second)
		if has(r, "remove web-app-1.prev") {
			t.Error("the predecessor was removed before the monitor time was over")
		}
		r.after(2 * time.Second)
		if !has(r, "remove web-app-1.prev") {
			t.Errorf("the gate was not looked at when its time was over: %q", r.engine.Applied())
		}
	})
}

func TestLoopBacksOff(t *testing.T) {
	var tries []time.Time
	in(t, app1, "image app:1 app:2", nil, func(r *rig) {
		_ = r
	})
	in(t, "", "image app:1 app:2", nil, func(r *rig) {
		r.engine.Before = func(_ context.Context, a plan.Action) error {
			if c, ok := a.(plan.Create); ok {
				tries = append(tries, time.Now())
				return fmt.Errorf("no space left for %s", c.Spec.Image)
			}
			return nil
		}
		r.set(app1)
		r.after(2 * time.Hour)
		gaps := make([]time.Duration, 0, len(tries))
		for i := 1; i < len(tries); i++ {
			gaps = append(gaps, tries[i].Sub(tries[i-1]))
		}
		for i, gap := range gaps {
			nominal := min(time.Second<<i, 5*time.Minute)
			if gap < nominal*9/10 || gap > nominal*11/10+time.Second {
				t.Errorf("try %d came after %s, want about %s", i+2, gap, nominal)
			}
		}
		if len(gaps) < 20 {
			t.Errorf("only %d tries in two hours: %v", len(tries), gaps)
		}
		w := r.last().Plan.Waits
		if len(w) != 1 || w[0].For != plan.WaitBackoff || !strings.Contains(w[0].Detail, "no space left for app:1") {
			t.Errorf("waits: %v", w)
		}

		// A new hash is a new goal: it is tried at once, and its own failures count from one.
		n, now := len(tries), time.Now()
		r.set("stack web\n  svc app img=app:2")
		r.after(4 * time.Second)
		if len(tries) < n+2 || tries[n].Sub(now) > time.Second || tries[n+1].Sub(tries[n]) > 1500*time.Millisecond {
			t.Errorf("a new hash did not start anew: %v after %v", tries[n:], now)
		}
	})
}

func TestLoopObserveErrorsBackOffAndRecover(t *testing.T) {
	in(t, app1, running1, nil, func(r *rig) {
		r.after(time.Minute)
		r.engine.SetDown(errors.New("dockerd is gone"))
		looks := r.engine.Looks()
		r.loop.Trigger()
		r.after(10 * time.Minute)
		if n := r.engine.Looks() - looks; n < 15 || n > 40 {
			t.Errorf("%d looks at an engine that is gone in ten minutes", n)
		}
		if err := r.last().Err; err == nil || !strings.Contains(err.Error(), "dockerd is gone") {
			t.Errorf("the pass does not say why it ended: %v", err)
		}
		r.engine.Change(func(o *node.Observed) { o.Containers = nil })
		r.engine.SetDown(nil)
		r.after(35 * time.Second)
		r.applied("create web-app-1", "start web-app-1")
	})
}

func TestLoopDoesNotApplyARefusedPlan(t *testing.T) {
	var mended atomic.Bool
	in(t, app1, "image app:1\nbox mine foreign exited", func(o *options) {
		o.Plan = func(d spec.Desired, seen node.Observed) plan.Plan {
			p := node.Plan(d, seen)
			if !mended.Load() {
				p.Lanes = append(p.Lanes, plan.Lane{Key: "zz", Steps: []plan.Step{{Action: plan.Remove{ID: "#mine", Name: "mine"}}}})
			}
			return p
		}
	}, func(r *rig) {
		r.after(time.Minute)
		r.applied()
		if err := r.last().Err; !errors.Is(err, reconciler.ErrRefused) || !strings.Contains(err.Error(), "rule 3: ownership") {
			t.Errorf("pass error: %v", err)
		}
		mended.Store(true)
		r.after(40 * time.Second)
		r.applied("create web-app-1", "start web-app-1")
	})
}

// TestLoopSlowStopHoldsUpNobody: more five-minute stops than there are places, and still everything else is repaired.
func TestLoopSlowStopHoldsUpNobody(t *testing.T) {
	observed := "image app:1\nbox web-app-1 c1/web/app/1 app:1 running\n"
	for n := range 6 {
		observed += fmt.Sprintf("box old-x-%d c1/old/x/%d x:1 running\n", n+1, n+1)
	}
	in(t, "", observed, func(o *options) { o.Parallel = 2 }, func(r *rig) {
		r.engine.Before = func(_ context.Context, a plan.Action) error {
			if _, ok := a.(plan.Stop); ok {
				time.Sleep(5 * time.Minute)
			}
			return nil
		}
		r.set(app1)
		r.after(10 * time.Second)
		r.engine.Change(func(o *node.Observed) {
			o.Containers = slices.DeleteFunc(o.Containers, func(c node.Container) bool { return c.Name == "web-app-1" })
		})
		r.loop.Trigger()
		r.after(time.Second)
		if !has(r, "start web-app-1") {
			t.Errorf("the repair waited for the stops: %q", r.engine.Applied())
		}
		if w := r.last().Plan.Waits; len(w) != 6 || w[0].For != plan.WaitLane {
			t.Errorf("the stops are not said to be waited for: %v", w)
		}
		r.after(6 * time.Minute)
		if !has(r, "remove old-x-6") {
			t.Errorf("the stops did not come to an end: %q", r.engine.Applied())
		}
	})
}

func TestLoopFailedStepEndsItsOwnLane(t *testing.T) {
	in(t, "", "image app:1", nil, func(r *rig) {
		r.engine.Before = func(_ context.Context, a plan.Action) error {
			if a.String() == "create web-bad-1" {
				return errors.New("invalid mount")
			}
			return nil
		}
		r.set("stack web\n  svc bad img=app:1\n  svc good img=app:1")
		r.after(500 * time.Millisecond)
		r.applied("create web-good-1", "start web-good-1")
	})
}

func TestLoopPlansNothingBeforeDesiredIsReady(t *testing.T) {
	in(t, "", running1, nil, func(r *rig) {
		r.after(3 * time.Hour)
		r.applied()
		p := r.last()
		if p.Ready || !p.Plan.Empty() || len(p.Observed.Containers) != 1 {
			t.Errorf("pass: ready=%v plan=%q, %d containers seen", p.Ready, p.Plan, len(p.Observed.Containers))
		}
		r.set("owners c1") // now read, and sound: nothing is desired
		r.after(time.Second)
		r.applied("set restart policy of web-app-1 to no", "stop web-app-1", "remove web-app-1")
	})
}

func TestLoopShutdownDrains(t *testing.T) {
	in(t, "", "image app:1", nil, func(r *rig) {
		began := make(chan struct{})
		r.engine.Before = func(ctx context.Context, a plan.Action) error {
			if _, ok := a.(plan.Create); ok {
				close(began)
				<-ctx.Done()
				time.Sleep(3 * time.Second) // an engine call that does not notice at once
			}
			return nil
		}
		r.set(app1)
		<-began
		n := len(r.reports())
		r.cancel()
		r.after(time.Second)
		select {
		case <-r.ended:
			t.Error("Run returned while a step was under way")
		default:
		}
		<-r.ended
		r.applied("create web-app-1") // the step that had begun, and not the one behind it
		if got := len(r.reports()); got != n {
			t.Errorf("%d passes were reported after the end was asked for", got-n)
		}
	})
}

func TestLoopBeats(t *testing.T) {
	var stuck atomic.Pointer[chan struct{}] // made inside the bubble: a channel from outside does not count as blocked
	in(t, app1, running1, func(o *options) {
		look := o.Observe
		o.Observe = func(ctx context.Context, f reconciler.Facts) (node.Observed, error) {
			if gate := stuck.Load(); gate != nil {
				<-*gate
			}
			return look(ctx, f)
		}
	}, func(r *rig) {
		r.after(time.Second)
		n, passes := r.beats.Load(), len(r.reports())
		r.after(10 * time.Minute)
		if got := r.beats.Load() - n; got < 59 || got > 62 {
			t.Errorf("%d beats in ten idle minutes, want one every ten seconds", got)
		}
		if got := len(r.reports()) - passes; got != 0 {
			t.Errorf("the beat made %d passes", got)
		}
		gate := make(chan struct{})
		stuck.Store(&gate)
		r.loop.Trigger()
		r.after(time.Second)
		n = r.beats.Load()
		r.after(10 * time.Minute)
		if got := r.beats.Load() - n; got != 0 {
			t.Errorf("%d beats of a loop that is stuck", got)
		}
		close(gate)
	})
}

func TestLoopFoldsLanesThatEnd(t *testing.T) {
	in(t, "", "image app:1", func(o *options) {
		look := o.Observe
		o.Observe = func(ctx context.Context, f reconciler.Facts) (node.Observed, error) {
			time.Sleep(20 * time.Millisecond) // what a pass over forty containers costs
			return look(ctx, f)
		}
	}, func(r *rig) {
		var n atomic.Int64
		r.engine.Before = func(_ context.Context, a plan.Action) error {
			if _, ok := a.(plan.Start); ok {
				time.Sleep(time.Duration(n.Add(1)) * 7 * time.Millisecond) // they end one after the other
			}
			return nil
		}
		before := len(r.reports())
		r.set("stack web\n  svc app img=app:1 n=40")
		r.after(10 * time.Second)
		if got := strings.Count(r.engine.String(), "running"); got != 40 {
			t.Fatalf("%d of 40 run", got)
		}
		if got := len(r.reports()) - before; got > 20 {
			t.Errorf("%d passes for forty lanes", got)
		}
	})
}

// TestLoopCrashMatrix kills the loop at its nth call on the engine, for every n, and lets a new one go on.
func TestLoopCrashMatrix(t *testing.T) {
	scenes := map[string][2]string{
		"create":      {"stack web\n net web_default\n vol web_data\n svc app img=app:1 net=web_default vol=web_data n=2", ""},
		"start-first": {"stack web\n  svc app img=app:2 health", running1},
		"stop-first":  {"stack web\n  svc app img=app:2 excl=host_port_80", running1},
		"remove":      {"owners c1", "net web_default c1/web\n" + running1 + " net=web_default"},
		"job":         {"stack web\n  svc app img=app:2 job=once", running1},
		"network":     {"stack web\n net web_default def=2\n svc app img=app:1 net=web_default", "net web_default c1/web\n" + running1 + " net=web_default"},
	}
	for name, s := range scenes {
		t.Run(name, func(t *testing.T) {
			want := ""
			for kill := 0; ; kill++ {
				calls := 0
				synctest.Test(t, func(t *testing.T) {
					engine := nodetest.NewEngine(s[1])
					live(t, engine, s[0], kill, &calls)
					if kill > 0 && calls >= kill {
						live(t, engine, s[0], 0, new(int))
					}
					switch {
					case want == "":
						want = engine.String()
					case engine.String() != want:
						t.Errorf("killed at call %d (-whole +killed):\n%s", kill, cmp.Diff(want, engine.String()))
					}
				})
				if kill > 0 && calls < kill {
					return
				}
			}
		})
	}
}

// live runs a loop on an engine for a while, or until its nth call, which is not made any more.
func live(t *testing.T, engine *nodetest.Engine, desired string, kill int, calls *int) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var mu sync.Mutex
	engine.Before = func(ctx context.Context, _ plan.Action) error {
		mu.Lock()
		defer mu.Unlock()
		if *calls++; kill > 0 && *calls >= kill {
			cancel()
			return context.Canceled
		}
		return ctx.Err()
	}
	r := &rig{t: t, engine: engine, desired: desired}
	reconciler.New(options{
		Desired: r.want, Observe: r.observe, Plan: node.Plan, Check: node.Check, Apply: engine.Apply, Report: func(pass) {}, Resync: time.Minute,
	}).Run(ctx)
}

// sicken makes the only container unhealthy, whatever brambled does about it.
func (r *rig) sicken() {
	r.engine.Change(func(o *node.Observed) {
		if c := &o.Containers[0]; c.State == node.Running && c.Health != node.Unhealthy {
			c.Health, c.Sick = node.Unhealthy, 0
		}
	})
	r.loop.Trigger()
}

// A service whose health never lasts is restarted a few times, further and further apart, and no more within an hour.
func TestLoopHealsWithinBudget(t *testing.T) {
	in(t, "stack web\n svc app img=app:1 health", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running health=healthy", nil, func(r *rig) {
		began := time.Now()
		var at []time.Duration
		flap := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				before := len(r.engine.Applied())
				r.sicken()
				r.after(10 * time.Second)
				if len(r.engine.Applied()) > before {
					at = append(at, time.Since(began))
				}
			}
		}
		flap(time.Hour)
		if len(at) != 5 || at[4]-at[3] < 8*time.Minute {
			t.Errorf("restarted at %v", at)
		}
		if w := r.last().Plan.Waits; len(w) != 1 || w[0].For != plan.WaitFailed || !strings.Contains(w[0].Detail, "brambled retry web") {
			t.Errorf("waits: %v", w)
		}
		r.loop.Forget(func(lane string) bool { return lane == "container web/app/1" })
		r.after(time.Second)
		if got := len(r.engine.Applied()); got != 12 {
			t.Errorf("%d steps, want a sixth restart: a person asked for it", got)
		}
		flap(4 * time.Hour)
		for i := range at {
			if i >= 5+1 && at[i]-at[i-5] < time.Hour-time.Minute {
				t.Errorf("six restarts within an hour: %v", at[i-5:i+1])
			}
		}
		if len(at) < 20 {
			t.Errorf("%d restarts in five hours: the budget is one of each hour", len(at))
		}
	})
}

// What ends again and again, and is not restarted by the engine, is started later each time; a new version at once.
func TestLoopStartsLater(t *testing.T) {
	in(t, app1, "image app:1 app:2\nbox web-app-1 c1/web/app/1 app:1 running", nil, func(r *rig) {
		for range 2 * 3600 {
			r.engine.Change(func(o *node.Observed) {
				if c := &o.Containers[0]; c.State == node.Running {
					c.State, c.Up, c.ExitCode = node.Exited, 0, 1
				}
			})
			r.loop.Trigger()
			r.after(time.Second)
		}
		if n := len(r.engine.Applied()); n < 20 || n > 45 {
			t.Errorf("%d starts in two hours", n)
		}
		n := len(r.engine.Applied())
		r.set("stack web\n svc app img=app:2")
		r.after(100 * time.Millisecond)
		if len(r.engine.Applied()) == n {
			t.Error("another version waits for the pauses of this one")
		}
	})
}
