package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/quorum"
)

// How often a node looks at its part in the Swarm without an event: losing the quorum makes none. One that leads and cannot
// change a Swarm looks sooner whether somebody else can.
const (
	placePoll  = 15 * time.Second
	leaderPoll = 3 * time.Second
)

// place is this engine's part in a Swarm, and whether another node is a manager.
type place struct {
	wake chan struct{} // holds one token while there may be something to look at

	mu        sync.Mutex
	now       docker.SwarmNode
	known     bool // the engine answered the last time
	elsewhere bool
}

func newPlace() *place { return &place{wake: make(chan struct{}, 1)} }

func (p *place) look() {
	select {
	case p.wake <- struct{}{}:
	default: // one is pending already
	}
}

func (p *place) get() docker.SwarmNode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// leaderless reports whether this engine is a manager that reaches no quorum, as far as it answers.
func (p *place) leaderless() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known && p.now.Manager && quorum.State(p.now.State) == quorum.Active && !p.now.Control
}

// tasks are the containers of Swarm on this engine; false while that is not known.
func (p *place) tasks() ([]docker.LocalTask, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now.Tasks, p.known
}

// followPlace keeps up with this engine's part in a Swarm, and says it in the presence.
func (a *App) followPlace(ctx context.Context) {
	for ctx.Err() == nil {
		a.lookAtPlace(ctx)
		next := placePoll
		if a.leading.Load() != nil && a.wantsSwarm() && !a.place.get().Control {
			next = leaderPoll
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-a.place.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// wantsSwarm reports whether any stack has a service for a Swarm.
func (a *App) wantsSwarm() bool {
	now := a.current.Load()
	return now != nil && len(now.Cluster.Stacks) > 0
}

// lookAtPlace looks once. An engine that does not answer cannot change the Swarm, whatever it was before.
func (a *App) lookAtPlace(ctx context.Context) {
	now, err := a.engine.SwarmNode(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.log.Debug("this engine's part in a Swarm is not known", zap.Error(err))
		now = a.place.get()
		now.Control = false
	}
	a.presence.SetSwarm(a.part(now, err == nil))
	elsewhere := !now.Control && a.leading.Load() != nil && a.seesManager(ctx)
	a.place.mu.Lock()
	changed := a.place.now.ID != now.ID || a.place.now.Control != now.Control
	a.place.now, a.place.known = now, err == nil
	// Who has made room remembers for whom, or it would be back at once.
	a.place.elsewhere = !now.Control && (elsewhere || a.place.elsewhere && a.leading.Load() == nil)
	a.place.mu.Unlock()
	if changed {
		a.assemble()
		a.trigger()
	}
	a.member.loop.Trigger()
	a.registrar.news()
}

// seesManager reports whether another node that is present is a manager.
func (a *App) seesManager(ctx context.Context) bool {
	there, err := a.store.Present(ctx)
	return err == nil && slices.ContainsFunc(there, func(p consul.Presence) bool { return p.Manager && p.Node != a.cfg.Node })
}

// manages reports whether this node can do all that a leader may have to do: change the Swarm, where there is one.
func (a *App) manages() bool {
	a.place.mu.Lock()
	defer a.place.mu.Unlock()
	return a.place.now.Control || a.place.now.ID == "" && !a.place.elsewhere
}

// managerElsewhere reports whether another node is there that can change the Swarm while this one cannot.
func (a *App) managerElsewhere() bool {
	a.place.mu.Lock()
	defer a.place.mu.Unlock()
	return a.place.elsewhere
}
