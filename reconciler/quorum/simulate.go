package quorum

import (
	"fmt"
	"maps"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Simulate returns what would be observed after an action succeeded, or was refused, in which case nothing changes. It is the
// model that the property tests and the fake Swarm stand on. The input is not modified.
//
// It is as careless as Swarm is: a promotion is taken at once and checks nothing, and the node has its seat only when it is up
// and gets there, which is not part of the action; a demotion asks whether the others have a quorum, and the seat is taken
// later, when that still holds; an update that carries another version than the newest is refused; so is the removal of a node
// that is Ready or has a seat.
func Simulate(o Observed, a plan.Action) Observed {
	o = o.clone()
	switch a := a.(type) {
	case plan.ClaimSwarm:
		o.Record.Forming, o.Record.FormingFor = a.Node, 0
	case plan.InitSwarm:
		o.init(a)
	case plan.ConfigureSwarm:
		if o.Swarm.ID == a.ID && o.Swarm.Version == a.Version {
			o.Swarm.Version, o.Swarm.Cluster = uint64(o.next()), a.Cluster
			o.Swarm.give(a.Settings)
		}
	case plan.PublishSwarm:
		o.Record = Record{
			SwarmID: a.ID, Cluster: a.Cluster, Managers: a.Managers, Token: true, TokenCurrent: a.ID == o.Swarm.ID, Removed: a.Removed, Former: o.Record.Former,
		}
	case plan.PromoteNode:
		o.edit(a.ID, a.Version, func(n *Node) { n.Manager, n.PendingFor = true, 0 })
	case plan.DemoteNode:
		if o.removable(a.ID) {
			o.edit(a.ID, a.Version, func(n *Node) { n.Manager, n.PendingFor = false, 0 })
		}
	case plan.DropNode:
		o.Record.Removed = append(slices.Clone(o.Record.Removed), a.ID)
		o.drop(a.ID)
	case plan.SetNode:
		o.edit(a.ID, a.Version, func(n *Node) { n.Labels, n.Availability = maps.Clone(a.Labels), a.Availability })
	case plan.JoinSwarm:
		o.join(a)
	case plan.LeaveSwarm:
		o.leave(a)
	default: // on a Pi's containers or the Swarm's services: nothing changes here
	}
	return o
}

// SimulateMember is [Simulate] as the node sees it that joins or leaves. Joining may take longer than the call.
func SimulateMember(m Member, a plan.Action) Member {
	switch a := a.(type) {
	case plan.JoinSwarm:
		if m.State == Inactive {
			m.State, m.Swarm, m.ID = Active, a.Swarm, "of "+m.Node
		}
	case plan.LeaveSwarm:
		if m.Manager || m.State == Inactive {
			break // refused without force
		}
		if m.Expired {
			m.Left = 1
		}
		m.State, m.Swarm, m.ID, m.Err, m.Expired, m.StrandedFor = Inactive, "", "", "", false, 0
	default:
	}
	return m
}

func (o *Observed) init(a plan.InitSwarm) {
	if o.State != Inactive || a.Node != o.Node {
		return // this node is already part of a swarm
	}
	n := o.next()
	o.Swarm = Swarm{ID: fmt.Sprintf("swarm%d", n), Version: uint64(n), Cluster: a.Cluster}
	o.Swarm.give(a.Settings)
	o.Nodes = []Node{{
		ID: fmt.Sprintf("node%d", n), Host: a.Node, Version: uint64(n), Availability: plan.Active, Ready: true,
		Manager: true, Seat: true, Reachable: true, Leader: true, Address: a.Address + ":2377",
	}}
	o.State, o.Manager, o.Control = Active, true, true
	o.is(a.Node, o.Nodes[0].ID, o.Swarm.ID, Active)
}

// drop removes a record. Swarm remembers the identity as one that is refused, which is a change of its own object.
func (o *Observed) drop(id string) {
	i := slices.IndexFunc(o.Nodes, func(n Node) bool { return n.ID == id && !n.Ready && !n.Seat })
	if i >= 0 {
		o.Swarm.Version = uint64(o.next())
		o.Nodes = slices.Delete(o.Nodes, i, i+1)
	}
}

func (s *Swarm) give(want spec.SwarmSettings) {
	if want.CertExpiry != 0 {
		s.CertExpiry = want.CertExpiry
	}
	if want.Heartbeat != 0 {
		s.Heartbeat = want.Heartbeat
	}
	if want.TaskHistory != 0 {
		s.TaskHistory = want.TaskHistory
	}
}

func (o *Observed) join(a plan.JoinSwarm) {
	m, here := o.presence(a.Node)
	if !here || m.State != Inactive || a.Swarm != o.Swarm.ID {
		return
	}
	n := o.next()
	o.Nodes = append(o.Nodes, Node{ID: fmt.Sprintf("node%d", n), Host: a.Node, Version: uint64(n), Availability: plan.Active, Ready: true})
	o.is(a.Node, o.Nodes[len(o.Nodes)-1].ID, a.Swarm, Active)
}

func (o *Observed) leave(a plan.LeaveSwarm) {
	if slices.ContainsFunc(o.Nodes, func(n Node) bool { return n.ID == a.ID && (n.Manager || n.Seat) }) {
		return // refused without force
	}
	o.is(a.Node, "", "", Inactive)
	for i := range o.Nodes {
		if n := &o.Nodes[i]; n.ID == a.ID {
			n.Ready, n.ReadyFor, n.Version = false, 0, uint64(o.next())
		}
	}
}

// is changes what a node says of itself.
func (o *Observed) is(name, id, swarm string, state State) {
	for i := range o.Present {
		if m := &o.Present[i]; m.Name == name {
			m.ID, m.Swarm, m.State = id, swarm, state
		}
	}
}

// edit changes a node that is still at the version that was observed.
func (o *Observed) edit(id string, version uint64, change func(*Node)) {
	for i := range o.Nodes {
		if n := &o.Nodes[i]; n.ID == id && n.Version == version {
			n.Version = uint64(o.next())
			change(n)
			return
		}
	}
}

// next is a number that is above each version: Swarm's index, which counts up.
func (o *Observed) next() int {
	n := o.Swarm.Version
	for _, m := range o.Nodes {
		n = max(n, m.Version)
	}
	return int(n) + 1
}

// clone copies all that Simulate may change.
func (o Observed) clone() Observed {
	o.Nodes = slices.Clone(o.Nodes)
	o.Present = slices.Clone(o.Present)
	return o
}
