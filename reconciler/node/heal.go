package node

import (
	"fmt"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// This file is about remedies: starting what ended, restarting what is unhealthy. Their cause may come back at once and for
// ever, so each is further from the last one, and healing has a budget. What the engine restarts by its own policy is never
// restarted here as well.

// The times between two starts of a container that ends each time and that the engine does not restart.
const (
	firstPause = time.Second
	lastPause  = 5 * time.Minute
)

// slowStart is how many times [spec.Healing.After] a container must have run. A GeoServer on a Pi takes minutes to come up,
// and a health check without start_period calls it unhealthy all the while: restarted then, it would never get there.
const slowStart = 10

// lastCoolOff is the longest time between two restarts of an unhealthy container. The budget is met long before in most
// settings.
const lastCoolOff = 15 * time.Minute

// Unhealed says why a service is not restarted when it is unhealthy, "" when it is.
func Unhealed(h spec.Healing, svc spec.Service) string {
	switch {
	case svc.Restart.Job():
		return "it is a job"
	case svc.Heal == spec.HealOff:
		return "x-brambled.heal is false"
	case h.Budget <= 0:
		return "this node's heal.budget is 0"
	case svc.Heal == spec.HealDefault && svc.Container.Writes() != "":
		return "it writes the volume " + svc.Container.Writes() + ", and x-brambled.heal is not true"
	}
	return ""
}

// heal restarts a container that has been unhealthy for a while, one replica at a time. One that is cut between stop and
// start is found exited, and is started.
//
// How long it is unhealthy is what this process has seen. One that begins anew has forgotten its restarts, but must see the
// container unhealthy for as long as ever before the first: however often it dies, it makes no storm of restarts.
func (p *planner) heal(s *slot, c Container) []plan.Step {
	h := p.d.Healing
	if c.Health != Unhealthy || Unhealed(h, s.svc) != "" {
		return nil
	}
	past := p.past(s, plan.ReasonUnhealthy)
	due := max(h.After-c.Sick, slowStart*h.After-c.Up)
	if past.Count > 0 {
		due = max(due, doubled(h.After, past.Count, lastCoolOff)-past.Since)
	}
	switch {
	case past.Count >= h.Budget:
		p.wait(s.subject(), plan.WaitFailed, fmt.Sprintf("%s is unhealthy again after %d restarts within an hour and is left as it is; see docker logs %s, or brambled retry %s", c.Name, h.Budget, c.Name, s.stack))
		return nil
	case due > 0 || s.alone:
		p.wait(s.subject(), plan.WaitHealth, c.Name+" is unhealthy; it is restarted if that lasts")
		p.wakeAfter(due)
		return nil
	}
	return restart(c, plan.ReasonUnhealthy)
}

// startAgain starts a container that should run: at once the first time, later and later when it ends each time.
func (p *planner) startAgain(s *slot, c Container) []plan.Step {
	past := p.past(s, plan.ReasonExited)
	if past.Count > 0 {
		if due := doubled(firstPause, past.Count-1, lastPause) - past.Since; due > 0 {
			p.wait(s.subject(), plan.WaitBackoff, fmt.Sprintf("%s was started and ended again (exit code %d); see docker logs %s", c.Name, c.ExitCode, c.Name))
			p.wakeAfter(due)
			return nil
		}
	}
	return []plan.Step{step(plan.Start{ID: c.ID, Name: c.Name}, plan.ReasonExited)}
}

// past is how often a remedy was applied toward what is desired now.
func (p *planner) past(s *slot, why plan.Reason) plan.Repeats {
	r := p.o.Remedies[plan.Remedy{Lane: s.lane(), Reason: why}]
	if r.For != s.goal {
		return plan.Repeats{}
	}
	return r
}

// doubled is a time doubled so many times, up to a limit.
func doubled(first time.Duration, times int, most time.Duration) time.Duration {
	return min(first<<min(times, 20), most)
}
