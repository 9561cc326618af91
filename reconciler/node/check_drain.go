package node

import (
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// mayMake holds that nothing is made on a node under maintenance, beside rules 1 and 2.
func (c *checker) mayMake(owner, stack string) string {
	if c.d.Drains(owner) {
		return "this node is drained"
	}
	return c.source(owner, stack)
}

// mayRest holds that nothing is stopped for a maintenance but on a node that is drained, no job that could not be told from a failed
// one, and nothing before what depends on it.
func (c *checker) mayRest(a plan.Stop) string {
	i := slices.IndexFunc(c.o.Containers, func(k Container) bool { return k.ID == a.ID })
	if i < 0 {
		return "no such container"
	}
	k := c.o.Containers[i]
	st, svc, ok := c.desired(k)
	switch {
	case !ok || !c.d.Drains(k.Owner):
		return "it may run: this node is not drained"
	case svc.Restart == spec.Once:
		return "a job is not cut short"
	}
	for _, user := range st.Services {
		depends := slices.ContainsFunc(user.DependsOn, func(d spec.Dependency) bool { return d.Service == k.Service })
		if depends && slices.ContainsFunc(c.o.Containers, func(u Container) bool {
			return u.Owner == k.Owner && u.Stack == k.Stack && u.Service == user.Name && u.Replica >= 1 && u.Replica <= user.Replicas && active(u)
		}) {
			return user.Name + " depends on it and still runs"
		}
	}
	return ""
}

// lastOfDrained reports whether a container is the last one of a replica that comes back after the maintenance.
func (c *checker) lastOfDrained(k Container) bool {
	_, _, ok := c.desired(k)
	return ok && c.d.Drains(k.Owner) && !strings.HasSuffix(k.Name, SuffixFailed) &&
		!c.sibling(k, func(s Container) bool { return !strings.HasSuffix(s.Name, SuffixFailed) })
}
