package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// SwarmNode is the node under which the leader reports what Swarm runs.
const SwarmNode = "swarm"

// SwarmInput is what the leader's report is built from: one pass of its loop.
type SwarmInput struct {
	Leader  string // the node that leads
	Term    uint64
	Version string
	Cluster string

	Desired  spec.Cluster
	Observed swarm.Observed
	Plan     plan.Plan
	Err      error // why the pass ended early

	// Errors, Index and Source are as in [Input].
	Errors map[string]error
	Index  map[string]uint64
	Source map[string]string
	// Quorum is the Swarm itself, nil where there is nothing to say.
	Quorum *Quorum
}

// BuildSwarm makes the leader's report: the stacks' services that Swarm runs, in the form of a node's report. It is pure.
func BuildSwarm(in SwarmInput) Node {
	b := newSwarmBuilder(in)
	n := Node{
		Schema: Schema, Node: SwarmNode, Version: in.Version, Cluster: in.Cluster, Leader: in.Leader, Term: in.Term,
		Ready: in.Err == nil, Holds: []Hold{}, Stacks: []Stack{}, Quorum: in.Quorum,
	}
	if in.Err != nil {
		n.Error = in.Err.Error()
	}
	for _, st := range in.Desired.Stacks {
		if out := b.stack(st); len(out.Services) > 0 {
			n.Stacks = append(n.Stacks, out)
		}
	}
	n.Stacks = append(n.Stacks, b.leaving()...)
	slices.SortFunc(n.Stacks, func(x, y Stack) int { return cmp.Compare(x.Name, y.Name) })
	return n
}

// swarmBuilder indexes an input for the time of one report.
type swarmBuilder struct {
	SwarmInput
	waits    map[string][]plan.Wait
	lanes    map[string]plan.Lane
	services map[string]swarm.Service // ours, by name in Swarm
	tasks    map[string][]swarm.Task  // by id of their service
	nodes    map[string]string        // host name by id
	away     map[string]bool          // ids of nodes that are not Ready
}

func newSwarmBuilder(in SwarmInput) *swarmBuilder {
	b := &swarmBuilder{
		SwarmInput: in, waits: map[string][]plan.Wait{}, lanes: map[string]plan.Lane{},
		services: map[string]swarm.Service{}, tasks: map[string][]swarm.Task{}, nodes: map[string]string{}, away: map[string]bool{},
	}
	for _, w := range in.Plan.Waits {
		b.waits[w.Subject] = append(b.waits[w.Subject], w)
	}
	for _, l := range in.Plan.Lanes {
		b.lanes[l.Key] = l
	}
	for _, s := range in.Observed.Services {
		if in.Desired.Owned(s.Owner) {
			b.services[s.Name] = s
		}
	}
	for _, t := range in.Observed.Tasks {
		b.tasks[t.Service] = append(b.tasks[t.Service], t)
	}
	for _, n := range in.Observed.Nodes {
		b.nodes[n.ID], b.away[n.ID] = n.Name, !n.Ready
	}
	return b
}

func (b *swarmBuilder) stack(st spec.SwarmStack) Stack {
	out := Stack{
		Name: st.Name, Revision: st.Revision, Source: b.Source[st.Name], Index: b.Index[st.Name],
		Error: st.Held, State: Converged, Services: []Service{},
	}
	if err := b.Errors[st.Name]; err != nil {
		out.Error = err.Error()
	}
	for _, svc := range st.Services {
		out.Services = append(out.Services, b.service(st, svc))
	}
	for _, s := range b.services {
		if _, desired := st.Service(s.Key); s.Stack == st.Name && !desired {
			out.Services = append(out.Services, b.leftover(st, s))
		}
	}
	slices.SortFunc(out.Services, func(x, y Service) int { return cmp.Compare(x.Name, y.Name) })
	for _, s := range out.Services {
		out.State = worse(out.State, stackLevel(s.State))
	}
	waits, stuck := b.ownWaits(st.Name, st.Owner)
	out.Waits = waits
	switch {
	case stuck:
		out.State = worse(out.State, Failed)
	case len(waits) > 0:
		out.State = worse(out.State, Converging)
	}
	switch {
	case out.Error != "":
		out.State = Held
	case out.State == Removing: // a service of it goes, the stack stays
		out.State = Converging
	}
	out.Why = stackWhy(out)
	return out
}

