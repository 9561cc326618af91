package node

import (
	"maps"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// planRemovals removes what carries an owner the desired state speaks for and is no longer desired. Volumes stay.
func (p *planner) planRemovals() {
	for _, id := range slices.SortedFunc(maps.Keys(p.slots), slotID.compare) {
		list := p.slots[id]
		st, ok := p.d.Stack(id.stack)
		svc, here := st.Service(id.service)
		gone := !ok || st.Owner != id.owner || !here || id.replica < 1 || id.replica > svc.Replicas
		switch {
		case gone && p.d.Remembered(id.owner):
			p.wait(id.subject(), plan.WaitStore, "last-known-good does not have it; it is left as it is")
		case !ok || st.Owner != id.owner || !here:
			p.removeSlot(id, list, plan.ReasonUndesired)
		case id.replica < 1 || id.replica > svc.Replicas:
			p.removeSlot(id, list, plan.ReasonScaledDown)
		}
	}
	p.removeNetworks()
}

func (p *planner) removeSlot(id slotID, list []Container, why plan.Reason) {
	var steps []plan.Step
	for _, c := range list {
		if spec.HashSchema(c.Hash) > spec.Schema {
			p.wait(id.subject(), plan.WaitNewer, c.Name)
			return
		}
		if c.State == Removing {
			p.wait(id.subject(), plan.WaitRemoval, c.Name)
			continue
		}
		steps = append(steps, discard(c, why)...)
	}
	p.add(id.lane(), id.subject(), "", steps...)
}

// inSwarm is the scope of networks that the leader makes and removes, for all nodes.
const inSwarm = "swarm"

// removeNetworks removes our networks that no stack wants, once nothing is on them any more. Those of Swarm's scope are the
// leader's.
func (p *planner) removeNetworks() {
	wanted := p.wantedNetworks()
	for _, name := range slices.Sorted(maps.Keys(p.networks)) {
		for _, n := range p.networks[name] {
			if !wanted[name] && n.Scope != inSwarm && p.mine(n.Owner, n.Stack) && !p.d.Remembered(n.Owner) && spec.HashSchema(n.Hash) <= spec.Schema {
				p.removeNetwork(n)
			}
		}
	}
}

func (p *planner) removeNetwork(n Network) {
	subject := "network " + n.Name
	if slices.ContainsFunc(p.users[n.Name], func(c Container) bool { return p.mine(c.Owner, c.Stack) }) {
		p.wait(subject, plan.WaitRemoval, "containers are still on it")
		return
	}
	if steps, ok := p.clear(subject, n, plan.ReasonUndesired); ok {
		p.add(subject, subject, "", steps...)
	}
}

// wantedNetworks are the networks of the desired versions and of those that take their place when they cannot be had.
func (p *planner) wantedNetworks() map[string]bool {
	wanted := map[string]bool{}
	for _, st := range p.d.Stacks {
		for _, n := range st.Networks {
			wanted[n.Name] = true
		}
		for _, svc := range st.Services {
			if svc.Fallback == nil {
				continue
			}
			for _, n := range svc.Fallback.Networks {
				wanted[n.Name] = true
			}
		}
	}
	return wanted
}

// planFiles removes configs and secrets that neither a desired nor an existing container refers to. It waits for running
// lanes: one that began under an older desired state may have put a file in place for the container it creates next.
func (p *planner) planFiles() {
	if len(p.o.Busy) > 0 || len(p.d.Recalled) > 0 {
		return
	}
	used := map[string]bool{}
	for _, st := range p.d.Stacks {
		for _, svc := range st.Services {
			files := svc.Container.Files
			if svc.Fallback != nil {
				files = slices.Concat(files, svc.Fallback.Container.Files)
			}
			for _, f := range files {
				used[f.Digest] = true
			}
		}
	}
	for _, c := range p.o.Containers {
		for _, f := range c.Files {
			used[f] = true
		}
	}
	for _, f := range p.o.Files {
		if !used[f] {
			key := "file " + f
			p.add(key, key, "", step(plan.RemoveFile{Digest: f}, plan.ReasonUnreferenced))
		}
	}
}
