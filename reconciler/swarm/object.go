package swarm

import (
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

func (n ObjectName) subject() string { return string(n.Kind) + " " + n.Name }

// planObjects creates the configs and secrets that are missing.
func (p *planner) planObjects(st spec.SwarmStack) {
	for _, ob := range st.Objects {
		name := ObjectName{ob.Kind, ob.Name}
		have, there := p.objects[name]
		switch {
		case !there && ob.External:
			p.wait(name.subject(), plan.WaitObject, "it is external and does not exist; docker "+string(ob.Kind)+" create "+ob.Name+" FILE")
		case !there:
			p.add(name.subject(), name.subject(), ob.Hash, plan.CreateObject{Owner: st.Owner, Stack: st.Name, Object: ob}, plan.ReasonMissing)
		case ob.External:
		case !p.mine(have.Owner, have.Stack):
			p.wait(name.subject(), plan.WaitForeign, "one of this name exists that brambled did not make; docker "+string(ob.Kind)+" rm "+ob.Name)
		case have.Hash != ob.Hash && spec.HashSchema(have.Hash) <= spec.Schema:
			p.wait(name.subject(), plan.WaitForeign, "it exists with other labels or another template, which Swarm cannot change: give it another name in the file")
		}
	}
}

// haveObjects reports whether the configs and secrets of a service can be referred to now.
func (p *planner) haveObjects(t target) bool {
	ok := true
	for _, f := range t.svc.Files {
		name := ObjectName{f.Kind, f.Object}
		have, there := p.objects[name]
		i := slices.IndexFunc(t.st.Objects, func(ob spec.SwarmObject) bool { return ob.Kind == f.Kind && ob.Name == f.Object })
		ours := i < 0 || t.st.Objects[i].External || p.mine(have.Owner, have.Stack)
		if !there || !ours || p.moving(name.subject()) {
			p.wait(t.subject(), plan.WaitObject, name.subject())
			ok = false
		}
	}
	return ok
}

// removeObjects removes our configs and secrets to which neither a desired nor an existing service refers, nor the version
// a service would be rolled back to. It waits for running lanes: one that began under an older desired state may be
// about to refer to one of them.
func (p *planner) removeObjects() {
	if len(p.o.Busy) > 0 {
		return
	}
	used := map[ObjectName]bool{}
	for _, st := range p.d.Stacks {
		for _, ob := range st.Objects {
			used[ObjectName{ob.Kind, ob.Name}] = true
		}
	}
	for _, s := range p.services {
		for _, name := range slices.Concat(s.Objects, s.Before) {
			used[name] = true
		}
	}
	for name, ob := range p.objects {
		if !used[name] && p.mine(ob.Owner, ob.Stack) && spec.HashSchema(ob.Hash) <= spec.Schema && p.converged(ob.Stack) {
			p.add(name.subject(), name.subject(), "", plan.RemoveObject{ID: ob.ID, Kind: ob.Kind, Name: ob.Name}, plan.ReasonUnreferenced)
		}
	}
}

// converged reports whether no change of a stack's services is planned or under way, nor stuck half way.
func (p *planner) converged(stack string) bool {
	for key := range p.lanes {
		if strings.HasPrefix(key, "service "+stack+"/") {
			return false
		}
	}
	return !slices.ContainsFunc(p.services, func(s Service) bool {
		unfinished := slices.Contains([]UpdateState{Updating, Paused, RollbackStarted, RollbackPaused}, s.Update)
		old := slices.ContainsFunc(p.tasks[s.ID], func(k Task) bool { return !k.Current && !k.Ended() })
		return s.Stack == stack && (unfinished || old)
	})
}
