package quorum_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/quorum/quorumtest"
	"github.com/brambled/brambled/reconciler/spec"
)

func TestMain(m *testing.M) { proptest.Main(m, "60") }

// rule is something that must hold at every moment of every world.
type rule struct {
	name   string
	watch  func(e *explorer, p plan.Plan) string
	apply  func(e *explorer, before quorumtest.World, a plan.Action) string
	own    func(e *explorer, m quorum.Member, p plan.Plan) string
	settle bool // the world must also come to rest, with as many managers as there should be
}

var rules = []rule{
	{name: "Rule1NothingWithoutSoundState", watch: nothingUnsound, own: ownNothingUnsound},
	{name: "Rule3ForeignSwarmUntouched", apply: foreignUntouched},
	{name: "Rule3PersonsLabelsAndDrainStay", apply: personsStay},
	{name: "Rule8NoActionCostsTheQuorum", apply: quorumKept},
	{name: "Rule8OneChangeAtATime", watch: oneChange},
	{name: "Rule8NothingWithoutQuorum", watch: nothingWithoutQuorum},
	{name: "Rule8JoinerMayFail", watch: each(joinerMayFail)},
	{name: "Rule8SeatsAreTakenFromTheDead", watch: each(seatsOfTheDead)},
	{name: "Rule8NeverTwoByChoice", watch: each(neverTwo)},
	{name: "Rule8OnlyTheDeadAreRemoved", watch: each(onlyDeadRemoved)},
	{name: "Rule8AlwaysBackToTheTarget", settle: true},
	{name: "Rule9CarriesTheVersion", watch: each(carriesVersion)},
	{name: "OneSwarm", watch: each(oneSwarm)},
	{name: "MembersLeaveOnlyAsWorkers", own: leavesAsWorker},
	{name: "PlanIsSound", watch: sound, own: ownSound},
}

// outcomes are what the worlds must have led to, or the rules above were not put to the test.
var outcomes = []string{
	"ClaimSwarm", "InitSwarm", "ConfigureSwarm", "PublishSwarm", "PromoteNode", "DemoteNode", "DropNode", "SetNode", "JoinSwarm", "LeaveSwarm",
	"death", "re-imaged", "partition", "arrived", "left its seat", "quorum lost", "with quorum", "without quorum",
	"reason: a stack wants a Swarm", "reason: adopted", "reason: too few managers", "reason: too many managers", "reason: nobody takes the next seat",
	"reason: away longer than the hold-down", "reason: its Pi has another identity now", "reason: removed by a person", "reason: drained by a person",
	"reason: no longer drained", "reason: to take over a seat", "reason: its seat is needed after all", "reason: labels differ",
	"reason: the cluster has a Swarm", "reason: the Swarm has removed it", "reason: so that nodes can join",
	"wait: the store", "wait: the quorum", "wait: a manager", "wait: Swarm", "wait: the hold-down", "wait: a candidate", "wait: a person",
	"wait: a node", "wait: a running step",
}

// TestProperties lets each rule watch worlds of its own, then asserts that they led to every outcome there is.
func TestProperties(t *testing.T) {
	count := proptest.Tally{}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				e := newExplorer(proptest.Draw(t), count)
				e.watch, e.apply, e.own = r.watch, r.apply, r.own
				for range 60 {
					if problem := e.step(); problem != "" {
						t.Fatal(problem + "\nworld:\n" + quorumtest.Show(e.w))
					}
				}
				e.watch, e.apply, e.own = nil, nil, nil
				if r.settle {
					if problem := e.settle(); problem != "" {
						t.Fatal(problem)
					}
				}
			})
		})
	}
	// A test of its own, so that one rule can be run alone.
	t.Run("Outcomes", func(t *testing.T) { count.Require(t, outcomes) })
}

