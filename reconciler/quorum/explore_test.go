package quorum_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/quorum/quorumtest"
	"github.com/brambled/brambled/reconciler/spec"
)

// The explorer drives planner and model against each other in a world that does its worst: Pis die and return at any step of any
// change, with a new card or without, they are cut off from each other, steps fail or come late, leaders die, people interfere.
// Rules look on.
type explorer struct {
	proptest.Choice
	d     spec.Quorum
	w     quorumtest.World
	lanes []plan.Lane // of the leader, that still run
	lead  string      // whose lanes these are
	// amnesia is true once the store has lost what it said of the Swarm.
	amnesia bool
	// taken is true once the claim of a node that is gone was taken over.
	taken bool
	watch func(e *explorer, p plan.Plan) string
	apply func(e *explorer, before quorumtest.World, a plan.Action) string
	own   func(e *explorer, m quorum.Member, p plan.Plan) string
	tally proptest.Tally
}

// newExplorer makes a cluster of 3 to 7 Pis, blank or with a Swarm of ours, or one with somebody else's.
func newExplorer(c proptest.Choice, count proptest.Tally) *explorer {
	e := &explorer{Choice: c, tally: count}
	e.d = quorumtest.ParseDesired("managers " + e.of("3", "3", "3", "5", "1"))
	var b strings.Builder
	begin := e.UpTo(8)
	for i := range 3 + e.UpTo(5) {
		switch fmt.Fprintf(&b, "pi pi%d ", i+1); {
		case begin < 3:
			fmt.Fprintln(&b, "out")
		case i == 0:
			fmt.Fprintln(&b, "leader")
		case i < 3:
			fmt.Fprintln(&b, e.of("manager", "manager", ""))
		default:
			fmt.Fprintln(&b, e.of("", "", "out", "fresh", "drained", "person=disk:ssd"))
		}
	}
	if begin < 3 {
		b.WriteString("record -\n")
	} else if begin == 3 {
		b.WriteString("record -\nswarm swarm1 foreign\n")
	}
	e.w = quorumtest.ParseWorld(b.String())
	return e
}

// oneIn is one in n chances.
func (e *explorer) oneIn(n int) bool { return e.UpTo(n) == 0 }

func (e *explorer) of(words ...string) string { return proptest.Pick(e.Choice, words) }

func (e *explorer) any() string { return proptest.Pick(e.Choice, e.w.Pis).Name }

// step is one pass of the leader and of each node, and what befalls them. It returns what a rule says against it.
func (e *explorer) step() string {
	if e.lead != e.w.O.Node {
		e.lead, e.lanes = e.w.O.Node, nil // the term has ended, and with it all that was under way
	}
	o := e.observe()
	p := quorum.Plan(e.d, o)
	e.count(p)
	if e.watch != nil {
		if problem := e.watch(e, p); problem != "" {
			return fmt.Sprintf("%s\nplan:\n%s", problem, p)
		}
	}
	e.lanes = append(e.lanes, p.Lanes...)
	for range e.UpTo(3) {
		e.event() // between the plan and its steps
	}
	if problem := e.work(); problem != "" {
		return fmt.Sprintf("%s\nplan:\n%s", problem, p)
	}
	for _, pi := range e.w.Pis {
		if pi.Up && !e.oneIn(3) {
			if problem := e.member(pi.Name); problem != "" {
				return problem
			}
		}
	}
	for range e.UpTo(3) {
		e.event()
	}
	return ""
}

func (e *explorer) observe() quorum.Observed {
	o := e.w.View()
	o.Busy = map[string]bool{}
	for _, l := range e.lanes {
		o.Busy[l.Key] = true
	}
	return o
}

// work lets lanes run, stay or fail.
func (e *explorer) work() string {
	running := e.lanes
	e.lanes = nil
	for _, l := range running {
		switch {
		case e.oneIn(5):
			e.lanes = append(e.lanes, l)
			continue
		case e.oneIn(10):
			continue // failed
		}
		for _, s := range l.Steps {
			if problem := e.do(s.Action); problem != "" {
				return problem
			}
			if e.oneIn(8) {
				break // the daemon was killed between two steps
			}
		}
	}
	return ""
}

func (e *explorer) do(a plan.Action) string {
	before := e.w.Clone()
	e.w = e.w.Clone()
	e.w.Do(a)
	if e.apply != nil {
		return e.apply(e, before, a)
	}
	return ""
}

