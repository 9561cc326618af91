package quorum

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Check judges a plan of the leader apart from the planner, from the safety rules alone. A plan that fails it is not applied: the
// planner has a bug, and doing nothing is the safe answer.
func Check(d spec.Quorum, o Observed, p plan.Plan) error {
	c := checker{d: d, o: o}
	seen := map[string]bool{}
	changes := 0
	for _, l := range p.Lanes {
		switch {
		case seen[l.Key]:
			c.fault(l.Key, "", "two lanes of one key")
		case o.Busy[l.Key]:
			c.fault(l.Key, "", "lane still runs")
		case len(l.Steps) == 0:
			c.fault(l.Key, "", "lane without a step")
		}
		seen[l.Key] = true
		start := c.o
		for _, s := range l.Steps {
			if membership(s.Action) {
				changes++
			}
			c.step(l.Key, s.Action)
			c.o = Simulate(c.o, s.Action)
		}
		c.o = start
	}
	if changes > 1 || changes > 0 && o.Busy[laneManagers] {
		c.fault(laneManagers, "", "more than one change of membership at a time (rule 8: quorum)")
	}
	return errors.Join(c.errs...)
}

type checker struct {
	d    spec.Quorum
	o    Observed // as the lane's steps change it, starting anew for each lane
	errs []error
}

func (c *checker) fault(lane, step, problem string) {
	c.errs = append(c.errs, fmt.Errorf("lane %s: %s: %s", lane, step, problem))
}

func (c *checker) step(lane string, a plan.Action) {
	problem := ""
	switch {
	case c.d.Cluster == "":
		problem = "nothing was read soundly (rule 1: fail static)"
	case !c.d.Manage:
		problem = "the Swarm is not to be managed (swarm.manage)"
	default:
		problem = c.may(a)
	}
	if problem != "" {
		c.fault(lane, a.String(), problem)
	}
}

// may returns the rule an action breaks, "" for none.
func (c *checker) may(a plan.Action) string {
	switch a := a.(type) {
	case plan.ClaimSwarm:
		return c.mayForm()
	case plan.InitSwarm:
		if c.o.Record.Forming != c.o.Node || a.Node != c.o.Node || a.Cluster != c.d.Cluster {
			return "not claimed: another leader would form a second Swarm"
		}
		return c.mayForm()
	case plan.ConfigureSwarm:
		return c.mayConfigure(a)
	case plan.PublishSwarm:
		return c.mayPublish(a)
	case plan.PromoteNode:
		return c.touch(a.ID, &a.Version, c.mayPromote)
	case plan.DemoteNode:
		return c.touch(a.ID, &a.Version, c.mayDemote)
	case plan.DropNode:
		return c.touch(a.ID, nil, c.mayDrop)
	case plan.SetNode:
		return c.touch(a.ID, &a.Version, func(n Node) string { return c.maySet(a, n) })
	default:
		return "no action of the quorum keeper"
	}
}

// mayForm holds that no Swarm is formed over one that exists.
func (c *checker) mayForm() string {
	inOne := slices.ContainsFunc(c.o.Present, func(m Presence) bool { return m.State != Inactive && (m.State != Unknown || m.ID != "") })
	switch {
	case !c.d.Wanted:
		return "no stack wants a Swarm"
	case c.o.State != Inactive || inOne:
		return "an engine is in a Swarm (never over an existing one)"
	case c.o.Record.SwarmID != "":
		return "the cluster has a Swarm (never over an existing one)"
	}
	return ""
}

func (c *checker) mayConfigure(a plan.ConfigureSwarm) string {
	s, rec := c.o.Swarm, c.o.Record
	unfinished := s.Cluster == "" && rec.SwarmID == "" && rec.Forming == c.o.Node && len(c.o.Nodes) == 1
	switch {
	case !c.o.Control:
		return "this engine has no control over the Swarm (rule 8: none without quorum)"
	case a.ID != s.ID || a.Version != s.Version:
		return "not the version that was observed (rule 9: fenced)"
	case a.Cluster != c.d.Cluster:
		return "not this cluster's id"
	case s.Cluster != c.d.Cluster && c.d.Adopt != s.ID && !unfinished:
		return "brambled did not form this Swarm (rule 3: ownership)"
	case s.Cluster == c.d.Cluster && !differ(a.Settings, s):
		return "without a difference (rule 10: converged means silent)"
	}
	return ""
}