// leaving are the stacks that are no longer desired and have something yet: services, or a network, config or secret that
// is being removed. One that stays for a roll back of another stack is none.
func (b *swarmBuilder) leaving() []Stack {
	by := map[string]*Stack{}
	stack := func(name string) *Stack {
		if by[name] == nil {
			by[name] = &Stack{Name: name, State: Removing, Why: name + " is no longer desired and is being removed", Services: []Service{}}
		}
		return by[name]
	}
	for _, s := range b.services {
		if _, desired := b.Desired.Stack(s.Stack); !desired {
			st := stack(s.Stack)
			st.Services = append(st.Services, b.leftover(spec.SwarmStack{}, s))
		}
	}
	for _, r := range b.owned() {
		_, desired := b.Desired.Stack(r.stack)
		if moving := b.lanes[r.subject].Key != "" || b.Observed.Busy[r.subject]; !desired && (moving || len(b.waits[r.subject]) > 0) {
			st := stack(r.stack)
			if st.Waits, _ = b.ownWaits(r.stack, r.owner); len(st.Waits) > 0 {
				st.Why = st.Waits[0]
			}
		}
	}
	var out []Stack
	for _, st := range by {
		slices.SortFunc(st.Services, func(x, y Service) int { return cmp.Compare(x.Name, y.Name) })
		out = append(out, *st)
	}
	return out
}

// resource is a network, config or secret by the key of its lane, and whose it is.
type resource struct{ subject, stack, owner string }

// owned are the networks, configs and secrets that are there and ours, sorted.
func (b *swarmBuilder) owned() []resource {
	var out []resource
	for _, n := range b.Observed.Networks {
		out = append(out, resource{"network " + n.Name, n.Stack, n.Owner})
	}
	for _, o := range b.Observed.Objects {
		out = append(out, resource{string(o.Kind) + " " + o.Name, o.Stack, o.Owner})
	}
	out = slices.DeleteFunc(out, func(r resource) bool { return !b.Desired.Owned(r.owner) })
	slices.SortFunc(out, func(x, y resource) int { return cmp.Compare(x.subject, y.subject) })
	return out
}

// ownWaits are the waits of a stack's networks, configs and secrets, wanted or leaving, and whether one of them needs a person.
func (b *swarmBuilder) ownWaits(stack, owner string) (texts []string, stuck bool) {
	var subjects []string
	st, _ := b.Desired.Stack(stack)
	for _, n := range st.Networks {
		subjects = append(subjects, "network "+n.Name)
	}
	for _, o := range st.Objects {
		subjects = append(subjects, string(o.Kind)+" "+o.Name)
	}
	for _, r := range b.owned() {
		if r.stack == stack && r.owner == owner {
			subjects = append(subjects, r.subject)
		}
	}
	slices.Sort(subjects)
	for _, subject := range slices.Compact(subjects) {
		for _, w := range b.waits[subject] {
			texts = append(texts, scrub(w.String()))
			// One that waits for itself is external and does not exist.
			stuck = stuck || needsPerson(w.For) || w.For == plan.WaitNetwork || w.For == plan.WaitObject
		}
	}
	return texts, stuck
}

func (b *swarmBuilder) leftover(st spec.SwarmStack, have swarm.Service) Service {
	subject := have.Stack + "/" + have.Key
	out := Service{Name: have.Key, Swarm: true, State: Removing, Why: subject + " is no longer desired and is being removed", Image: have.Asked}
	if st.Opaque {
		out.State, out.Why = Held, subject+" is left as it is: no version of its stack can be read"
	}
	out.Running = b.running(have, &out)
	out.Waits = texts(b.waits[subject])
	return out
}

// service says how one service is.
func (b *swarmBuilder) service(st spec.SwarmStack, svc spec.SwarmService) Service {
	subject := st.Name + "/" + svc.Name
	out := Service{Name: svc.Name, Swarm: true, Hash: svc.Hash, Image: svc.Image, Desired: replicas(svc), Waits: texts(b.waits[subject])}
	have, there := b.services[svc.Full]
	if there {
		out.Desired = have.Replicas
		out.Running = b.running(have, &out)
		out.Healthy = out.Running // Swarm calls a task running once its health check has passed
		if have.Hash == svc.Hash {
			out.Updated = b.updated(have)
		}
	}
	b.judge(subject, svc, have, there, &out)
	if f, failed := b.Observed.Failures["service "+subject]; failed {
		out.LastError = f.Step + ": " + f.Err
	}
	return out
}

