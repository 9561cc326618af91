package status

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Input is what a report is built from: one pass, and what was found on the way to it.
type Input struct {
	Node, Address, Version, Cluster string

	Desired  spec.Desired
	Observed node.Observed
	Plan     plan.Plan
	// Err is why the pass ended early. A refused plan is told apart from an engine that does not answer.
	Err error

	// Errors are the stacks whose newest file is not enforced, by name. Index and Source are the ModifyIndex and the key or
	// file by name. All three belong to Desired: a newer index beside an older desired state would be a lie.
	Errors map[string]error
	Index  map[string]uint64
	Source map[string]string
	// Holds are those beyond Errors and Err. Kept are the stacks that one of them keeps as they were, with its id.
	Holds     []Hold
	Kept      map[string]string
	Elsewhere []Away
	// Quorum is what is wrong with this node's part in the Swarm, nil where nothing is.
	Quorum *Quorum
}

// Away is a service that is for other Pis.
type Away struct {
	Stack, Service, Nodes, Why string
	Swarm                      bool // Swarm places it
}

// Build makes the report of a pass. It is pure, and the same for the same input in any order.
func Build(in Input) Node {
	b := newBuilder(in)
	n := Node{
		Schema: Schema, Node: in.Node, Address: in.Address, Version: in.Version, Cluster: in.Cluster,
		Ready: in.Err == nil, Holds: []Hold{}, Stacks: []Stack{}, Quorum: in.Quorum,
	}
	if in.Err != nil {
		n.Error = in.Err.Error()
	}
	for _, name := range b.names() {
		n.Stacks = append(n.Stacks, b.stack(name))
	}
	n.Holds = append(n.Holds, b.holds()...)
	n.Images, n.Drain = b.images(), b.drain()
	return n
}

// images says how far this Pi is with what it should have before Swarm runs it.
func (b *builder) images() []Image {
	var out []Image
	for _, image := range b.Desired.Prepull {
		ref := node.ImageRef{Ref: image}
		_, here := b.Observed.Images[ref]
		out = append(out, Image{Ref: image, Here: here, Error: b.Observed.Pulls[ref].Err})
	}
	return out
}

// builder indexes an input for the time of one Build.
type builder struct {
	Input
	blind bool // the engine did not answer: nothing is known of what runs
	waits map[string][]plan.Wait
	lanes map[string]plan.Lane
	slots map[slotKey][]node.Container // our containers, sorted by name
}

// slotKey is one replica of one service of one owner.
type slotKey struct {
	owner, stack, service string
	replica               int
}

