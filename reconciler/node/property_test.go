package node_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

func TestMain(m *testing.M) { proptest.Main(m, "40") }

// rule is something that must hold at every moment of every world.
type rule struct {
	name   string
	watch  func(e *explorer, p plan.Plan) string
	apply  func(before, after node.Observed, a plan.Action) string
	settle bool // the world must also come to rest
}

var rules = []rule{
	{name: "Rule1And2AbsentOwnerAndOpaqueStackUntouched", watch: ofSource},
	{name: "Rule1RememberedTakesNothingAway", watch: walking(rememberedTakesNothing), settle: true},
	{name: "Rule3ForeignUntouched", apply: foreignUntouched},
	{name: "Rule3VolumesStay", apply: volumesStay},
	{name: "Rule4PullBeforeStop", watch: walking(pullBeforeStop)},
	{name: "Rule5StartFirstNoOutage", watch: walking(noOutage)},
	{name: "Rule5PredecessorUntilPassed", watch: walking(predecessorStays)},
	{name: "Rule5FailedHashNotStarted", watch: walking(failedNotStarted)},
	{name: "Rule6ExclusiveOnce", apply: exclusiveOnce},
	{name: "Rule7ConvergedMeansSilent", settle: true},
	{name: "Rule8BusyAndBackoff", watch: waitsItsTurn},
	{name: "Rule8NoTightCircle", watch: neverLoops},
	{name: "Rule8HealOnlyWhatMay", watch: walking(healsWhatMay)},
	{name: "CutOffSingleWriter", watch: singleWriter, settle: true},
	{name: "DrainStopsInOrderAndKeeps", watch: drainInOrder, settle: true},
	{name: "DrainedNothingBegins", watch: nothingBegins},
	{name: "PlanIsSound", watch: sound},
	{name: "UnchangedUntouched", watch: unchangedUntouched},
}

// outcomes are what the worlds must have led to, or the rules above were not put to the test.
var outcomes = []string{
	"create", "replace start-first", "replace stop-first", "succession taken up", "name given back or revert", "pause", "continue",
	"engine ended a container", "job done", "job failed", "opaque stack held", "network removed", "network repaired", "nothing to do",
	"unhealthy job", "unhealthy, not to be healed", "unhealthy with a volume", "unhealthy with a volume, to be healed", "budget spent", "ended again",
	"reason: unhealthy", "wait: its health", "reason: cut off", "wait: contact with Consul",
	"reason: drained by a person", "reason: no longer drained", "wait: the end of maintenance", "drained: a job is not cut short", "drained: in order", "drained: in trial",
	"reason: missing", "reason: changed", "reason: exited", "reason: no longer desired", "reason: scaled down", "reason: cut from its network",
	"reason: dead", "reason: duplicate", "reason: superseded", "reason: failed its gate", "reason: rolled back", "reason: image missing",
	"reason: last good version", "reason: pull_policy always", "reason: unreferenced", "reason: dependency replaced", "reason: restart policy differs",
	"wait: a running step", "wait: an image", "wait: a network", "wait: a volume", "wait: a dependency", "wait: its gate", "wait: a retry", "wait: a name",
	"wait: a removal", "wait: the engine", "wait: a person", "wait: a newer brambled", "wait: a new revision or retry", "wait: another engine", "wait: the store", "wait: a permit",
	"permit: ask", "permit: keep", "permit: give back", "permit: record failure",
	"voters: ask", "voters: keep",
}

// TestProperties lets each rule watch worlds of its own, then asserts that they led to every outcome there is.
func TestProperties(t *testing.T) {
	count := tally{}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { explore(t, proptest.Draw(t), r, count) })
		})
	}
	proptest.Tally(count).Require(t, outcomes)
}

type failer interface{ Fatal(args ...any) }

func explore(t failer, c choice, r rule, count tally) {
	e := newExplorer(c, count)
	e.watch, e.apply = r.watch, r.apply
	for range 30 {
		if problem := e.step(); problem != "" {
			t.Fatal(problem + "\nworld:\n" + nodetest.Show(e.o))
		}
	}
	e.watch, e.apply = nil, nil
	if r.settle {
		if problem := e.settle(); problem != "" {
			t.Fatal(problem)
		}
	}
}

