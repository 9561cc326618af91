package swarm

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Plan says what to do next in the Swarm, why, and what is waited for. It is level-based: it looks at how things are, never
// at what happened, so any interrupted plan is taken up where it stands.
//
// Networks, configs and secrets come first, and services wait until they are observed. What Swarm reconciles by itself
// (replicas, restarts, the course of an update) is left to it: a service is given its spec, once for each hash, and then
// watched. What the desired state does not speak for is not touched, and without control nothing is planned.
func Plan(d spec.Cluster, o Observed) plan.Plan { return planned(d, o).finish() }

// Prepulling returns which nodes, by host name and sorted, should have which image by now: those whose tasks the next updates
// will replace. Each update waits until they have it, see [Observed.Prepulls].
func Prepulling(d spec.Cluster, o Observed) map[string][]string { return planned(d, o).prepulls }

func planned(d spec.Cluster, o Observed) *planner {
	p := newPlanner(d, o)
	if !o.Control {
		return p
	}
	readable := slices.DeleteFunc(slices.Clone(d.Stacks), func(st spec.SwarmStack) bool { return st.Opaque })
	for _, st := range readable {
		p.planNetworks(st)
		p.planObjects(st)
	}
	// After all networks: a service may be on a network of another stack.
	for _, st := range readable {
		for _, svc := range st.Services {
			p.planService(target{st, svc})
		}
	}
	p.removeServices()
	p.removeNetworks()
	p.removeObjects()
	return p
}

// planner gathers one plan. It lives for one call of [Plan].
type planner struct {
	d        spec.Cluster
	o        Observed
	lanes    map[string]plan.Lane
	waits    []plan.Wait
	wake     time.Duration
	prepulls map[string][]string

	services []Service // sorted by name
	networks []Network // sorted by name
	objects  map[ObjectName]Object
	tasks    map[string][]Task // by id of their service, sorted
	nodes    map[string]Node   // by id
	leaving  []Task            // that still run although their service is gone
	opaque   map[string]bool   // owner/stack of stacks of which nothing may be touched
}

// target is a service as it is desired.
type target struct {
	st  spec.SwarmStack
	svc spec.SwarmService
}

func (t target) subject() string { return t.st.Name + "/" + t.svc.Name }
func (t target) lane() string    { return "service " + t.subject() }

func newPlanner(d spec.Cluster, o Observed) *planner {
	p := &planner{
		d: d, o: o,
		lanes:    map[string]plan.Lane{},
		prepulls: map[string][]string{},
		services: slices.Clone(o.Services),
		networks: slices.Clone(o.Networks),
		objects:  make(map[ObjectName]Object, len(o.Objects)),
		tasks:    map[string][]Task{},
		nodes:    make(map[string]Node, len(o.Nodes)),
		opaque:   map[string]bool{},
	}
	for _, st := range d.Stacks {
		p.opaque[st.Owner+"/"+st.Name] = st.Opaque
	}
	// The id decides between equal names, so that the order of observation never does.
	slices.SortFunc(p.services, func(a, b Service) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(p.networks, func(a, b Network) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, ob := range o.Objects {
		p.objects[ObjectName{ob.Kind, ob.Name}] = ob
	}
	for _, n := range o.Nodes {
		p.nodes[n.ID] = n
	}
	p.sortTasks()
	return p
}

func (p *planner) sortTasks() {
	tasks := slices.Clone(p.o.Tasks)
	slices.SortFunc(tasks, func(a, b Task) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.ID, b.ID)) })
	ids := map[string]bool{}
	for _, s := range p.services {
		ids[s.ID] = true
	}
	for _, t := range tasks {
		p.tasks[t.Service] = append(p.tasks[t.Service], t)
		// A task on a node that is away may stay in the list for a day. It holds nothing that a successor needs.
		if !ids[t.Service] && !t.Ended() && p.nodes[t.Node].Ready {
			p.leaving = append(p.leaving, t)
		}
	}
}

// service returns the service of this name in the Swarm.
func (p *planner) service(name string) (Service, bool) {
	i := slices.IndexFunc(p.services, func(s Service) bool { return s.Name == name })
	if i < 0 {
		return Service{}, false
	}
	return p.services[i], true
}

// mine reports whether an object with these labels may be changed: its owner is one the desired state speaks for, and its
// stack is not one that could not be read.
func (p *planner) mine(owner, stack string) bool {
	return p.d.Owned(owner) && !p.opaque[owner+"/"+stack]
}

// add puts a lane into the plan unless it still runs or its last attempt is backing off; it then waits for that instead.
func (p *planner) add(key, subject, hash string, a plan.Action, why plan.Reason) {
	if p.lanes[key].Key != "" {
		return
	}
	if p.o.Busy[key] {
		p.wait(subject, plan.WaitLane, "")
		return
	}
	if f, ok := p.o.Failures[key]; ok && f.Hash == hash && f.RetryIn > 0 {
		p.wait(subject, plan.WaitBackoff, fmt.Sprintf("%s: %s", f.Step, f.Err))
		p.wakeAfter(f.RetryIn)
		return
	}
	p.lanes[key] = plan.Lane{Key: key, For: hash, Steps: []plan.Step{{Action: a, Reason: why}}}
}

// moving reports whether a lane runs or is about to.
func (p *planner) moving(key string) bool { return p.o.Busy[key] || p.lanes[key].Key != "" }

func (p *planner) wait(subject string, what plan.WaitFor, detail string) {
	p.waits = append(p.waits, plan.Wait{Subject: subject, For: what, Detail: detail})
}

func (p *planner) wakeAfter(d time.Duration) {
	if d > 0 && (p.wake == 0 || d < p.wake) {
		p.wake = d
	}
}

func (p *planner) finish() plan.Plan {
	out := plan.Plan{WakeAfter: p.wake, Waits: p.waits}
	for _, l := range p.lanes {
		out.Lanes = append(out.Lanes, l)
	}
	slices.SortFunc(out.Lanes, func(a, b plan.Lane) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(out.Waits, func(a, b plan.Wait) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.For, b.For), cmp.Compare(a.Detail, b.Detail))
	})
	out.Waits = slices.Compact(out.Waits)
	return out
}
