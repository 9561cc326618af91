package nodetest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// Engine is an engine in memory. Each action does what [node.Simulate] says; time is that of the process, so that a test
// in a synctest bubble has time in hand.
type Engine struct {
	// HealthyAfter is how long a container with a health check is starting.
	HealthyAfter time.Duration
	// Before, if set, is called before each action, without a lock: it may block, and its error is the action's.
	Before func(context.Context, plan.Action) error

	mu      sync.Mutex
	o       node.Observed
	seen    time.Time
	down    error
	applied []string
	looks   int
}

// NewEngine returns an engine that is as the notation says.
func NewEngine(observed string) *Engine {
	return &Engine{o: ParseObserved(observed), seen: time.Now(), HealthyAfter: time.Second}
}

// Observe returns how things are, with what a loop knows of its own doing.
func (e *Engine) Observe(busy map[string]bool, failures map[string]node.Failure, remedies map[plan.Remedy]plan.Repeats) (node.Observed, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looks++
	if e.down != nil {
		return node.Observed{}, e.down
	}
	e.tick()
	o := Clone(e.o)
	o.Busy, o.Failures, o.Remedies = maps.Clone(busy), maps.Clone(failures), maps.Clone(remedies)
	return o, nil
}

// Apply performs one action.
func (e *Engine) Apply(ctx context.Context, a plan.Action) error {
	if e.Before != nil {
		if err := e.Before(ctx, a); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tick()
	e.applied = append(e.applied, a.String())
	e.o = node.Simulate(e.o, a)
	return nil
}

// tick lets the time that went by since the last call pass for the containers.
func (e *Engine) tick() {
	now := time.Now()
	e.o = e.o.Pass(now.Sub(e.seen))
	e.seen = now
	for i := range e.o.Containers {
		if c := &e.o.Containers[i]; c.Health == node.Starting && c.Up >= e.HealthyAfter {
			c.Health = node.Healthy
		}
	}
}

// Change does something to the engine from outside.
func (e *Engine) Change(f func(o *node.Observed)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tick()
	e.o = Clone(e.o)
	f(&e.o)
}

// SetDown makes observing fail, or work again with nil.
func (e *Engine) SetDown(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = err
}

// Applied returns the actions that were performed, in order.
func (e *Engine) Applied() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.applied...)
}

// Looks returns how often the engine was observed.
func (e *Engine) Looks() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.looks
}

// String is how things are, see [Show].
func (e *Engine) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Show(e.o)
}
