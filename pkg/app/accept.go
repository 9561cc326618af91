package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/spec"
)

// inForce is the part of the store that is enforced. It starts as last-known-good, and follows what is read soundly as far
// as no hold is in the way.
type inForce struct {
	snap *consul.Snapshot
	// recalled is true while snap is only remembered: the store was not read soundly in this life of the daemon.
	recalled  bool
	inventory spec.Inventory
	kept      map[string]string // stacks whose former file stays in force, and why
	holds     []status.Hold
}

// accept takes a snapshot that was read soundly into force, as far as no hold is in the way. What goes with it is known from
// the one in force: a stack that was never seen here cannot be removed.
func (a *App) accept(ctx context.Context, next *consul.Snapshot) {
	failpoint.Hit(failpoint.StoreRead)
	a.assembling.Lock()
	before := a.force
	a.assembling.Unlock()
	inventory := a.inventory(next, before.inventory)
	force := inForce{snap: next, inventory: inventory}
	if before.snap != nil {
		if hold := a.rewound(ctx, before, force); hold != nil {
			before.holds = []status.Hold{*hold}
			a.setForce(before)
			return
		}
		if a.cfg.Brake {
			force = a.brake(before, force)
		}
	}
	a.memory.change(func(s *lastgood.State) bool { return rememberSnapshot(s, force.snap) })
	a.memory.settle(ctx)
	failpoint.Hit(failpoint.StoreRemembered)
	a.setForce(force)
	failpoint.Hit(failpoint.StoreInForce)
}

func (a *App) setForce(f inForce) {
	a.assembling.Lock()
	defer a.assembling.Unlock()
	for _, h := range f.holds {
		if !slices.ContainsFunc(a.force.holds, func(old status.Hold) bool { return old.ID == h.ID }) {
			a.log.Warn("held, nothing is removed", zap.String("cause", h.Cause), zap.String("detail", h.Detail), zap.String("id", h.ID), zap.String("lifts", h.Lifts))
		}
	}
	a.force = f
}

// inventory names the services of all stacks of a snapshot, on all nodes. A file that cannot be read takes nothing away.
func (a *App) inventory(snap *consul.Snapshot, before spec.Inventory) spec.Inventory {
	a.assembling.Lock()
	defer a.assembling.Unlock()
	out := spec.Inventory{}
	for _, f := range stored(a.cfg, a.tier, snap) {
		loaded, err := a.assembler.load(f)
		if err != nil {
			out[f.Name] = before[f.Name]
			continue
		}
		out[f.Name] = names(loaded)
	}
	return out
}

func names(l compose.Loaded) []string {
	out := make([]string, 0, len(l.Services))
	for _, s := range l.Services {
		out = append(out, s.Name)
	}
	return out
}

// rewound holds deletions that come with a store which was restored or rebuilt: what it lacks was not deleted by anybody. Keys
// that are older show by themselves; keys that are newer than the snapshot are simply gone, and only this node's own report,
// lost or older than it was written, tells.
func (a *App) rewound(ctx context.Context, before, next inForce) *status.Hold {
	var lost, evidence []string
	for _, name := range slices.Sorted(maps.Keys(before.inventory)) {
		if _, stays := next.inventory[name]; !stays {
			lost = append(lost, name)
			evidence = append(evidence, fmt.Sprintf("%s@%d", name, entry(before.snap.Stacks, name).ModifyIndex))
		}
	}
	if len(lost) == 0 {
		a.forgetRewind(ctx, before.inventory)
		return nil
	}
	detail := a.wentBack(ctx, before.snap, next.snap, lost)
	if detail == "" {
		return nil
	}
	// The same on every node, and another one for what is put back and lost once more.
	h := status.Hold{ID: spec.HoldID(append(evidence, "store went back")...), Scope: "store", Cause: "store went back"}
	if a.approvals.given(h.ID, 0) {
		a.memory.change(func(s *lastgood.State) bool { s.WentBack = ""; return true })
		return nil
	}
	h.Detail = fmt.Sprintf("%s would be removed, but %s", "stack "+strings.Join(lost, ", stack "), detail)
	h.Lifts = "by itself when what is missing is put back (brambled snapshot restore --from-last-good), or to let it go: brambled approve " + h.ID
	return &h
}

// wentBack says why what is gone may not have been deleted; "" where it was. Suspicion outlives what raised it.
func (a *App) wentBack(ctx context.Context, before, next *consul.Snapshot, gone []string) string {
	if known := a.memory.get().WentBack; known != "" {
		return known
	}
	if a.memory.get().ReportIndex > 0 {
		detail, _, err := a.rewindSeen(ctx)
		if err != nil {
			return fmt.Sprintf("whether the store went back cannot be seen: %v", err)
		}
		if detail != "" {
			return detail
		}
	}
	detail := a.unexplained(before, next, gone)
	if detail != "" {
		a.suspect(ctx, detail)
	}
	return detail
}

// brake keeps the former file of what would go by a deletion that is large enough to be a mistake, until a person approved
// it (safety rule 4). All else of the new snapshot takes effect.
func (a *App) brake(before, next inForce) inForce {
	next.kept = map[string]string{}
	inventory := maps.Clone(next.inventory)
	snap := next.snap.Clone()
	for _, b := range spec.Brake(before.inventory, next.inventory) {
		var newest uint64
		for _, name := range b.Stacks {
			newest = max(newest, entry(before.snap.Stacks, name).ModifyIndex)
		}
		if a.approvals.given(b.ID, newest) {
			continue
		}
		hold := status.Hold{
			ID: b.ID, Scope: "stack " + strings.Join(b.Stacks, ", "), Cause: "deletion brake",
			Detail: fmt.Sprintf("%s would be removed at once: %s; their former files stay in force", b.Why, strings.Join(b.Removals, ", ")),
			Lifts:  "brambled approve " + b.ID + ", or put them back",
		}
		next.holds = append(next.holds, hold)
		for _, name := range b.Stacks {
			snap.Stacks = withEntry(snap.Stacks, entry(before.snap.Stacks, name))
			inventory[name] = before.inventory[name]
			next.kept[name] = hold.ID
		}
	}
	next.snap, next.inventory = snap, inventory
	return next
}

func entry(list []consul.Entry, key string) consul.Entry {
	i, ok := slices.BinarySearchFunc(list, key, func(e consul.Entry, k string) int { return strings.Compare(e.Key, k) })
	if !ok {
		return consul.Entry{Key: key}
	}
	return list[i]
}

// withEntry puts an entry into a sorted list, in place of the one of its key.
func withEntry(list []consul.Entry, e consul.Entry) []consul.Entry {
	i, ok := slices.BinarySearchFunc(list, e.Key, func(x consul.Entry, k string) int { return strings.Compare(x.Key, k) })
	if ok {
		list[i] = e
		return list
	}
	return slices.Insert(list, i, e)
}
