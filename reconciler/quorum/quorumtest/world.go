package quorumtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
)

// World is some Pis and their Swarm. O is what is true; of it a leader sees what [World.View] shows.
type World struct {
	O   quorum.Observed
	Pis []Pi // sorted by name
}

// Pi is one of them: what its engine remembers, and whether it is there.
type Pi struct {
	Name, Address string
	ID, Swarm     string // of its engine
	State         quorum.State
	Up            bool
	// Cut is a Pi on the other side of a partition.
	Cut bool
	// Deaf is one whose raft cannot be reached although the rest of it can.
	Deaf bool
	// Knows are the managers its engine knows.
	Knows []string
}

// Clone copies a world, but for labels, which are never changed in place.
func (w World) Clone() World {
	w.Pis = slices.Clone(w.Pis)
	w.O.Nodes = slices.Clone(w.O.Nodes)
	w.O.Present = slices.Clone(w.O.Present)
	w.O.Busy, w.O.Failures = maps.Clone(w.O.Busy), maps.Clone(w.O.Failures)
	return w
}

// Pi returns the Pi of this name.
func (w *World) Pi(name string) *Pi {
	i := slices.IndexFunc(w.Pis, func(p Pi) bool { return p.Name == name })
	if i < 0 {
		panic("no Pi " + name)
	}
	return &w.Pis[i]
}

// there reports whether a Pi is up, on one side of the partition.
func (p Pi) there(cut bool) bool { return p.Up && p.Cut == cut }

// Quorum reports whether the managers that are up and reach each other are enough to change the Swarm, and on which side.
func (w World) Quorum() (ok, cut bool) {
	for _, cut := range []bool{false, true} {
		seats, reached := 0, 0
		for _, n := range w.O.Nodes {
			if !n.Seat {
				continue
			}
			seats++
			if p, ok := w.at(n.ID); ok && p.there(cut) && !p.Deaf {
				reached++
			}
		}
		if seats > 0 && reached > seats/2 {
			return true, cut
		}
	}
	return false, false
}

func (w World) at(id string) (Pi, bool) {
	i := slices.IndexFunc(w.Pis, func(p Pi) bool { return p.ID == id && id != "" })
	if i < 0 {
		return Pi{}, false
	}
	return w.Pis[i], true
}

// Refresh has the Swarm and the store notice how the Pis are.
func (w *World) Refresh() {
	ok, cut := w.Quorum()
	w.O.Present = nil
	for i := range w.Pis {
		p := &w.Pis[i]
		known := slices.ContainsFunc(w.O.Nodes, func(n quorum.Node) bool { return n.ID == p.ID })
		if p.State == quorum.Active && p.Swarm == w.O.Swarm.ID && !known {
			p.State = quorum.Pending // no manager takes it
		}
		if p.there(cut) {
			w.O.Present = append(w.O.Present, quorum.Presence{Name: p.Name, Address: p.Address, ID: p.ID, Swarm: p.Swarm, State: p.State, Knows: p.Knows})
		}
	}
	for i := range w.O.Nodes {
		w.notice(&w.O.Nodes[i], cut)
	}
	w.elect(ok, cut)
}

// notice brings what the Swarm says of a node up to date. Its version changes with its state.
func (w *World) notice(n *quorum.Node, cut bool) {
	p, here := w.at(n.ID)
	ready := here && p.there(cut) && p.State == quorum.Active
	reachable := n.Seat && ready && !p.Deaf
	well, was := ready && (!n.Seat || reachable), n.ReadyFor > 0 || n.AwayFor == 0
	if n.Ready != ready || n.Reachable != reachable {
		n.Version++
	}
	n.Ready, n.Reachable, n.Leader = ready, reachable, n.Leader && reachable
	if well != was {
		n.ReadyFor, n.AwayFor = 0, 0
	}
	if !well && n.AwayFor == 0 {
		n.ReadyFor, n.AwayFor = 0, time.Second
	}
	if n.Seat && n.Address == "" {
		n.Address = p.Address + ":2377"
	}
}

