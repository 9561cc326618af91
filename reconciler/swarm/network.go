package swarm

import (
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// planNetworks creates the networks that are missing. One whose definition changed is replaced only while nothing is on
// it: Swarm cannot change a network, and every service on it would have to be removed first, an outage of all of them
// at once for an edit that looks small. `docker stack deploy` ignores such an edit; here a person is told what to do.
// Services go on on the network as it is.
func (p *planner) planNetworks(st spec.SwarmStack) {
	for _, n := range st.Networks {
		subject := "network " + n.Name
		have, there := p.network(n.Name)
		other := p.definer(n.Name)
		switch {
		case !n.External && other.Name != st.Name:
			if networkHash(other, n.Name) != n.Hash {
				p.wait(subject, plan.WaitForeign, "stack "+other.Name+" defines it otherwise; declare it external in one of the two")
			}
		case !there && n.External:
			p.wait(subject, plan.WaitNetwork, "it is external and does not exist; docker network create --driver overlay "+n.Name)
		case !there:
			p.add(subject, subject, n.Hash, plan.CreateNetwork{Owner: st.Owner, Stack: st.Name, Network: n}, plan.ReasonMissing)
		case n.External:
		case !p.mine(have.Owner, have.Stack):
			p.wait(subject, plan.WaitForeign, "a network of this name exists that brambled did not make; docker network rm "+n.Name+", or declare it external")
		case spec.HashSchema(have.Hash) > spec.Schema:
			p.wait(subject, plan.WaitNewer, "")
		case have.Hash != n.Hash:
			p.replaceNetwork(n, have)
		}
	}
}

func (p *planner) network(name string) (Network, bool) {
	i := slices.IndexFunc(p.networks, func(n Network) bool { return n.Name == name })
	if i < 0 {
		return Network{}, false
	}
	return p.networks[i], true
}

// definer returns the stack whose definition of a network counts: the first one by name.
func (p *planner) definer(network string) spec.SwarmStack {
	for _, st := range p.d.Stacks {
		if !st.Opaque && networkHash(st, network) != "" {
			return st
		}
	}
	return spec.SwarmStack{}
}

// networkHash is the hash of a network's definition in a stack, "" where the stack does not define it.
func networkHash(st spec.SwarmStack, network string) string {
	i := slices.IndexFunc(st.Networks, func(n spec.Network) bool { return n.Name == network })
	if i < 0 {
		return ""
	}
	return st.Networks[i].Hash
}

func (p *planner) replaceNetwork(n spec.Network, have Network) {
	subject := "network " + n.Name
	if use, _ := p.use(have); use != "" {
		p.wait(subject, plan.WaitForeign, "its definition changed, which Swarm cannot do while "+use+"; give the new one another name in the file, or remove its services first")
		return
	}
	if len(p.o.Busy) > 0 {
		p.wait(subject, plan.WaitLane, "which may be about to use it")
		return
	}
	p.add(subject, subject, n.Hash, plan.RemoveNetwork{ID: have.ID, Name: have.Name}, plan.ReasonChanged)
}

// use says what a network is needed for, "" when for nothing, and whether that ends by itself. The version a service would be
// rolled back to counts, which may be there for months, and so do tasks that are being stopped: Swarm forgets a network
// before they have left it, and the name would be taken twice.
func (p *planner) use(n Network) (use string, ends bool) {
	for _, s := range p.services {
		if slices.Contains(s.Networks, n.Name) {
			return "service " + s.Name + " is on it", true
		}
	}
	if slices.ContainsFunc(p.leaving, func(k Task) bool { return k.Stack == n.Stack }) {
		return "a task that is being stopped is on it", true
	}
	for _, s := range p.services {
		if slices.Contains(s.NetworksBefore, n.Name) {
			return "service " + s.Name + " may be rolled back to it", false
		}
	}
	return "", false
}

// haveNetworks reports whether a service can be on its networks now. "host" and "none" are on every node.
func (p *planner) haveNetworks(t target) bool {
	ok := true
	for _, at := range t.svc.Networks {
		if at.Network == "host" || at.Network == "none" {
			continue
		}
		have, there := p.network(at.Network)
		ours := p.definer(at.Network).Name == "" || p.mine(have.Owner, have.Stack)
		if !there || !ours || p.moving("network "+at.Network) {
			p.wait(t.subject(), plan.WaitNetwork, at.Network)
			ok = false
		}
	}
	return ok
}
