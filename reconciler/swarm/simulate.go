package swarm

import (
	"fmt"
	"maps"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Simulate returns what would be observed after an action succeeded. It is the model that the property tests and the
// fake Swarm stand on. The input is not modified.
//
// Swarm's own work is not modelled: a service that was created has tasks that are new, one that was updated is updating, with
// the tasks of both versions, and the tasks of a removed one are still being stopped. An action that carries a version
// which is not the newest, or would take a name twice, changes nothing.
func Simulate(o Observed, a plan.Action) Observed {
	o = o.clone()
	switch a := a.(type) {
	case plan.CreateNetwork:
		o.Networks = append(o.Networks, Network{ID: fmt.Sprintf("net%d", o.next()), Name: a.Network.Name, Owner: a.Owner, Stack: a.Stack, Hash: a.Network.Hash, Attachable: a.Network.Attachable})
	case plan.RemoveNetwork:
		o.Networks = slices.DeleteFunc(o.Networks, func(n Network) bool { return n.ID == a.ID })
	case plan.CreateObject:
		o.Objects = append(o.Objects, Object{ID: fmt.Sprintf("obj%d", o.next()), Kind: a.Object.Kind, Name: a.Object.Name, Owner: a.Owner, Stack: a.Stack, Hash: a.Object.Hash})
	case plan.RemoveObject:
		o.Objects = slices.DeleteFunc(o.Objects, func(ob Object) bool { return ob.ID == a.ID })
	case plan.CreateService:
		o.create(a)
	case plan.UpdateService:
		o.update(a)
	case plan.MarkService:
		o.edit(a.ID, a.Version, func(s *Service) {
			s.Before, s.NetworksBefore = s.Objects, s.Networks
			s.Tried, s.Update, s.Message = a.Tried, NotUpdated, ""
		})
	case plan.RemoveService:
		o.Services = slices.DeleteFunc(o.Services, func(s Service) bool { return s.ID == a.ID })
		o.retire(a.ID, "remove")
	case plan.Pin:
		o.Pins[a.Image] = Pin{Image: a.Image + "@sha256:1"}
	default: // on a Pi's containers: nothing changes in the Swarm
	}
	return o
}

func (o *Observed) create(a plan.CreateService) {
	if slices.ContainsFunc(o.Services, func(s Service) bool { return s.Name == a.Service.Full }) {
		return // the name is the key: created before, or taken
	}
	n := o.next()
	s := Service{ID: fmt.Sprintf("svc%d", n), Name: a.Service.Full, Version: uint64(n), Mode: a.Service.Mode}
	s.give(a.Owner, a.Stack, a.Service, a.Image)
	o.Services = append(o.Services, s)
	o.spawn(&o.Services[len(o.Services)-1])
}

func (o *Observed) update(a plan.UpdateService) {
	o.edit(a.ID, a.Version, func(s *Service) {
		same := s.Hash == a.Service.Hash && s.Image == a.Image
		s.Before, s.NetworksBefore = s.Objects, s.Networks
		s.give(a.Owner, a.Stack, a.Service, a.Image)
		if same && !a.Force && !s.Mode.Job() {
			s.Update, s.Message = Completed, ""
			return
		}
		s.Update, s.Message = Updating, ""
		if s.Mode.Job() {
			s.Update = NotUpdated // Swarm runs it anew
		}
		o.retire(s.ID, "shutdown")
		o.spawn(s)
	})
}

// give writes a spec and its labels.
func (s *Service) give(owner, stack string, svc spec.SwarmService, image string) {
	s.Owner, s.Stack, s.Key, s.Hash, s.Tried = owner, stack, svc.Name, svc.Hash, svc.Hash
	s.Asked, s.Image = svc.Image, image
	s.Objects, s.Networks = nil, nil
	for _, f := range svc.Files {
		s.Objects = append(s.Objects, ObjectName{f.Kind, f.Object})
	}
	for _, at := range svc.Networks {
		s.Networks = append(s.Networks, at.Network)
	}
	s.Replicas = 1
	if svc.Deploy.Replicas != nil {
		s.Replicas = int(*svc.Deploy.Replicas)
	}
}

// spawn makes the tasks of a service's present version.
func (o *Observed) spawn(s *Service) {
	if s.Mode == spec.Global || s.Mode == spec.GlobalJob {
		s.Replicas = len(slices.DeleteFunc(slices.Clone(o.Nodes), func(n Node) bool { return !n.Active || !n.Ready }))
	}
	for slot := range s.Replicas {
		o.Tasks = append(o.Tasks, Task{
			ID: fmt.Sprintf("task%d", o.next()), Service: s.ID, Stack: s.Stack, Key: s.Key,
			Slot: slot + 1, State: "new", Desired: "running", Image: s.Image, Current: true,
		})
	}
}

// retire tells the tasks of a service to end.
func (o *Observed) retire(service, desired string) {
	for i := range o.Tasks {
		if k := &o.Tasks[i]; k.Service == service {
			k.Current, k.Desired = false, desired
		}
	}
}

// edit changes a service that is still at the version that was observed.
func (o *Observed) edit(id string, version uint64, change func(*Service)) {
	for i := range o.Services {
		if s := &o.Services[i]; s.ID == id && s.Version == version {
			s.Version = uint64(o.next())
			change(s)
			return
		}
	}
}

// next is a number that no object and no version has: Swarm's index, which everything that is made counts up.
func (o *Observed) next() int {
	n := len(o.Networks) + len(o.Objects) + len(o.Tasks)
	for _, s := range o.Services {
		n = max(n, int(s.Version))
	}
	for n++; o.taken(n); n++ {
	}
	return n
}

func (o *Observed) taken(n int) bool {
	has := func(prefix, id string) bool { return id == fmt.Sprintf("%s%d", prefix, n) }
	return slices.ContainsFunc(o.Networks, func(x Network) bool { return has("net", x.ID) }) ||
		slices.ContainsFunc(o.Objects, func(x Object) bool { return has("obj", x.ID) }) ||
		slices.ContainsFunc(o.Services, func(x Service) bool { return has("svc", x.ID) }) ||
		slices.ContainsFunc(o.Tasks, func(x Task) bool { return has("task", x.ID) || has("svc", x.Service) })
}

// clone copies all that Simulate may change.
func (o Observed) clone() Observed {
	o.Services = slices.Clone(o.Services)
	o.Tasks = slices.Clone(o.Tasks)
	o.Networks = slices.Clone(o.Networks)
	o.Objects = slices.Clone(o.Objects)
	pins := make(map[string]Pin, len(o.Pins)+1)
	maps.Copy(pins, o.Pins)
	o.Pins = pins
	return o
}
