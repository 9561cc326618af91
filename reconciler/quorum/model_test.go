package quorum_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/quorum/quorumtest"
	"github.com/brambled/brambled/reconciler/spec"
)

// TestModel visits the states that a small cluster can get into, breadth first, up to a bound that a long run lifts: at each step of each promotion, demotion, join and
// removal any Pi may die, return, come back with a new card or be cut off, time may pass or not, and a step may be carried out
// after the world has changed behind the plan's back. In each state it holds that
//
//   - no step turns a Swarm with quorum into one without, nor does Swarm when it carries the step out;
//   - a plan changes the membership of one node, and of none while Swarm carries out another's change;
//   - nothing is changed without quorum;
//   - Check takes the plan;
//   - when the faults end and the quorum is there, or all Pis are, the Swarm gets back to its target.
func TestModel(t *testing.T) {
	tests := []struct {
		name, desired, world string
		states               int // at least so many are found, or the model has lost its way
		faults               int // at most so many at a time
	}{
		{"FromBlank", "", "pi pi1 out\npi pi2 out\npi pi3 out\nrecord -", 1000, 2},
		{"ThreeOfThree", "", "pi pi1 leader\npi pi2 manager\npi pi3 manager", 500, 2},
		{"ThreeOfFour", "", "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4", 2000, 2},
		{"OneToThree", "", "pi pi1 leader\npi pi2\npi pi3\npi pi4", 2000, 2},
		{"DrainOfFour", "node pi2 drain", "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4", 2000, 2},
		{"RemovalOfFour", "node pi2 gone", "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4", 1000, 2},
		{"FiveOfFive", "managers 5", "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4\npi pi5", 2000, 1},
		{"SevenToThree", "", "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4 manager\npi pi5 manager\npi pi6\npi pi7", 2000, 1},
	}
	count, most := proptest.Tally{}, 1000
	if os.Getenv("BRAMBLED_RAPID_CHECKS") != "" {
		most = 20_000 // the long run; 100000 took two minutes and a half
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := model{t: t, d: quorumtest.ParseDesired(tt.desired), faults: tt.faults, count: count, good: map[string]bool{}}
			m.explore(quorumtest.ParseWorld(tt.world), most)
			if len(m.queue) < tt.states {
				t.Errorf("only %d states", len(m.queue))
			}
			t.Logf("%d states, %d of them entered", len(m.queue), min(most, len(m.queue)))
			count["states"] += len(m.queue)
		})
	}
	t.Run("Outcomes", func(t *testing.T) {
		count.Require(t, []string{
			"PromoteNode", "DemoteNode", "DropNode", "JoinSwarm", "LeaveSwarm", "InitSwarm", "late PromoteNode", "late DemoteNode", "late DropNode",
			"arrived", "left its seat", "death", "return", "re-imaged", "cut off", "quorum lost", "back to the target", "all returned",
			"reason: away longer than the hold-down", "reason: its Pi has another identity now", "reason: nobody takes the next seat",
			"reason: to take over a seat", "reason: too few managers", "reason: too many managers", "reason: its seat is needed after all",
		})
	})
}

// model is one exploration.
type model struct {
	t      *testing.T
	d      spec.Quorum
	faults int
	count  proptest.Tally
	seen   map[string]bool
	good   map[string]bool // states from which the target is known to be reached
	queue  []visit
}

type visit struct {
	w     quorumtest.World
	trace []string
}

func (m *model) explore(w quorumtest.World, most int) {
	m.seen = map[string]bool{}
	m.visit(visit{w, nil}, "start", w)
	for i := 0; i < len(m.queue) && i < most && !m.t.Failed(); i++ {
		m.judge(m.queue[i])
		m.world(m.queue[i])
		m.leader(m.queue[i])
		m.queue[i].w = quorumtest.World{}
	}
}

