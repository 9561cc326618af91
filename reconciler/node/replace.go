package node

import (
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// create makes the first container of a replica, once all it needs is here. A job that is done stays done.
func (p *planner) create(s *slot) []plan.Step {
	switch {
	case slices.Contains(s.svc.Done, s.replica):
		return nil
	case s.held != nil && s.hasFallback(), p.d.Remembered(s.owner) && s.hasFallback():
		// Known to fail elsewhere, or never seen to work and nobody to ask: what ran here last comes back.
		return p.fallBack(s)
	case !p.ready(s, true):
		if s.hasFallback() && p.here(s.fallback()) {
			return p.fallBack(s)
		}
		return nil
	case !p.dependencies(s):
		return nil
	}
	return p.createSteps(s, plan.ReasonMissing, "")
}

func (p *planner) createSteps(s *slot, why plan.Reason, inherit string) []plan.Step {
	return []plan.Step{
		step(p.createAction(s, inherit), why),
		step(plan.Start{Name: s.name}, why),
	}
}

func (p *planner) createAction(s *slot, inherit string) plan.Create {
	return plan.Create{
		Name: s.name, Owner: s.owner, Stack: s.stack, Service: s.service, Replica: s.replica,
		Spec: p.fitted(s), DependsOn: s.svc.DependsOn, Inherit: inherit,
	}
}

// ready reports whether a container of the desired spec could be created now: its name is free, and image, networks and
// volumes are here. What is missing is noted as a wait; a running predecessor is not touched before (pull before stop).
func (p *planner) ready(s *slot, needName bool) bool {
	ok := true
	if lack := p.o.Unsupported[s.hash()]; lack != "" {
		p.wait(s.subject(), plan.WaitUnsupported, lack)
		ok = false
	}
	if needName && !p.free(s, s.name) {
		ok = false
	}
	for _, at := range s.svc.Container.Networks {
		if !p.haveNetwork(at.Network) {
			p.wait(s.subject(), plan.WaitNetwork, at.Network)
			ok = false
		}
	}
	for _, v := range s.svc.Container.Volumes {
		if _, have := p.volumes[v.Volume]; v.Volume != "" && !have {
			p.wait(s.subject(), plan.WaitVolume, v.Volume)
			ok = false
		}
	}
	return p.haveImage(s) && ok
}

// free reports whether a container of the slot can get a name, and notes the wait when it cannot.
func (p *planner) free(s *slot, name string) bool {
	c, taken := p.byName[name]
	switch {
	case taken && c.State == Removing:
		p.wait(s.subject(), plan.WaitRemoval, name)
		return false
	case taken && !s.has(c.ID):
		p.wait(s.subject(), plan.WaitName, fmt.Sprintf("%s is taken by a container that is not ours to touch (%s); remove or rename it", name, short(c.ID)))
		return false
	}
	return true
}

func (s *slot) has(id string) bool {
	return s.cur != nil && s.cur.ID == id || s.prev != nil && s.prev.ID == id || s.failed != nil && s.failed.ID == id
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// stopFirst reports whether predecessor and successor must not run side by side.
func (s *slot) stopFirst() bool {
	return s.svc.Update.Order == spec.StopFirst || s.svc.Container.Exclusive != ""
}

// replace starts the replacement of a container that is not the desired one. The predecessor gives up its name and the
// successor is created before anything is stopped, so that a container that cannot even be created costs no downtime.
func (p *planner) replace(s *slot) []plan.Step {
	old := *s.cur
	if old.State == Removing {
		p.wait(s.subject(), plan.WaitRemoval, old.Name)
		return nil
	}
	prev := s.name + SuffixPrevious
	if free := p.free(s, prev); !p.ready(s, false) || !free || !p.mayDisrupt(s, old) {
		return p.keepRunning(s, old)
	}
	if old.State == Dead {
		return append(discardKeeping(old, plan.ReasonChanged), p.createSteps(s, plan.ReasonChanged, old.ID)...)
	}
	steps := calm(&old, plan.ReasonChanged)
	steps = append(steps, step(plan.Rename{ID: old.ID, From: old.Name, To: prev}, plan.ReasonChanged))
	old.Name = prev
	return append(steps, p.succession(s, old)...)
}

// calm stops a container that the engine restarts again and again: engines cannot rename it between two of their attempts,
// when it counts as running and has no network, and its moments of running are too short to wait for.
func calm(c *Container, why plan.Reason) []plan.Step {
	if c.State != Restarting {
		return nil
	}
	c.State = Exited
	return []plan.Step{step(plan.Stop{ID: c.ID, Name: c.Name}, why)}
}

// succeed takes up a replacement whose predecessor has given up its name already, after a crash or a failed create.
func (p *planner) succeed(s *slot, old Container) []plan.Step {
	if old.State == Removing {
		p.wait(s.subject(), plan.WaitRemoval, old.Name)
		return nil
	}
	if !p.ready(s, true) || !p.mayDisrupt(s, old) {
		return p.keepRunning(s, old)
	}
	if old.State == Dead {
		return append(discardKeeping(old, plan.ReasonChanged), p.createSteps(s, plan.ReasonChanged, old.ID)...)
	}
	return p.succession(s, old)
}

// succession creates the successor, makes room for it where both cannot run side by side, and starts it. A job has no gate:
// its predecessor goes at once, but not before the successor has its anonymous volumes.
func (p *planner) succession(s *slot, old Container) []plan.Step {
	steps := []plan.Step{step(p.createAction(s, old.ID), plan.ReasonChanged)}
	switch {
	case s.svc.Restart.Job():
		steps = append(steps, discardKeeping(old, plan.ReasonChanged)...)
	case s.stopFirst():
		steps = append(steps, retire(old, plan.ReasonChanged)...)
	}
	return append(steps, step(plan.Start{Name: s.name}, plan.ReasonChanged))
}

// retire stops a container and keeps it on disk, and sees to it that the engine does not start it again by itself: not
// when the engine is restarted, and not when power fails between the two steps.
func retire(c Container, why plan.Reason) []plan.Step {
	var steps []plan.Step
	if c.Policy != "no" && c.Policy != "" {
		steps = append(steps, step(plan.SetRestart{ID: c.ID, Name: c.Name, Policy: "no"}, why))
	}
	if active(c) {
		steps = append(steps, step(plan.Stop{ID: c.ID, Name: c.Name}, why))
	}
	return steps
}

// active reports whether a container's process runs or may run again by the engine's doing.
func active(c Container) bool {
	return c.State == Running || c.State == Restarting || c.State == Paused
}

// discard stops and removes a container that nothing follows.
func discard(c Container, why plan.Reason) []plan.Step { return remove(c, why, false) }

// discardKeeping removes a container and keeps its anonymous volumes for its successor.
func discardKeeping(c Container, why plan.Reason) []plan.Step { return remove(c, why, true) }

func remove(c Container, why plan.Reason, keep bool) []plan.Step {
	if c.State == Removing {
		return nil
	}
	return append(retire(c, why), step(plan.Remove{ID: c.ID, Name: c.Name, KeepVolumes: keep}, why))
}

// abandon drops a successor that was overtaken by a newer desired state before it passed its gate. The predecessor is
// still the last one known to be good.
func (p *planner) abandon(s *slot) []plan.Step {
	cur, prev := *s.cur, *s.prev
	if cur.State == Removing || prev.State == Removing {
		p.wait(s.subject(), plan.WaitRemoval, "")
		return nil
	}
	if prev.Hash == s.hash() {
		return append(discardKeeping(cur, plan.ReasonChanged), p.reinstate(s, prev, plan.ReasonChanged)...)
	}
	if !p.ready(s, false) {
		// The newest one may never come: the one in trial must not stay in charge if it is broken.
		if v, detail := s.judge(cur); v == failed && s.svc.Update.FailureAction == spec.Rollback {
			return p.rollBack(s, detail)
		}
		return nil
	}
	if !p.mayDisrupt(s, cur, prev) || p.failedElsewhere(s) {
		return p.conclude(s)
	}
	return append(discardKeeping(cur, plan.ReasonChanged), p.succession(s, prev)...)
}

// conclude carries a trial to its end that was overtaken by a version which may not be rolled out here now. One that has not
// begun makes room again.
func (p *planner) conclude(s *slot) []plan.Step {
	v, detail := s.judge(*s.cur)
	switch {
	case v == passed:
		return discardKeeping(*s.prev, plan.ReasonSuperseded)
	case v == failed && s.svc.Update.FailureAction == spec.Pause:
		return nil
	case v == failed:
		return p.rollBack(s, detail)
	case s.cur.State != Running && s.cur.State != Paused:
		return p.backOut(s)
	case !s.cur.HasCheck:
		p.wakeAfter(s.svc.Update.Monitor - s.cur.Up)
	}
	return nil
}

// backOut removes a successor that is not started and puts its predecessor back.
func (p *planner) backOut(s *slot) []plan.Step {
	return append(discardKeeping(*s.cur, plan.ReasonRollback), p.reinstate(s, *s.prev, plan.ReasonRollback)...)
}

// reinstate puts a predecessor back in charge: its name, its restart policy, running.
func (p *planner) reinstate(s *slot, c Container, why plan.Reason) []plan.Step {
	if c.State == Removing {
		p.wait(s.subject(), plan.WaitRemoval, c.Name)
		return nil
	}
	if !p.free(s, s.name) {
		return nil
	}
	if c.State == Restarting && p.d.Remembered(s.owner) {
		p.wait(s.subject(), plan.WaitEngine, fmt.Sprintf("exited with %d, restarted %d times", c.ExitCode, c.RestartCount))
		return nil
	}
	steps := calm(&c, why)
	steps = append(steps, step(plan.Rename{ID: c.ID, From: c.Name, To: s.name}, why))
	c.Name = s.name
	steps = append(steps, p.restore(s, c)...)
	done := s.svc.Restart.Job() && c.State == Exited && c.ExitCode == 0
	if !done && (c.State == Created || c.State == Exited) {
		steps = append(steps, step(plan.Start{ID: c.ID, Name: c.Name}, why))
	}
	return steps
}

// restore gives a container of an older hash back what it lost. Which networks it was made for is not known: it is helped
// only when it is on none at all, as a network that was replaced meanwhile leaves it.
func (p *planner) restore(s *slot, c Container) []plan.Step {
	if len(c.Networks) == 0 {
		return p.repair(s, c)
	}
	return restorePolicy(c)
}

// verdict is what the gate says of a successor.
type verdict int

const (
	trial verdict = iota
	passed
	failed
)

// judge looks at a successor: one with a health check has passed when healthy, one without when it has stayed up for
// the monitor time. One that ended, restarted, turned unhealthy or could not be started has failed.
func (s *slot) judge(c Container) (verdict, string) {
	switch {
	case c.State == Created && c.Error == "":
		return trial, "starting"
	case c.State == Exited && c.EngineEnded:
		return trial, "ended together with the engine"
	case c.State != Running && c.State != Paused:
		if c.Error != "" {
			return failed, c.Error
		}
		return failed, fmt.Sprintf("exited with %d", c.ExitCode)
	case c.State == Paused:
		return trial, "paused; docker unpause " + c.Name
	case c.RestartCount > 0:
		return failed, fmt.Sprintf("exited with %d and was restarted", c.ExitCode)
	case c.Health == Unhealthy:
		return failed, "unhealthy"
	case c.Health == Healthy:
		return passed, ""
	case c.Health == Starting || c.HasCheck || s.svc.Container.HasHealthcheck:
		return trial, "health check has not passed yet"
	case c.Up >= s.svc.Update.Monitor:
		return passed, ""
	}
	return trial, fmt.Sprintf("up for less than %s", s.svc.Update.Monitor)
}

// gate decides what becomes of a predecessor and its successor.
func (p *planner) gate(s *slot) []plan.Step {
	cur, prev := *s.cur, *s.prev
	if cur.State == Removing || prev.State == Removing {
		p.wait(s.subject(), plan.WaitRemoval, "")
		return nil
	}
	if s.svc.Restart.Job() || prev.Hash == s.hash() {
		return append(discardKeeping(prev, plan.ReasonSuperseded), p.settle(s)...)
	}
	v, detail := s.judge(cur)
	switch {
	case v == passed:
		return append(p.repair(s, cur), discardKeeping(prev, plan.ReasonSuperseded)...)
	case v == trial && (cur.State == Created || cur.State == Exited):
		return p.takeUp(s)
	case v == trial:
		p.wait(s.subject(), plan.WaitGate, detail)
		if !cur.HasCheck && !s.svc.Container.HasHealthcheck {
			p.wakeAfter(s.svc.Update.Monitor - cur.Up)
		}
		return p.repair(s, cur)
	case p.forgiven(cur) && p.ready(s, false):
		if !p.mayDisrupt(s, prev) {
			return nil
		}
		return append(discardKeeping(cur, plan.ReasonRetry), p.succession(s, prev)...)
	case s.svc.Update.FailureAction == spec.Pause:
		p.wait(s.subject(), plan.WaitFailed, detail+"; the predecessor is kept as "+prev.Name)
		return nil
	case s.svc.Update.FailureAction == spec.Continue:
		if !p.mayDisrupt(s, prev) {
			return nil
		}
		return discardKeeping(prev, plan.ReasonSuperseded)
	}
	return p.rollBack(s, detail)
}

// takeUp goes on with a successor that is not started yet. One that failed on another node meanwhile makes room again, as long as
// its predecessor has lost nothing.
func (p *planner) takeUp(s *slot) []plan.Step {
	switch {
	case p.mayDisrupt(s, *s.prev):
		return p.resume(s)
	case p.failedElsewhere(s):
		return p.backOut(s)
	}
	return nil
}

// resume takes up a succession that was cut between create and start, or whose successor ended together with the engine.
func (p *planner) resume(s *slot) []plan.Step {
	var steps []plan.Step
	if s.stopFirst() {
		steps = retire(*s.prev, plan.ReasonChanged)
	}
	steps = append(steps, p.repair(s, *s.cur)...)
	return append(steps, step(plan.Start{ID: s.cur.ID, Name: s.cur.Name}, plan.ReasonChanged))
}

// rollBack takes a failed successor out of service, keeps it as evidence, and puts the predecessor back.
func (p *planner) rollBack(s *slot, detail string) []plan.Step {
	cur, prev := *s.cur, *s.prev
	if !p.free(s, s.name+SuffixFailed) {
		return nil
	}
	s.goal = "rollback " + s.hash()
	steps := retire(cur, plan.ReasonFailed)
	if cur.State == Dead {
		// A dead container can be neither renamed nor kept. Its hash is tried again, behind the same gate.
		steps = discardKeeping(cur, plan.ReasonDead)
	} else {
		steps = append(steps, step(plan.Rename{ID: cur.ID, From: cur.Name, To: s.name + SuffixFailed}, plan.ReasonFailed))
	}
	p.wait(s.subject(), plan.WaitFailed, detail)
	return append(steps, p.reinstate(s, prev, plan.ReasonRollback)...)
}

// afterFailure keeps the last good container in charge while the desired hash is known to fail.
func (p *planner) afterFailure(s *slot) []plan.Step {
	p.wait(s.subject(), plan.WaitFailed, fmt.Sprintf("this revision did not pass its gate; see docker logs %s", s.failed.Name))
	var steps []plan.Step
	if active(*s.failed) {
		steps = retire(*s.failed, plan.ReasonFailed)
	}
	switch {
	case s.prev != nil:
		if s.cur != nil { // an older trial that was never judged
			steps = append(steps, discardKeeping(*s.cur, plan.ReasonSuperseded)...)
		}
		return append(steps, p.reinstate(s, *s.prev, plan.ReasonRollback)...)
	case s.cur != nil:
		return append(steps, p.keepRunning(s, *s.cur)...)
	case s.hasFallback():
		return append(steps, p.fallBack(s)...)
	}
	return steps
}

// keepRunning keeps a container that is not the desired one going while its successor cannot take over.
func (p *planner) keepRunning(s *slot, c Container) []plan.Step {
	var steps []plan.Step
	if c.Name == s.name {
		steps = p.restore(s, c)
	}
	// One that was never started is started if it was cut between create and start; otherwise it waited for something.
	made := c.State == Created && (p.d.Remembered(s.owner) || s.hasFallback() && c.Hash == s.svc.Fallback.Container.Hash)
	if (made || c.State == Exited) && !s.svc.Restart.Job() && c.WantPolicy != "no" {
		steps = append(steps, p.startAgain(s, c)...)
	}
	return steps
}
