package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

// decisions are what persons decided about nodes and about the Swarm as a whole.
type decisions struct {
	drains, gone map[string]consul.Decision // by node
	adopt        consul.Decision
}

// apply adds them to how the Swarm should be.
func (p *decisions) apply(d spec.Quorum) spec.Quorum {
	if p == nil {
		return d
	}
	if p.adopt.Yes(d.Cluster) {
		d.Adopt = p.adopt.ID
	}
	d.Nodes = slices.Clone(d.Nodes)
	for _, name := range slices.Sorted(maps.Keys(p.drains)) {
		edit(&d, name, func(n *spec.QuorumNode) { n.Drain = p.drains[name].Yes(d.Cluster) })
	}
	for _, name := range slices.Sorted(maps.Keys(p.gone)) {
		edit(&d, name, func(n *spec.QuorumNode) { n.Gone = p.gone[name].Yes(d.Cluster) })
	}
	return d
}

// edit changes what is wanted of one node, of which nothing may have been said so far.
func edit(d *spec.Quorum, name string, change func(*spec.QuorumNode)) {
	i, there := slices.BinarySearchFunc(d.Nodes, name, func(n spec.QuorumNode, name string) int { return strings.Compare(n.Name, name) })
	if !there {
		d.Nodes = slices.Insert(d.Nodes, i, spec.QuorumNode{Name: name})
	}
	change(&d.Nodes[i])
}

// learn takes in what persons decided. While the store is not sound what was known before stays in force; a leader that knows of
// nothing yet waits, since a drain that it does not see it would take back.
func (k *keeper) learn(ctx context.Context, record consul.SwarmRecord) error {
	switch fault := k.l.watch.state().Fault; {
	case fault != nil && k.persons != nil:
		return nil
	case fault != nil:
		return fmt.Errorf("nothing about the Swarm is changed before a sound read: %s", fault)
	}
	drains, err := k.l.store.Drains(ctx)
	if err != nil {
		return err
	}
	k.persons = &decisions{drains: drains, gone: record.Gone, adopt: record.Adopt}
	return nil
}

// plan is for a node's own part, of which a person may have decided too.
func (m *member) plan(d spec.Quorum, o quorum.Member) plan.Plan {
	return quorum.PlanMember(m.persons.apply(d), o)
}

func (m *member) check(d spec.Quorum, o quorum.Member, p plan.Plan) error {
	return quorum.CheckMember(m.persons.apply(d), o, p)
}

// learn takes in what persons decided. A store that is not sound says nothing of that.
func (m *member) learn(record consul.SwarmRecord) {
	if m.a.watch.state().Fault == nil || m.persons == nil {
		m.persons = &decisions{gone: record.Gone, adopt: record.Adopt}
	}
}

// swarmNews has those look who follow what the store says of the Swarm: its record, and what persons decided.
func (a *App) swarmNews() {
	a.member.loop.Trigger()
	if l := a.leading.Load(); l != nil {
		l.quorum.loop.Trigger()
	}
}

// adopted drops the word to take over a Swarm once that is done. A Swarm that takes its place later must not be given up for it.
func (k *keeper) adopted(ctx context.Context, o quorum.Observed) {
	adopt := k.persons.adopt
	if adopt.Index == 0 || !o.Control || o.Swarm.ID != adopt.ID || o.Record.SwarmID != adopt.ID || o.Record.Cluster == "" || o.Swarm.Cluster != o.Record.Cluster {
		return
	}
	if err := k.l.fenced(ctx, consul.Write{Key: consul.AdoptKey(), Delete: true, Index: adopt.Index, CAS: true}); err != nil {
		k.l.log.Debug("the word to adopt a Swarm that is adopted is not removed", zap.Error(err))
		return
	}
	k.persons.adopt = consul.Decision{}
}
