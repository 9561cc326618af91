package node

import (
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// This file is about a node under maintenance: its services are put to rest, and come back when that is over.

// drained plans a replica on a node under maintenance, and reports whether this is one. What depends on it rests first.
//
// A container at rest has exited, is kept on disk and has restart policy "no": an engine that boots meanwhile starts it under no
// policy at all. That it lacks its own policy is also how it is known, when the maintenance is over, for one that was put to rest.
func (p *planner) drained(s *slot) bool {
	if limit := s.svc.StopWhenCutOff; !p.d.Drains(s.owner) || limit > 0 && p.o.CutOff >= limit {
		return false // one whose time is over stops, whatever depends on it
	}
	var ends, steps []plan.Step // one that is given up goes first: cut in between, the other shows what was decided
	stops := false
	for _, c := range p.slots[s.slotID] {
		more := p.rest(s, c)
		stops = stops || len(more) > 0 && active(c)
		if s.givenUp(c) {
			ends = append(ends, more...)
		} else {
			steps = append(steps, more...)
		}
	}
	if s.cur == nil || !s.svc.Restart.Job() || s.stale() || !s.completed(*s.cur) {
		p.wait(s.subject(), plan.WaitUndrain, fmt.Sprintf("%s is drained; brambled undrain %s", p.d.Node, p.d.Node))
	}
	if user := p.dependent(s); stops && user != "" {
		p.wait(s.subject(), plan.WaitDependency, user+" depends on it and still runs")
		return true
	}
	p.add(s.lane(), s.subject(), s.goal, append(ends, steps...)...)
	return true
}

// rest puts one container of a replica to rest.
func (p *planner) rest(s *slot, c Container) []plan.Step {
	switch {
	case c.State == Removing || c.State == Dead:
		return nil
	case p.d.Remembered(s.owner) && (c.Hash != s.hash() || s.cur != nil && s.prev != nil):
		// Perhaps it is newer than what is remembered, and so may be the end of the maintenance.
		p.wait(s.subject(), plan.WaitStore, "it is not as last-known-good says; it is left as it is")
		return nil
	case s.svc.Restart.Job() && s.completed(c):
		return nil
	case s.svc.Restart == spec.Once && active(c):
		// Nobody could tell afterwards whether it failed or was stopped, and half a migration is worse than a late maintenance.
		p.wait(s.subject(), plan.WaitTasks, fmt.Sprintf("the job runs and is not cut short; docker stop %s ends it, and it counts as failed", c.Name))
		return nil
	case s.givenUp(c):
		return discardKeeping(c, plan.ReasonDrain)
	case s.condemns(c):
		// Without its policy it would look like one whose trial was cut short, and the verdict would be lost.
		if active(c) {
			return []plan.Step{step(plan.Stop{ID: c.ID, Name: c.Name}, plan.ReasonDrain)}
		}
		return nil
	}
	return retire(c, plan.ReasonDrain)
}

// condemns reports whether a container is a successor that did not pass its gate, and what follows from that is yet to be done.
func (s *slot) condemns(c Container) bool {
	v, _ := s.judge(c)
	return s.cur != nil && s.prev != nil && c.ID == s.cur.ID && v == failed && !s.svc.Restart.Job()
}

// givenUp reports whether a container has no part in what comes after the maintenance: a successor that has yet to pass its gate,
// which would count as failed if it was stopped and has not had its chance, or the predecessor of one that has passed. A successor
// that failed stays, with its verdict.
func (s *slot) givenUp(c Container) bool {
	if s.cur == nil || s.prev == nil || s.svc.Restart.Job() || c.ID != s.cur.ID && c.ID != s.prev.ID {
		return false
	}
	v, _ := s.judge(*s.cur)
	if c.ID == s.prev.ID {
		return v == passed && !s.stale()
	}
	return v == trial || s.stale() || rested(c)
}

// dependent is a service that depends on this one and still runs here, "" when there is none.
func (p *planner) dependent(s *slot) string {
	for _, svc := range s.st.Services {
		if !slices.ContainsFunc(svc.DependsOn, func(d spec.Dependency) bool { return d.Service == s.service }) {
			continue
		}
		for n := 1; n <= svc.Replicas; n++ {
			if slices.ContainsFunc(p.slots[slotID{s.owner, s.stack, svc.Name, n}], active) {
				return svc.Name
			}
		}
	}
	return ""
}

// rested reports whether a container was put to rest. So was one of a replacement that was cut short and taken back; it comes back
// in the same way.
func rested(c Container) bool {
	return c.State == Exited && c.Policy == "no" && c.WantPolicy != "no" && c.WantPolicy != ""
}

// completed reports whether a job's container has ended with success. One that was put to rest may have ended so because it was
// told to, unless it is known to have been done before.
func (s *slot) completed(c Container) bool {
	return c.State == Exited && c.ExitCode == 0 && (!rested(c) || slices.Contains(s.svc.Done, s.replica))
}

// wakes reports whether a container that has exited comes back from a maintenance. One without a restart policy does not show that it
// was put to rest; what it depends on does.
func (p *planner) wakes(s *slot, c Container) bool {
	if rested(c) || s.svc.Restart.Job() {
		return rested(c) && !s.completed(c)
	}
	return slices.ContainsFunc(s.svc.DependsOn, func(dep spec.Dependency) bool {
		target, here := s.st.Service(dep.Service)
		for n := 1; here && n <= target.Replicas; n++ {
			if t := p.classify(s.st, target, n); t.cur != nil && rested(*t.cur) && !t.completed(*t.cur) {
				return true
			}
		}
		return false
	})
}

// comeBack starts a container after the maintenance, in the order of depends_on: all of the node comes up, as it did the first time.
func (p *planner) comeBack(s *slot, c Container) []plan.Step {
	if !p.dependencies(s) {
		return nil
	}
	return append(p.repair(s, c), step(plan.Start{ID: c.ID, Name: c.Name}, plan.ReasonUndrain))
}