// walking looks at each step of each lane, in the world as the lane's earlier steps leave it.
func walking(look func(d spec.Desired, o node.Observed, s plan.Step) string) func(*explorer, plan.Plan) string {
	return func(e *explorer, p plan.Plan) string {
		for _, l := range p.Lanes {
			o := e.o
			for _, s := range l.Steps {
				if problem := look(e.d, o, s); problem != "" {
					return fmt.Sprintf("%s: %s: %s", l.Key, s, problem)
				}
				o = node.Simulate(o, s.Action)
			}
		}
		return ""
	}
}

// target is the container an action changes.
func target(o node.Observed, a plan.Action) (node.Container, bool) {
	id, name := "", ""
	switch a := a.(type) {
	case plan.Start:
		id, name = a.ID, a.Name
	case plan.Stop:
		id, name = a.ID, a.Name
	case plan.Remove:
		id, name = a.ID, a.Name
	case plan.Rename:
		id, name = a.ID, a.From
	case plan.SetRestart:
		id, name = a.ID, a.Name
	case plan.Connect:
		id, name = a.Container, a.Name
	case plan.Disconnect:
		id, name = a.Container, a.Name
	default:
		return node.Container{}, false
	}
	i := slices.IndexFunc(o.Containers, func(c node.Container) bool { return c.ID == id || id == "" && c.Name == name })
	if i < 0 {
		return node.Container{}, false
	}
	return o.Containers[i], true
}

// wanted is the service a container is a replica of.
func wanted(d spec.Desired, c node.Container) (svc spec.Service, canonical string, ok bool) {
	st, here := d.Stack(c.Stack)
	svc, there := st.Service(c.Service)
	if !here || !there || st.Owner != c.Owner || c.Replica < 1 || c.Replica > svc.Replicas {
		return svc, "", false
	}
	return svc, node.ContainerName(st.Name, svc, c.Replica), true
}

// others are the other containers of the same replica.
func others(o node.Observed, c node.Container) []node.Container {
	return slices.DeleteFunc(slices.Clone(o.Containers), func(s node.Container) bool { return s.ID == c.ID || slot(s) != slot(c) })
}

func evidence(c node.Container) bool { return strings.HasSuffix(c.Name, node.SuffixFailed) }

// ofSource: each action is on behalf of an owner that was read and a stack that could be read.
func ofSource(e *explorer, p plan.Plan) string {
	return walking(func(d spec.Desired, o node.Observed, s plan.Step) string {
		owner, stack := "", ""
		switch a := s.Action.(type) {
		case plan.Pull, plan.RemoveFile:
			return ""
		case plan.Create:
			owner, stack = a.Owner, a.Stack
		case plan.CreateNetwork:
			owner, stack = a.Owner, a.Stack
		case plan.CreateVolume:
			owner, stack = a.Owner, a.Stack
		case plan.RemoveNetwork:
			i := slices.IndexFunc(o.Networks, func(n node.Network) bool { return n.ID == a.ID })
			owner, stack = o.Networks[i].Owner, o.Networks[i].Stack
		default:
			c, ok := target(o, a)
			if !ok {
				return "nothing there to change"
			}
			owner, stack = c.Owner, c.Stack
			if strings.HasPrefix(c.Hash, "2:") {
				return "made under a newer schema"
			}
		}
		st, _ := d.Stack(stack)
		switch {
		case !slices.Contains(d.Owners, owner):
			return "owner " + owner + " was not read"
		case st.Owner == owner && st.Opaque:
			return "stack " + stack + " could not be read"
		}
		return ""
	})(e, p)
}

