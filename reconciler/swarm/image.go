package swarm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// ready returns the image a service is to run, and whether all is here that its next version needs. It looks at everything
// each time, so that what is missing is fetched side by side.
func (p *planner) ready(t target, have *Service) (string, bool) {
	networks, objects := p.haveNetworks(t), p.haveObjects(t)
	image, pinned := p.pinned(t, have)
	if !pinned {
		return "", false
	}
	pulled := have == nil || image == have.Image || t.svc.PullPolicy == spec.PullNever || p.pulled(t, *have, image)
	return image, networks && objects && pulled
}

// pinned returns the reference a service is given. It is resolved once, because Swarm would resolve a tag anew with each
// change of the service and restart its tasks for a digest that nobody asked for. While the user asks for the same
// reference, what runs is kept, pinned or not, as `docker stack deploy` does. A registry that is away holds nothing up: the
// nodes may have the image.
func (p *planner) pinned(t target, have *Service) (image string, ok bool) {
	asked := t.svc.Image
	if have != nil && have.Asked == asked && have.Image != "" {
		return have.Image, true
	}
	if strings.Contains(asked, "@") || t.svc.PullPolicy == spec.PullNever {
		return asked, true
	}
	pin := p.o.Pins[asked]
	if key := "image " + asked; pin.Image == "" && pin.RetryIn <= 0 {
		p.add(key, key, "", plan.Pin{Image: asked}, plan.ReasonMissing)
	}
	switch {
	case pin.Image != "":
		return pin.Image, true
	case pin.Err != "":
		p.wait(t.subject(), plan.WaitPull, fmt.Sprintf("%s is used as written, its digest cannot be had: %s", asked, pin.Err))
		p.wakeAfter(pin.RetryIn)
		return asked, true
	}
	p.wait(t.subject(), plan.WaitPull, "the digest of "+asked)
	return "", false
}

// pulled reports whether the nodes that are to run a new image have it (rule 4: pull before stop). A node that is
// away is not waited for, nor one that cannot pull it as long as another one could: Swarm places the tasks there.
func (p *planner) pulled(t target, have Service, image string) bool {
	nodes := p.hosts(have)
	if t.svc.Prepull == spec.PrepullAll {
		nodes = slices.Compact(slices.Sorted(slices.Values(append(nodes, p.everywhere()...))))
	}
	nodes = slices.DeleteFunc(nodes, func(name string) bool { return !p.o.Present[name] })
	p.prepulls[image] = slices.Compact(slices.Sorted(slices.Values(append(p.prepulls[image], nodes...))))
	var missing, failed []string
	for _, name := range nodes {
		switch pull := p.o.Prepulls[image][name]; {
		case pull.Here:
		case pull.Err != "":
			failed = append(failed, fmt.Sprintf("%s: %s", name, pull.Err))
		case pull.Total > 0:
			missing = append(missing, fmt.Sprintf("%s: %d of %d MB", name, pull.Done>>20, pull.Total>>20))
		default:
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) > 0:
		p.wait(t.subject(), plan.WaitPull, image+" on "+strings.Join(missing, ", "))
		return false
	case len(failed) > 0 && len(failed) == len(nodes):
		p.wait(t.subject(), plan.WaitPull, image+" cannot be pulled by any node that needs it; "+strings.Join(failed, ", "))
		return false
	case len(failed) > 0:
		p.wait(t.subject(), plan.WaitPull, image+" cannot be pulled everywhere; "+strings.Join(failed, ", "))
	}
	return true
}