// visit notes a state to be looked at, unless it was.
func (m *model) visit(from visit, how string, w quorumtest.World) {
	raw := "raw\n" + key(w)
	if m.seen[raw] {
		return
	}
	m.seen[raw] = true
	w = m.routine(w)
	if k := key(w); !m.seen[k] {
		m.seen[k] = true
		m.queue = append(m.queue, visit{w, append(slices.Clip(from.trace), how)})
	}
}

func (m *model) fail(v visit, w quorumtest.World, problem string) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter: %s\nfrom:\n%sto:\n%s", problem, strings.Join(v.trace, ", "), quorumtest.Show(v.w), quorumtest.Show(w))
}

// routine does what changes nobody's membership: labels, the invitation. It would only multiply the states.
func (m *model) routine(w quorumtest.World) quorumtest.World {
	w = w.Clone()
	for done := false; !done; {
		done = true
		p := quorum.Plan(m.d, w.View())
		for _, l := range p.Lanes {
			for _, s := range l.Steps {
				switch s.Action.(type) {
				case plan.PublishSwarm, plan.SetNode, plan.ConfigureSwarm:
					w.Do(s.Action)
					done = false
				default:
				}
			}
		}
	}
	return w
}

// key tells states apart. Ids and versions are left out, but for whether a record is its Pi's; of the durations what planning asks.
func key(w quorumtest.World) string {
	var out []string
	for _, n := range w.O.Nodes {
		own := slices.ContainsFunc(w.Pis, func(p quorumtest.Pi) bool { return p.ID == n.ID })
		out = append(out, fmt.Sprint(n.Host, own, n.Manager, n.Seat, n.Ready, n.Reachable, n.Leader, n.Availability, n.ReadyFor >= quorum.Settle, n.ReadyFor >= time.Minute, n.AwayFor >= 5*time.Minute, n.PendingFor >= 5*time.Minute, len(n.Labels)))
	}
	for _, p := range w.Pis {
		out = append(out, fmt.Sprint(p.Name, p.Up, p.Cut, p.State))
	}
	slices.Sort(out)
	return strings.Join(append(out, w.O.Node, w.O.Record.Forming, fmt.Sprint(len(w.O.Record.Managers), w.O.Record.FormingFor, w.O.SameFor >= 2*time.Minute)), "\n")
}

// world is what befalls it.
func (m *model) world(v visit) {
	faults := 0
	for _, p := range v.w.Pis {
		if !p.Up || p.Cut {
			faults++
		}
	}
	for _, p := range v.w.Pis {
		switch {
		case p.Cut:
			m.befall(v, "return", p.Name, func(w *quorumtest.World) { w.Cut() })
		case !p.Up:
			m.befall(v, "return", p.Name, func(w *quorumtest.World) { w.Up(p.Name) })
			if len(ghostly(v.w)) > 1 {
				break // without an end to it there would be no end of states
			}
			m.befall(v, "re-imaged", p.Name, func(w *quorumtest.World) { w.Reimage(p.Name) })
		case faults < m.faults:
			m.befall(v, "death", p.Name, func(w *quorumtest.World) { w.Down(p.Name) })
			if faults == 0 {
				m.befall(v, "cut off", p.Name, func(w *quorumtest.World) { w.Cut(p.Name) })
			}
		}
		if p.Up {
			m.member(v, p.Name)
		}
	}
	m.befall(v, "time", "", func(w *quorumtest.World) { w.Pass(5 * time.Minute) })
	m.befall(v, "a moment", "", func(w *quorumtest.World) { w.Pass(quorum.Settle) })
	for _, n := range v.w.O.Nodes {
		was, _ := v.w.Quorum()
		w := v.w.Clone()
		if !w.CarryOne(n.ID) {
			continue
		}
		m.count[map[bool]string{true: "arrived", false: "left its seat"}[n.Manager]]++
		if is, _ := w.Quorum(); was && !is {
			m.fail(v, w, "Swarm carried out what cost the quorum")
		}
		m.visit(v, "carried out for "+n.ID, w)
	}
}

