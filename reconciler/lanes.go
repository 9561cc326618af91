package reconciler

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
)

// lanes keeps the books of what runs and what failed. Only the loop's goroutine touches it, but for the slots.
type lanes struct {
	busy   map[string]bool
	failed map[string]attempt
	again  map[plan.Remedy]repeats
	slots  chan struct{}
}

// attempt is the last failure of a lane.
type attempt struct {
	goal, step, err string
	count           int
	due             time.Time // of the next attempt, on the monotonic clock
}

// repeats are the times, on the monotonic clock, at which lanes that applied one remedy ended within the last hour.
type repeats struct {
	goal string
	at   []time.Time
}

// window is how long a remedy counts against its budget.
const window = time.Hour

// laneEnd is how a lane ended.
type laneEnd struct {
	key, goal string
	remedy    plan.Remedy // that it applied, if any
	step      string
	err       error
	aborted   bool // shut down before it was done: no failure
}

// The times between attempts of a failing lane (rule 8). A Pi's card and registry are slow: five minutes is the most
// that a person watching would accept.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

func newLanes(parallel int) *lanes {
	return &lanes{busy: map[string]bool{}, failed: map[string]attempt{}, again: map[plan.Remedy]repeats{}, slots: make(chan struct{}, parallel)}
}

func (l *lanes) begin(key string) { l.busy[key] = true }

func (l *lanes) running() int { return len(l.busy) }

// slot waits for one of the places in which steps are applied. A stop needs none: it only waits for a process to end, for
// minutes perhaps, and must not keep a repair from its place.
func (l *lanes) slot(ctx context.Context, a plan.Action) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, waits := a.(plan.Stop); waits {
		return func() {}, nil
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// finish records a lane's end. Failures toward one goal add up; another goal starts anew.
func (l *lanes) finish(end laneEnd) {
	delete(l.busy, end.key)
	if end.aborted {
		return
	}
	l.repeat(end)
	if end.err == nil {
		delete(l.failed, end.key)
		return
	}
	a := l.failed[end.key]
	if a.goal != end.goal {
		a = attempt{goal: end.goal}
	}
	a.count++
	a.step, a.err = end.step, end.err.Error()
	a.due = time.Now().Add(backoff(a.count, firstRetry, lastRetry))
	l.failed[end.key] = a
}

// repeat counts a remedy, also one that failed: it has cost what the budget is there to save.
func (l *lanes) repeat(end laneEnd) {
	if end.remedy.Lane == "" {
		return
	}
	r := l.again[end.remedy]
	if r.goal != end.goal {
		r = repeats{goal: end.goal}
	}
	r.at = append(r.at, time.Now())
	l.again[end.remedy] = r
}

// forget drops what is known of these lanes.
func (l *lanes) forget(these func(lane string) bool) {
	maps.DeleteFunc(l.failed, func(key string, _ attempt) bool { return these(key) })
	maps.DeleteFunc(l.again, func(r plan.Remedy, _ repeats) bool { return these(r.Lane) })
}

// repeated is how often each remedy was applied within the window.
func (l *lanes) repeated(now time.Time) map[plan.Remedy]plan.Repeats {
	out := make(map[plan.Remedy]plan.Repeats, len(l.again))
	for key, r := range l.again {
		r.at = slices.DeleteFunc(r.at, func(t time.Time) bool { return now.Sub(t) >= window })
		if len(r.at) == 0 {
			delete(l.again, key)
			continue
		}
		l.again[key] = r
		out[key] = plan.Repeats{For: r.goal, Count: len(r.at), Since: now.Sub(r.at[len(r.at)-1])}
	}
	return out
}

// facts is the books as a planner sees them. Failures nobody tried again for long are forgotten: their object is gone.
func (l *lanes) facts(now time.Time) Facts {
	f := Facts{Busy: make(map[string]bool, len(l.busy)), Failures: make(map[string]Failure, len(l.failed)), Remedies: l.repeated(now)}
	for key := range l.busy {
		f.Busy[key] = true
	}
	for key, a := range l.failed {
		if now.Sub(a.due) > 2*lastRetry {
			delete(l.failed, key)
			continue
		}
		f.Failures[key] = Failure{Step: a.step, Err: a.err, For: a.goal, Count: a.count, RetryIn: max(0, a.due.Sub(now))}
	}
	return f
}

// backoff doubles from first to most, with jitter so that Pis that failed together do not try again together.
func backoff(count int, first, most time.Duration) time.Duration {
	d := first << min(count-1, 20)
	return jitter(min(d, most))
}

// jitter varies a duration by a tenth either way.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}
