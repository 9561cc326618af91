package quorum

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// form forms the Swarm on this engine, which is in none, and never over one that exists: not while the store names one, and not
// while any node that is there is in one.
func (p *planner) form() {
	if p.o.Record.SwarmID != "" {
		p.wait("swarm", plan.WaitManager, "the cluster has Swarm "+p.o.Record.SwarmID+" and this engine is not in it: it joins by itself, and a manager has to lead")
		return
	}
	me, here := p.o.presence(p.o.Node)
	if !p.d.Wanted || p.inTheWay() || p.claimed() {
		return
	}
	if !here || me.Address == "" {
		p.wait("swarm", plan.WaitNode, p.o.Node+" has not said its address yet")
		return
	}
	init := plan.InitSwarm{
		Node: p.o.Node, Cluster: p.d.Cluster, Address: me.Address, Settings: p.d.Settings, Pools: p.d.Pools, PoolMask: p.d.PoolMask,
	}
	steps := []plan.Step{{Action: plan.ClaimSwarm{Node: p.o.Node}, Reason: plan.ReasonForm}, {Action: init, Reason: plan.ReasonForm}}
	if p.o.Record.Forming == p.o.Node {
		steps = steps[1:]
	}
	p.add(laneSwarm, "swarm", "form", steps...)
}

// inTheWay reports whether a node that is there is in a Swarm already, or might be.
func (p *planner) inTheWay() bool {
	found := false
	for _, m := range p.o.Present {
		switch {
		case m.State == Inactive:
		case m.State == Unknown && m.ID == "":
			p.wait("swarm", plan.WaitNode, m.Name+" does not say whether its engine is in a Swarm")
			found = true
		default:
			p.wait("swarm", plan.WaitForeign, fmt.Sprintf("the engine of %s is in a Swarm that brambled did not form; to have it taken over: brambled swarm adopt with its id (docker info there), else there: docker swarm leave", m.Name))
			found = true
		}
	}
	return found
}

// claimed reports whether another node may be forming the Swarm at this moment. A node that is there and has none by now has
// failed; one that is away may have formed it and come back with it, so that is waited for longer.
func (p *planner) claimed() bool {
	by := p.o.Record.Forming
	if by == "" || by == p.o.Node {
		return false
	}
	patience, state := p.d.HoldDown, "is away"
	if _, here := p.o.presence(by); here {
		patience, state = p.d.ReadyFor, "has not done it yet"
	}
	left := patience - p.o.Record.FormingFor
	if left <= 0 {
		return false
	}
	p.wait("swarm", plan.WaitNode, fmt.Sprintf("%s was about to form the Swarm and %s; in %s %s forms it", by, state, about(left), p.o.Node))
	p.wakeAfter(left)
	return true
}

// powerless says why nothing can be changed from here.
func (p *planner) powerless() {
	switch {
	case !p.concerns():
	case p.o.State == Active && p.o.Manager:
		p.wait("swarm", plan.WaitQuorum, "most of the managers cannot be reached, and nothing is changed without them; tasks go on running. "+
			"It heals when they return; if they are gone for good, on one that is left: brambled swarm recover (docs/cluster.md)")
	case p.o.State == Active:
		p.wait("swarm", plan.WaitManager, "this engine is a worker: a manager has to lead")
	default:
		p.wait("swarm", plan.WaitManager, strings.TrimSuffix(fmt.Sprintf("the engine's part in its Swarm is %q: %s", string(p.o.State), p.o.Err), ": "))
	}
}

// ours reports whether the Swarm is one that may be managed: brambled formed it under this cluster's id, or was told to adopt it.
// Of any other it only says that it is left alone.
func (p *planner) ours() bool {
	s, rec := p.o.Swarm, p.o.Record
	adopted := p.d.Adopt != "" && p.d.Adopt == s.ID
	// The init call sets the label some moments after the Swarm is there. Where the claim is ours and nobody has joined, a Swarm
	// without it can only be the one whose forming was cut short in between.
	cutShort := s.Cluster == "" && rec.SwarmID == "" && rec.Forming == p.o.Node && len(p.o.Nodes) == 1
	switch {
	case rec.SwarmID != "" && rec.SwarmID != s.ID && !adopted:
		p.wait("swarm", plan.WaitForeign, fmt.Sprintf("this engine is in Swarm %s and the cluster's is %s; on the engines of one of them: docker swarm leave", s.ID, rec.SwarmID))
		return false
	case s.Cluster == p.d.Cluster:
		return true
	case adopted:
		// The store is told first: once the Swarm is ours, no leader that cannot see it may form another.
		p.add(laneSwarm, "swarm", "adopt", p.invitation(plan.ReasonAdopted), p.label(plan.ReasonAdopted))
	case cutShort:
		p.add(laneSwarm, "swarm", "label", p.label(plan.ReasonCutShort))
	case p.concerns():
		p.wait("swarm", plan.WaitForeign, fmt.Sprintf("brambled did not form Swarm %s: services are deployed on it, its nodes are left alone; brambled swarm adopt %s takes it over", s.ID, s.ID))
	}
	return false
}

func (p *planner) label(why plan.Reason) plan.Step {
	s := p.o.Swarm
	return plan.Step{Action: plan.ConfigureSwarm{ID: s.ID, Version: s.Version, Cluster: p.d.Cluster, Settings: p.d.Settings}, Reason: why}
}

// configure brings the settings to what they should be.
func (p *planner) configure() {
	if differ(p.d.Settings, p.o.Swarm) {
		p.add(laneSwarm, "swarm", "settings", p.label(plan.ReasonSettings))
	}
}

func differ(want spec.SwarmSettings, s Swarm) bool {
	return want.CertExpiry != 0 && want.CertExpiry != s.CertExpiry ||
		want.Heartbeat != 0 && want.Heartbeat != s.Heartbeat ||
		want.TaskHistory != 0 && want.TaskHistory != s.TaskHistory
}

// publish keeps up what the store says of the Swarm. Addresses of managers that cannot be reached right now stay: a change with
// every reboot would help nobody.
func (p *planner) publish() {
	rec, s := p.o.Record, p.o.Swarm
	managers := p.o.addresses()
	removed := p.o.removed()
	same := rec.SwarmID == s.ID && rec.Cluster == p.d.Cluster && rec.Forming == "" && rec.TokenCurrent && slices.Equal(rec.Managers, managers) && len(rec.Removed) == len(removed)
	if same || len(managers) == 0 {
		return
	}
	p.add(laneRecord, "swarm invitation", strings.Join(managers, " "), p.invitation(plan.ReasonInvite))
}

func (p *planner) invitation(why plan.Reason) plan.Step {
	return plan.Step{Action: plan.PublishSwarm{ID: p.o.Swarm.ID, Cluster: p.d.Cluster, Managers: p.o.addresses(), Removed: p.o.removed()}, Reason: why}
}

// addresses are where the managers are, sorted, less one that is about to lose its seat.
func (o Observed) addresses() []string {
	var out []string
	for _, n := range o.seats() {
		if n.Manager && n.Address != "" {
			out = append(out, n.Address)
		}
	}
	slices.Sort(out)
	return out
}

// removed are the ids that were written down as removed and are not in the Swarm, sorted.
func (o Observed) removed() []string {
	out := slices.DeleteFunc(slices.Clone(o.Record.Removed), func(id string) bool {
		return slices.ContainsFunc(o.Nodes, func(n Node) bool { return n.ID == id })
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// left is how much of a time is not over yet.
func left(whole, over time.Duration) time.Duration { return max(whole-over, 0) }
