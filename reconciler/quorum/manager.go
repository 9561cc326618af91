package quorum

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// planManagers decides on the next change of who is in the Swarm and who has a seat. There is one at a time: none is made while
// another is planned, runs, or is still being carried out by Swarm.
func (p *planner) planManagers() {
	p.sayAway()
	switch {
	case p.busy[laneManagers]:
		p.wait("managers", plan.WaitLane, "")
	case p.o.reachable() < quorum(len(p.o.seats())):
		p.wait("swarm", plan.WaitQuorum, "most of the managers cannot be reached, and nothing is changed without them")
	case p.unsettled() || p.tooMany() || p.deadSeat() || p.tooFew() || p.moveSeat() || p.dropGhost():
	}
}

// Target is how many managers there should be, given who is in the Swarm.
func Target(d spec.Quorum, o Observed) int { return newPlanner(d, o).target() }

// target is how many managers there should be: never an even number, and never more than there are nodes. A node that is away
// counts, whatever the time; only one that a person removed does not.
func (p *planner) target() int {
	known := map[string]bool{}
	for _, n := range p.o.Nodes {
		name := p.o.Name(n)
		if (p.o.named(n) || n.Seat) && !p.d.Node(name).Gone {
			known[name] = true
		}
	}
	for _, m := range p.o.Present { // one that is about to join, or to join anew
		if (m.Swarm == "" || m.Swarm == p.o.Swarm.ID) && !p.d.Node(m.Name).Gone {
			known[m.Name] = true
		}
	}
	target := max(min(p.d.Managers, len(known)), 1)
	return target - (target+1)%2
}

// candidates are the nodes that may become a manager now, in the order in which they are taken.
func (p *planner) candidates() []Node {
	var out []Node
	for _, n := range p.o.Nodes {
		if p.willing(n) && n.Ready && n.ReadyFor >= p.d.ReadyFor && n.Labels[spec.LabelNode] == p.o.Name(n) && !p.moving(laneNode(p.o.Name(n))) {
			out = append(out, n)
		}
	}
	return out
}

// willing reports whether nothing but time keeps a node from being a candidate: brambled is there if the node is, and nobody has
// other plans for it.
func (p *planner) willing(n Node) bool {
	_, here := p.o.at(n.ID)
	want := p.d.Node(p.o.Name(n))
	there := n.Ready && here || !n.Ready && p.o.named(n) && n.AwayFor < p.d.HoldDown && !p.o.reimaged(n)
	return there && !n.Manager && !n.Seat && n.Availability == plan.Active && !want.Drain && !want.Gone
}

// unsettled reports whether Swarm is still carrying out a change of a role, and takes back one that it cannot carry out.
func (p *planner) unsettled() bool {
	for _, n := range p.o.Nodes {
		if n.Manager == n.Seat {
			continue
		}
		p.wakeAfter(poll)
		if n.Seat {
			p.leaving(n)
		} else {
			p.arriving(n)
		}
		return true
	}
	return false
}

// leaving deals with a manager whose seat Swarm has not taken yet. Swarm tries again for ever, and cannot while the others alone
// have no quorum: then the seat is needed for the one that is dead.
func (p *planner) leaving(n Node) {
	name := p.o.Name(n)
	lost := slices.ContainsFunc(p.o.seats(), func(m Node) bool { return m.ID != n.ID && p.dead(m) })
	if lost && n.well() && !p.o.removable(n.ID) {
		p.role(n, plan.PromoteNode{ID: n.ID, Name: name, Version: n.Version}, plan.ReasonKeep)
		return
	}
	p.wait("managers", plan.WaitSwarm, name+" is losing its seat")
}

// arriving deals with a node that is to be a manager and has no seat yet. Swarm takes no promotion back before the node has
// arrived: one that died on the way is removed, or it would take a seat whenever it returned.
func (p *planner) arriving(n Node) {
	name := p.o.Name(n)
	switch {
	case !n.Ready && p.dead(n):
		p.drop(n, p.gone(n))
	case !n.Ready:
		p.wakeAfter(left(p.d.HoldDown, n.AwayFor))
		p.wait("managers", plan.WaitHoldDown, fmt.Sprintf("%s went away while it was becoming a manager; it is removed if it is not back in %s", name, about(left(p.d.HoldDown, n.AwayFor))))
	case n.PendingFor >= p.d.HoldDown:
		p.wait("managers", plan.WaitForeign, name+" should have become a manager long ago; on it: journalctl -u docker, and whether the managers' port 2377 can be reached")
	default:
		p.wait("managers", plan.WaitSwarm, name+" is becoming a manager")
	}
}