// elect has the Swarm elect a leader, and brambled one that can change the Swarm.
func (w *World) elect(ok, cut bool) {
	reachable := slices.IndexFunc(w.O.Nodes, func(n quorum.Node) bool { return n.Reachable })
	if ok && !slices.ContainsFunc(w.O.Nodes, func(n quorum.Node) bool { return n.Leader }) {
		w.O.Nodes[reachable].Leader = true
	}
	lead := func(n quorum.Node) bool {
		p, here := w.at(n.ID)
		return here && n.Reachable && p.Name == w.O.Node
	}
	if ok && !slices.ContainsFunc(w.O.Nodes, lead) {
		p, _ := w.at(w.O.Nodes[reachable].ID)
		w.O.Node = p.Name
	}
	if !ok && !w.Pi(w.O.Node).there(cut) { // any node may lead
		if i := slices.IndexFunc(w.Pis, func(p Pi) bool { return p.there(cut) }); i >= 0 {
			w.O.Node = w.Pis[i].Name
		}
	}
	w.O.Control, w.O.State = ok, w.Pi(w.O.Node).State
	w.O.Manager = slices.ContainsFunc(w.O.Nodes, func(n quorum.Node) bool { return n.Seat && n.ID == w.id(w.O.Node) })
}

func (w *World) id(name string) string { return w.Pi(name).ID }

// View is what the leader observes.
func (w World) View() quorum.Observed {
	o := w.Clone().O
	if !o.Control {
		o.Nodes, o.Swarm = nil, quorum.Swarm{}
	}
	return o
}

// Member is what a Pi observes of itself.
func (w World) Member(name string) quorum.Member {
	p := w.Pi(name)
	seat := slices.ContainsFunc(w.O.Nodes, func(n quorum.Node) bool { return n.Seat && n.ID == p.ID })
	return quorum.Member{Node: name, Address: p.Address, State: p.State, ID: p.ID, Swarm: p.Swarm, Manager: seat, Record: w.O.Record}
}

// Do carries out an action, if there is a quorum for it.
func (w *World) Do(a plan.Action) {
	switch a := a.(type) {
	case plan.PromoteNode, plan.DemoteNode, plan.DropNode, plan.SetNode, plan.ConfigureSwarm, plan.JoinSwarm:
		if !w.O.Control {
			return
		}
	case plan.ClaimSwarm, plan.InitSwarm:
		if !w.Pi(w.O.Node).Up {
			return
		}
	case plan.LeaveSwarm:
		if p := w.Pi(a.Node); p.ID == a.ID && !w.Member(a.Node).Manager {
			p.ID, p.Swarm, p.State = "", "", quorum.Inactive
		}
		w.Refresh()
		return
	default:
	}
	before := roles(w.O)
	if w.O = quorum.Simulate(w.O, a); roles(w.O) != before {
		w.O.SameFor = 0
	}
	if init, ok := a.(plan.InitSwarm); ok && len(w.O.Nodes) == 1 && w.O.Nodes[0].Host == init.Node {
		p := w.Pi(init.Node)
		p.ID, p.Swarm, p.State = w.O.Nodes[0].ID, w.O.Swarm.ID, quorum.Active
	}
	for _, m := range w.O.Present {
		p := w.Pi(m.Name)
		p.ID, p.Swarm, p.State = m.ID, m.Swarm, m.State
	}
	w.Refresh()
}

