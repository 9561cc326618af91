package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// haveImage reports whether the slot's image can be used, and otherwise asks for a pull and notes the wait.
func (p *planner) haveImage(s *slot) bool {
	c := s.svc.Container
	ref := ImageRef{c.Image, c.Platform}
	local := p.here(s)
	pull, tried := p.o.Pulls[ref]
	switch {
	case c.PullPolicy == spec.PullNever:
		if !local {
			p.wait(s.subject(), plan.WaitPull, c.Image+" is not on this Pi and pull_policy is never")
		}
		return local
	case pull.Running:
		p.wait(s.subject(), plan.WaitPull, progress(c.Image, pull))
		return false
	case c.PullPolicy == spec.PullAlways:
		// Once for a hash. An attempt that failed is good enough where the image is here: a Pi that is off the internet
		// must be able to bring back what it ran.
		if local && tried && slices.Contains(strings.Fields(pull.For), c.Hash) {
			return true
		}
		return p.pull(s, ref, p.pulledFor(ref), plan.ReasonPullAlways)
	case local:
		return true
	}
	return p.pull(s, ref, "", plan.ReasonImage)
}

// pulledFor returns all hashes that want the image to be pulled, sorted and parted by spaces: one pull is for all of them,
// or services that share an image and wait for something else would have it pulled in turn, for ever.
func (p *planner) pulledFor(ref ImageRef) string {
	var hashes []string
	for _, st := range p.d.Stacks {
		for _, svc := range st.Services {
			c := svc.Container
			if c.PullPolicy == spec.PullAlways && (ImageRef{c.Image, c.Platform}) == ref {
				hashes = append(hashes, c.Hash)
			}
		}
	}
	slices.Sort(hashes)
	return strings.Join(slices.Compact(hashes), " ")
}

// pull asks for an image unless the last attempt is backing off. The answer is always false: not here yet.
func (p *planner) pull(s *slot, ref ImageRef, hash string, why plan.Reason) bool {
	last, tried := p.o.Pulls[ref]
	if tried && last.Err != "" && last.RetryIn > 0 {
		p.wait(s.subject(), plan.WaitPull, fmt.Sprintf("%s: %s", ref.Ref, last.Err))
		p.wakeAfter(last.RetryIn)
		return false
	}
	p.wait(s.subject(), plan.WaitPull, ref.Ref)
	key := "image " + ref.Ref
	if ref.Platform != "" {
		key += " " + ref.Platform
	}
	p.add(key, key, hash, step(plan.Pull{Image: ref.Ref, Platform: ref.Platform, For: hash}, why))
	return false
}

// planPrepulls fetches what Swarm is about to run here. A service of this node that wants the same image comes first.
func (p *planner) planPrepulls() {
	for _, image := range p.d.Prepull {
		ref := ImageRef{Ref: image}
		_, local := p.o.Images[ref]
		pull := p.o.Pulls[ref]
		key := "image " + image
		switch {
		case local || pull.Running:
		case pull.Err != "" && pull.RetryIn > 0:
			p.wakeAfter(pull.RetryIn)
		case p.lanes[key].Key == "":
			p.add(key, key, "", step(plan.Pull{Image: image}, plan.ReasonPrepull))
		}
	}
}

func progress(image string, pull Pull) string {
	if pull.Total == 0 {
		return image + " is being pulled"
	}
	return fmt.Sprintf("%s: %d of %d MB", image, pull.Done>>20, pull.Total>>20)
}
