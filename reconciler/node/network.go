package node

import (
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// planVolumes creates the volumes that are missing. One that is there under another definition is used as it is and
// reported: brambled never removes a volume.
func (p *planner) planVolumes(st spec.Stack) {
	for _, v := range st.Volumes {
		subject := "volume " + v.Name
		have, ok := p.volumes[v.Name]
		switch {
		case !ok && v.External:
			p.wait(subject, plan.WaitVolume, "it is external and does not exist; docker volume create "+v.Name)
		case !ok:
			p.add(subject, subject, v.Hash, step(plan.CreateVolume{Owner: st.Owner, Stack: st.Name, Volume: v}, plan.ReasonMissing))
		case !v.External && have.Hash != "" && have.Hash != v.Hash && spec.HashSchema(have.Hash) <= spec.Schema && p.mine(have.Owner, have.Stack):
			p.wait(subject, plan.WaitForeign, "it exists with other options; volumes are never removed: move the data, then docker volume rm "+v.Name)
		}
	}
}

// haveNetwork reports whether containers can be attached to a network now.
func (p *planner) haveNetwork(name string) bool {
	return len(p.networks[name]) > 0 && !p.o.Busy["network "+name] && p.lanes["network "+name].Key == ""
}

// planNetworks creates the networks that are missing and replaces those whose definition changed, without stopping a
// container: each is cut off and later repaired like one that lost its network.
func (p *planner) planNetworks(st spec.Stack) {
	for _, n := range st.Networks {
		subject := "network " + n.Name
		have := p.networks[n.Name]
		switch {
		case !n.External && p.definer(n.Name).Name != st.Name:
			if other := p.definer(n.Name); hashOf(other, n.Name) != n.Hash {
				p.wait(subject, plan.WaitForeign, "stack "+other.Name+" defines it otherwise; declare it external in one of the two")
			}
		case len(have) == 0 && n.External:
			p.wait(subject, plan.WaitNetwork, "it is external and does not exist; docker network create "+n.Name)
		case len(have) == 0:
			p.add(subject, subject, n.Hash, step(plan.CreateNetwork{Owner: st.Owner, Stack: st.Name, Network: n}, plan.ReasonMissing))
		case n.External:
		case !p.mine(have[0].Owner, have[0].Stack):
			p.wait(subject, plan.WaitForeign, "a network of this name exists that brambled did not make; docker network rm "+n.Name+", or declare it external")
		case spec.HashSchema(have[0].Hash) > spec.Schema:
			p.wait(subject, plan.WaitNewer, "")
		case have[0].Hash != n.Hash && p.d.Remembered(st.Owner):
			p.wait(subject, plan.WaitStore, "it is not as last-known-good says")
		case have[0].Hash != n.Hash:
			p.replaceNetwork(st, n, have[0])
		}
	}
}

// definer returns the stack whose definition of a network counts: the first one by name. Two that differ would otherwise
// replace the network in turn, for ever.
func (p *planner) definer(network string) spec.Stack {
	for _, st := range p.d.Stacks {
		if !st.Opaque && hashOf(st, network) != "" {
			return st
		}
	}
	return spec.Stack{}
}

// hashOf is the hash of a network's definition in a stack, "" where the stack does not define it.
func hashOf(st spec.Stack, network string) string {
	i := slices.IndexFunc(st.Networks, func(n spec.Network) bool { return n.Name == network })
	if i < 0 {
		return ""
	}
	return st.Networks[i].Hash
}

func (p *planner) replaceNetwork(st spec.Stack, n spec.Network, have Network) {
	subject := "network " + n.Name
	steps, ok := p.clear(subject, have, plan.ReasonChanged)
	if !ok || !p.mayCutOff(subject, p.users[have.Name]) {
		return
	}
	steps = append(steps, step(plan.CreateNetwork{Owner: st.Owner, Stack: st.Name, Network: n}, plan.ReasonChanged))
	p.add(subject, subject, n.Hash, steps...)
}

// clear cuts our containers from a network and removes it. A container that is not ours keeps the network.
func (p *planner) clear(subject string, have Network, why plan.Reason) ([]plan.Step, bool) {
	var steps []plan.Step
	for _, c := range p.users[have.Name] {
		switch {
		case p.mine(c.Owner, c.Stack) && spec.HashSchema(c.Hash) > spec.Schema:
			p.wait(subject, plan.WaitNewer, c.Name+" is on it")
			return nil, false
		case !p.mine(c.Owner, c.Stack):
			p.wait(subject, plan.WaitForeign, fmt.Sprintf("container %s, which is not ours to touch, is on it; docker network disconnect %s %s", c.Name, have.Name, c.Name))
			return nil, false
		case p.o.Busy[slotID{c.Owner, c.Stack, c.Service, c.Replica}.lane()]:
			p.wait(subject, plan.WaitLane, c.Name)
			return nil, false
		}
		steps = append(steps, step(plan.Disconnect{Container: c.ID, Name: c.Name, Network: have.Name}, why))
	}
	return append(steps, step(plan.RemoveNetwork{ID: have.ID, Name: have.Name}, why)), true
}
