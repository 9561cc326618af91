package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
)

// placePoll is how often a node looks at its part in the Swarm without an event: losing the quorum makes none.
const placePoll = 15 * time.Second

// place is this engine's part in a Swarm, and whether another node is a manager.
type place struct {
	wake chan struct{} // holds one token while there may be something to look at

	mu        sync.Mutex
	now       docker.SwarmNode
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

// followPlace keeps up with this engine's part in a Swarm, and says it in the presence.
func (a *App) followPlace(ctx context.Context) {
	tick := time.NewTicker(placePoll)
	defer tick.Stop()
	for ctx.Err() == nil {
		a.lookAtPlace(ctx)
		select {
		case <-ctx.Done():
		case <-a.place.wake:
		case <-tick.C:
		}
	}
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
	a.presence.SetSwarm(now.ID, now.Control)
	elsewhere := !now.Control && a.seesManager(ctx)
	a.place.mu.Lock()
	changed := a.place.now.ID != now.ID || a.place.now.Control != now.Control
	a.place.now, a.place.elsewhere = now, elsewhere
	a.place.mu.Unlock()
	if changed {
		a.assemble()
		a.trigger()
	}
}

// seesManager reports whether another node that is present is a manager.
func (a *App) seesManager(ctx context.Context) bool {
	there, err := a.store.Present(ctx)
	return err == nil && slices.ContainsFunc(there, func(p consul.Presence) bool { return p.Manager && p.Node != a.cfg.Node })
}

// manages reports whether this node can do all that a leader may have to do: change the Swarm, where there is one. A node in no
// Swarm cannot change the one of the others.
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