// rememberedTakesNothing: while the desired state is only remembered, no container is stopped, removed or cut off unless a
// container of the desired version is there to follow it; no network is removed, and no file.
func rememberedTakesNothing(d spec.Desired, o node.Observed, s plan.Step) string {
	switch a := s.Action.(type) {
	case plan.RemoveFile:
		if len(d.Recalled) > 0 {
			return "a file is removed"
		}
		return ""
	case plan.RemoveNetwork:
		i := slices.IndexFunc(o.Networks, func(n node.Network) bool { return n.ID == a.ID })
		if d.Remembered(o.Networks[i].Owner) {
			return "a network is removed"
		}
		return ""
	case plan.Stop, plan.Remove, plan.Disconnect:
	default:
		return ""
	}
	c, _ := target(o, s.Action)
	svc, _, desired := wanted(d, c)
	switch {
	case !d.Remembered(c.Owner) || s.Reason == plan.ReasonDependency:
		return ""
	case !desired:
		return "last-known-good does not have it"
	case c.Hash == svc.Container.Hash, slices.ContainsFunc(others(o, c), func(s node.Container) bool { return s.Hash == svc.Container.Hash }):
		return ""
	}
	return "it may be newer than last-known-good"
}

// foreignUntouched: what is not labelled as ours stays exactly as it is, whatever lane runs.
func foreignUntouched(before, after node.Observed, _ plan.Action) string {
	foreign := func(o node.Observed) (cs []node.Container, ns []node.Network) {
		for _, c := range o.Containers {
			if c.Owner == "" || c.Owner == "c9" {
				cs = append(cs, c)
			}
		}
		for _, n := range o.Networks {
			if n.Owner == "" {
				ns = append(ns, n)
			}
		}
		return cs, ns
	}
	wasC, wasN := foreign(before)
	isC, isN := foreign(after)
	return cmp.Diff(wasC, isC) + cmp.Diff(wasN, isN)
}

func volumesStay(before, after node.Observed, a plan.Action) string {
	for _, v := range before.Volumes {
		if !slices.Contains(after.Volumes, v) {
			return fmt.Sprintf("volume %s is gone after %s", v.Name, a)
		}
	}
	return ""
}

// pullBeforeStop: what runs is stopped for a successor only when that one's image, or the successor itself, is here.
func pullBeforeStop(d spec.Desired, o node.Observed, s plan.Step) string {
	stop, ok := s.Action.(plan.Stop)
	c, _ := target(o, stop)
	svc, _, desired := wanted(d, c)
	if !ok || !desired || c.State != node.Running || c.Hash == svc.Container.Hash || evidence(c) || s.Reason == plan.ReasonContact || s.Reason == plan.ReasonDrain {
		return ""
	}
	if _, here := o.Images[node.ImageRef{Ref: svc.Container.Image}]; here {
		return ""
	}
	if slices.ContainsFunc(others(o, c), func(s node.Container) bool { return !evidence(s) }) {
		return "" // another one of this replica is there already
	}
	return "image " + svc.Container.Image + " is not here"
}

// noOutage: where both may run side by side, the last running container of a replica is not stopped by our hand.
func noOutage(d spec.Desired, o node.Observed, s plan.Step) string {
	stop, ok := s.Action.(plan.Stop)
	c, _ := target(o, stop)
	svc, canonical, desired := wanted(d, c)
	switch {
	case !ok || !desired || c.State != node.Running || evidence(c) || s.Reason == plan.ReasonDependency || s.Reason == plan.ReasonUnhealthy || s.Reason == plan.ReasonContact ||
		s.Reason == plan.ReasonDrain:
		return ""
	case svc.Container.Exclusive != "" || svc.Update.Order == spec.StopFirst || svc.Restart.Job() || svc.Update.FailureAction == spec.Continue:
		return ""
	}
	for _, other := range others(o, c) {
		// A trial that is given up makes room for the predecessor, which the same lane starts when somebody stopped it.
		if other.State == node.Running || c.Name == canonical && !evidence(other) {
			return ""
		}
	}
	return "nothing of this replica runs after this"
}