func newBuilder(in Input) *builder {
	b := &builder{
		Input: in, blind: in.Err != nil && !errors.Is(in.Err, reconciler.ErrRefused),
		waits: map[string][]plan.Wait{}, lanes: map[string]plan.Lane{}, slots: map[slotKey][]node.Container{},
	}
	for _, w := range in.Plan.Waits {
		b.waits[w.Subject] = append(b.waits[w.Subject], w)
	}
	for _, l := range in.Plan.Lanes {
		b.lanes[l.Key] = l
	}
	for _, c := range in.Observed.Containers {
		if in.Desired.Owned(c.Owner) {
			k := slotKey{c.Owner, c.Stack, c.Service, c.Replica}
			b.slots[k] = append(b.slots[k], c)
		}
	}
	for _, list := range b.slots {
		slices.SortFunc(list, func(x, y node.Container) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	}
	return b
}

// names are all stacks there is something to say about, sorted: desired, unreadable, or not gone yet.
func (b *builder) names() []string {
	all := map[string]bool{}
	for _, st := range b.Desired.Stacks {
		all[st.Name] = true
	}
	for name := range b.Errors {
		all[name] = true
	}
	for k := range b.slots {
		all[k.stack] = true
	}
	for _, e := range b.Elsewhere {
		all[e.Stack] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func (b *builder) stack(name string) Stack {
	st, desired := b.Desired.Stack(name)
	out := Stack{Name: name, Revision: st.Revision, Source: b.Source[name], Index: b.Index[name], Error: st.Held, Services: []Service{}}
	if err := b.Errors[name]; err != nil {
		out.Error = err.Error()
	}
	for _, svc := range st.Services {
		out.Services = append(out.Services, b.service(st, svc))
	}
	out.Services = append(out.Services, b.leftovers(name, st)...)
	for _, e := range b.Elsewhere {
		left := slices.ContainsFunc(out.Services, func(s Service) bool { return s.Name == e.Service })
		if e.Stack == name && !left { // one that was here a moment ago is still being removed
			out.Services = append(out.Services, Service{Name: e.Service, Nodes: e.Nodes, Swarm: e.Swarm, State: Elsewhere, Why: elsewhereWhy(name, e)})
		}
	}
	slices.SortStableFunc(out.Services, func(x, y Service) int { return cmp.Compare(x.Name, y.Name) })
	var stuck bool
	out.Waits, stuck = b.ownWaits(st)
	out.State = b.stackState(out, st, stuck, desired)
	out.Why = stackWhy(out)
	return out
}

// leftovers are the services that exist and are not desired: being removed, or of a stack that could not be read.
func (b *builder) leftovers(name string, st spec.Stack) []Service {
	found := map[string][]node.Container{}
	_, known := b.Desired.Stack(name)
	unread := st.Opaque || !known && b.Errors[name] != nil
	for k, list := range b.slots {
		_, desired := st.Service(k.service)
		if k.stack == name && (!desired || k.owner != st.Owner) {
			found[k.service] = append(found[k.service], list...)
		}
	}
	var out []Service
	for _, service := range slices.Sorted(maps.Keys(found)) {
		s := Service{Name: service, State: Removing, Why: name + "/" + service + " is no longer desired and is being removed"}
		subject := func(c node.Container) string { return subjectOf(name, service, c.Replica) }
		if unread {
			s.State, s.Why = Held, name+"/"+service+" is left as it is: no version of its stack can be read"
		}
		for _, c := range found[service] {
			s.Containers = append(s.Containers, container(c))
			if c.State == node.Running {
				s.Running++
			}
			s.Waits = append(s.Waits, b.texts(b.waits[subject(c)])...)
		}
		slices.SortFunc(s.Containers, func(x, y Container) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
		slices.Sort(s.Waits)
		s.Waits = slices.Compact(s.Waits)
		if len(s.Waits) > 0 && !unread {
			s.Why += ": " + s.Waits[0]
		}
		out = append(out, s)
	}
	return out
}

// ownWaits are the waits of a stack's networks and volumes, and whether one of them needs a person.
func (b *builder) ownWaits(st spec.Stack) (texts []string, stuck bool) {
	for _, subject := range b.resources(st) {
		for _, w := range b.waits[subject] {
			texts = append(texts, b.stable(w))
			stuck = stuck || needsPerson(w.For) || w.For == plan.WaitNetwork || w.For == plan.WaitVolume || b.exhausted(subject, "")
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts), stuck
}

// resources are the lane keys of a stack's networks and volumes, those included that it no longer wants.
func (b *builder) resources(st spec.Stack) []string {
	var out []string
	for _, n := range st.Networks {
		out = append(out, "network "+n.Name)
	}
	for _, v := range st.Volumes {
		out = append(out, "volume "+v.Name)
	}
	for _, n := range b.Observed.Networks {
		if n.Stack == st.Name && n.Owner == st.Owner && n.Owner != "" {
			out = append(out, "network "+n.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// stackState is the worst that can be said of a stack.
func (b *builder) stackState(out Stack, st spec.Stack, stuck, desired bool) State {
	worst := Converged
	for _, s := range out.Services {
		worst = worse(worst, stackLevel(s.State))
	}
	switch {
	case out.Error != "":
		return Held
	case stuck:
		return Failed
	case b.blind:
		state, _ := b.unseen()
		return state
	case !desired && worst == Removing:
		return Removing
	case worst == Removing: // a service of it went, the stack stays
		return Converging
	case worst != Converged:
		return worst
	}
	for _, key := range b.resources(st) {
		if _, planned := b.lanes[key]; planned || b.Observed.Busy[key] || len(b.waits[key]) > 0 {
			return Converging
		}
	}
	return Converged
}

// stackLevel is what a service's state means for its stack.
func stackLevel(s State) State {
	switch s {
	case Running, Done, Elsewhere, Drained:
		return Converged
	case Unhealthy:
		return Converging // it may still become healthy; nobody but its own check says so
	default:
		return s
	}
}

func worse(a, b State) State {
	if b.rank() < a.rank() {
		return b
	}
	return a
}

// holds are those given and those that follow from the pass and from files that cannot be read.
func (b *builder) holds() []Hold {
	out := slices.Clone(b.Holds)
	held, isHeld := errors.AsType[*HeldError](b.Err)
	switch {
	case isHeld:
		out = append(out, held.Hold)
	case b.blind:
		out = append(out, Hold{Scope: "engine", Cause: "engine unreachable", Detail: b.Err.Error(), Lifts: "by itself when the Docker Engine answers; what runs goes on"})
	case b.Err != nil:
		out = append(out, Hold{Scope: "node", Cause: "plan refused", Detail: b.Err.Error(), Lifts: "when the desired state changes; please report this, it is a defect of brambled"})
	}
	for _, name := range b.names() {
		st, _ := b.Desired.Stack(name)
		text := st.Held
		if err := b.Errors[name]; err != nil {
			text = err.Error()
		}
		if text == "" || b.Errors[name] == nil && b.Kept[name] != "" {
			continue
		}
		where := cmp.Or(b.Source[name], "its file")
		out = append(out, Hold{Scope: "stack " + name, Cause: "bad input", Detail: text, Lifts: "by itself when " + where + " is corrected"})
	}
	slices.SortStableFunc(out, func(x, y Hold) int {
		return cmp.Or(cmp.Compare(x.Scope, y.Scope), cmp.Compare(x.Cause, y.Cause), cmp.Compare(x.Detail, y.Detail))
	})
	return out
}

func elsewhereWhy(stack string, e Away) string {
	why := stack + "/" + e.Service + " is not for this Pi"
	if e.Why != "" {
		return why + ": " + e.Why
	}
	if e.Nodes != "" {
		return why + ": its nodes are " + strings.TrimSpace(e.Nodes)
	}
	return why
}