// ours holds rule 3 and rule 8 for all that is done in a Swarm.
func (c *checker) ours() string {
	switch rec := c.o.Record; {
	case !c.o.Control || c.o.reachable() < quorum(len(c.o.seats())):
		return "there is no quorum (rule 8: none without quorum)"
	case c.o.Swarm.Cluster != c.d.Cluster:
		return "brambled did not form this Swarm (rule 3: ownership)"
	case rec.SwarmID != "" && rec.SwarmID != c.o.Swarm.ID && c.d.Adopt != c.o.Swarm.ID:
		return "the cluster's Swarm is another one"
	}
	return ""
}

func (c *checker) mayPublish(a plan.PublishSwarm) string {
	problem := c.ours()
	if c.d.Adopt == c.o.Swarm.ID && c.o.Control {
		problem = "" // the store is told before the Swarm is
	}
	switch {
	case problem != "":
		return problem
	case a.ID != c.o.Swarm.ID || a.Cluster != c.d.Cluster:
		return "not the Swarm that was observed"
	case len(a.Managers) == 0:
		return "nobody could join by it"
	}
	return ""
}

// touch holds what is true of each change of a node, then the change's own rule. A removal carries no version.
func (c *checker) touch(id string, version *uint64, may func(Node) string) string {
	if problem := c.ours(); problem != "" {
		return problem
	}
	i := slices.IndexFunc(c.o.Nodes, func(n Node) bool { return n.ID == id })
	switch {
	case i < 0:
		return "no such node"
	case version != nil && c.o.Nodes[i].Version != *version:
		return "not the version that was observed (rule 9: fenced)"
	}
	return may(c.o.Nodes[i])
}

// pendingBeside reports whether the role of another node is still being changed.
func (c *checker) pendingBeside(id string) bool {
	return slices.ContainsFunc(c.o.Nodes, func(n Node) bool { return n.ID != id && n.Manager != n.Seat })
}

// lost reports whether a node may be given up. Its name is proven by its label or by who is there, not by its host name.
func (c *checker) lost(n Node) bool {
	name := n.Labels[spec.LabelNode]
	other := slices.ContainsFunc(c.o.Present, func(m Presence) bool {
		return m.Name == name && m.ID != n.ID && (m.State == Inactive || m.State == Active && m.ID != "")
	})
	here := n.Ready && (!n.Seat || n.Reachable)
	return !here && (n.AwayFor >= c.d.HoldDown || other && !n.Ready && !n.Reachable || c.d.Node(c.o.Name(n)).Gone)
}

// fit reports whether a node may become a manager.
func (c *checker) fit(n Node) bool {
	_, here := c.o.at(n.ID)
	want := c.d.Node(c.o.Name(n))
	return here && n.Ready && n.ReadyFor >= c.d.ReadyFor && n.Availability == plan.Active && !n.Manager && !n.Seat && !want.Drain && !want.Gone
}

func (c *checker) fits() int {
	n := 0
	for _, m := range c.o.Nodes {
		if c.fit(m) {
			n++
		}
	}
	return n
}

// vacating reports whether a manager that is there is to leave its seat.
func (c *checker) vacating() bool {
	return slices.ContainsFunc(c.o.seats(), func(n Node) bool {
		want := c.d.Node(c.o.Name(n))
		return want.Drain || want.Gone
	})
}