// replicas is how many tasks a service asks for; of a global one that is known only once Swarm has placed it.
func replicas(svc spec.SwarmService) int {
	switch {
	case svc.Mode == spec.Global || svc.Mode == spec.GlobalJob:
		return 0
	case svc.Deploy.Replicas == nil:
		return 1
	}
	return int(*svc.Deploy.Replicas) //nolint:gosec // Compose refuses a count that is no small number
}

// lostNode is what is said of a task whose node is away: Swarm keeps it as it last was.
const lostNode = "its node is away"

// running lists the tasks that are not over and counts those that run, as far as their nodes are there.
func (b *swarmBuilder) running(have swarm.Service, out *Service) int {
	n := 0
	for _, t := range b.tasks[have.ID] {
		if t.Ended() {
			continue
		}
		k := Task{Node: cmp.Or(b.nodes[t.Node], t.Node), Slot: t.Slot, State: t.State, Error: t.Err}
		switch {
		case b.away[t.Node]:
			k.Error = cmp.Or(t.Err, lostNode)
		case t.State == "running":
			n++
		}
		out.Tasks = append(out.Tasks, k)
	}
	slices.SortFunc(out.Tasks, func(x, y Task) int {
		return cmp.Or(cmp.Compare(x.Slot, y.Slot), cmp.Compare(x.Node, y.Node), cmp.Compare(x.State, y.State))
	})
	return n
}

func (b *swarmBuilder) updated(have swarm.Service) int {
	n := 0
	for _, t := range b.tasks[have.ID] {
		if t.Current && (t.State == "running" && !b.away[t.Node] || t.State == "complete") {
			n++
		}
	}
	return n
}

// judge sets the state of a service and the sentence that goes with it.
func (b *swarmBuilder) judge(subject string, svc spec.SwarmService, have swarm.Service, there bool, out *Service) {
	waits := b.waits[subject]
	failed := slices.IndexFunc(waits, func(w plan.Wait) bool { return w.For == plan.WaitFailed })
	person := slices.IndexFunc(waits, func(w plan.Wait) bool { return needsPerson(w.For) })
	lane, moving := b.lanes["service "+subject]
	stack, _, _ := strings.Cut(subject, "/")
	switch {
	case b.Err != nil:
		out.State, out.Why = Unknown, "the Swarm cannot be seen: "+b.Err.Error()
	case !b.Observed.Control:
		out.State, out.Why = Held, subject+" waits for a Swarm: "+b.powerless()
	case failed >= 0:
		out.State, out.Why = Failed, subject+" failed: "+waits[failed].Detail+"; it is not tried again until its file changes, or brambled retry "+stack
	case moving:
		out.State, out.Why = Converging, fmt.Sprintf("%s is being changed: %s", subject, lane.Steps[0])
	case person >= 0:
		out.State, out.Why = Failed, waits[person].String()
	case len(waits) > 0:
		out.State, out.Why = Converging, scrub(waits[0].String())
	case b.Observed.Busy["service "+subject]:
		out.State, out.Why = Converging, subject+" is being changed"
	case there && svc.Mode.Job():
		out.State, out.Why = Done, subject+" is done"
	case there:
		out.State, out.Why = Running, fmt.Sprintf("%s is running (%d of %d)", subject, out.Running, have.Replicas)
	default:
		out.State, out.Why = Converging, subject+" is not there yet"
	}
}

// powerless is why the leader cannot change a Swarm.
func (b *swarmBuilder) powerless() string {
	if b.Quorum != nil && b.Quorum.State != Converged {
		return b.Quorum.Why
	}
	return "the engine of the leader " + b.Leader + " is no manager of one (docker swarm init, docker node promote)"
}

func texts(waits []plan.Wait) []string {
	var out []string
	for _, w := range waits {
		out = append(out, scrub(w.String()))
	}
	return out
}