// roles are who is in the Swarm, in which role.
func roles(o quorum.Observed) string {
	var out []string
	for _, n := range o.Nodes {
		out = append(out, fmt.Sprint(n.ID, n.Manager, n.Seat))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Down takes a Pi's power, Up gives it back; Reimage does it with a new card, from which a Pi is in no Swarm.
func (w *World) Down(name string) { w.Pi(name).Up = false; w.Refresh() }

// Up gives a Pi its power back.
func (w *World) Up(name string) { w.Pi(name).Up = true; w.Refresh() }

// Reimage writes a Pi's card anew.
func (w *World) Reimage(name string) {
	p := w.Pi(name)
	p.ID, p.Swarm, p.State, p.Up = "", "", quorum.Inactive, true
	w.Refresh()
}

// Recoverable reports whether the managers have a quorum once every Pi is up: that is all that may be asked of a machine.
func (w World) Recoverable() bool {
	seats, living := 0, 0
	for _, n := range w.O.Nodes {
		if n.Seat {
			seats++
			if _, ok := w.at(n.ID); ok {
				living++
			}
		}
	}
	return seats == 0 || living > seats/2
}

// Cut puts Pis on the other side of a partition; none ends it.
func (w *World) Cut(names ...string) {
	for i := range w.Pis {
		w.Pis[i].Cut = slices.Contains(names, w.Pis[i].Name)
	}
	w.Refresh()
}

// Pass lets time pass.
func (w *World) Pass(d time.Duration) {
	for i := range w.O.Nodes {
		n := &w.O.Nodes[i]
		if n.Ready && (!n.Seat || n.Reachable) {
			n.ReadyFor += d
		} else {
			n.AwayFor += d
		}
		if n.Manager != n.Seat {
			n.PendingFor += d
		}
	}
	w.O.SameFor += d
	if w.O.Record.Forming != "" {
		w.O.Record.FormingFor += d
	}
}

// Carry has the Swarm carry out what it was asked for: who was promoted gets there, who was demoted loses the seat. Each returns
// the ids of those for whom it did.
func (w *World) Carry() (changed []string) {
	for i := range w.O.Nodes {
		if w.CarryOne(w.O.Nodes[i].ID) {
			changed = append(changed, w.O.Nodes[i].ID)
		}
	}
	return changed
}

// CarryOne does it for one node.
func (w *World) CarryOne(id string) bool {
	ok, cut := w.Quorum()
	i := slices.IndexFunc(w.O.Nodes, func(n quorum.Node) bool { return n.ID == id })
	n := &w.O.Nodes[i]
	if !ok || n.Manager == n.Seat {
		return false
	}
	p, here := w.at(n.ID)
	switch {
	case n.Manager && !(here && p.there(cut) && p.State == quorum.Active):
		return false
	case n.Seat && !w.removable(id, cut):
		return false
	}
	n.Seat, n.Reachable, n.ReadyFor, n.PendingFor, w.O.SameFor = n.Manager, n.Manager, 0, 0, 0
	n.Version++
	if !n.Seat {
		n.Address, n.Leader = "", false
	}
	w.Refresh()
	return true
}

// removable is Swarm's own test.
func (w World) removable(id string, cut bool) bool {
	rest, reached := 0, 0
	for _, n := range w.O.Nodes {
		if !n.Seat || n.ID == id {
			continue
		}
		rest++
		if p, ok := w.at(n.ID); ok && p.there(cut) && !p.Deaf {
			reached++
		}
	}
	return rest > 0 && reached > rest/2
}

// Seats are the ids of the managers, sorted.
func (w World) Seats() []string {
	var out []string
	for _, n := range w.O.Nodes {
		if n.Seat {
			out = append(out, n.ID)
		}
	}
	slices.Sort(out)
	return out
}

// Show is the part of a world that lasts, as text.
func Show(w World) string {
	var out []string
	for _, n := range w.O.Nodes {
		l := n.ID + " of " + n.Host
		if n.Seat {
			l += " manager"
		}
		if n.Manager != n.Seat {
			l += map[bool]string{true: " joining", false: " leaving"}[n.Manager]
		}
		if n.Availability != plan.Active {
			l += " " + n.Availability
		}
		if !n.Ready {
			l += " away"
		}
		out = append(out, l)
	}
	slices.Sort(out)
	for _, p := range w.Pis {
		if _, ok := w.at(p.ID); !ok || p.State != quorum.Active {
			out = append(out, "pi "+p.Name+" "+string(p.State))
		}
	}
	if r := w.O.Record; r.SwarmID != "" {
		out = append(out, "record "+r.SwarmID+" "+strings.Join(r.Managers, " "))
	}
	return strings.Join(out, "\n") + "\n"
}