// member has a node do what it plans about its own part.
func (e *explorer) member(name string) string {
	m := e.w.Member(name)
	p := quorum.PlanMember(e.d, m)
	e.count(p)
	if e.own != nil {
		if problem := e.own(e, m, p); problem != "" {
			return fmt.Sprintf("%s: %s\nplan:\n%s", name, problem, p)
		}
	}
	for _, l := range p.Lanes {
		if problem := e.do(l.Steps[0].Action); problem != "" {
			return problem
		}
	}
	return ""
}

// event is something the world or a person does.
func (e *explorer) event() {
	e.w = e.w.Clone()
	switch e.UpTo(17) {
	case 0, 1:
		e.harm("death", 6, func(w *quorumtest.World) { w.Down(e.any()) })
	case 2, 3, 4:
		e.w.Up(e.any())
	case 5:
		e.harm("re-imaged", 6, func(w *quorumtest.World) { w.Reimage(e.any()) })
	case 6:
		e.harm("partition", 3, func(w *quorumtest.World) { w.Cut(e.any(), e.any()) })
	case 7, 8:
		e.w.Cut()
	case 9:
		e.w.Pass(5 * time.Minute)
	case 10, 11, 12:
		e.w.Pass(time.Minute)
	case 13:
		e.w.Pass(10 * time.Second)
	case 14:
		e.person()
	default:
		e.carry()
	}
}

// harm does harm. That it costs the quorum comes about seldom, or nothing else would: one in so many times. What no machine could
// recover from is left out: a person has to.
func (e *explorer) harm(what string, seldom int, do func(*quorumtest.World)) {
	w := e.w.Clone()
	had, _ := w.Quorum()
	do(&w)
	has, _ := w.Quorum()
	if !w.Recoverable() || had && !has && !e.oneIn(seldom) {
		return
	}
	e.w = w
	e.tally[what]++
	if had && !has {
		e.tally["quorum lost"]++
	}
}

// carry has the Swarm carry out a change.
func (e *explorer) carry() {
	if len(e.w.O.Nodes) == 0 {
		return
	}
	n := proptest.Pick(e.Choice, e.w.O.Nodes)
	if e.w.CarryOne(n.ID) {
		e.tally[map[bool]string{true: "arrived", false: "left its seat"}[n.Manager]]++
	}
}

// person is what a person does.
func (e *explorer) person() {
	name := e.any()
	switch e.UpTo(6) {
	case 0, 1, 2:
		e.d.Nodes = nil
		if e.oneIn(2) {
			e.d.Nodes = []spec.QuorumNode{{Name: name, Drain: e.oneIn(2), Labels: map[string]string{"role": e.of("edge", "core")}}}
		}
	case 3:
		e.d.Nodes = []spec.QuorumNode{{Name: name, Gone: true}}
	case 4:
		e.d.Cluster = e.of("c1", "c1", "")
		e.d.Manage = !e.oneIn(5)
	case 5:
		if e.w.O.Swarm.ID != "" && e.oneIn(2) {
			e.d.Adopt = e.w.O.Swarm.ID
		} else if e.w.O.Control {
			e.w.O.Record, e.amnesia = quorum.Record{}, true // the store was lost
		}
	}
}

// settle ends all faults, of those that are away brings some back where the quorum needs them, and plays on until the plan stays
// empty. It returns what is wrong with the end.
func (e *explorer) settle() string {
	e.d.Cluster, e.d.Manage, e.lanes = "c1", true, nil
	e.w = e.w.Clone()
	e.w.Cut()
	if ok, _ := e.w.Quorum(); !ok || e.oneIn(2) {
		for _, p := range e.w.Pis {
			e.w.Up(p.Name)
		}
	}
	w, p, problem := settled(e.d, e.w, func(quorumtest.World) bool { return false })
	if problem != "" {
		return problem
	}
	if problem := reached(e.d, w, p); problem != "" {
		return fmt.Sprintf("%s\nplan:\n%s\ndesired: %+v", problem, p, e.d)
	}
	return ""
}