// each looks at each step of a plan.
func each(look func(e *explorer, s plan.Step) string) func(*explorer, plan.Plan) string {
	return func(e *explorer, p plan.Plan) string {
		for _, l := range p.Lanes {
			for _, s := range l.Steps {
				if problem := look(e, s); problem != "" {
					return fmt.Sprintf("%s: %s: %s", l.Key, s, problem)
				}
			}
		}
		return ""
	}
}

func nothingUnsound(e *explorer, p plan.Plan) string {
	if len(p.Lanes) > 0 && (e.d.Cluster == "" || !e.d.Manage) {
		return "planned without a sound state"
	}
	return ""
}

func ownNothingUnsound(e *explorer, _ quorum.Member, p plan.Plan) string { return nothingUnsound(e, p) }

// foreignUntouched: nothing is changed in a Swarm without our label, but for what a person had us take over.
func foreignUntouched(e *explorer, before quorumtest.World, a plan.Action) string {
	o := before.O
	if _, another := a.(plan.InitSwarm); another || o.Swarm.Cluster == "c1" || o.Swarm.ID == "" || o.Swarm.ID == e.d.Adopt || o.Record.Forming != "" && len(o.Nodes) == 1 {
		return ""
	}
	if !slices.Equal(before.Seats(), e.w.Seats()) || len(o.Nodes) != len(e.w.O.Nodes) || o.Swarm.Version != e.w.O.Swarm.Version {
		return "changed by " + a.String()
	}
	return ""
}

// personsStay: no label that brambled did not give, and no drain that it did not order, is ever changed.
func personsStay(e *explorer, before quorumtest.World, a plan.Action) string {
	set, ok := a.(plan.SetNode)
	if !ok {
		return ""
	}
	was, is := find(before.O, set.ID), find(e.w.O, set.ID)
	switch {
	case was.Labels["disk"] != is.Labels["disk"]:
		return "a person's label is gone"
	case was.Availability == plan.Drained && was.Labels[spec.LabelDrained] == "" && is.Availability != plan.Drained:
		return "a person's drain is undone"
	}
	return ""
}

func find(o quorum.Observed, id string) quorum.Node {
	i := slices.IndexFunc(o.Nodes, func(n quorum.Node) bool { return n.ID == id })
	if i < 0 {
		return quorum.Node{}
	}
	return o.Nodes[i]
}

// quorumKept: whatever happened between the plan and its step, no step turns a Swarm with quorum into one without. Swarm's part
// of a change may follow at once.
func quorumKept(e *explorer, before quorumtest.World, a plan.Action) string {
	was, _ := before.Quorum()
	after := e.w.Clone()
	after.Carry()
	if is, _ := after.Quorum(); was && !is {
		return a.String() + " cost the quorum"
	}
	return ""
}

// nameOf is what a node is called: by its label, else by its host name, which is the same here.
func nameOf(n quorum.Node) string { return cmp.Or(n.Labels[spec.LabelNode], n.Host) }

// pending are the ids of nodes whose role is being changed.
func pending(o quorum.Observed) []string {
	var out []string
	for _, n := range o.Nodes {
		if n.Manager != n.Seat {
			out = append(out, n.ID)
		}
	}
	return out
}

// target is the node whose membership an action changes.
func target(a plan.Action) string {
	switch a := a.(type) {
	case plan.PromoteNode:
		return a.ID
	case plan.DemoteNode:
		return a.ID
	case plan.DropNode:
		return a.ID
	default:
		return ""
	}
}

// oneChange: a plan changes the membership of one node, of none while another change runs, and while Swarm carries one out only
// that node's.
func oneChange(e *explorer, p plan.Plan) string {
	var ids []string
	for _, l := range slices.Concat(e.lanes, p.Lanes) {
		for _, s := range l.Steps {
			if id := target(s.Action); id != "" {
				ids = append(ids, id)
			}
		}
	}
	under := pending(e.w.O)
	switch {
	case len(ids) > 1:
		return fmt.Sprintf("changes of %v", ids)
	case len(ids) == 1 && len(p.Lanes) > 0 && len(e.lanes) == 0 && len(under) > 0 && !slices.Contains(under, ids[0]):
		return fmt.Sprintf("a change of %s while Swarm carries out that of %v", ids[0], under)
	}
	return ""
}