// ghostly are the ids of records whose Pi has another identity by now.
func ghostly(w quorumtest.World) []string {
	var out []string
	for _, n := range w.O.Nodes {
		if !slices.ContainsFunc(w.Pis, func(p quorumtest.Pi) bool { return p.ID == n.ID }) {
			out = append(out, n.ID)
		}
	}
	return out
}

func (m *model) befall(v visit, what, whom string, do func(*quorumtest.World)) {
	w := v.w.Clone()
	had, _ := w.Quorum()
	do(&w)
	if !w.Recoverable() {
		return
	}
	m.count[what]++
	if has, _ := w.Quorum(); had && !has {
		m.count["quorum lost"]++
	}
	m.visit(v, what+" "+whom, w)
}

// member has a node do what it plans.
func (m *model) member(v visit, name string) {
	own := v.w.Member(name)
	p := quorum.PlanMember(m.d, own)
	if err := quorum.CheckMember(m.d, own, p); err != nil {
		m.fail(v, v.w, err.Error())
	}
	for _, l := range p.Lanes {
		m.step(v, v.w, l.Steps[0].Action, "")
	}
}

// leader has the leader do what it plans: at once, and after another Pi has died meanwhile.
func (m *model) leader(v visit) {
	o := v.w.View()
	p := quorum.Plan(m.d, o)
	if err := quorum.Check(m.d, o, p); err != nil {
		m.fail(v, v.w, err.Error())
	}
	ok, _ := v.w.Quorum()
	changes, under := 0, pending(v.w.O)
	for _, l := range p.Lanes {
		for _, s := range l.Steps {
			m.count["reason: "+string(s.Reason)]++
			id := target(s.Action)
			if id == "" {
				continue
			}
			if changes++; changes > 1 || len(under) > 0 && !slices.Contains(under, id) {
				m.fail(v, v.w, "a second change of membership: "+p.String())
			}
			if !ok {
				m.fail(v, v.w, "a change without quorum: "+p.String())
			}
			m.step(v, v.w, s.Action, "")
			for _, pi := range v.w.Pis {
				if w := v.w.Clone(); pi.Up {
					w.Down(pi.Name)
					m.step(v, w, s.Action, "late ")
				}
			}
		}
	}
	m.form(v, p)
}

// form has the leader claim, and form, the Swarm.
func (m *model) form(v visit, p plan.Plan) {
	w := v.w.Clone()
	for _, l := range p.Lanes {
		for _, s := range l.Steps {
			switch s.Action.(type) {
			case plan.ClaimSwarm, plan.InitSwarm:
				w = w.Clone()
				w.Do(s.Action)
				m.count[strings.TrimPrefix(fmt.Sprintf("%T", s.Action), "plan.")]++
				m.visit(v, s.Action.String(), w)
			default:
			}
		}
	}
}

func (m *model) step(v visit, w quorumtest.World, a plan.Action, late string) {
	was, _ := w.Quorum()
	after := w.Clone()
	after.Do(a)
	m.count[late+strings.TrimPrefix(fmt.Sprintf("%T", a), "plan.")]++
	if is, _ := after.Quorum(); was && !is {
		m.fail(v, after, late+a.String()+" cost the quorum")
	}
	m.visit(v, late+a.String(), after)
}

// judge ends the faults: where there is no quorum all Pis return, else nobody does. From there the target must be reached.
func (m *model) judge(v visit) {
	w := v.w.Clone()
	w.Cut()
	what := "back to the target"
	if ok, _ := w.Quorum(); !ok {
		what = "all returned"
		for _, p := range w.Pis {
			w.Up(p.Name)
		}
	}
	m.count[what]++
	var way []string
	known := false
	end, p, problem := settled(m.d, w, func(w quorumtest.World) bool {
		k := key(w)
		way = append(way, k)
		known = m.good[k]
		return known
	})
	if problem == "" && !known {
		problem = reached(m.d, end, p)
	}
	if problem != "" {
		m.fail(v, w, problem+"\nplan:\n"+p.String())
	}
	for _, k := range way {
		m.good[k] = true
	}
}