// predecessorStays: the last predecessor is not removed while the successor is in trial.
func predecessorStays(d spec.Desired, o node.Observed, s plan.Step) string {
	remove, ok := s.Action.(plan.Remove)
	c, _ := target(o, remove)
	svc, canonical, desired := wanted(d, c)
	if !ok || !desired || svc.Restart.Job() || c.State == node.Dead || c.Name == canonical || evidence(c) || c.Hash == svc.Container.Hash {
		return ""
	}
	var successor *node.Container
	for _, other := range others(o, c) {
		switch {
		case other.Name == canonical:
			successor = &other
		case !evidence(other):
			return "" // a duplicate
		}
	}
	switch {
	case successor == nil:
		return "its successor is not there"
	case successor.Hash != svc.Container.Hash || svc.Update.FailureAction == spec.Continue:
		return ""
	case successor.Health == node.Healthy:
		return ""
	case successor.State == node.Running && !successor.HasCheck && successor.Up >= svc.Update.Monitor:
		return ""
	}
	return fmt.Sprintf("its successor has not passed: %s %s, up %s", successor.State, successor.Health, successor.Up)
}

// failedNotStarted: while the evidence is there, its hash is not started again in that replica.
func failedNotStarted(_ spec.Desired, o node.Observed, s plan.Step) string {
	start, ok := s.Action.(plan.Start)
	c, _ := target(o, start)
	if ok && slices.ContainsFunc(others(o, c), func(s node.Container) bool { return evidence(s) && s.Hash == c.Hash }) {
		return "this hash failed"
	}
	return ""
}

// exclusiveOnce: of the containers of a replica that hold something exclusive, two never run at a time by our doing.
func exclusiveOnce(_, after node.Observed, a plan.Action) string {
	start, ok := a.(plan.Start)
	c, found := target(after, start)
	if !ok || !found || !strings.Contains(c.Hash, "e") {
		return ""
	}
	for _, other := range others(after, c) {
		if strings.Contains(other.Hash, "e") && slices.Contains([]node.State{node.Running, node.Restarting, node.Paused}, other.State) {
			return fmt.Sprintf("%s and %s both run", c.Name, other.Name)
		}
	}
	return ""
}

// waitsItsTurn: no lane is started while it runs, or while its last failure toward the same goal backs off.
func waitsItsTurn(e *explorer, p plan.Plan) string {
	for _, l := range p.Lanes {
		f, failed := e.o.Failures[l.Key]
		switch {
		case e.o.Busy[l.Key]:
			return l.Key + " still runs"
		case failed && f.Hash == l.For && f.RetryIn > 0:
			return l.Key + " is backing off"
		}
		for _, s := range l.Steps {
			if pull, ok := s.Action.(plan.Pull); ok && e.o.Pulls[node.ImageRef{Ref: pull.Image}].RetryIn > 0 {
				return s.String() + " is backing off"
			}
		}
	}
	return ""
}

// singleWriter: on a node that is cut off nothing is started that must not run then, and when its time is over it is stopped.
func singleWriter(e *explorer, p plan.Plan) string {
	if e.o.CutOff == 0 {
		return ""
	}
	for _, st := range e.d.Stacks {
		for _, svc := range st.Services {
			if problem := startedCutOff(p, fmt.Sprintf("container %s/%s/", st.Name, svc.Name)); svc.StopWhenCutOff > 0 && problem != "" {
				return problem
			}
		}
	}
	for _, c := range e.o.Containers {
		svc, _, ok := wanted(e.d, c)
		overdue := ok && c.State == node.Running && svc.StopWhenCutOff > 0 && e.o.CutOff >= svc.StopWhenCutOff
		if overdue && mayBeStopped(e, p, c, svc) && !stops(p, c) {
			return c.Name + " runs on, on a node that is cut off"
		}
	}
	return ""
}

func startedCutOff(p plan.Plan, lanes string) string {
	for _, l := range p.Lanes {
		for _, s := range l.Steps {
			switch s.Action.(type) {
			case plan.Create, plan.Start:
				if strings.HasPrefix(l.Key, lanes) {
					return s.String() + " on a node that is cut off"
				}
			}
		}
	}
	return ""
}

