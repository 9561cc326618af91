package swarm

import (
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// removeServices removes what carries an owner the desired state speaks for and is no longer desired.
func (p *planner) removeServices() {
	for _, s := range p.services {
		subject := s.Stack + "/" + s.Key
		switch {
		case !p.mine(s.Owner, s.Stack) || p.desired(s):
		case spec.HashSchema(s.Hash) > spec.Schema:
			p.wait(subject, plan.WaitNewer, s.Name)
		default:
			p.add("service "+subject, subject, "", plan.RemoveService{ID: s.ID, Name: s.Name}, plan.ReasonUndesired)
		}
	}
}

// desired reports whether a service of ours is one that its stack wants, in whatever version.
func (p *planner) desired(s Service) bool {
	st, ok := p.d.Stack(s.Stack)
	svc, here := st.Service(s.Key)
	return ok && here && st.Owner == s.Owner && svc.Full == s.Name
}

// removeNetworks removes our networks that no stack wants, once nothing is on them any more. Endpoints on nodes are freed
// late, and Swarm may refuse for a while: the lane then backs off.
func (p *planner) removeNetworks() {
	if len(p.o.Busy) > 0 {
		return // a lane that began under an older desired state may be about to use one
	}
	for _, n := range p.networks {
		subject := "network " + n.Name
		wanted := slices.ContainsFunc(p.d.Stacks, func(st spec.SwarmStack) bool {
			return slices.ContainsFunc(st.Networks, func(want spec.Network) bool { return want.Name == n.Name })
		})
		switch use, ends := p.use(n); {
		case wanted || !p.mine(n.Owner, n.Stack) || spec.HashSchema(n.Hash) > spec.Schema:
		case use != "" && ends:
			p.wait(subject, plan.WaitRemoval, use)
		case use == "" && p.converged(n.Stack):
			p.add(subject, subject, "", plan.RemoveNetwork{ID: n.ID, Name: n.Name}, plan.ReasonUndesired)
		}
	}
}
