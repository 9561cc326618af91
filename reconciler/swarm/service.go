package swarm

import (
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// planService brings one service to its desired version, if it may be and all it needs is there.
func (p *planner) planService(t target) {
	have, there := p.service(t.svc.Full)
	claims := p.claimant(t.svc.Full)
	switch {
	case claims.Name != t.st.Name:
		p.wait(t.subject(), plan.WaitForeign, fmt.Sprintf("a service of stack %s is called %s in Swarm too; rename one of the two", claims.Name, t.svc.Full))
	case !there:
		p.create(t)
	case !p.mine(have.Owner, have.Stack):
		p.wait(t.subject(), plan.WaitForeign, "a service "+have.Name+" exists that brambled did not make; docker service rm "+have.Name+", or rename this one")
	case have.Owner != t.st.Owner || have.Stack != t.st.Name || have.Key != t.svc.Name:
		p.wait(t.subject(), plan.WaitRemoval, fmt.Sprintf("%s is still %s/%s", have.Name, have.Stack, have.Key))
	case spec.HashSchema(have.Hash) > spec.Schema:
		p.wait(t.subject(), plan.WaitNewer, "")
	case have.Mode != t.svc.Mode:
		p.replace(t, have)
	case have.Hash == t.svc.Hash:
		p.follow(t, have)
	default:
		p.update(t, have)
	}
}

// claimant is the stack whose service has a name in Swarm: two stacks may come to the same one ("a" with "b_c", "a_b" with
// "c"). The one whose service is there keeps it, else it is the first: taking the name in turn would go on for ever.
func (p *planner) claimant(full string) spec.SwarmStack {
	var first spec.SwarmStack
	have, there := p.service(full)
	for _, st := range p.d.Stacks {
		if !slices.ContainsFunc(st.Services, func(s spec.SwarmService) bool { return s.Full == full }) {
			continue
		}
		if there && st.Name == have.Stack && st.Owner == have.Owner {
			return st
		}
		if first.Name == "" {
			first = st
		}
	}
	return first
}

// create makes a service that is not there. Its dependencies gate this step only, never an update.
func (p *planner) create(t target) {
	image, ok := p.ready(t, nil)
	if !p.dependencies(t) || !ok {
		return
	}
	// Tasks of a service that was removed may still hold its ports and volumes.
	if slices.ContainsFunc(p.leaving, func(k Task) bool { return k.Stack == t.st.Name && k.Key == t.svc.Name }) {
		p.wait(t.subject(), plan.WaitRemoval, "tasks of the service that was removed still run")
		return
	}
	p.add(t.lane(), t.subject(), t.svc.Hash, plan.CreateService{Owner: t.st.Owner, Stack: t.st.Name, Service: t.svc, Image: image}, plan.ReasonMissing)
}

// replace removes a service whose mode differs, which Swarm cannot change. It is created again once it and its tasks are
// gone, so all that it then needs must be here first.
func (p *planner) replace(t target, have Service) {
	if _, ok := p.ready(t, &have); ok {
		p.add(t.lane(), t.subject(), t.svc.Hash, plan.RemoveService{ID: have.ID, Name: have.Name}, plan.ReasonChanged)
	}
}

// update gives a service another version, unless that one is known to fail. Where Swarm may roll back, the version that
// runs is marked first with the one that is tried.
func (p *planner) update(t target, have Service) {
	failed, retry := p.verdict(t, have), slices.Contains(p.d.Retry, t.svc.Hash)
	switch {
	case failed != "" && have.Update == RollbackStarted && retry:
		p.wait(t.subject(), plan.WaitGate, "Swarm is rolling back")
	case failed != "" && retry:
		p.put(t, have, plan.ReasonRetry)
	case failed != "":
		p.wait(t.subject(), plan.WaitFailed, failed)
	default:
		p.put(t, have, plan.ReasonChanged)
	}
}

func (p *planner) put(t target, have Service, why plan.Reason) {
	image, ok := p.ready(t, &have)
	if !ok {
		return
	}
	var a plan.Action = plan.UpdateService{ID: have.ID, Version: have.Version, Owner: t.st.Owner, Stack: t.st.Name, Service: t.svc, Image: image, Force: have.Hash == t.svc.Hash && !t.svc.Mode.Job()}
	if rollsBack(t.svc) && have.Tried != t.svc.Hash {
		a = plan.MarkService{ID: have.ID, Name: have.Name, Version: have.Version, Tried: t.svc.Hash}
	}
	p.add(t.lane(), t.subject(), t.svc.Hash, a, why)
}

// rollsBack reports whether Swarm goes back to the former version by itself. A job it runs again and never rolls back.
func rollsBack(svc spec.SwarmService) bool {
	return svc.Deploy.Update.FailureAction == spec.Rollback && !svc.Mode.Job()
}

// follow watches a service that has its desired version. Nothing is left to do for it but to say how far it is.
func (p *planner) follow(t target, have Service) {
	failed := p.verdict(t, have)
	switch {
	case failed != "" && slices.Contains(p.d.Retry, t.svc.Hash):
		p.put(t, have, plan.ReasonRetry)
	case failed != "":
		p.wait(t.subject(), plan.WaitFailed, failed)
	case have.Update == Updating || have.Update == RollbackStarted:
		p.wait(t.subject(), plan.WaitGate, progressOf(have))
	default:
		p.watch(t, have)
	}
}

// progressOf says how far Swarm is with an update, in its words.
func progressOf(have Service) string {
	if have.Message == "" {
		return "Swarm says: " + string(have.Update)
	}
	return "Swarm says: " + have.Message
}

// verdict says why the desired version of a service counts as failed, "" when it does not. It is read off the Swarm, so
// whoever leads next comes to the same one.
func (p *planner) verdict(t target, have Service) string {
	runs, tried := have.Hash == t.svc.Hash, have.Tried == t.svc.Hash
	failed := false
	switch have.Update {
	case Paused:
		failed = runs
	case RollbackPaused:
		failed = runs || tried
	case RollbackStarted, RollbackCompleted:
		failed = tried && !runs
	case NotUpdated, Updating, Completed:
	}
	switch {
	case failed:
		return fmt.Sprintf("this revision failed, see docker service ps %s; %s", have.Name, progressOf(have))
	case runs && t.svc.Mode.Job():
		return p.jobFailed(have)
	}
	return ""
}