func nothingWithoutQuorum(e *explorer, p plan.Plan) string {
	if ok, _ := e.w.Quorum(); e.w.O.Swarm.ID != "" && e.w.O.State == quorum.Active && !ok && len(p.Lanes) > 0 {
		return "planned without quorum"
	}
	return ""
}

// joinerMayFail: with more than one manager there is a quorum even if the promoted node joins and dies at once.
func joinerMayFail(e *explorer, s plan.Step) string {
	a, ok := s.Action.(plan.PromoteNode)
	if !ok || find(e.w.O, a.ID).Seat {
		return ""
	}
	reachable := 0
	for _, n := range e.w.O.Nodes {
		if n.Seat && n.Reachable {
			reachable++
		}
	}
	if members := len(e.w.Seats()) + 1; members > 2 && reachable < members/2+1 {
		return fmt.Sprintf("%d of %d would be left if it failed", reachable, members)
	}
	return ""
}

// seatsOfTheDead goes by what is true of the Pi. A seat is taken from one that is away for the hold-down, is back under another
// identity or was removed by a person; else only where it is one too many, or seats are even.
func seatsOfTheDead(e *explorer, s plan.Step) string {
	a, ok := s.Action.(plan.DemoteNode)
	if !ok {
		return ""
	}
	n := find(e.w.O, a.ID)
	name := nameOf(n)
	lost := n.AwayFor >= e.d.HoldDown || e.d.Node(name).Gone || slices.ContainsFunc(e.w.Pis, func(p quorumtest.Pi) bool {
		return p.Name == name && p.Up && p.ID != n.ID
	})
	seats := len(e.w.Seats())
	switch surplus := seats%2 == 0 || seats > e.d.Managers || e.someGone(); {
	case n.AwayFor > 0 && !lost:
		return "it may come back"
	case n.AwayFor == 0 && !surplus:
		return "it is well"
	case lost && !surplus && e.candidates() == 0:
		return "nobody is Ready to take its seat"
	}
	return ""
}

func (e *explorer) someGone() bool {
	return slices.ContainsFunc(e.d.Nodes, func(n spec.QuorumNode) bool { return n.Gone })
}

// candidates counts nodes that are fit for a seat.
func (e *explorer) candidates() int {
	count := 0
	for _, n := range e.w.O.Nodes {
		want := e.d.Node(nameOf(n))
		if n.Ready && n.ReadyFor >= e.d.ReadyFor && !n.Manager && !n.Seat && n.Availability == plan.Active && !want.Drain && !want.Gone {
			count++
		}
	}
	return count
}

// neverTwo: an even number of managers is entered on purpose only where the way out stands ready.
func neverTwo(e *explorer, s plan.Step) string {
	seats, candidates := len(e.w.Seats()), e.candidates()
	switch a := s.Action.(type) {
	case plan.PromoteNode:
		moved := slices.ContainsFunc(e.d.Nodes, func(n spec.QuorumNode) bool { return n.Drain || n.Gone })
		if seats%2 == 1 && candidates < 2 && !moved && !find(e.w.O, a.ID).Seat {
			return "to an even number with nobody to follow"
		}
		if seats >= e.d.Managers && !moved && !find(e.w.O, a.ID).Seat {
			return "there are enough"
		}
	case plan.DemoteNode:
		if seats%2 == 1 && candidates == 0 && seats <= e.d.Managers && !e.someGone() {
			return "to an even number with nobody to follow"
		}
	default:
	}
	return ""
}

