package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/spec"
)

const (
	// TTL is how long a check passes without being renewed: longer than systemd takes to start the daemon again. The loss of a
	// whole Pi shows within seconds all the same, by Consul's own check of the node.
	TTL = time.Minute
	// Gone is how long a registration may be critical before the agent removes it.
	Gone = 10 * time.Minute
)

// The marks of a registration of ours, in its meta data.
const (
	MetaOwner   = "brambled" // one of the owners of the desired state
	MetaNode    = "brambled_node"
	MetaStack   = "brambled_stack"
	MetaService = "brambled_service"
	MetaCheck   = "brambled_check" // the times of its check, which the agent does not tell
)

// Prefix is what the ids of our registrations begin with.
const Prefix = "brambled-"

// Status is that of a registration's check.
type Status string

// The statuses. Unchecked is a registration whose check is gone.
const (
	Unchecked Status = ""
	Passing   Status = "passing"
	Critical  Status = "critical"
)

// Registration is one service as the agent has it.
type Registration struct {
	ID      string
	Name    string
	Address string
	Port    int
	Tags    []string
	Meta    map[string]string
	Status  Status
}

// Desired is what one node may register.
type Desired struct {
	Node, Address string
	// Owners and Recalled are as in [spec.Desired].
	Owners, Recalled []string
	// Opaque are the stacks, as "owner/name", of which no readable version is known.
	Opaque   []string
	Services []Service
}

// Service is one service of a stack, of either kind.
type Service struct {
	Owner, Stack, Name string
	Register           []spec.Registration
}

// Instance is a container or a task of Swarm on this node.
type Instance struct {
	Owner, Stack, Service string // of a container
	// Swarm is the name of a task's service in Swarm. The task itself does not tell its owner.
	Swarm string
	// Passing is one that runs and is not unhealthy, nor still starting.
	Passing bool
}

// Observed is what runs, and what the agent has registered, a stranger's services too.
type Observed struct {
	Instances  []Instance
	Registered []Registration
}

// Changes are what to tell the agent, in this order. Each list is sorted by id.
type Changes struct {
	Register   []Registration
	Deregister []string
	// Checks are those of all registrations of ours that stay, to be renewed.
	Checks []Check
}

// Check is the status of one registration.
type Check struct {
	ID     string
	Status Status
	// News is a status that the agent does not have yet. The rest only keeps the time to live from running out.
	News bool
}

// Empty reports whether there is nothing to tell but that nothing has changed.
func (c Changes) Empty() bool {
	return len(c.Register)+len(c.Deregister) == 0 && !slices.ContainsFunc(c.Checks, func(c Check) bool { return c.News })
}

// Plan compares what should be registered with what is.
func Plan(d Desired, o Observed) Changes {
	var out Changes
	want, have, taken := d.wanted(o), map[string]Registration{}, map[string]bool{}
	for _, r := range o.Registered {
		if taken[r.ID] = true; d.owns(r) {
			have[r.ID] = r
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		h := have[id]
		w, wanted := want[id]
		status, there := o.status(h.Meta[MetaOwner], h.Meta[MetaStack], h.Meta[MetaService])
		switch {
		case wanted && !same(w, h):
			out.add(w)
		case !wanted && (!there || d.speaksFor(h)):
			out.Deregister = append(out.Deregister, id)
		case h.Status == Unchecked:
			h.Status = status
			out.add(h)
		default:
			out.Checks = append(out.Checks, Check{id, status, h.Status != status})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if !taken[id] && want[id].Status == Passing {
			out.add(want[id])
		}
	}
	slices.SortFunc(out.Register, func(a, b Registration) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(out.Checks, func(a, b Check) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// add registers. Its status is told once more: the agent may know an older one of this id.
func (c *Changes) add(r Registration) {
	c.Register = append(c.Register, r)
	c.Checks = append(c.Checks, Check{r.ID, r.Status, true})
}

// wanted are the registrations of services that run here, by id.
func (d Desired) wanted(o Observed) map[string]Registration {
	out := map[string]Registration{}
	for _, s := range d.Services {
		status, there := o.status(s.Owner, s.Stack, s.Name)
		if !there || !slices.Contains(d.Owners, s.Owner) {
			continue
		}
		for _, reg := range s.Register {
			r := d.registration(s, reg)
			r.Status = status
			out[r.ID] = r
		}
	}
	return out
}

func (d Desired) registration(s Service, reg spec.Registration) Registration {
	out := Registration{
		ID: id(d.Node, s, reg), Name: reg.Name, Address: reg.Address, Port: int(reg.Port), Tags: reg.Tags,
		Meta: map[string]string{
			MetaOwner: s.Owner, MetaNode: d.Node, MetaStack: s.Stack, MetaService: s.Name,
			MetaCheck: TTL.String() + " " + Gone.String(),
		},
	}
	if out.Address == "" {
		out.Address = d.Address
	}
	return out
}

// id names a registration at its agent. Nothing that a container could change is in it, and its parts cannot be taken for one
// another: a colon is in none of them.
func id(node string, s Service, reg spec.Registration) string {
	return fmt.Sprintf("%s%s:%s:%s:%s:%d", Prefix, node, s.Stack, s.Name, reg.Name, reg.Port)
}

// owns reports whether a registration is ours to change.
func (d Desired) owns(r Registration) bool {
	return strings.HasPrefix(r.ID, Prefix) && r.Meta[MetaNode] == d.Node && slices.Contains(d.Owners, r.Meta[MetaOwner])
}

// speaksFor reports whether what the desired state does not name is not desired.
func (d Desired) speaksFor(r Registration) bool {
	owner := r.Meta[MetaOwner]
	return !slices.Contains(d.Recalled, owner) && !slices.Contains(d.Opaque, owner+"/"+r.Meta[MetaStack])
}

// status is that of a service by all that is there of it.
func (o Observed) status(owner, stack, service string) (status Status, there bool) {
	status = Critical
	for _, i := range o.Instances {
		if i.Swarm != stack+"_"+service && (i.Swarm != "" || i.Owner != owner || i.Stack != stack || i.Service != service) {
			continue
		}
		there = true
		if i.Passing {
			status = Passing
		}
	}
	return status, there
}

func same(a, b Registration) bool {
	return a.Name == b.Name && a.Address == b.Address && a.Port == b.Port && slices.Equal(a.Tags, b.Tags) && maps.Equal(a.Meta, b.Meta)
}

// Simulate is what the agent has after the changes.
func Simulate(o Observed, c Changes) Observed {
	by := map[string]Registration{}
	for _, r := range slices.Concat(o.Registered, c.Register) {
		by[r.ID] = r
	}
	for _, id := range c.Deregister {
		delete(by, id)
	}
	for _, check := range c.Checks {
		r := by[check.ID]
		r.Status = check.Status
		by[check.ID] = r
	}
	next := Observed{Instances: o.Instances}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		next.Registered = append(next.Registered, by[id])
	}
	return next
}
