package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Check judges a plan apart from the planner, from the safety rules alone. A plan that fails it is not applied: the
// planner has a bug, and doing nothing is the safe answer.
func Check(d spec.Desired, o Observed, p plan.Plan) error {
	c := checker{d: d, o: o}
	seen := map[string]bool{}
	for _, l := range p.Lanes {
		switch {
		case seen[l.Key]:
			c.fault(l, "", "two lanes of one key")
		case o.Busy[l.Key]:
			c.fault(l, "", "lane still runs")
		case len(l.Steps) == 0:
			c.fault(l, "", "lane without a step")
		}
		seen[l.Key] = true
		c.lane(l)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	d    spec.Desired
	o    Observed // as the lane's steps change it, starting anew for each lane
	errs []error
}

func (c *checker) fault(l plan.Lane, step, problem string) {
	c.errs = append(c.errs, fmt.Errorf("lane %s: %s: %s", l.Key, step, problem))
}

// lane walks the steps through the model, so that "stopped before" and "created before" are seen.
func (c *checker) lane(l plan.Lane) {
	start := c.o
	for _, s := range l.Steps {
		if problem := c.step(s.Action); problem != "" {
			c.fault(l, s.Action.String(), problem)
		}
		if problem := c.remedy(l, s); problem != "" {
			c.fault(l, s.Action.String(), problem)
		}
		if problem := c.permit(s); problem != "" {
			c.fault(l, s.Action.String(), problem)
		}
		c.o = Simulate(c.o, s.Action)
	}
	c.o = start
}

// step returns the rule an action breaks, "" for none.
func (c *checker) step(a plan.Action) string {
	switch a := a.(type) {
	case plan.Start:
		return c.touch(a.ID, a.Name, c.mayStart)
	case plan.Stop:
		return c.touch(a.ID, a.Name, c.mayStop)
	case plan.Remove:
		return c.touch(a.ID, a.Name, c.mayRemove)
	case plan.Rename:
		if c.named(a.To) {
			return "the name is taken"
		}
		return c.touch(a.ID, a.From, mayRename)
	case plan.SetRestart:
		return c.touch(a.ID, a.Name, nil)
	case plan.Connect:
		return c.touch(a.Container, a.Name, nil)
	case plan.Disconnect:
		return c.touch(a.Container, a.Name, nil)
	case plan.Create:
		return c.mayCreate(a)
	case plan.RemoveNetwork:
		return c.mayRemoveNetwork(a)
	case plan.CreateNetwork:
		return c.mayMake(a.Owner, a.Stack)
	case plan.CreateVolume:
		return c.mayMake(a.Owner, a.Stack)
	case plan.RemoveFile:
		if slices.ContainsFunc(c.o.Containers, func(k Container) bool { return slices.Contains(k.Files, a.Digest) }) {
			return "a container refers to the file"
		}
	case plan.Pull:
	default:
		return "no action on a Pi's containers"
	}
	return ""
}

// source holds rules 1 and 2: nothing is made or changed for an owner that was not read, or a stack that was not readable.
func (c *checker) source(owner, stack string) string {
	if !c.d.Owned(owner) {
		return "not ours (rule 3: ownership)"
	}
	if st, ok := c.d.Stack(stack); ok && st.Owner == owner && st.Opaque {
		return "its stack could not be read (rule 2: unreadable is not absent)"
	}
	return ""
}

// touch holds rule 3 for one container, then the action's own rule.
func (c *checker) touch(id, name string, may func(Container) string) string {
	i := slices.IndexFunc(c.o.Containers, func(k Container) bool { return k.ID == id || id == "" && k.Name == name })
	if i < 0 {
		return "no such container"
	}
	k := c.o.Containers[i]
	if problem := c.source(k.Owner, k.Stack); problem != "" {
		return problem
	}
	if spec.HashSchema(k.Hash) > spec.Schema {
		return "made under a newer schema"
	}
	if may == nil {
		return ""
	}
	return may(k)
}

// mayStop holds rules 4 and 5 for a running container of a desired replica that is another one than desired: its
// successor's image must be here, and where both may run side by side the successor must run already.
func (c *checker) mayStop(k Container) string {
	st, svc, ok := c.desired(k)
	if ok && (c.overdue(svc) || c.d.Drains(k.Owner)) && (k.Hash == svc.Container.Hash || !c.d.Remembered(k.Owner)) {
		return ""
	}
	if problem := c.remembered(k); problem != "" {
		return problem
	}
	if !ok || k.Hash == svc.Container.Hash || strings.HasSuffix(k.Name, SuffixFailed) || k.State != Running {
		return ""
	}
	if c.spared(st, svc, k) {
		return ""
	}
	made := c.sibling(k, func(s Container) bool { return s.Hash == svc.Container.Hash })
	if _, ok := c.o.Images[ImageRef{svc.Container.Image, svc.Container.Platform}]; !ok && !made {
		return "its successor's image is not here (rule 4: pull before stop)"
	}
	if svc.Restart.Job() || svc.Container.Exclusive != "" || svc.Update.Order == spec.StopFirst {
		return ""
	}
	if made && svc.Update.FailureAction == spec.Continue {
		return "" // asked to go on with a successor that fails
	}
	return "start-first: its successor does not run (rule 5: gate)"
}

// overdue reports whether a service may run no longer on a node that is cut off.
func (c *checker) overdue(svc spec.Service) bool {
	return svc.StopWhenCutOff > 0 && c.o.CutOff >= svc.StopWhenCutOff
}

// spared reports whether the replica can do without a container: another one runs, or it is a successor that is given up
// while its predecessor is kept.
func (c *checker) spared(st spec.Stack, svc spec.Service, k Container) bool {
	inCharge := k.Name == ContainerName(st.Name, svc, k.Replica)
	return c.sibling(k, func(s Container) bool {
		return s.State == Running || inCharge && !strings.HasSuffix(s.Name, SuffixFailed)
	})
}

// mayStart holds rule 6: what is exclusive never runs twice.
func (c *checker) mayStart(k Container) string {
	_, svc, ok := c.desired(k)
	if c.d.Drains(k.Owner) {
		return "this node is drained"
	}
	if ok && svc.StopWhenCutOff > 0 && c.o.CutOff > 0 {
		return "this node is cut off, and somebody else may run it by now"
	}
	if !ok || svc.Container.Exclusive == "" {
		return ""
	}
	if c.sibling(k, active) {
		return "another container of this replica runs, and both need " + svc.Container.Exclusive + " (rule 6: exclusive)"
	}
	return ""
}

func mayRename(k Container) string {
	if k.State == Restarting {
		return "the engine is restarting it and cannot rename it: stop it first"
	}
	return ""
}

func (c *checker) mayRemove(k Container) string {
	if active(k) {
		return "it runs: stop it first"
	}
	if c.lastOfDrained(k) {
		return "this node is drained: what it will run again is kept"
	}
	return c.remembered(k)
}

// remembered holds rule 1 for a state that nobody vouches for: what it does not know is not taken away, and what runs is
// given up only for a successor that is there.
func (c *checker) remembered(k Container) string {
	if !c.d.Remembered(k.Owner) {
		return ""
	}
	_, svc, ok := c.desired(k)
	if !ok {
		return "last-known-good does not have it (rule 1: fail static)"
	}
	if k.Hash == svc.Container.Hash || c.sibling(k, func(s Container) bool { return s.Hash == svc.Container.Hash }) {
		return ""
	}
	return "it is not as last-known-good says, which may be older (rule 1: fail static)"
}

func (c *checker) mayCreate(a plan.Create) string {
	if problem := c.mayMake(a.Owner, a.Stack); problem != "" {
		return problem
	}
	if c.named(a.Name) {
		return "the name is taken"
	}
	if _, ok := c.o.Images[ImageRef{a.Spec.Image, a.Spec.Platform}]; !ok {
		return "its image is not here"
	}
	return ""
}

func (c *checker) mayRemoveNetwork(a plan.RemoveNetwork) string {
	i := slices.IndexFunc(c.o.Networks, func(n Network) bool { return n.ID == a.ID })
	if i < 0 {
		return "no such network"
	}
	n := c.o.Networks[i]
	if problem := c.source(n.Owner, n.Stack); problem != "" {
		return problem
	}
	if c.d.Remembered(n.Owner) {
		return "its desired state is only remembered (rule 1: fail static)"
	}
	if n.Scope == inSwarm {
		return "a network of Swarm's scope is the leader's"
	}
	if slices.ContainsFunc(c.o.Containers, func(k Container) bool { return slices.Contains(k.Networks, n.Name) }) {
		return "a container is on it"
	}
	return ""
}

// desired returns the stack and service a container is a replica of.
func (c *checker) desired(k Container) (spec.Stack, spec.Service, bool) {
	st, ok := c.d.Stack(k.Stack)
	if !ok || st.Owner != k.Owner {
		return spec.Stack{}, spec.Service{}, false
	}
	svc, ok := st.Service(k.Service)
	return st, svc, ok && k.Replica >= 1 && k.Replica <= svc.Replicas
}

// sibling reports whether another container of the same replica is as asked.
func (c *checker) sibling(k Container, is func(Container) bool) bool {
	return slices.ContainsFunc(c.o.Containers, func(s Container) bool {
		return s.ID != k.ID && s.Owner == k.Owner && s.Stack == k.Stack && s.Service == k.Service && s.Replica == k.Replica && is(s)
	})
}

func (c *checker) named(name string) bool {
	return slices.ContainsFunc(c.o.Containers, func(k Container) bool { return k.Name == name })
}