// mayBeStopped: its lane is free, and it is neither of a newer schema nor, by what is only remembered, unknown.
func mayBeStopped(e *explorer, p plan.Plan, c node.Container, svc spec.Service) bool {
	subject := fmt.Sprintf("%s/%s/%d", c.Stack, c.Service, c.Replica)
	st, _ := e.d.Stack(c.Stack)
	f, failed := e.o.Failures["container "+subject]
	newer := slices.ContainsFunc(p.Waits, func(w plan.Wait) bool { return w.For == plan.WaitNewer && w.Subject == subject })
	unknown := e.d.Remembered(c.Owner) && c.Hash != svc.Container.Hash
	return !st.Opaque && !newer && !unknown && !e.o.Busy["container "+subject] && !(failed && f.RetryIn > 0)
}

func stops(p plan.Plan, c node.Container) bool {
	return slices.ContainsFunc(p.Lanes, func(l plan.Lane) bool {
		return slices.ContainsFunc(l.Steps, func(s plan.Step) bool {
			stop, ok := s.Action.(plan.Stop)
			return ok && stop.ID == c.ID
		})
	})
}

// sound: Check takes the plan, its input is as it was, and the input's order does not matter.
func sound(e *explorer, _ plan.Plan) string {
	if _, err := tryPlan(e.d, e.o); err != nil {
		return err.Error()
	}
	return ""
}

// unchangedUntouched: a container that is as desired is not stopped, started, renamed or removed.
func unchangedUntouched(e *explorer, p plan.Plan) string {
	return walking(func(d spec.Desired, o node.Observed, s plan.Step) string {
		c, ok := target(e.o, s.Action)
		svc, canonical, desired := wanted(d, c)
		if !ok || !desired || c.Hash != svc.Container.Hash || c.Name != canonical || c.State != node.Running || len(others(e.o, c)) > 0 {
			return ""
		}
		switch a := s.Action.(type) {
		case plan.Connect:
			if !slices.Contains(c.Networks, a.Attachment.Network) {
				return ""
			}
		case plan.SetRestart:
			if c.Policy != c.WantPolicy || s.Reason == plan.ReasonDrain && d.Drains(c.Owner) {
				return ""
			}
		case plan.Disconnect:
			if strings.HasSuffix(a.Network, "_net") && s.Reason == plan.ReasonChanged {
				return ""
			}
		case plan.Stop, plan.Start:
			cut := s.Reason == plan.ReasonContact && svc.StopWhenCutOff > 0 && e.o.CutOff >= svc.StopWhenCutOff
			if cut || s.Reason == plan.ReasonDrain && d.Drains(c.Owner) || s.Reason == plan.ReasonDependency || s.Reason == plan.ReasonUnhealthy && c.Health == node.Unhealthy {
				return ""
			}
		}
		return c.Name + " is as desired"
	})(e, p)
}

// FuzzPlan lets bytes decide what rapid decides above. Every rule watches. What the seeds say means nothing here, they are only
// bytes of many kinds: a few of them do.
func FuzzPlan(f *testing.F) {
	for i, file := range scenarioFiles(f) {
		if i%4 > 0 {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all := rule{watch: func(e *explorer, p plan.Plan) string {
			for _, r := range rules {
				if r.watch == nil {
					continue
				}
				if problem := r.watch(e, p); problem != "" {
					return r.name + ": " + problem
				}
			}
			return ""
		}, apply: func(before, after node.Observed, a plan.Action) string {
			return foreignUntouched(before, after, a) + volumesStay(before, after, a) + exclusiveOnce(before, after, a)
		}, settle: true}
		explore(t, &byteChoice{data: data}, all, tally{})
	})
}

// byteChoice takes decisions from bytes; when they are used up, from a cheap sequence that follows from their number.
type byteChoice struct {
	data []byte
	next uint32
}

func (c *byteChoice) UpTo(n int) int {
	if len(c.data) > 0 {
		b := c.data[0]
		c.data = c.data[1:]
		c.next = c.next*31 + uint32(b)
		return int(b) % n
	}
	c.next = c.next*1664525 + 1013904223
	return int(c.next>>16) % n
}
