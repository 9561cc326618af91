package swarm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Check judges a plan apart from the planner, from the safety rules alone. A plan that fails it is not applied: the
// planner has a bug, and doing nothing is the safe answer.
func Check(d spec.Cluster, o Observed, p plan.Plan) error {
	c := checker{d: d, o: o}
	seen := map[string]bool{}
	for _, l := range p.Lanes {
		switch {
		case !o.Control:
			c.fault(l, "", "this engine has no control over the Swarm (rule 9: fenced)")
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
	d    spec.Cluster
	o    Observed // as the lane's steps change it, starting anew for each lane
	errs []error
}

func (c *checker) fault(l plan.Lane, step, problem string) {
	c.errs = append(c.errs, fmt.Errorf("lane %s: %s: %s", l.Key, step, problem))
}

func (c *checker) lane(l plan.Lane) {
	start := c.o
	for _, s := range l.Steps {
		if problem := c.step(s.Action); problem != "" {
			c.fault(l, s.Action.String(), problem)
		}
		c.o = Simulate(c.o, s.Action)
	}
	c.o = start
}

// step returns the rule an action breaks, "" for none.
func (c *checker) step(a plan.Action) string {
	switch a := a.(type) {
	case plan.CreateService:
		return c.mayCreate(a)
	case plan.UpdateService:
		return c.touch(a.ID, a.Service.Full, func(s Service) string { return c.mayUpdate(a, s) })
	case plan.MarkService:
		return c.touch(a.ID, a.Name, func(s Service) string { return c.mayMark(a, s) })
	case plan.RemoveService:
		return c.touch(a.ID, a.Name, c.mayRemove)
	case plan.CreateObject:
		return c.mayCreateObject(a)
	case plan.RemoveObject:
		return c.mayRemoveObject(a)
	case plan.CreateNetwork:
		return c.mayCreateNetwork(a)
	case plan.RemoveNetwork:
		return c.mayRemoveNetwork(a)
	case plan.Pin:
		return ""
	default:
		return "no action of the Swarm"
	}
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

// touch holds rule 3 for one service, then the action's own rule.
func (c *checker) touch(id, name string, may func(Service) string) string {
	i := slices.IndexFunc(c.o.Services, func(s Service) bool { return s.ID == id })
	if i < 0 || c.o.Services[i].Name != name {
		return "no such service"
	}
	s := c.o.Services[i]
	if problem := c.source(s.Owner, s.Stack); problem != "" {
		return problem
	}
	if spec.HashSchema(s.Hash) > spec.Schema {
		return "made under a newer schema"
	}
	return may(s)
}

// wanted reports whether a version of a service is the desired one.
func (c *checker) wanted(owner, stack string, svc spec.SwarmService) bool {
	st, _ := c.d.Stack(stack)
	want, ok := st.Service(svc.Name)
	return ok && st.Owner == owner && want.Hash == svc.Hash && want.Full == svc.Full && want.Mode == svc.Mode
}

func (c *checker) mayCreate(a plan.CreateService) string {
	if problem := c.source(a.Owner, a.Stack); problem != "" {
		return problem
	}
	switch {
	case !c.wanted(a.Owner, a.Stack, a.Service):
		return "not what is desired"
	case slices.ContainsFunc(c.o.Services, func(s Service) bool { return s.Name == a.Service.Full }):
		return "the name is taken"
	}
	return c.has(a.Service, a.Image)
}

// has reports what a version of a service needs and is not there.
func (c *checker) has(svc spec.SwarmService, image string) string {
	if image == "" {
		return "it has no image"
	}
	for _, f := range svc.Files {
		if !slices.ContainsFunc(c.o.Objects, func(ob Object) bool { return ob.Kind == f.Kind && ob.Name == f.Object }) {
			return fmt.Sprintf("%s %s is not there", f.Kind, f.Object)
		}
	}
	for _, at := range svc.Networks {
		local := at.Network == "host" || at.Network == "none"
		if !local && !slices.ContainsFunc(c.o.Networks, func(n Network) bool { return n.Name == at.Network }) {
			return "network " + at.Network + " is not there"
		}
	}
	return ""
}

// mayUpdate holds that no update is made without a difference, none to a version that failed, and none before the nodes have
// its image.
func (c *checker) mayUpdate(a plan.UpdateService, s Service) string {
	forgiven := slices.Contains(c.d.Retry, a.Service.Hash)
	marked := s.Tried == a.Service.Hash || a.Service.Mode.Job() || a.Service.Deploy.Update.FailureAction != spec.Rollback
	switch {
	case !c.wanted(a.Owner, a.Stack, a.Service) || a.Owner != s.Owner || a.Stack != s.Stack:
		return "not what is desired"
	case a.Version != s.Version:
		return "not the version that was observed (rule 9: fenced)"
	case a.Service.Mode != s.Mode:
		return "Swarm cannot change a service's mode"
	case a.Service.Hash == s.Hash && !forgiven:
		return "an update without a difference (rule 7: converged means silent)"
	case a.Force != (a.Service.Hash == s.Hash && !a.Service.Mode.Job()):
		return "new tasks without an update are for a version that runs already and failed, and for no other"
	case a.Service.Hash == s.Tried && rolledBack(s) && !forgiven:
		return "this version failed (rule 5: not retried)"
	case !marked:
		return "after a roll back nothing would say that this version failed (rule 5: not retried)"
	case a.Image != s.Image && a.Service.PullPolicy != spec.PullNever && c.unpulled(a.Image, s) != "":
		return c.unpulled(a.Image, s) + " does not have the image (rule 4: pull before stop)"
	}
	return c.has(a.Service, a.Image)
}

func rolledBack(s Service) bool {
	return s.Update == RollbackStarted || s.Update == RollbackPaused || s.Update == RollbackCompleted
}

// unpulled is a present node that runs a task of a service and neither has an image nor has failed to pull it.
func (c *checker) unpulled(image string, s Service) string {
	for _, k := range c.o.Tasks {
		for _, n := range c.o.Nodes {
			pull := c.o.Prepulls[image][n.Name]
			if k.Service == s.ID && k.Node == n.ID && k.State == "running" && c.o.Present[n.Name] && !pull.Here && pull.Err == "" {
				return n.Name
			}
		}
	}
	return ""
}

func (c *checker) mayMark(a plan.MarkService, s Service) string {
	st, _ := c.d.Stack(s.Stack)
	want, ok := st.Service(s.Key)
	switch {
	case a.Version != s.Version:
		return "not the version that was observed (rule 9: fenced)"
	case s.Mode.Job():
		return "to Swarm a mark is an update, and it would run the job again"
	case a.Tried == s.Tried:
		return "it is marked already (rule 7: converged means silent)"
	case !ok || st.Owner != s.Owner || want.Hash != a.Tried:
		return "not what is desired"
	}
	return ""
}

func (c *checker) mayRemove(s Service) string {
	st, _ := c.d.Stack(s.Stack)
	want, ok := st.Service(s.Key)
	if ok && st.Owner == s.Owner && want.Full == s.Name && want.Mode == s.Mode {
		return "it is desired"
	}
	return ""
}

func (c *checker) mayCreateObject(a plan.CreateObject) string {
	if problem := c.source(a.Owner, a.Stack); problem != "" {
		return problem
	}
	switch {
	case a.Object.External:
		return "it is external"
	case slices.ContainsFunc(c.o.Objects, func(ob Object) bool { return ob.Kind == a.Object.Kind && ob.Name == a.Object.Name }):
		return "the name is taken"
	}
	return ""
}

func (c *checker) mayRemoveObject(a plan.RemoveObject) string {
	i := slices.IndexFunc(c.o.Objects, func(ob Object) bool { return ob.ID == a.ID && ob.Kind == a.Kind && ob.Name == a.Name })
	if i < 0 {
		return "no such object"
	}
	ob := c.o.Objects[i]
	if problem := c.source(ob.Owner, ob.Stack); problem != "" {
		return problem
	}
	name := ObjectName{ob.Kind, ob.Name}
	switch {
	case spec.HashSchema(ob.Hash) > spec.Schema:
		return "made under a newer schema"
	case slices.ContainsFunc(c.o.Services, func(s Service) bool { return slices.Contains(s.Objects, name) }):
		return "a service refers to it"
	case slices.ContainsFunc(c.o.Services, func(s Service) bool { return slices.Contains(s.Before, name) }):
		return "a service may be rolled back to it"
	case slices.ContainsFunc(c.d.Stacks, func(st spec.SwarmStack) bool {
		return slices.ContainsFunc(st.Objects, func(want spec.SwarmObject) bool { return want.Kind == ob.Kind && want.Name == ob.Name })
	}):
		return "it is desired"
	}
	return ""
}

func (c *checker) mayCreateNetwork(a plan.CreateNetwork) string {
	if problem := c.source(a.Owner, a.Stack); problem != "" {
		return problem
	}
	switch {
	case a.Network.External:
		return "it is external"
	case slices.ContainsFunc(c.o.Networks, func(n Network) bool { return n.Name == a.Network.Name }):
		return "the name is taken"
	}
	return ""
}

func (c *checker) mayRemoveNetwork(a plan.RemoveNetwork) string {
	i := slices.IndexFunc(c.o.Networks, func(n Network) bool { return n.ID == a.ID && n.Name == a.Name })
	if i < 0 {
		return "no such network"
	}
	n := c.o.Networks[i]
	if problem := c.source(n.Owner, n.Stack); problem != "" {
		return problem
	}
	switch {
	case spec.HashSchema(n.Hash) > spec.Schema:
		return "made under a newer schema"
	case slices.ContainsFunc(c.o.Services, func(s Service) bool { return slices.Contains(s.Networks, n.Name) }):
		return "a service is on it"
	case slices.ContainsFunc(c.o.Services, func(s Service) bool { return slices.Contains(s.NetworksBefore, n.Name) }):
		return "a service may be rolled back to it"
	}
	if defined, want := c.defined(n.Name); want && defined == n.Hash {
		return "it is desired"
	}
	return ""
}

// defined is the hash of the definition of a network that counts, and whether the network is wanted at all. Where it is only
// declared external, what is there is what is wanted.
func (c *checker) defined(name string) (hash string, want bool) {
	for _, st := range c.d.Stacks {
		for _, n := range st.Networks {
			if n.Name == name && !n.External {
				return n.Hash, true
			}
			want = want || n.Name == name
		}
	}
	i := slices.IndexFunc(c.o.Networks, func(n Network) bool { return n.Name == name })
	if i >= 0 {
		hash = c.o.Networks[i].Hash
	}
	return hash, want
}