// tooMany takes a surplus seat away. While one of the managers is away it is not clear whose.
func (p *planner) tooMany() bool {
	seats := p.o.seats()
	if len(seats) <= p.target() {
		return false
	}
	if slices.ContainsFunc(seats, func(n Node) bool { return !n.well() && !p.dead(n) }) {
		return true // said by sayAway
	}
	if !p.steady(seats) {
		return true
	}
	n, why := p.dispensable(seats), plan.ReasonTooMany
	switch want := p.d.Node(p.o.Name(n)); {
	case want.Gone || p.dead(n):
		why = p.gone(n)
	case want.Drain:
		why = plan.ReasonDrain
	}
	p.demote(n, why)
	return true
}

// dispensable is the manager whose seat is missed least: a dead one, then one that is to go or drained; Swarm's leader only
// where nobody else is left, and the leader of brambled before that, because both would have to be elected anew.
func (p *planner) dispensable(seats []Node) Node {
	rank := func(n Node) int {
		name := p.o.Name(n)
		want := p.d.Node(name)
		switch {
		case p.dead(n):
			return 0
		case want.Gone:
			return 1
		case want.Drain:
			return 2
		case n.Leader:
			return 5
		case name == p.o.Node:
			return 4
		}
		return 3
	}
	return slices.MinFunc(seats, func(a, b Node) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(lead(a), lead(b)), cmp.Compare(p.o.Name(b), p.o.Name(a)), cmp.Compare(b.ID, a.ID))
	})
}

func lead(n Node) int {
	if n.Leader {
		return 1
	}
	return 0
}

// deadSeat takes the seat of a dead manager away, and only then somebody takes it over: the other way round a successor that
// fails while it joins would cost the quorum. Without a successor the dead keep their seats, because a lower number of seats
// that all are needed is no better. Of an even number the dead one only adds to what must be reached.
func (p *planner) deadSeat() bool {
	seats := p.o.seats()
	i := slices.IndexFunc(seats, p.dead)
	if i < 0 {
		return false
	}
	n := seats[i]
	if len(seats)%2 == 1 && len(p.candidates()) == 0 {
		p.wait("managers", plan.WaitCandidate, p.o.Name(n)+" is dead and keeps its seat until a node can take it over"+p.coming())
		return false
	}
	if p.steady(seats) {
		p.demote(n, p.gone(n))
	}
	return true
}

// tooFew gives a seat to the next candidate. From an odd number the way leads over an even one, which bears no more losses and
// has more to lose: it begins only when two stand ready. It must not be stuck there: when nobody comes any more, it goes back.
func (p *planner) tooFew() bool {
	seats, candidates := p.o.seats(), p.candidates()
	n := len(seats)
	if n >= p.target() {
		return false
	}
	even := n%2 == 0
	switch begin := even && len(candidates) > 0 || len(candidates) > 1 && p.bears(n); {
	case begin && p.steady(seats):
		p.promote(candidates, plan.ReasonTooFew)
	case begin:
	case even && !slices.ContainsFunc(p.o.Nodes, p.willing) && p.o.reachable() == n && p.steady(seats):
		p.back(seats)
	default:
		p.wait("managers", plan.WaitCandidate, fmt.Sprintf("%d of %d%s", n, p.target(), p.coming()))
		return false
	}
	return true
}

// back takes the way back from an even number, once nobody has come or gone for so long that a node which joins anew would have.
func (p *planner) back(seats []Node) {
	rest := left(2*p.d.ReadyFor, p.o.SameFor)
	if rest == 0 {
		p.demote(p.dispensable(seats), plan.ReasonAlone)
		return
	}
	p.wait("managers", plan.WaitCandidate, fmt.Sprintf("%d of %d, and no node is there for the next seat; in %s one is given back", len(seats), p.target(), about(rest)))
	p.wakeAfter(rest)
}

// bears reports whether the quorum of one more manager can be reached without that one: a joiner that fails must cost nothing.
// A single manager has nothing to spare.
func (p *planner) bears(n int) bool { return n == 1 || p.o.reachable() >= quorum(n+1) }

