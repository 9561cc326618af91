package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// votes are the permit that all voters share, as the leader takes it for the Swarm while it changes managers. It belongs to
// the Swarm and not to the leader: the next one takes it over.
type votes struct {
	l    *leading
	idle chan struct{} // holds one token when no change of managers is pending any more

	mu      sync.Mutex
	pending bool
}

func newVotes(l *leading) *votes { return &votes{l: l, idle: make(chan struct{}, 1)} }

// take takes the permit before a manager is made or unmade; for any other action there is nothing to take.
func (v *votes) take(ctx context.Context, a plan.Action) error {
	if !changesManagers(a) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pending = true
	return v.change(ctx, func(r node.Record) (node.Record, error) {
		next, ok := r.Ask(node.Holder{Node: node.OfSwarm, Hash: "managers", Since: time.Now().UTC().Format(time.RFC3339)}, 1)
		if !ok && r.Damaged == "" && len(r.Holders) > 0 {
			return r, fmt.Errorf("%s is updating %s, and of all voters one is disrupted at a time", r.Holders[0].Node, plan.ParsePermitKey(r.Holders[0].Hash).Name())
		}
		if !ok {
			return r, fmt.Errorf("of all voters one is disrupted at a time: %s", r.Damaged)
		}
		return next, nil
	})
}

func changesManagers(a plan.Action) bool {
	switch a.(type) {
	case plan.PromoteNode, plan.DemoteNode:
		return true
	default:
		return false
	}
}

// look sees from a pass whether a change of managers is still pending.
func (v *votes) look(p quorumPass) {
	if p.Err != nil || !p.Ready {
		return
	}
	changes := func(l plan.Lane) bool {
		return slices.ContainsFunc(l.Steps, func(s plan.Step) bool { return changesManagers(s.Action) })
	}
	settling := func(w plan.Wait) bool { return w.For == plan.WaitSwarm }
	if len(p.Observed.Busy) > 0 || slices.ContainsFunc(p.Plan.Lanes, changes) || slices.ContainsFunc(p.Plan.Waits, settling) {
		return
	}
	v.mu.Lock()
	v.pending = false
	v.mu.Unlock()
	signal(v.idle)
}

// run gives the permit back when it is no longer needed, also one that a former leader took.
func (v *votes) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.idle:
		}
		if !v.l.permits.ofSwarm() {
			continue
		}
		if err := v.back(ctx); err != nil {
			v.l.log.Debug("the voters' permit could not be given back, the next pass tries again", zap.Error(err))
		}
	}
}

func (v *votes) back(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pending {
		return nil
	}
	return v.change(ctx, func(r node.Record) (node.Record, error) { return r.Return(node.OfSwarm, "managers"), nil })
}

// change changes the record as it is now, fenced.
func (v *votes) change(ctx context.Context, change func(node.Record) (node.Record, error)) error {
	const key = rolloutKeys + votersRollout
	e, there, err := v.l.store.Get(ctx, key)
	if err != nil {
		return err
	}
	var r node.Record
	if there {
		r = decodeRecord(votersRollout, e.Value)
	}
	next, err := change(r)
	if err != nil || sameRecord(r, next) {
		return err
	}
	w := consul.Write{Key: key, Index: e.ModifyIndex, CAS: true, Delete: next.Empty()}
	if !w.Delete {
		if w.Value, err = json.Marshal(next); err != nil {
			return err
		}
	}
	return v.l.fenced(ctx, w)
}

// ofSwarm reports whether the voters' permit is the Swarm's.
func (p *permits) ofSwarm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, held := p.records[votersRollout].Held(node.OfSwarm)
	return held
}
