package node

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Plan says what to do next on this node, why, and what is waited for. It is level-based: it looks at how things are,
// never at what happened, so any interrupted plan is taken up where it stands.
//
// Networks and volumes come first and containers wait until they are observed; a container that runs is left alone until
// its successor's image is here. What the desired state does not speak for is not touched.
func Plan(d spec.Desired, o Observed) plan.Plan {
	p := newPlanner(d, o)
	readable := slices.DeleteFunc(slices.Clone(d.Stacks), func(st spec.Stack) bool { return st.Opaque })
	for _, st := range readable {
		if p.d.Drains(st.Owner) {
			continue // what is there stays as it is
		}
		p.planVolumes(st)
		p.planNetworks(st)
	}
	// After all networks: a service may be on a network of another stack.
	for _, st := range readable {
		for _, svc := range st.Services {
			p.planService(st, svc)
		}
	}
	p.planPrepulls()
	p.planRemovals()
	p.planFiles()
	p.planPermits()
	return p.finish()
}

// planner gathers one plan. It lives for one call of [Plan].
type planner struct {
	d     spec.Desired
	o     Observed
	lanes map[string]plan.Lane
	waits []plan.Wait
	wake  time.Duration
	says  []plan.Permit

	permits map[plan.PermitKey]*permit // of desired services that need one

	slots    map[slotID][]Container // our containers by the replica they are, sorted by name
	byName   map[string]Container
	networks map[string][]Network
	volumes  map[string]Volume
	users    map[string][]Container // containers by Docker name of a network they are on
	opaque   map[string]bool        // owner/stack of stacks of which nothing may be touched
}

// slotID is one replica of one service.
type slotID struct {
	owner, stack, service string
	replica               int
}

func (id slotID) compare(other slotID) int {
	return cmp.Or(cmp.Compare(id.owner, other.owner), cmp.Compare(id.stack, other.stack),
		cmp.Compare(id.service, other.service), cmp.Compare(id.replica, other.replica))
}

func (id slotID) subject() string { return fmt.Sprintf("%s/%s/%d", id.stack, id.service, id.replica) }
func (id slotID) lane() string    { return "container " + id.subject() }

func newPlanner(d spec.Desired, o Observed) *planner {
	p := &planner{
		d: d, o: o,
		lanes:    map[string]plan.Lane{},
		permits:  map[plan.PermitKey]*permit{},
		slots:    map[slotID][]Container{},
		byName:   make(map[string]Container, len(o.Containers)),
		networks: map[string][]Network{},
		volumes:  make(map[string]Volume, len(o.Volumes)),
		users:    map[string][]Container{},
		opaque:   map[string]bool{},
	}
	for _, st := range d.Stacks {
		p.opaque[st.Owner+"/"+st.Name] = st.Opaque
	}
	containers := slices.Clone(o.Containers)
	// The id decides between equal names, so that the order of observation never does.
	slices.SortFunc(containers, func(a, b Container) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, c := range containers {
		p.byName[c.Name] = c
		for _, n := range c.Networks {
			p.users[n] = append(p.users[n], c)
		}
		if p.mine(c.Owner, c.Stack) {
			id := slotID{c.Owner, c.Stack, c.Service, c.Replica}
			p.slots[id] = append(p.slots[id], c)
		}
	}
	networks := slices.Clone(o.Networks)
	slices.SortFunc(networks, func(a, b Network) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, n := range networks {
		p.networks[n.Name] = append(p.networks[n.Name], n)
	}
	for _, v := range o.Volumes {
		p.volumes[v.Name] = v
	}
	return p
}

// mine reports whether an object with these labels may be changed: its owner is one the desired state speaks for, and its
// stack is not one that could not be read.
func (p *planner) mine(owner, stack string) bool {
	return p.d.Owned(owner) && !p.opaque[owner+"/"+stack]
}

// add puts a lane into the plan unless it still runs or its last attempt is backing off; it then waits for that instead.
// Of two lanes of one key, say one replica under two owners, the first is taken and the other follows in a later pass.
func (p *planner) add(key, subject, hash string, steps ...plan.Step) {
	if len(steps) == 0 || p.lanes[key].Key != "" || p.blocked(key, subject, hash) {
		return
	}
	p.lanes[key] = plan.Lane{Key: key, For: hash, Steps: steps}
}

// blocked reports, and notes as a wait, that a lane cannot be started now.
func (p *planner) blocked(key, subject, hash string) bool {
	if p.o.Busy[key] {
		p.wait(subject, plan.WaitLane, "")
		return true
	}
	if f, ok := p.o.Failures[key]; ok && f.Hash == hash && f.RetryIn > 0 {
		p.wait(subject, plan.WaitBackoff, fmt.Sprintf("%s: %s", f.Step, f.Err))
		p.wakeAfter(f.RetryIn)
		return true
	}
	return false
}

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
	out.Permits = p.says
	slices.SortStableFunc(out.Permits, func(a, b plan.Permit) int { return a.Key.Compare(b.Key) })
	return out
}

func step(a plan.Action, why plan.Reason) plan.Step { return plan.Step{Action: a, Reason: why} }