// steady reports whether the managers that are there have been so for a moment.
func (p *planner) steady(seats []Node) bool {
	for _, n := range seats {
		if n.well() && n.ReadyFor < Settle {
			p.wait("managers", plan.WaitSwarm, p.o.Name(n)+" has only just become a manager, or come back")
			p.wakeAfter(left(Settle, n.ReadyFor))
			return false
		}
	}
	return true
}

// moveSeat begins to move the seat of a manager that is drained or removed and still there. Here the successor comes first:
// nobody is dead, so four of four are there in between, and one of them may die.
func (p *planner) moveSeat() bool {
	seats, candidates := p.o.seats(), p.candidates()
	i := slices.IndexFunc(seats, func(n Node) bool {
		want := p.d.Node(p.o.Name(n))
		return want.Drain || want.Gone
	})
	if i < 0 {
		return false
	}
	switch {
	case len(candidates) == 0:
		p.wait("managers", plan.WaitCandidate, p.o.Name(seats[i])+" keeps its seat until a node can take it over"+p.coming())
		return false
	case p.o.reachable() < len(seats) || !p.bears(len(seats)) || !p.steady(seats):
		return false
	}
	p.promote(candidates, plan.ReasonSeat)
	return true
}

// coming says which nodes will be candidates, or may be, and when that is known.
func (p *planner) coming() string {
	var text strings.Builder
	for _, n := range p.o.Nodes {
		if !p.willing(n) {
			continue
		}
		ready, back := left(p.d.ReadyFor, n.ReadyFor), left(p.d.HoldDown, n.AwayFor)
		switch {
		case !n.Ready:
			fmt.Fprintf(&text, "; %s may be back within %s", p.o.Name(n), about(back))
			p.wakeAfter(back)
		case ready > 0:
			fmt.Fprintf(&text, "; %s can in %s", p.o.Name(n), about(ready))
			p.wakeAfter(ready)
		}
	}
	return text.String()
}

// sayAway says of managers that are away how long they keep their seats.
func (p *planner) sayAway() {
	for _, n := range p.o.seats() {
		if !n.well() && !p.dead(n) {
			rest := left(p.d.HoldDown, n.AwayFor)
			p.wait("manager "+p.o.Name(n), plan.WaitHoldDown, fmt.Sprintf("it is away, and counts as dead in %s", about(rest)))
			p.wakeAfter(rest)
		}
	}
}

// promote gives the next seat to the first candidate whose promotion has not failed only just now, and whose engine will find a
// manager. Once a dead manager has lost its seat, an engine learns that from the Swarm.
func (p *planner) promote(candidates []Node, why plan.Reason) {
	stale := candidates[0]
	if candidates = slices.DeleteFunc(candidates, func(n Node) bool { return p.o.lost(n) != "" }); len(candidates) == 0 {
		p.wait("managers", plan.WaitSwarm, fmt.Sprintf("the engine of %s has yet to learn that the manager at %s is not there", p.o.Name(stale), p.o.lost(stale)))
		p.wakeAfter(poll)
		return
	}
	f := p.failures[laneManagers]
	n := candidates[0]
	if i := slices.IndexFunc(candidates, func(n Node) bool { return f.RetryIn == 0 || f.For != "promote "+n.ID }); i > 0 {
		n = candidates[i]
	}
	p.role(n, plan.PromoteNode{ID: n.ID, Name: p.o.Name(n), Version: n.Version}, why)
}

func (p *planner) demote(n Node, why plan.Reason) {
	if !p.o.removable(n.ID) {
		p.wait("managers", plan.WaitQuorum, p.o.Name(n)+" cannot lose its seat: the others alone have no quorum")
		return
	}
	p.role(n, plan.DemoteNode{ID: n.ID, Name: p.o.Name(n), Version: n.Version}, why)
}

func (p *planner) drop(n Node, why plan.Reason) {
	p.role(n, plan.DropNode{ID: n.ID, Name: p.o.Name(n)}, why)
}

// role puts the one change of membership into the plan. A lane that writes to the same node's record comes first.
func (p *planner) role(n Node, a plan.Action, why plan.Reason) {
	name := p.o.Name(n)
	if _, drop := a.(plan.DropNode); !drop && p.moving(laneNode(name)) {
		p.wait("managers", plan.WaitLane, "node "+name)
		return
	}
	verb := map[bool]string{true: "promote ", false: "demote "}
	_, up := a.(plan.PromoteNode)
	p.add(laneManagers, "managers", verb[up]+n.ID, plan.Step{Action: a, Reason: why})
}
