package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// This file is about permits: what runs well on this node, and on others too, is disrupted on so many nodes at a time as its
// update policy says, and not at all once the version has failed on one of them. What is down already needs no permit, and what
// was begun under one is carried to its end whatever becomes of it.

// Permits are what the store's records say.
type Permits struct {
	// Known is false while the store does not answer.
	Known bool
	// Without are the owners whose services go on without a permit: the static tier's, once the store has been away for so long
	// that it may be the very thing to be mended.
	Without []string
	Records map[plan.PermitKey]Record
	// Away are the holders that are not present.
	Away []string
}

// OfSwarm is the holder of the voters' permit that is no node: the leader, while it changes the managers of the Swarm.
const OfSwarm = "swarm"

// permit is what this node may do to one service, and what it wants to do.
type permit struct {
	key    plan.PermitKey
	st     spec.Stack
	svc    spec.Service
	record Record
	slots  []*slot

	held   bool           // by this node for the desired version
	ok     bool           // the service may be disrupted now
	failed *FailedRollout // the desired version, on another node

	wanted bool // something is to be disrupted now
	votes  bool // and for that, the voters' permit is all that lacks
}

func permitKey(st spec.Stack, svc spec.Service) plan.PermitKey {
	return plan.PermitKey{Owner: st.Owner, Stack: st.Name, Service: svc.Name}
}

// permit returns the permit of a service, nil where it needs none.
func (p *planner) permit(st spec.Stack, svc spec.Service) *permit {
	key := permitKey(st, svc)
	if t := p.permits[key]; t != nil || svc.Rollout == "" {
		return t
	}
	all := p.o.Permits
	t := &permit{key: key, st: st, svc: svc, record: all.Records[key]}
	p.permits[key] = t
	if !all.Known {
		t.held = slices.Contains(all.Without, st.Owner)
		t.ok = t.held
		return t
	}
	h, held := t.record.Held(p.d.Node)
	if f := t.record.Failed; f != nil && f.Hash == svc.Rollout && f.Node != p.d.Node {
		t.failed = f
	}
	t.held = held && h.Hash == svc.Rollout && t.failed == nil
	_, votes := all.Records[plan.Voters()].Held(p.d.Node)
	t.ok = t.held && (!svc.Voter || votes)
	return t
}

// serving reports whether there is something to lose: a container that runs, and is not known to be unwell.
func serving(c Container) bool { return c.State == Running && c.Health != Unhealthy }

// mayDisrupt reports whether a step that costs the service one of these containers may be taken now, and notes what it waits
// for.
func (p *planner) mayDisrupt(s *slot, cs ...Container) bool {
	t := p.permit(s.st, s.svc)
	if t == nil || !slices.ContainsFunc(cs, serving) {
		return true
	}
	t.wanted, t.votes = true, t.held
	if t.ok {
		return true
	}
	w := p.without(t)
	p.wait(s.subject(), w.For, w.Detail)
	return false
}

// failedElsewhere reports whether the desired version of a replica is known to have failed on another node.
func (p *planner) failedElsewhere(s *slot) bool {
	t := p.permit(s.st, s.svc)
	return t != nil && t.failed != nil
}

// mayCutOff reports whether the containers on a network may be cut off from it. The permits of all their services are taken in
// one order, and one that is not the next is given back.
func (p *planner) mayCutOff(subject string, users []Container) bool {
	needed := p.permitsOf(users)
	for _, t := range needed {
		t.wanted = true
		if !t.held {
			w := p.without(t)
			p.wait(subject, w.For, t.key.Name()+" is on it; "+w.Detail)
			return false
		}
	}
	for _, t := range needed {
		if t.votes = true; !t.ok {
			p.wait(subject, plan.WaitPermit, t.key.Name()+" is on it; "+p.without(t).Detail)
			return false
		}
	}
	return true
}

// permitsOf are the permits that it takes to disrupt containers, sorted.
func (p *planner) permitsOf(cs []Container) []*permit {
	found := map[plan.PermitKey]*permit{}
	for _, c := range cs {
		st, ok := p.d.Stack(c.Stack)
		svc, here := st.Service(c.Service)
		if !ok || st.Owner != c.Owner || !here || c.Replica > svc.Replicas || !serving(c) {
			continue
		}
		if t := p.permit(st, svc); t != nil {
			found[t.key] = t
		}
	}
	out := slices.Collect(maps.Values(found))
	slices.SortFunc(out, func(a, b *permit) int { return a.key.Compare(b.key) })
	return out
}

