package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// stores tells which store an engine works on.
type stores interface {
	Store(ctx context.Context) (docker.StoreIdentity, error)
	StoreNow(ctx context.Context) (docker.StoreIdentity, error)
}

// guard keeps brambled from making anew what is only hidden. An engine that comes up with another storage driver, with
// containerd's image store or on an empty data directory shows none of our containers: all would be created again beside
// the old ones, on empty volumes, and the old ones would be back as strangers' conflicts when the store is put right.
type guard struct {
	engine stores
	path   string
	log    *zap.Logger

	// Only the loop's goroutine touches these.
	record  engineRecord
	unsaved bool
	bare    docker.StoreIdentity // this store was seen with none of our containers in it
	moved   docker.StoreIdentity // this new store was seen with our containers

	mu       sync.Mutex // guards what follows
	hold     *status.Hold
	approved string
}

// engineRecord is what must be known after a restart. It is written only when it changes.
type engineRecord struct {
	Schema int                  `json:"schema"`
	Store  docker.StoreIdentity `json:"store"`
	// Ours is set while the store has containers of ours: only then there is something to hide.
	Ours bool `json:"ours"`
	// Changes counts the stores that came after the first, so that an approval is for one change.
	Changes int `json:"changes"`
}

const engineSchema = 1

func newGuard(engine stores, stateDir string, log *zap.Logger) *guard {
	g := &guard{engine: engine, path: filepath.Join(stateDir, "engine.json"), log: log}
	g.sweep()
	data, err := os.ReadFile(g.path)
	if err == nil {
		err = json.Unmarshal(data, &g.record)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		log.Error("it is not known any more which store the engine had, its present one is taken", zap.String("file", g.path), zap.Error(err))
		g.record = engineRecord{}
	case g.record.Schema > engineSchema:
		log.Warn("the engine's store was remembered by a newer brambled, its present one is taken", zap.String("file", g.path))
		g.record = engineRecord{}
	}
	return g
}

// sweep removes what a write that was cut short has left.
func (g *guard) sweep() {
	halves, err := filepath.Glob(filepath.Join(filepath.Dir(g.path), "."+filepath.Base(g.path)+"*"))
	for _, half := range halves {
		err = errors.Join(err, os.Remove(half))
	}
	if err != nil {
		g.log.Debug("half written files are not removed", zap.Error(err))
	}
}

// check judges a look at the engine. It returns a [status.HeldError] where our containers have gone together with the store
// that they were in.
func (g *guard) check(ctx context.Context, o node.Observed) error {
	ours := slices.ContainsFunc(o.Containers, func(c node.Container) bool { return c.Owner != "" })
	now, err := g.engine.Store(ctx)
	if err == nil && !ours && g.record.Ours && now != g.bare {
		// The lists may have come from an engine that was started again a moment ago, over a connection that was not yet
		// found to be another one.
		now, err = g.engine.StoreNow(ctx)
	}
	if err != nil {
		return err
	}
	switch was := g.record.Store; {
	case was == (docker.StoreIdentity{}):
		g.remember(engineRecord{Store: now, Ours: ours})
	case now == was:
		g.same(now, ours)
	case ours && g.moved != now:
		g.moved = now // the lists may still be the old store's: the next pass tells
	case ours || !g.record.Ours || g.allowed(g.holdOf(now).ID):
		g.log.Info("the engine has another store", zap.Stringer("was", was), zap.Stringer("is", now))
		g.remember(engineRecord{Store: now, Ours: ours, Changes: g.record.Changes + 1})
	default:
		return g.holdBack(g.holdOf(now))
	}
	g.lift()
	g.save()
	return nil
}

// same follows whether the store that is known has containers of ours. That there are none is believed at the second look:
// the only container of a small Pi that is being made again is not worth two writes.
func (g *guard) same(now docker.StoreIdentity, ours bool) {
	next := g.record
	switch {
	case ours:
		g.bare, next.Ours = docker.StoreIdentity{}, true
	case g.bare != now:
		g.bare = now
	default:
		next.Ours = false
	}
	g.remember(next)
}

func (g *guard) holdOf(now docker.StoreIdentity) status.Hold {
	was := g.record.Store
	id := spec.HoldID("engine store", was.Engine, was.Data, was.Driver, was.Kind, now.Engine, now.Data, now.Driver, now.Kind, strconv.Itoa(g.record.Changes))
	return status.Hold{
		ID: id, Scope: "engine", Cause: "engine-store-changed",
		Detail: fmt.Sprintf("the Docker Engine had %s with containers of brambled, and has %s with none: they are hidden, not gone", was, now),
		Lifts: "by itself when the engine has its former store again (storage-driver, data-root and features in /etc/docker/daemon.json; is the disk mounted?)," +
			" or, to make everything anew in this one: brambled approve " + id,
	}
}

// holdBack raises the hold, and says so once.
func (g *guard) holdBack(h status.Hold) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = &h
	return &status.HeldError{Hold: h}
}

func (g *guard) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold, g.approved = nil, ""
}

// holding returns the hold that is raised, nil for none.
func (g *guard) holding() *status.Hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hold
}

// approve lifts the hold with this id at the next pass, and reports whether it is the one that is raised.
func (g *guard) approve(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold == nil || g.hold.ID != id {
		return false
	}
	g.approved = id
	return true
}

func (g *guard) allowed(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.approved == id
}

func (g *guard) remember(next engineRecord) {
	next.Schema = engineSchema
	if next != g.record {
		g.record, g.unsaved = next, true
	}
}

// save writes what changed. A disk that cannot be written holds up nothing: it is tried again with the next pass.
func (g *guard) save() {
	if !g.unsaved {
		return
	}
	failpoint.Hit(failpoint.EngineBefore)
	data, err := json.Marshal(g.record)
	if err == nil {
		err = renameio.WriteFile(g.path, append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(g.path)))
	}
	failpoint.Hit(failpoint.EngineAfter)
	if err != nil {
		g.log.Debug("engine's store is not written", zap.String("file", g.path), zap.Error(err))
		return
	}
	g.unsaved = false
}

// engineGuard is asked by each pass whether what it saw may be planned for.
func (a *App) engineGuard(ctx context.Context, o node.Observed) error {
	return a.guard.check(ctx, o)
}

// engineApproved lifts the guard's hold where a person has approved it.
func (a *App) engineApproved() {
	if h := a.guard.holding(); h != nil && a.approvals.given(h.ID, 0) && a.guard.approve(h.ID) {
		a.log.Info("approved: the engine's store as it is now counts", zap.String("id", h.ID))
	}
}

// heldPass reports whether a pass ended early because it was held: that is news for the other Pis, unlike an engine that is
// away for a moment.
func heldPass(err error) bool {
	_, held := errors.AsType[*status.HeldError](err)
	return held
}