// onlyDeadRemoved: no record goes of a node that could come back as it was.
func onlyDeadRemoved(e *explorer, s plan.Step) string {
	a, ok := s.Action.(plan.DropNode)
	if !ok {
		return ""
	}
	n := find(e.w.O, a.ID)
	name := nameOf(n)
	same := slices.ContainsFunc(e.w.Pis, func(p quorumtest.Pi) bool { return p.ID == n.ID })
	switch {
	case n.Seat:
		return "it has a seat"
	case n.Ready:
		return "it is there"
	case same && !e.d.Node(name).Gone && !(n.Manager && n.AwayFor >= e.d.HoldDown):
		return "its Pi still has this identity"
	}
	return ""
}

func carriesVersion(e *explorer, s plan.Step) string {
	id, version := "", uint64(0)
	switch a := s.Action.(type) {
	case plan.PromoteNode:
		id, version = a.ID, a.Version
	case plan.DemoteNode:
		id, version = a.ID, a.Version
	case plan.SetNode:
		id, version = a.ID, a.Version
	case plan.ConfigureSwarm:
		if a.Version != e.w.O.Swarm.Version {
			return "another version was observed"
		}
		return ""
	default:
		return ""
	}
	if find(e.w.O, id).Version != version {
		return "another version was observed"
	}
	return ""
}

// oneSwarm: none is formed beside one that brambled formed, even if none of its Pis is there: the store says so. Beside another
// none is formed while any of its Pis is there.
func oneSwarm(e *explorer, s plan.Step) string {
	if _, ok := s.Action.(plan.InitSwarm); !ok || e.w.O.Swarm.ID == "" {
		return ""
	}
	// Who was about to form one and is gone since may have done it, and nobody can know. The claim is its for the hold-down.
	rec := e.w.O.Record
	given := rec.SwarmID == "" && (rec.FormingFor >= e.d.HoldDown || e.taken)
	e.taken = given
	if e.w.O.Swarm.Cluster == "c1" && !e.amnesia && !given {
		return "a second Swarm"
	}
	for _, p := range e.w.Pis {
		if p.Up && !p.Cut && p.State != quorum.Inactive {
			return p.Name + " is in a Swarm"
		}
	}
	return ""
}

func leavesAsWorker(_ *explorer, m quorum.Member, p plan.Plan) string {
	for _, l := range p.Lanes {
		if _, ok := l.Steps[0].Action.(plan.LeaveSwarm); ok && m.Manager {
			return "a manager leaves"
		}
	}
	return ""
}

// sound: Check takes each plan, the input is as it was, and its order does not matter.
func sound(e *explorer, _ plan.Plan) string {
	if _, err := tryPlan(e.d, e.observe()); err != nil {
		return err.Error()
	}
	return ""
}

func ownSound(e *explorer, m quorum.Member, p plan.Plan) string {
	if err := quorum.CheckMember(e.d, m, p); err != nil {
		return err.Error()
	}
	return ""
}

// TestSimulateKeepsItsInput: a model that changes what it was given would hide what a plan does.
func TestSimulateKeepsItsInput(t *testing.T) {
	w := quorumtest.ParseWorld("pi pi1 leader\npi pi2\npi pi3 down=9m\npi pi4 out")
	before := fmt.Sprintf("%+v", w.O)
	labels := maps.Clone(w.O.Nodes[0].Labels)
	for _, a := range []plan.Action{
		plan.PromoteNode{ID: "@pi2", Version: 10}, plan.DropNode{ID: "@pi3"}, plan.JoinSwarm{Swarm: "swarm1", Node: "pi4"},
		plan.SetNode{ID: "@pi1", Version: 10, Labels: map[string]string{"a": "b"}, Availability: plan.Drained},
		plan.PublishSwarm{ID: "swarm1", Managers: []string{"x"}}, plan.LeaveSwarm{Node: "pi2", ID: "@pi2"},
	} {
		if after := quorum.Simulate(w.O, a); fmt.Sprintf("%+v", after) == before {
			t.Errorf("%s changes nothing", a)
		}
		if got := fmt.Sprintf("%+v", w.O); got != before || !maps.Equal(labels, w.O.Nodes[0].Labels) {
			t.Errorf("%s changed its input:\n%s", a, strings.Join([]string{before, got}, "\n"))
		}
	}
}
