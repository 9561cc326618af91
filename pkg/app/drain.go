package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/spec"
)

// This file is about whether this node is out of service. What was decided last is part of last-known-good: a node that boots alone
// stays as it was, and only a sound read changes it.

// drainWatch is what the daemon knows of the decision about its node beside last-known-good.
type drainWatch struct {
	taking sync.Mutex // one answer at a time
	hold   atomic.Pointer[status.Hold]
}

// followDrain keeps up with what is decided about nodes: this one's is taken in, and of all others the leader is told.
func (a *App) followDrain(ctx context.Context) {
	var index uint64
	for failures := 0; ctx.Err() == nil; {
		l, err := a.store.WatchPrefix(ctx, consul.DrainKeys, index)
		if err == nil && l.Index != index {
			err = a.drainNews(ctx)
		}
		if err != nil {
			index = 0
			if failures++; errors.Is(pause(ctx, min(time.Duration(failures)*time.Second, 15*time.Second)), context.Canceled) {
				return
			}
			continue
		}
		failures, index = 0, l.Index
	}
}

func (a *App) drainNews(ctx context.Context) error {
	news, err := a.takeDrain(ctx)
	if news {
		a.assemble()
		a.loop.Trigger()
	}
	if l := a.leading.Load(); l != nil {
		l.quorum.loop.Trigger()
	}
	return err
}

// takeDrain reads what is decided about this node and takes it in, if the store is sound: read without a fault, and of this cluster
// at the same moment. It reports whether anything changed.
func (a *App) takeDrain(ctx context.Context) (news bool, err error) {
	a.draining.taking.Lock()
	defer a.draining.taking.Unlock()
	s := a.watch.state()
	if s.Snapshot == nil || s.Fault != nil {
		return false, nil // it is asked again when that is over
	}
	d, cluster, err := a.store.Drain(ctx, a.cfg.Node)
	if err != nil || cluster != s.Snapshot.Cluster {
		return false, err
	}
	was, next := a.memory.get().Drain, lastgood.Drain{Drained: d.Yes(cluster), Index: d.Index}
	if next == was || next.Index == 0 && !was.Drained {
		return a.holdDrain(nil), nil
	}
	if next.Index <= was.Index && next.Drained != was.Drained {
		hold, err := a.drainWentBack(ctx, was, next)
		if err != nil || hold != nil {
			return a.holdDrain(hold), err
		}
	}
	a.memory.change(func(s *lastgood.State) bool { s.Drain = next; return true })
	a.memory.settle(ctx)
	if next.Drained != was.Drained {
		a.log.Info(map[bool]string{true: "this node is drained", false: "this node is no longer drained"}[next.Drained], zap.String("by", d.By))
	}
	return a.holdDrain(nil) || next.Drained != was.Drained, nil
}

// drainWentBack is the hold for a decision that is gone, or older than the one in force: nobody may have taken that back. One that
// is gone was deleted where this node's own report, written after it, shows that the store has not gone back behind it.
func (a *App) drainWentBack(ctx context.Context, was, next lastgood.Drain) (*status.Hold, error) {
	key := a.cfg.Prefix + consul.DrainKey(a.cfg.Node)
	h := status.Hold{
		ID: spec.HoldID("drain", a.cfg.Node, fmt.Sprint(was), fmt.Sprint(next)), Scope: "node", Cause: "drain went back",
		Detail: fmt.Sprintf("key %s is at index %d, and what is in force was decided at %d: the store may have been restored or rebuilt", key, next.Index, was.Index),
	}
	h.Lifts = "by itself when the key is put back; to take it as it is: brambled approve " + h.ID
	if a.approvals.given(h.ID, 0) {
		return nil, nil
	}
	if next.Index > 0 {
		return &h, nil
	}
	h.Detail = fmt.Sprintf("key %s is gone, and it is not certain that somebody deleted it: the store may have been restored or rebuilt", key)
	state := a.memory.get()
	seen, _, err := a.rewindSeen(ctx)
	if err != nil {
		return nil, err
	}
	if seen == "" && state.WentBack == "" && state.ReportIndex > was.Index {
		return nil, nil
	}
	return &h, nil
}

// holdDrain sets or lifts the hold, and reports whether that is news.
func (a *App) holdDrain(h *status.Hold) (news bool) {
	was := a.draining.hold.Swap(h)
	if h != nil && (was == nil || was.ID != h.ID) {
		a.log.Warn("held, this node stays as it was", zap.String("cause", h.Cause), zap.String("detail", h.Detail), zap.String("id", h.ID))
	}
	return (h == nil) != (was == nil) || h != nil && h.ID != was.ID
}

// drainApproved looks again where the decision about this node is held.
func (a *App) drainApproved(ctx context.Context) {
	if a.draining.hold.Load() == nil {
		return
	}
	if _, err := a.takeDrain(ctx); err != nil {
		a.log.Debug("whether this node is drained cannot be read", zap.Error(err))
	}
}