// without says why there is no permit now.
func (p *planner) without(t *permit) plan.Wait {
	voters := p.o.Permits.Records[plan.Voters()]
	in := func(what string) plan.Wait { return plan.Wait{For: plan.WaitPermit, Detail: what} }
	switch {
	case t.failed != nil:
		return plan.Wait{For: plan.WaitFailed, Detail: fmt.Sprintf("it failed on %s: %s; put a new revision, or brambled retry %s", t.failed.Node, t.failed.Error, t.st.Name)}
	case !p.o.Permits.Known:
		return in("Consul has not said yet whether it may be disrupted on this node")
	case t.record.Damaged != "":
		return in(t.record.Damaged)
	case !t.held && !p.grantable(t.key, t.svc.Rollout, t.svc.Update.Parallelism):
		return in(p.busy(t.record, t.st.Name, "it"))
	case t.held && voters.Damaged != "":
		return in(voters.Damaged)
	case t.held && !p.grantable(plan.Voters(), t.key.String(), 1):
		return in(p.busy(voters, t.st.Name, "another voter") + " (of all voters one at a time)")
	}
	return in("it is asked for")
}

// grantable reports whether asking for a permit would be of use.
func (p *planner) grantable(key plan.PermitKey, hash string, limit int) bool {
	_, ok := p.o.Permits.Records[key].Ask(Holder{Node: p.d.Node, Hash: hash}, limit)
	return ok
}

// busy names who holds a permit. One that is away keeps it: only a person can tell whether it comes back.
func (p *planner) busy(r Record, stack, what string) string {
	var there, away []string
	for _, h := range r.others(p.d.Node) {
		name, of := h.Node, what
		if what != "it" {
			of = plan.ParsePermitKey(h.Hash).Name()
		}
		switch {
		case h.Node == OfSwarm:
			there = append(there, "the managers of the Swarm are being changed")
		case slices.Contains(p.o.Permits.Away, h.Node):
			away = append(away, fmt.Sprintf("%s holds the permit for %s and is not there; it goes on when %s is back, or with brambled retry %s", name, of, name, stack))
		default:
			there = append(there, name+" is updating "+of)
		}
	}
	return strings.Join(append(away, there...), ", ")
}

// planPermits says what becomes of the permits.
func (p *planner) planPermits() {
	if !p.o.Permits.Known {
		return
	}
	votes := false
	for _, key := range slices.SortedFunc(maps.Keys(p.permits), plan.PermitKey.Compare) {
		t := p.permits[key]
		if !p.d.Remembered(key.Owner) {
			p.planPermit(t)
			_, holds := t.record.Held(p.d.Node)
			votes = votes || t.svc.Voter && holds && (t.wanted && t.held || p.begun(t))
		}
	}
	p.planVotes(votes)
	for _, key := range slices.SortedFunc(maps.Keys(p.o.Permits.Records), plan.PermitKey.Compare) {
		if _, planned := p.permits[key]; !planned && p.speaksFor(key) {
			p.leave(key, "")
		}
	}
}

// speaksFor reports whether the desired state says all that there is to say of a service.
func (p *planner) speaksFor(key plan.PermitKey) bool {
	return p.mine(key.Owner, key.Stack) && !p.d.Remembered(key.Owner)
}

// planPermit plans one permit: it is asked for when there is something to disrupt, kept until that is over, and then given back,
// with the failure recorded where it failed.
func (p *planner) planPermit(t *permit) {
	h, holds := t.record.Held(p.d.Node)
	bad := p.failure(t)
	switch {
	case t.record.Damaged != "":
	case bad != "" && (holds && h.Hash == t.svc.Rollout || t.record.Failed == nil):
		p.say(plan.Permit{Do: plan.FailPermit, Key: t.key, For: t.svc.Rollout, Err: bad})
	case t.wanted && !t.held && p.grantable(t.key, t.svc.Rollout, t.svc.Update.Parallelism):
		p.say(plan.Permit{Do: plan.AskPermit, Key: t.key, For: t.svc.Rollout, Limit: max(t.svc.Update.Parallelism, 0)})
	case bad == "" && holds && !p.d.Drains(t.key.Owner) && (p.begun(t) || t.wanted && t.held): // on a drained node it is down, which needs none
		p.wakePassed(t)
		p.say(plan.Permit{Do: plan.KeepPermit, Key: t.key, For: h.Hash})
	default:
		p.leave(t.key, t.svc.Rollout)
	}
}

