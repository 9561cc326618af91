package swarm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
	"github.com/brambled/brambled/reconciler/swarm/swarmtest"
)

func TestMain(m *testing.M) { proptest.Main(m, "30") }

// rule is something that must hold at every moment of every world.
type rule struct {
	name   string
	watch  func(e *explorer, p plan.Plan) string
	apply  func(e *explorer, before, after swarm.Observed, a plan.Action) string
	settle bool // the world must also come to rest
}

var rules = []rule{
	{name: "Rule1And2AbsentOwnerAndOpaqueStackUntouched", watch: each(ofSource)},
	{name: "Rule3ForeignUntouched", apply: foreignUntouched},
	{name: "Rule4PullBeforeStop", watch: each(pullBeforeStop)},
	{name: "Rule5FailedNotRetried", watch: each(failedNotRetried)},
	{name: "Rule9NothingWithoutControl", watch: nothingWithoutControl},
	{name: "Rule9CarriesTheVersion", watch: each(carriesVersion)},
	{name: "Rule7NoUpdateWithoutDifference", watch: each(noUpdateWithoutDifference)},
	{name: "Rule7ConvergedMeansSilent", settle: true},
	{name: "Rule8BusyAndBackoff", watch: waitsItsTurn},
	{name: "ReferencesNeverDangle", apply: referencesHold},
	{name: "ModeIsNeverUpdated", watch: each(modeKept)},
	{name: "DependenciesGateCreation", watch: each(dependenciesGate)},
	{name: "PlanIsSound", watch: sound},
}

// outcomes are what the worlds must have led to, or the rules above were not put to the test.
var outcomes = []string{
	"CreateService", "UpdateService", "MarkService", "RemoveService", "CreateObject", "RemoveObject", "CreateNetwork", "RemoveNetwork", "Pin",
	"rolled back", "paused", "nothing to do", "without control",
	"reason: missing", "reason: changed", "reason: no longer desired", "reason: unreferenced", "reason: retry",
	"wait: a running step", "wait: an image", "wait: a network", "wait: a config or secret", "wait: a dependency", "wait: its gate", "wait: a retry",
	"wait: a removal", "wait: a person", "wait: a newer brambled", "wait: a new revision or retry", "wait: its tasks",
}