// settled plays a world without faults to its end, or to a state of which the end is known.
func settled(d spec.Quorum, w quorumtest.World, known func(quorumtest.World) bool) (quorumtest.World, plan.Plan, string) {
	var p plan.Plan
	for quiet, n := 0, 0; quiet < 3 && !known(w); n++ {
		if n > 80 {
			return w, p, fmt.Sprintf("no rest after %d passes:\n%s\n%s", n, p, quorumtest.Show(w))
		}
		before := w.O.Node + "\n" + quorumtest.Show(w)
		p = quorum.Plan(d, w.View())
		if err := quorum.Check(d, w.View(), p); err != nil {
			return w, p, fmt.Sprintf("Check refuses: %v\n%s", err, p)
		}
		for _, l := range p.Lanes {
			for _, s := range l.Steps {
				w.Do(s.Action)
			}
		}
		idle := p.Empty()
		for _, pi := range w.Pis {
			own := plan.Plan{}
			if pi.Up {
				own = quorum.PlanMember(d, w.Member(pi.Name))
			}
			for _, l := range own.Lanes {
				idle = false
				w.Do(l.Steps[0].Action)
			}
		}
		w.Carry()
		w.Pass(2 * time.Minute)
		if quiet++; !idle || p.WakeAfter > 0 || before != w.O.Node+"\n"+quorumtest.Show(w) {
			quiet = 0
		}
	}
	return w, p, ""
}

// reached reports what is not as it should be at the end. With enough nodes there, all managers are there and as many as wanted.
func reached(d spec.Quorum, w quorumtest.World, p plan.Plan) string {
	if w.O.Swarm.Cluster != d.Cluster {
		if len(p.Waits) == 0 && d.Wanted {
			return "no Swarm of ours, and nothing is said:\n" + quorumtest.Show(w)
		}
		return ""
	}
	able, known, alive, seats := 0, map[string]bool{}, 0, 0
	for _, n := range w.O.Nodes {
		i := slices.IndexFunc(w.Pis, func(p quorumtest.Pi) bool { return p.ID == n.ID })
		name := n.Labels[spec.LabelNode]
		want := d.Node(name)
		known[name] = known[name] || !want.Gone && name != ""
		up := i >= 0 && w.Pis[i].Up
		if n.Seat {
			seats++
		}
		if n.Seat && up {
			alive++
		}
		if up && (n.Seat || n.Availability == plan.Active && !want.Drain && !want.Gone) {
			able++
		}
	}
	for name, is := range known {
		if !is {
			delete(known, name)
		}
	}
	target := max(min(d.Managers, len(known)), 1)
	target -= (target + 1) % 2
	switch {
	case !w.O.Control:
		return "no quorum although everything was given:\n" + quorumtest.Show(w)
	case able >= target && (seats != target || alive != target):
		return fmt.Sprintf("%d able nodes, %d managers of which %d live, and %d should be:\n%s\n%s", able, seats, alive, target, quorumtest.Show(w), p)
	case seats != target && len(p.Waits) == 0:
		return "not enough managers, and nothing is said:\n" + quorumtest.Show(w)
	case seats%2 == 0:
		return "an even number of managers at rest:\n" + quorumtest.Show(w)
	}
	return ghosts(d, w)
}

// ghosts reports records of Pis that are there under another identity.
func ghosts(d spec.Quorum, w quorumtest.World) string {
	for _, n := range w.O.Nodes {
		for _, p := range w.Pis {
			if p.Name == n.Labels[spec.LabelNode] && p.Up && p.State == quorum.Active && p.ID != n.ID && !n.Seat {
				return n.ID + " is a ghost of " + p.Name + ":\n" + quorumtest.Show(w)
			}
		}
		if name := n.Labels[spec.LabelNode]; d.Node(name).Gone && !n.Ready && !n.Seat {
			return n.ID + " was removed by a person and is still there"
		}
	}
	return ""
}

// count counts what a plan decides.
func (e *explorer) count(p plan.Plan) {
	for _, w := range p.Waits {
		e.tally["wait: "+string(w.For)]++
	}
	for _, l := range p.Lanes {
		for _, s := range l.Steps {
			e.tally["reason: "+string(s.Reason)]++
			e.tally[strings.TrimPrefix(fmt.Sprintf("%T", s.Action), "plan.")]++
		}
	}
	if e.w.O.Control {
		e.tally["with quorum"]++
	} else {
		e.tally["without quorum"]++
	}
}
