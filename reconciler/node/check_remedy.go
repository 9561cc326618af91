package node

import (
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// remedy holds rule 8 for what may come back at once: nothing is restarted for its health but what asks for it and has been
// sick for long enough, nothing more often than its budget allows, and nothing is started in a tight circle.
func (c *checker) remedy(l plan.Lane, s plan.Step) string {
	past := c.o.Remedies[plan.Remedy{Lane: l.Key, Reason: s.Reason}]
	if past.For != l.For {
		past = plan.Repeats{}
	}
	switch a := s.Action.(type) {
	case plan.Stop:
		switch s.Reason {
		case plan.ReasonUnhealthy:
			return c.mayHeal(a, past)
		case plan.ReasonContact:
			return c.mayCut(a)
		case plan.ReasonDrain:
			return c.mayRest(a)
		default:
		}
	case plan.Start:
		if s.Reason == plan.ReasonExited && past.Since < time.Duration(min(past.Count, 60))*time.Second {
			return "it was started only just now (rule 8: never loop)"
		}
	default:
	}
	return ""
}

// mayCut holds that nothing is stopped for want of contact that did not ask for it, or before its time.
func (c *checker) mayCut(a plan.Stop) string {
	i := slices.IndexFunc(c.o.Containers, func(k Container) bool { return k.ID == a.ID })
	if i < 0 {
		return "no such container"
	}
	if _, svc, ok := c.desired(c.o.Containers[i]); !ok || !c.overdue(svc) {
		return "it may run although this node is cut off"
	}
	return ""
}

func (c *checker) mayHeal(a plan.Stop, past plan.Repeats) string {
	i := slices.IndexFunc(c.o.Containers, func(k Container) bool { return k.ID == a.ID })
	if i < 0 {
		return "no such container"
	}
	k := c.o.Containers[i]
	_, svc, ok := c.desired(k)
	writes := slices.ContainsFunc(svc.Container.Volumes, func(v spec.VolumeMount) bool { return v.Volume != "" && !v.ReadOnly })
	switch {
	case !ok || k.Hash != svc.Container.Hash || c.sibling(k, active):
		return "it is not the settled container of a desired service"
	case k.State != Running || k.Health != Unhealthy || k.Sick < c.d.Healing.After || k.Up < 10*c.d.Healing.After:
		return "it has not been unhealthy for long enough"
	case svc.Restart.Job() || svc.Heal == spec.HealOff || writes && svc.Heal != spec.HealOn:
		return "this service is not to be restarted for its health"
	case past.Count >= c.d.Healing.Budget:
		return "its budget is spent (rule 8: never loop)"
	}
	return ""
}