// TestProperties lets each rule watch worlds of its own, then asserts that they led to every outcome there is.
func TestProperties(t *testing.T) {
	count := proptest.Tally{}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				e := newExplorer(proptest.Draw(t), count)
				e.watch, e.apply = r.watch, r.apply
				for range 30 {
					if problem := e.step(); problem != "" {
						t.Fatal(problem + "\nworld:\n" + swarmtest.Show(e.o))
					}
				}
				e.watch, e.apply = nil, nil
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

// target is the service an action changes.
func (e *explorer) target(a plan.Action) (swarm.Service, bool) {
	id := ""
	switch a := a.(type) {
	case plan.UpdateService:
		id = a.ID
	case plan.MarkService:
		id = a.ID
	case plan.RemoveService:
		id = a.ID
	default:
		return swarm.Service{}, false
	}
	i := slices.IndexFunc(e.o.Services, func(s swarm.Service) bool { return s.ID == id })
	if i < 0 {
		return swarm.Service{}, false
	}
	return e.o.Services[i], true
}

// ofSource: each action is on behalf of an owner that was read and a stack that could be read, and on nothing that a newer
// brambled made.
func ofSource(e *explorer, s plan.Step) string {
	owner, stack, hash := "", "", ""
	switch a := s.Action.(type) {
	case plan.Pin:
		return ""
	case plan.CreateService:
		owner, stack = a.Owner, a.Stack
	case plan.CreateNetwork:
		owner, stack = a.Owner, a.Stack
	case plan.CreateObject:
		owner, stack = a.Owner, a.Stack
	case plan.RemoveNetwork:
		i := slices.IndexFunc(e.o.Networks, func(n swarm.Network) bool { return n.ID == a.ID })
		owner, stack, hash = e.o.Networks[i].Owner, e.o.Networks[i].Stack, e.o.Networks[i].Hash
	case plan.RemoveObject:
		i := slices.IndexFunc(e.o.Objects, func(ob swarm.Object) bool { return ob.ID == a.ID })
		owner, stack, hash = e.o.Objects[i].Owner, e.o.Objects[i].Stack, e.o.Objects[i].Hash
	default:
		svc, ok := e.target(a)
		if !ok {
			return "nothing there to change"
		}
		owner, stack, hash = svc.Owner, svc.Stack, svc.Hash
	}
	st := e.stacks[stack]
	switch {
	case !slices.Contains(e.owners, owner):
		return "owner " + owner + " was not read"
	case st != nil && st.opaque:
		return "stack " + stack + " could not be read"
	case strings.HasPrefix(hash, "2:"):
		return "made under a newer schema"
	}
	return ""
}

// foreignUntouched: what is not labelled as ours stays exactly as it is, whatever lane runs.
func foreignUntouched(_ *explorer, before, after swarm.Observed, _ plan.Action) string {
	if foreign(before) != foreign(after) {
		return "before:\n" + foreign(before) + "after:\n" + foreign(after)
	}
	return ""
}

// pullBeforeStop: no running task is given up for an image that a node which is there neither has nor failed to pull.
func pullBeforeStop(e *explorer, s plan.Step) string {
	svc, ok := e.target(s.Action)
	if !ok || s.Reason == plan.ReasonUndesired {
		return ""
	}
	a, ok := s.Action.(plan.UpdateService)
	if !ok || a.Image == svc.Image || a.Service.PullPolicy == spec.PullNever {
		return ""
	}
	here := 0
	names := map[string]bool{}
	for _, k := range e.o.Tasks {
		for _, n := range e.o.Nodes {
			if k.Service == svc.ID && k.Node == n.ID && k.State == "running" && e.o.Present[n.Name] {
				names[n.Name] = true
			}
		}
	}
	for name := range names {
		switch pull := e.o.Prepulls[a.Image][name]; {
		case pull.Here:
			here++
		case pull.Err == "":
			return name + " does not have " + a.Image
		}
	}
	if here == 0 && len(names) > 0 && a.Service.Prepull != spec.PrepullAll {
		return "no node has " + a.Image
	}
	return ""
}

// failedNotRetried goes by the world's own books, which no leader's death touches.
func failedNotRetried(e *explorer, s plan.Step) string {
	a, ok := s.Action.(plan.UpdateService)
	if ok && e.failed[a.Service.Full] == a.Service.Hash && !slices.Contains(e.d.Retry, a.Service.Hash) {
		return "this version failed"
	}
	return ""
}

func nothingWithoutControl(e *explorer, p plan.Plan) string {
	if !e.o.Control && (len(p.Lanes) > 0 || len(p.Waits) > 0) {
		return "planned without control"
	}
	return ""
}

func carriesVersion(e *explorer, s plan.Step) string {
	svc, _ := e.target(s.Action)
	switch a := s.Action.(type) {
	case plan.UpdateService:
		if a.Version != svc.Version {
			return fmt.Sprintf("version %d was observed", svc.Version)
		}
	case plan.MarkService:
		if a.Version != svc.Version {
			return fmt.Sprintf("version %d was observed", svc.Version)
		}
	default:
	}
	return ""
}

func noUpdateWithoutDifference(e *explorer, s plan.Step) string {
	svc, _ := e.target(s.Action)
	switch a := s.Action.(type) {
	case plan.UpdateService:
		if a.Service.Hash == svc.Hash && !slices.Contains(e.d.Retry, svc.Hash) {
			return "it has this hash"
		}
	case plan.MarkService:
		if a.Tried == svc.Tried || a.Tried == svc.Hash && !slices.Contains(e.d.Retry, svc.Hash) {
			return "the mark says nothing new"
		}
	default:
	}
	return ""
}

func waitsItsTurn(e *explorer, p plan.Plan) string {
	for _, l := range p.Lanes {
		if slices.ContainsFunc(e.lanes, func(running plan.Lane) bool { return running.Key == l.Key }) {
			return l.Key + " still runs"
		}
		if f, ok := e.o.Failures[l.Key]; ok && f.Hash == l.For && f.RetryIn > 0 {
			return l.Key + " failed only just now"
		}
	}
	return ""
}

// referencesHold: what a service refers to, or would after a roll back, is there whatever lane ran last.
func referencesHold(_ *explorer, _, after swarm.Observed, _ plan.Action) string {
	for _, s := range after.Services {
		for _, name := range slices.Concat(s.Objects, s.Before) {
			if !slices.ContainsFunc(after.Objects, func(ob swarm.Object) bool { return ob.Kind == name.Kind && ob.Name == name.Name }) {
				return fmt.Sprintf("%s refers to %s, which is gone", s.Name, name.Name)
			}
		}
		for _, name := range slices.Concat(s.Networks, s.NetworksBefore) {
			if !slices.ContainsFunc(after.Networks, func(n swarm.Network) bool { return n.Name == name }) {
				return fmt.Sprintf("%s refers to network %s, which is gone", s.Name, name)
			}
		}
	}
	return ""
}

func modeKept(e *explorer, s plan.Step) string {
	svc, _ := e.target(s.Action)
	if a, ok := s.Action.(plan.UpdateService); ok && a.Service.Mode != svc.Mode {
		return "Swarm refuses another mode than " + string(svc.Mode)
	}
	return ""
}

// dependenciesGate: what a service that is created depends on, if Swarm runs it at all, has been created.
func dependenciesGate(e *explorer, s plan.Step) string {
	a, ok := s.Action.(plan.CreateService)
	if !ok {
		return ""
	}
	st, _ := e.d.Stack(a.Stack)
	for _, dep := range a.Service.DependsOn {
		on, here := st.Service(dep.Service)
		i := slices.IndexFunc(e.o.Services, func(s swarm.Service) bool { return s.Name == on.Full })
		if !here {
			continue
		}
		if i < 0 {
			return dep.Service + " is not there"
		}
		runs := slices.ContainsFunc(e.o.Tasks, func(k swarm.Task) bool { return k.Service == e.o.Services[i].ID && k.State == "running" })
		if dep.Condition == spec.Healthy && e.o.Services[i].Replicas > 0 && !runs {
			return dep.Service + " is not healthy"
		}
	}
	return ""
}

// sound: Check takes each plan, the input is as it was, and its order does not matter.
func sound(e *explorer, _ plan.Plan) string {
	if _, err := tryPlan(e.d, e.o); err != nil {
		return err.Error()
	}
	return ""
}
