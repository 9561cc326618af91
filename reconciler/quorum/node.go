package quorum

import (
	"maps"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// presence returns what a node that is there says of itself.
func (o Observed) presence(name string) (Presence, bool) {
	i := slices.IndexFunc(o.Present, func(m Presence) bool { return m.Name == name })
	if i < 0 {
		return Presence{}, false
	}
	return o.Present[i], true
}

// at returns the presence of the node with this id.
func (o Observed) at(id string) (Presence, bool) {
	i := slices.IndexFunc(o.Present, func(m Presence) bool { return m.ID == id && id != "" })
	if i < 0 {
		return Presence{}, false
	}
	return o.Present[i], true
}

// Name is brambled's name of a node of the Swarm: who is there says it, the label remembers it, and the host name is the name
// where nothing else is said.
func (o Observed) Name(n Node) string {
	if m, ok := o.at(n.ID); ok {
		return m.Name
	}
	if name := n.Labels[spec.LabelNode]; name != "" {
		return name
	}
	return n.Host
}

// lost is a manager that the engine of a node knows and that cannot be reached, "" for none. On its way to a seat an engine asks one
// of the managers it knows, at random, and is stranded if that one does not answer.
func (o Observed) lost(n Node) string {
	m, _ := o.at(n.ID)
	for _, known := range m.Knows {
		if !slices.ContainsFunc(o.Nodes, func(s Node) bool { return s.Seat && s.Reachable && s.Address == known }) {
			return known
		}
	}
	return ""
}

// named reports whether brambled runs on a node, or did.
func (o Observed) named(n Node) bool {
	_, here := o.at(n.ID)
	return here || n.Labels[spec.LabelNode] != ""
}

// reimaged reports whether a node of the Swarm is certain never to come back, because its Pi is there under another identity:
// its card was written anew, or it left and joined again. The label is the proof of the name, as two machines may have one host
// name; and an engine that does not know its own id says nothing.
func (o Observed) reimaged(n Node) bool {
	m, here := o.presence(n.Labels[spec.LabelNode])
	return here && !n.Ready && !n.Reachable && m.ID != n.ID && (m.State == Inactive || m.State == Active && m.ID != "")
}

// dead reports whether a node is given up: a person removed it, its Pi has another identity, or it was away for the hold-down.
func (p *planner) dead(n Node) bool {
	return !n.well() && (p.d.Node(p.o.Name(n)).Gone || p.o.reimaged(n) || n.AwayFor >= p.d.HoldDown)
}

// gone is why a node is given up.
func (p *planner) gone(n Node) plan.Reason {
	switch {
	case p.d.Node(p.o.Name(n)).Gone:
		return plan.ReasonGone
	case p.o.reimaged(n):
		return plan.ReasonReimaged
	}
	return plan.ReasonDeadSeat
}

// planNodes writes labels and drains.
func (p *planner) planNodes() {
	if p.busy[laneManagers] {
		return // a role that is changing comes first: both would carry one version
	}
	for _, n := range p.o.Nodes {
		if !p.o.named(n) || n.Manager != n.Seat || p.o.reimaged(n) {
			continue
		}
		name := p.o.Name(n)
		labels, availability, why := p.wanted(n)
		if maps.Equal(labels, n.Labels) && availability == n.Availability {
			continue
		}
		p.add(laneNode(name), "node "+name, availability+" "+strings.Join(pairs(labels), " "), plan.Step{
			Action: plan.SetNode{ID: n.ID, Name: name, Version: n.Version, Labels: labels, Availability: availability}, Reason: why,
		})
	}
}

// wanted is what a node should carry. Labels that neither brambled nor a config file put there are a person's and stay, and so
// does a drain that is a person's.
func (p *planner) wanted(n Node) (labels map[string]string, availability string, why plan.Reason) {
	labels, availability, why = maps.Clone(n.Labels), n.Availability, plan.ReasonLabels
	if labels == nil {
		labels = map[string]string{}
	}
	name := p.o.Name(n)
	want := p.d.Node(name)
	if m, here := p.o.at(n.ID); here {
		labels[spec.LabelCluster], labels[spec.LabelNode] = p.d.Cluster, m.Name
		if want.Labels != nil {
			give(labels, want.Labels)
		}
	}
	switch ours := labels[spec.LabelDrained] != ""; {
	case want.Drain && !ours && availability != plan.Drained && !p.movable(n):
		labels[spec.LabelDrained], availability, why = "true", plan.Drained, plan.ReasonDrain
	case !want.Drain && ours:
		delete(labels, spec.LabelDrained)
		if why = plan.ReasonUndrain; availability == plan.Drained {
			availability = plan.Active
		}
	}
	return labels, availability, why
}

// give puts the labels of a config file in place of those that an earlier one gave.
func give(labels, want map[string]string) {
	for k := range strings.SplitSeq(labels[spec.LabelNodeKeys], ",") {
		if !strings.HasPrefix(k, reserved) {
			delete(labels, k)
		}
	}
	delete(labels, spec.LabelNodeKeys)
	var keys []string
	for k, v := range want {
		if !strings.HasPrefix(k, reserved) {
			labels[k] = v
			keys = append(keys, k)
		}
	}
	if slices.Sort(keys); len(keys) > 0 {
		labels[spec.LabelNodeKeys] = strings.Join(keys, ",")
	}
}

// reserved is how the labels begin that are brambled's own.
const reserved = "brambled."

func pairs(labels map[string]string) []string {
	var out []string
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// movable reports whether a node that is to be drained has a seat which somebody can take over, or is taking over: that comes
// first. A promotion that gets nowhere is not waited for.
func (p *planner) movable(n Node) bool {
	seats, arriving := p.o.seats(), false
	for _, m := range p.o.Nodes {
		if m.Manager && !m.Seat {
			if m.PendingFor >= p.d.HoldDown {
				return false
			}
			arriving = true
		}
	}
	return n.Seat && p.o.reachable() == len(seats) && (arriving || len(p.candidates()) > 0 || len(seats) > p.target())
}

// dropGhost removes the record of a node that never comes back. One whose Pi is there again is only removed once it has joined
// anew; a host name alone is no proof, so there the hold-down counts too. It reports whether it does.
func (p *planner) dropGhost() bool {
	for _, n := range p.o.Nodes {
		if n.Seat || n.Manager || n.Ready {
			continue
		}
		name := p.o.Name(n)
		switch {
		case p.d.Node(name).Gone:
			p.drop(n, plan.ReasonGone)
		case p.o.reimaged(n) && p.sibling(n, func(m Node) bool { return p.o.Name(m) == name }):
			p.drop(n, plan.ReasonReimaged)
		case !p.o.named(n) && n.AwayFor >= p.d.HoldDown && p.sibling(n, func(m Node) bool { return m.Host == n.Host }):
			p.drop(n, plan.ReasonReimaged)
		default:
			continue
		}
		return true
	}
	return false
}

// sibling reports whether another node of the Swarm that fits is Ready.
func (p *planner) sibling(n Node, fits func(Node) bool) bool {
	return slices.ContainsFunc(p.o.Nodes, func(m Node) bool { return m.ID != n.ID && m.Ready && p.o.named(m) && fits(m) })
}