// mayPromote holds that a promotion costs nothing if the node dies on its way: the quorum of one more member is there without it.
// Swarm checks nothing of this.
func (c *checker) mayPromote(n Node) string {
	seats := len(c.o.seats())
	switch {
	case n.Seat && !n.Manager && !c.o.removable(n.ID):
		return "" // a demotion that Swarm cannot carry out is taken back: the members stay as they are
	case c.pendingBeside(n.ID):
		return "another role is still being changed (rule 8: one at a time)"
	case !c.fit(n):
		return "it is no candidate (rule 8: a Ready replacement)"
	case c.o.lost(n) != "":
		return "its engine may ask a manager that is not there for its seat"
	case seats > 1 && c.o.reachable() < quorum(seats+1):
		return "if it failed while it joins there would be no quorum (rule 8: demote first, promote next)"
	case seats%2 == 1 && c.fits() < 2 && !c.vacating():
		return "it would rest at an even number of managers (rule 8)"
	case seats > c.d.Managers:
		return "there are enough managers"
	}
	return ""
}

// mayDemote holds that a seat is taken only from a manager that is lost and can be replaced, or from one too many. Where seats
// are even, one less bears as many losses.
func (c *checker) mayDemote(n Node) string {
	seats := len(c.o.seats())
	want := c.d.Node(c.o.Name(n))
	switch {
	case !n.Seat || !n.Manager:
		return "it is no manager"
	case c.pendingBeside(n.ID):
		return "another role is still being changed (rule 8: one at a time)"
	case !c.o.removable(n.ID):
		return "the others alone have no quorum (rule 8: quorum)"
	case !(n.Ready && n.Reachable) && !c.lost(n):
		return "it may come back (rule 8: the hold-down)"
	case c.lost(n) && seats%2 == 1 && c.fits() == 0 && !want.Gone && seats <= c.d.Managers && !c.shrunk(seats):
		return "no Ready replacement stands by (rule 8)"
	case !c.lost(n) && seats%2 == 1 && seats <= c.d.Managers && !c.shrunk(seats):
		return "it is well, and not one too many (rule 8)"
	case !c.lost(n) && slices.ContainsFunc(c.o.seats(), c.lost):
		return "a dead one goes first"
	}
	return ""
}

// shrunk reports whether a person removed so many nodes that there are more managers than there should be.
func (c *checker) shrunk(seats int) bool {
	names := map[string]bool{}
	for _, n := range c.o.Nodes {
		if (c.o.named(n) || n.Seat) && !c.d.Node(c.o.Name(n)).Gone {
			names[c.o.Name(n)] = true
		}
	}
	return len(names) < seats
}

func (c *checker) mayDrop(n Node) string {
	sibling := slices.ContainsFunc(c.o.Nodes, func(m Node) bool { return m.ID != n.ID && m.Ready && (m.Host == n.Host || c.o.Name(m) == c.o.Name(n)) })
	switch {
	case n.Seat:
		return "it has a seat: its vote would be missed for ever"
	case n.Ready:
		return "it is there"
	case c.pendingBeside(n.ID):
		return "another role is still being changed (rule 8: one at a time)"
	case !c.lost(n):
		return "it may come back (rule 8: the hold-down)"
	case !n.Manager && !sibling && !c.d.Node(c.o.Name(n)).Gone:
		return "nothing has taken its place"
	}
	return ""
}

// maySet holds that a person's labels and a person's drain stay.
func (c *checker) maySet(a plan.SetNode, n Node) string {
	mine := strings.Split(n.Labels[spec.LabelNodeKeys], ",")
	want := c.d.Node(c.o.Name(n))
	for k, v := range n.Labels {
		_, given := want.Labels[k]
		if !strings.HasPrefix(k, reserved) && !slices.Contains(mine, k) && !given && a.Labels[k] != v {
			return "label " + k + " is a person's (rule 3: ownership)"
		}
	}
	drained := n.Labels[spec.LabelDrained] != ""
	switch {
	case maps.Equal(a.Labels, n.Labels) && a.Availability == n.Availability:
		return "without a difference (rule 10: converged means silent)"
	case a.Availability == n.Availability:
		return ""
	case a.Availability == plan.Drained && want.Drain && a.Labels[spec.LabelDrained] != "":
		return ""
	case a.Availability == plan.Active && !want.Drain && drained && n.Availability == plan.Drained:
		return ""
	}
	return "its availability is a person's (rule 3: ownership)"
}