// leave gives back what this node holds, and forgets what failed on it in a version that is no longer desired.
func (p *planner) leave(key plan.PermitKey, desired string) {
	r := p.o.Permits.Records[key]
	if h, holds := r.Held(p.d.Node); holds {
		p.say(plan.Permit{Do: plan.ReturnPermit, Key: key, For: h.Hash})
	} else if f := r.Failed; f != nil && f.Node == p.d.Node && f.Hash != desired {
		p.say(plan.Permit{Do: plan.ForgetFailure, Key: key, For: f.Hash})
	}
}

// planVotes plans the permit that all voters share. A node has it once, for all its voters.
func (p *planner) planVotes(needed bool) {
	key := plan.Voters()
	h, holds := p.o.Permits.Records[key].Held(p.d.Node)
	switch {
	case holds && needed:
		p.say(plan.Permit{Do: plan.KeepPermit, Key: key, For: h.Hash})
		return
	case holds:
		if p.speaksFor(plan.ParsePermitKey(h.Hash)) {
			p.say(plan.Permit{Do: plan.ReturnPermit, Key: key, For: h.Hash})
		}
		return
	}
	for _, of := range slices.SortedFunc(maps.Keys(p.permits), plan.PermitKey.Compare) {
		if t := p.permits[of]; t.svc.Voter && t.votes && t.held && p.grantable(key, of.String(), 1) {
			p.say(plan.Permit{Do: plan.AskPermit, Key: key, For: of.String(), Limit: 1})
			return
		}
	}
}

func (p *planner) say(s plan.Permit) { p.says = append(p.says, s) }

// begun reports whether a disruption is under way: a lane runs, a predecessor is kept, or a container is not yet as it should
// be.
func (p *planner) begun(t *permit) bool {
	return slices.ContainsFunc(t.slots, func(s *slot) bool {
		switch {
		case p.o.Busy[s.lane()]:
			return true
		case s.prev != nil:
			return !p.paused(s)
		case s.cur == nil:
			return false
		}
		return p.cutting(s) || !s.connected() || !s.well()
	})
}

// well reports whether the container in charge, of whichever version, has shown that it serves.
func (s *slot) well() bool {
	c := *s.cur
	return c.State == Running && (c.Health == Healthy || !c.HasCheck && c.Up >= s.svc.Update.Monitor)
}

// cutting reports whether a network of a replica is being replaced.
func (p *planner) cutting(s *slot) bool {
	return slices.ContainsFunc(s.svc.Container.Networks, func(at spec.Attachment) bool { return !p.haveNetwork(at.Network) })
}

// paused reports whether a successor that failed is kept beside its predecessor until a person, or a new revision, decides.
func (p *planner) paused(s *slot) bool {
	if s.cur == nil || s.svc.Update.FailureAction != spec.Pause || p.forgiven(*s.cur) {
		return false
	}
	v, _ := s.judge(*s.cur)
	return v == failed
}

// wakePassed asks for a pass when a container that has no predecessor any more, and so no gate, will have passed.
func (p *planner) wakePassed(t *permit) {
	for _, s := range t.slots {
		if c := s.cur; c != nil && c.State == Running && !c.HasCheck {
			p.wakeAfter(s.svc.Update.Monitor - c.Up)
		}
	}
}

// connected reports whether the container in charge is on its networks. Of one of another version they are not known, and it is
// enough that it is on any.
func (s *slot) connected() bool {
	lacks := func(at spec.Attachment) bool { return !contains(s.cur.Networks, at.Network) }
	if s.stale() {
		return len(s.cur.Networks) > 0 || len(s.svc.Container.Networks) == 0
	}
	return !slices.ContainsFunc(s.svc.Container.Networks, lacks)
}

// failure says that the desired version failed on this node and is out of service again, or kept for a person to look at; ""
// where it did not.
func (p *planner) failure(t *permit) string {
	for _, s := range t.slots {
		kept := s.svc.Update.FailureAction == spec.Pause
		switch {
		case !p.condemned(s) || p.o.Busy[s.lane()] || s.prev != nil && !kept:
		case s.failed != nil && s.failed.Hash == s.hash():
			return fmt.Sprintf("it did not pass its gate (docker logs %s)", s.failed.Name)
		case s.prev != nil:
			_, detail := s.judge(*s.cur)
			return fmt.Sprintf("%s (docker logs %s)", detail, s.cur.Name)
		}
	}
	return ""
}
