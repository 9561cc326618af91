package node

import (
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// This file is about what is known from before: a desired state that is only remembered, and the last version of a service
// that worked.

// Proof says that a service ran as desired and passed its gate on this node.
type Proof struct {
	Owner, Stack, Service string
	Hash, ImageID         string
}

// Proven are the services of which every replica is settled in the desired version and has passed its gate, in the order of
// the desired state. That is what last-known-good remembers as healthy.
func Proven(d spec.Desired, o Observed) []Proof {
	p := newPlanner(d, o)
	var out []Proof
	for _, st := range d.Stacks {
		for _, svc := range st.Services {
			proof := Proof{Owner: st.Owner, Stack: st.Name, Service: svc.Name, Hash: svc.Container.Hash}
			good := !st.Opaque && svc.Replicas > 0 && !svc.Restart.Job()
			for n := 1; n <= svc.Replicas && good; n++ {
				s := p.classify(st, svc, n)
				good = s.cur != nil && s.prev == nil && !s.stale() && s.passed()
				if good {
					proof.ImageID = s.cur.ImageID
				}
			}
			if good {
				out = append(out, proof)
			}
		}
	}
	return out
}

// passed reports whether the container in charge would pass the gate now. A restart by the engine long ago is no failure.
func (s *slot) passed() bool {
	c := *s.cur
	c.RestartCount = 0
	v, _ := s.judge(c)
	return v == passed && c.State == Running
}

// Finished are the replicas of jobs that ended with success in the desired version.
func Finished(d spec.Desired, o Observed) map[Proof][]int {
	p := newPlanner(d, o)
	out := map[Proof][]int{}
	for _, st := range d.Stacks {
		for _, svc := range st.Services {
			for n := 1; n <= svc.Replicas && svc.Restart.Job() && !st.Opaque; n++ {
				s := p.classify(st, svc, n)
				if s.cur != nil && !s.stale() && s.completed(*s.cur) {
					of := Proof{Owner: st.Owner, Stack: st.Name, Service: svc.Name, Hash: svc.Container.Hash}
					out[of] = append(out[of], n)
				}
			}
		}
	}
	return out
}

// Failures are the engine ids, sorted, of a stack's containers that stand for a failure: what a retry forgives.
func Failures(d spec.Desired, o Observed, stack string) []string {
	p := newPlanner(d, o)
	st, _ := d.Stack(stack)
	var out []string
	for _, svc := range st.Services {
		for n := 1; n <= svc.Replicas && !st.Opaque; n++ {
			s := p.classify(st, svc, n)
			if s.failed != nil {
				out = append(out, s.failed.ID)
			}
			if s.cur == nil || s.stale() {
				continue
			}
			v, _ := s.judge(*s.cur)
			if s.prev != nil && v == failed || svc.Restart.Job() && s.cur.State == Exited && s.cur.ExitCode != 0 {
				out = append(out, s.cur.ID)
			}
		}
	}
	slices.Sort(out)
	return out
}

// forgiven reports whether a person asked to try again what this container failed at.
func (p *planner) forgiven(c Container) bool { return slices.Contains(p.d.Retry, c.ID) }

// unknown reports whether the replica runs, or was about to run, what the desired state does not say.
func (s *slot) unknown() bool {
	return s.stale() || s.cur == nil && s.prev != nil && s.prev.Hash != s.hash()
}

// recalled keeps a replica going that is not as last-known-good says. It may well be newer: power can fail between an edit
// and its way to the disk. So nothing is replaced, and a replacement that was cut goes back to what ran.
func (p *planner) recalled(s *slot) []plan.Step {
	p.wait(s.subject(), plan.WaitStore, "it is not as last-known-good says; it is left as it is")
	switch {
	case s.cur != nil && s.prev != nil && s.prev.Hash == s.hash() && !active(*s.cur):
		return p.abandon(s)
	case s.cur != nil && s.prev != nil && active(*s.prev):
		return nil // it serves, and both may not be able to
	case s.cur != nil:
		return p.keepRunning(s, *s.cur)
	}
	return p.reinstate(s, *s.prev, plan.ReasonRollback)
}

// hasFallback reports whether another version than the desired one is known to work.
func (s *slot) hasFallback() bool {
	return s.svc.Fallback != nil && s.svc.Fallback.Container.Hash != s.hash()
}

// fallback is the slot with the last good version as the desired one.
func (s *slot) fallback() *slot {
	f := *s
	f.svc.Container = s.svc.Fallback.Container
	if f.svc.Container.PullPolicy == spec.PullAlways {
		f.svc.Container.PullPolicy = spec.PullMissing // it was pulled when it was new
	}
	return &f
}

// fallBack makes a lost container again from the last good version.
func (p *planner) fallBack(s *slot) []plan.Step {
	f := s.fallback()
	for _, n := range s.svc.Fallback.Networks {
		if subject := "network " + n.Name; !n.External && len(p.networks[n.Name]) == 0 {
			p.add(subject, subject, n.Hash, step(plan.CreateNetwork{Owner: s.owner, Stack: s.stack, Network: n}, plan.ReasonFallback))
		}
	}
	if !p.ready(f, true) || !p.dependencies(f) {
		return nil
	}
	return p.createSteps(f, plan.ReasonFallback, "")
}

// here reports whether the image of the slot's container is on this engine.
func (p *planner) here(s *slot) bool {
	c := p.fitted(s)
	_, ok := p.o.Images[ImageRef{c.Image, c.Platform}]
	return ok
}

// fitted is the slot's container. The last good version is made from the very image it ran from, also when that one's name
// was removed or given to another image meanwhile.
func (p *planner) fitted(s *slot) spec.Container {
	c, fb := s.svc.Container, s.svc.Fallback
	if fb == nil || fb.ImageID == "" || fb.Container.Hash != c.Hash {
		return c
	}
	byID := ImageRef{fb.ImageID, c.Platform}
	if _, ok := p.o.Images[byID]; ok && p.o.Images[ImageRef{c.Image, c.Platform}].ID != fb.ImageID {
		c.Image = byID.Ref
	}
	return c
}
