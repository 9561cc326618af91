package node

import (
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// permit holds that a service which other nodes run too loses nothing here that serves, unless this node has the permit for it:
// no predecessor gives up its name, no successor is made or started beside it, and it is neither stopped nor cut off.
func (c *checker) permit(s plan.Step) string {
	k, svc, ok := c.loses(s)
	if !ok || svc.Rollout == "" || c.permitted(k, svc) {
		return ""
	}
	return "other nodes run it too, and this one has no permit (one disruption at a time)"
}

// loses returns the container that serves and is at stake in a step, and its service.
func (c *checker) loses(s plan.Step) (k Container, svc spec.Service, ok bool) {
	switch a := s.Action.(type) {
	case plan.Rename:
		return c.serves(a.ID, a.From, func(Container) bool { return strings.HasSuffix(a.To, SuffixPrevious) })
	case plan.Stop:
		return c.serves(a.ID, a.Name, func(k Container) bool {
			st, svc, _ := c.desired(k)
			// Neither what may not run any longer nor a person who drains the node waits for other nodes.
			return s.Reason != plan.ReasonContact && s.Reason != plan.ReasonDrain && !c.spared(st, svc, k)
		})
	case plan.Disconnect:
		return c.serves(a.Container, a.Name, func(Container) bool { return true })
	case plan.Create:
		return c.predecessor(Container{Owner: a.Owner, Stack: a.Stack, Service: a.Service, Replica: a.Replica, Hash: a.Spec.Hash})
	case plan.Start:
		i := slices.IndexFunc(c.o.Containers, func(k Container) bool { return k.ID == a.ID || a.ID == "" && k.Name == a.Name })
		if i < 0 {
			return k, svc, false
		}
		return c.predecessor(c.o.Containers[i])
	default:
		return k, svc, false
	}
}

// serves returns the container of a step, if it serves a desired replica and the step costs it that.
func (c *checker) serves(id, name string, lost func(Container) bool) (Container, spec.Service, bool) {
	i := slices.IndexFunc(c.o.Containers, func(k Container) bool { return k.ID == id || id == "" && k.Name == name })
	if i < 0 {
		return Container{}, spec.Service{}, false
	}
	k := c.o.Containers[i]
	_, svc, ok := c.desired(k)
	return k, svc, ok && serves(k) && lost(k)
}

// predecessor returns the container that serves while a successor of the desired version is made or started.
func (c *checker) predecessor(successor Container) (Container, spec.Service, bool) {
	_, svc, ok := c.desired(successor)
	if !ok || successor.Hash != svc.Container.Hash {
		return Container{}, svc, false
	}
	for _, k := range c.o.Containers {
		same := k.Owner == successor.Owner && k.Stack == successor.Stack && k.Service == successor.Service && k.Replica == successor.Replica
		if same && k.Hash != successor.Hash && serves(k) {
			return k, svc, true
		}
	}
	return Container{}, svc, false
}

func serves(k Container) bool {
	return k.State == Running && k.Health != Unhealthy && !strings.HasSuffix(k.Name, SuffixFailed)
}

// permitted reports whether this node has all the permits that a service needs.
func (c *checker) permitted(k Container, svc spec.Service) bool {
	p := c.o.Permits
	if !p.Known {
		return slices.Contains(p.Without, k.Owner)
	}
	h, held := p.Records[plan.PermitKey{Owner: k.Owner, Stack: k.Stack, Service: k.Service}].Held(c.d.Node)
	_, votes := p.Records[plan.Voters()].Held(c.d.Node)
	return held && h.Hash == svc.Rollout && (votes || !svc.Voter)
}
