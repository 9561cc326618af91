package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/reconciler/spec"
)

// This node's own report is its witness: it is written in one transaction with a look at the newest stack in force, and its
// index is remembered. A store where the report is older, or gone, went back behind that stack; one where it is not, did not,
// and what it lacks was deleted.

// writeReport writes this node's report, as a witness of the newest stack in force where that has none yet.
func (a *App) writeReport(ctx context.Context, report []byte) error {
	if err := a.ownsName(ctx); err != nil {
		return err
	}
	at, err := a.rememberRewind(ctx)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReportBefore)
	index, err := a.putReport(ctx, report, at)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReportAfter)
	if index > 0 {
		a.memory.change(func(s *lastgood.State) bool { s.ReportIndex = index; return true })
	}
	return nil
}

// putReport writes the report and returns its index where it is a witness, else 0.
func (a *App) putReport(ctx context.Context, report []byte, at uint64) (witness uint64, err error) {
	if newest, missing := unwitnessed(a.memory.get()); missing {
		index, err := a.store.PutWitness(ctx, a.reportKey(), report, at, newest)
		if !errors.Is(err, consul.ErrConflict) {
			return index, err
		}
	}
	// Where the stack was changed in the meantime the report tells all the same, and the next one is the witness.
	_, err = a.store.PutWitness(ctx, a.reportKey(), report, at)
	return 0, err
}

// unwitnessed returns the newest stack in force, and whether no report was written since it came. One that is older needs none
// of its own: a store that went back lost the newest first.
func unwitnessed(s lastgood.State) (newest consul.Entry, missing bool) {
	for _, e := range s.Stacks {
		if e.ModifyIndex > newest.ModifyIndex {
			newest = consul.Entry{Key: consul.Stacks + e.Key, ModifyIndex: e.ModifyIndex}
		}
	}
	if s.Drain.Drained && s.Drain.Index > newest.ModifyIndex { // that it was decided must not be forgotten by a store that goes back
		newest = consul.Entry{Key: consul.DrainKey(s.Node), ModifyIndex: s.Drain.Index}
	}
	return newest, newest.ModifyIndex > s.ReportIndex
}

// unexplained says of stacks that are gone why nobody may have deleted them; "" where it is known that somebody did. A stack
// that has a witness is explained by it. One that has none yet was deleted where the store shows a deletion that is newer than
// it and than all that is left.
func (a *App) unexplained(before, next *consul.Snapshot, gone []string) string {
	written := a.memory.get().ReportIndex
	for _, name := range gone {
		was := entry(before.Stacks, name).ModifyIndex
		if was > written && next.Deleted <= was {
			return fmt.Sprintf("stack %s is gone before this node has reported it (it was at index %d), and the store shows no deletion: "+
				"it may have been restored from an older snapshot", name, was)
		}
	}
	return ""
}

// rewindSeen says how this node's own report shows that the store went back, "" where it does not, and returns the index that
// the report is at; 0 where there is none.
func (a *App) rewindSeen(ctx context.Context) (detail string, at uint64, err error) {
	written := a.memory.get().ReportIndex
	e, there, err := a.store.Get(ctx, a.reportKey())
	switch {
	case err != nil || written == 0:
		return "", e.ModifyIndex, err
	case !there:
		return fmt.Sprintf("this node's own report %s%s was gone too: the store was restored or rebuilt", a.cfg.Prefix, a.reportKey()), 0, nil
	case e.ModifyIndex < written:
		return fmt.Sprintf("this node's own report %s%s was at index %d, and it was written at %d: the store was restored from an older snapshot",
			a.cfg.Prefix, a.reportKey(), e.ModifyIndex, written), e.ModifyIndex, nil
	}
	return "", e.ModifyIndex, nil
}

// rememberRewind takes down that the store went back, before a new report covers the only trace of it, and returns the index
// of the present one.
func (a *App) rememberRewind(ctx context.Context) (at uint64, err error) {
	seen, at, err := a.rewindSeen(ctx)
	if err == nil && seen != "" {
		a.suspect(ctx, seen)
	}
	return at, err
}

// suspect takes down that the store went back. What the report vouched for is void then.
func (a *App) suspect(ctx context.Context, detail string) {
	a.log.Warn("the store went back", zap.String("detail", detail))
	a.memory.change(func(s *lastgood.State) bool {
		s.WentBack, s.ReportIndex = detail, 0
		return true
	})
	a.memory.settle(ctx)
}

// forgetRewind ends the suspicion when a store that was read after it began lacks nothing.
func (a *App) forgetRewind(ctx context.Context, inventory spec.Inventory) {
	if a.memory.get().WentBack == "" {
		return
	}
	now, err := a.store.List(ctx, consul.Stacks)
	if err != nil || now.Filtered {
		return
	}
	for stack := range inventory {
		if !slices.ContainsFunc(now.Entries, func(e consul.Entry) bool { return e.Key == stack }) {
			return
		}
	}
	a.memory.change(func(s *lastgood.State) bool { s.WentBack = ""; return true })
}
