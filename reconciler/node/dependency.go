package node

import (
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// dependencies reports whether a replica may be started for the first time. A service that is not on this node is
// satisfied here: unknown never locks a boot.
func (p *planner) dependencies(s *slot) bool {
	ok := true
	for _, dep := range s.svc.DependsOn {
		target, here := s.st.Service(dep.Service)
		if !here {
			continue
		}
		for n := 1; n <= target.Replicas; n++ {
			if lack := p.unmet(s.st, target, n, dep); lack != "" {
				p.wait(s.subject(), plan.WaitDependency, lack)
				ok = false
			}
		}
	}
	return ok
}

// unmet says what is still missing of a dependency, "" when nothing is.
func (p *planner) unmet(st spec.Stack, target spec.Service, replica int, dep spec.Dependency) string {
	t := p.classify(st, target, replica)
	c := t.cur
	if c == nil {
		c = t.prev // its successor could not be created yet
	}
	if c == nil && slices.Contains(target.Done, replica) {
		return ""
	}
	if c == nil {
		return target.Name + " is not there yet"
	}
	switch dep.Condition {
	case spec.Completed:
		switch {
		case t.completed(*c) && c.Hash == t.hash():
			return ""
		case c.State == Exited && c.ExitCode != 0:
			return fmt.Sprintf("%s exited with %d", target.Name, c.ExitCode)
		}
		return target.Name + " has not completed"
	case spec.Healthy:
		if c.State == Running && (c.Health == Healthy || c.Health == NoHealth && !c.HasCheck && !target.Container.HasHealthcheck) {
			return ""
		}
		if c.State == Running {
			return fmt.Sprintf("%s is %s", target.Name, orStarting(c.Health))
		}
	case spec.Started:
		// A job that came and went was started.
		if c.State == Running || target.Restart.Job() && c.State == Exited {
			return ""
		}
	}
	return fmt.Sprintf("%s is %s", target.Name, c.State)
}

func orStarting(h Health) Health {
	if h == NoHealth {
		return Starting
	}
	return h
}

// dependencyReplaced reports whether a dependency with `restart: true` got another container while this one ran on. Both
// durations are of this process's own clock: after a restart of brambled they are equal and nothing is restarted.
func (p *planner) dependencyReplaced(s *slot, c Container) bool {
	for _, dep := range s.svc.DependsOn {
		target, here := s.st.Service(dep.Service)
		if !here || !dep.Restart {
			continue
		}
		for n := 1; n <= target.Replicas; n++ {
			t := p.classify(s.st, target, n)
			if t.cur != nil && t.prev == nil && t.cur.State == Running && c.Up > t.cur.Seen && p.unmet(s.st, target, n, dep) == "" {
				return true
			}
		}
	}
	return false
}
