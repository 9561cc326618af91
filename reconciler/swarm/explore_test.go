package swarm_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
	"github.com/brambled/brambled/reconciler/swarm/swarmtest"
)

// The explorer drives planner and model against each other in a world that does its worst: desired state changes at any
// time, steps fail, leaders die, Swarm rolls back, people interfere. Rules look on.
type explorer struct {
	proptest.Choice
	stacks  map[string]*draft
	owners  []string
	retry   []string
	d       spec.Cluster
	o       swarm.Observed
	lanes   []plan.Lane              // that still run
	before  map[string]swarm.Service // what each service would be rolled back to, by id: Swarm's own memory
	failed  map[string]string        // the hash that failed last, by name of the service: the world's own books
	strange int                      // foreign objects so far
	watch   func(e *explorer, p plan.Plan) string
	apply   func(e *explorer, before, after swarm.Observed, a plan.Action) string
	tally   proptest.Tally
}

// draft is a stack of the desired state before it is put into words.
type draft struct {
	opaque   bool
	def      int
	services map[string]string // lines of the notation
}

func newExplorer(c proptest.Choice, count proptest.Tally) *explorer {
	e := &explorer{
		Choice: c, stacks: map[string]*draft{}, owners: []string{"c1"}, tally: count,
		before: map[string]swarm.Service{}, failed: map[string]string{},
		o: swarmtest.ParseObserved("node pi1\nnode pi2\nnode pi3 absent"),
	}
	for range 3 {
		e.edit()
	}
	return e
}

// oneIn is one in n chances.
func (e *explorer) oneIn(n int) bool { return e.UpTo(n) == 0 }

func (e *explorer) of(words ...string) string { return proptest.Pick(e.Choice, words) }

// edit changes the desired state in one place.
func (e *explorer) edit() {
	if len(e.owners) == 0 && e.oneIn(2) {
		e.owners = []string{"c1"}
	}
	name := e.of("a", "b")
	st := e.stacks[name]
	if st == nil {
		st = &draft{def: 1, services: map[string]string{}}
		e.stacks[name] = st
		st.services["x"], st.services["y"] = e.service(name, "x"), e.service(name, "y")
	}
	svc := e.of("x", "y", "z")
	switch e.UpTo(18) {
	case 0:
		delete(e.stacks, name)
	case 1:
		delete(st.services, svc)
	case 2:
		st.opaque = e.oneIn(3)
	case 3:
		st.def = 3 - st.def
	case 4:
		e.owners = nil
	case 5, 6, 7:
		e.retry = slices.Sorted(maps.Values(e.failed))
	default:
		st.services[svc] = e.service(name, svc)
	}
	e.render()
}

// service makes a service up. All that its hash must cover is in its rev.
func (e *explorer) service(stack, name string) string {
	mode, fail, conf := e.of("replicated", "replicated", "replicated", "replicated", "global", "replicated-job"), e.of("rollback", "rollback", "pause", "continue"), e.UpTo(4)
	attrs := ""
	if conf > 0 {
		attrs += fmt.Sprintf(" config=%s_conf_%d", stack, conf)
	}
	onNet := e.oneIn(2)
	if onNet {
		attrs += " net=" + stack + "_net"
	}
	if name != "x" && e.oneIn(3) {
		attrs += " dep=x:" + e.of("started", "healthy", "completed")
	}
	if e.oneIn(4) {
		attrs += " pull=never"
	}
	if e.oneIn(4) {
		attrs += " prepull=all"
	}
	n := e.UpTo(3)
	return fmt.Sprintf("svc %s img=%s:%d rev=%d%s%s%d%t n=%d mode=%s fail=%s%s", name, name, 1+e.UpTo(2), e.UpTo(2), mode, fail[:1], conf, onNet, n, mode, fail, attrs)
}

func (e *explorer) render() {
	var b strings.Builder
	fmt.Fprintf(&b, "owners %s\n", strings.Join(e.owners, " "))
	for _, name := range slices.Sorted(maps.Keys(e.stacks)) {
		st := e.stacks[name]
		switch {
		case len(e.owners) == 0:
			continue // a source that was not read is absent as a whole
		case st.opaque:
			fmt.Fprintf(&b, "stack %s opaque held=unreadable\n", name)
			continue
		}
		fmt.Fprintf(&b, "stack %s\nnet %s_net def=%d\n", name, name, st.def)
		lines := slices.Sorted(maps.Values(st.services))
		for n := 1; n < 4; n++ {
			if conf := fmt.Sprintf("%s_conf_%d", name, n); strings.Contains(strings.Join(lines, " "), conf) {
				fmt.Fprintln(&b, "config "+conf)
			}
		}
		fmt.Fprintln(&b, strings.Join(lines, "\n"))
	}
	e.d = swarmtest.ParseDesired(b.String())
	e.d.Retry = e.retry
}

// step is one pass and what befalls it. It returns what a rule says against it.
func (e *explorer) step() string {
	if e.oneIn(3) {
		e.edit()
	}
	e.o = swarmtest.Clone(e.o)
	e.o.Control = e.o.Control || e.oneIn(2)
	clear(e.o.Busy)
	for _, l := range e.lanes {
		e.o.Busy[l.Key] = true
	}
	p := swarm.Plan(e.d, e.o)
	e.count(p)
	if e.watch != nil {
		if problem := e.watch(e, p); problem != "" {
			return fmt.Sprintf("%s\nplan:\n%s", problem, p)
		}
	}
	e.lanes = append(e.lanes, p.Lanes...)
	if problem := e.work(); problem != "" {
		return fmt.Sprintf("%s\nplan:\n%s", problem, p)
	}
	for range e.UpTo(4) {
		e.o = swarmtest.Clone(e.o)
		e.event()
	}
	return ""
}

// work lets lanes run, stay or fail. All are lost when the leader dies, and so is what it remembers.
func (e *explorer) work() string {
	running := e.lanes
	e.lanes = nil
	for _, l := range running {
		a := l.Steps[0].Action
		switch {
		case e.oneIn(6):
			e.lanes = append(e.lanes, l)
			continue
		case e.oneIn(10) || e.refused(a):
			e.fail(l)
			continue
		}
		if problem := e.do(a); problem != "" {
			return problem
		}
		if l.Steps[0].Reason == plan.ReasonRetry {
			e.retry = nil
			e.render()
		}
	}
	if e.oneIn(10) {
		e.lanes = nil
		clear(e.o.Failures)
		clear(e.o.Pins)
	}
	return ""
}

// do has the Swarm do what an action says, and keeps the world's books.
func (e *explorer) do(a plan.Action) string {
	before := e.o
	e.o = swarmtest.Clone(swarm.Simulate(e.o, a))
	switch a := a.(type) {
	case plan.UpdateService:
		i := slices.IndexFunc(before.Services, func(s swarm.Service) bool { return s.ID == a.ID && s.Version == a.Version })
		if i < 0 {
			break
		}
		e.before[a.ID] = before.Services[i]
		delete(e.failed, a.Service.Full)
	case plan.MarkService:
		if e.failed[a.Name] != a.Tried {
			delete(e.failed, a.Name)
		}
	case plan.RemoveService:
		delete(e.failed, a.Name)
	default:
	}
	if e.apply != nil {
		return e.apply(e, before, e.o, a)
	}
	return ""
}

// refused reports what Swarm refuses: a version that is not the newest, a name that is taken, what refers to nothing or is
// referred to.
func (e *explorer) refused(a plan.Action) bool {
	stale := func(id string, version uint64) bool {
		return !slices.ContainsFunc(e.o.Services, func(s swarm.Service) bool { return s.ID == id && s.Version == version })
	}
	switch a := a.(type) {
	case plan.CreateService:
		return slices.ContainsFunc(e.o.Services, func(s swarm.Service) bool { return s.Name == a.Service.Full }) || dangling(e.o, a.Service)
	case plan.UpdateService:
		return stale(a.ID, a.Version) || dangling(e.o, a.Service)
	case plan.MarkService:
		return stale(a.ID, a.Version)
	case plan.CreateNetwork:
		return slices.ContainsFunc(e.o.Networks, func(n swarm.Network) bool { return n.Name == a.Network.Name })
	case plan.CreateObject:
		return slices.ContainsFunc(e.o.Objects, func(ob swarm.Object) bool { return ob.Name == a.Object.Name })
	default:
		return false
	}
}

// dangling reports whether a version of a service refers to what is not there.
func dangling(o swarm.Observed, svc spec.SwarmService) bool {
	for _, f := range svc.Files {
		if !slices.ContainsFunc(o.Objects, func(ob swarm.Object) bool { return ob.Kind == f.Kind && ob.Name == f.Object }) {
			return true
		}
	}
	for _, at := range svc.Networks {
		if !slices.ContainsFunc(o.Networks, func(n swarm.Network) bool { return n.Name == at.Network }) {
			return true
		}
	}
	return false
}

func (e *explorer) fail(l plan.Lane) {
	e.o = swarmtest.Clone(e.o)
	if pin, ok := l.Steps[0].Action.(plan.Pin); ok {
		e.o.Pins[pin.Image] = swarm.Pin{Err: "registry is away"}
		return
	}
	e.o.Failures[l.Key] = swarm.Failure{Step: l.Steps[0].Action.String(), Err: "boom", Hash: l.For, Count: 1, RetryIn: 4}
}

// event is something the world or a person does.
func (e *explorer) event() {
	switch e.UpTo(16) {
	case 0, 1:
		e.o = swarmtest.Work(e.o)
		clear(e.o.Failures)
		e.prepull()
	case 2, 3, 14:
		e.verdict()
	case 4, 5, 6, 15:
		e.prepull()
	case 7:
		e.o.Control = e.oneIn(2)
	case 8:
		e.intrude()
	case 9:
		n := proptest.Pick(e.Choice, e.o.Nodes)
		swarmtest.Add(&e.o, "node "+n.Name+e.of("", " down", " drained", " absent"))
	case 10:
		if len(e.o.Tasks) > 0 {
			e.o.Tasks[e.UpTo(len(e.o.Tasks))].State = e.of("pending", "starting", "running", "failed", "rejected")
		}
	default:
		if len(e.o.Services) > 0 {
			e.meddle(e.UpTo(len(e.o.Services)))
		}
	}
}

// verdict is Swarm's on an update that it has under way.
func (e *explorer) verdict() {
	for _, s := range e.o.Services {
		if s.Update != swarm.Updating {
			continue
		}
		e.failed[s.Name] = s.Hash
		if to, ok := e.before[s.ID]; ok && strings.Contains(s.Hash, string(s.Mode)+"r") {
			e.o = swarmtest.RollBack(e.o, to)
			e.tally["rolled back"]++
			e.end(s.ID, proptest.Pick(e.Choice, []swarm.UpdateState{swarm.RollbackStarted, swarm.RollbackCompleted, swarm.RollbackPaused}))
			continue
		}
		e.tally["paused"]++
		e.end(s.ID, swarm.Paused)
	}
}

func (e *explorer) end(id string, state swarm.UpdateState) {
	for i := range e.o.Services {
		if e.o.Services[i].ID == id {
			e.o.Services[i].Update = state
		}
	}
}

// prepull is what nodes say of the images they should have.
func (e *explorer) prepull() {
	for image, nodes := range swarm.Prepulling(e.d, e.o) {
		for _, n := range nodes {
			swarmtest.Add(&e.o, fmt.Sprintf("prepull %s %s %s", image, n, e.of("here", "here", "done=1 total=2", "err=no_space")))
		}
	}
}

// meddle is what a person or a newer brambled does to a service.
func (e *explorer) meddle(i int) {
	s := &e.o.Services[i]
	switch {
	case e.oneIn(2):
		s.Version++
	case e.oneIn(6):
		delete(e.failed, s.Name)
		e.o.Services = slices.Delete(e.o.Services, i, i+1)
	case e.oneIn(10) && s.Owner != "":
		s.Hash = "2:" + strings.TrimPrefix(s.Hash, "1:")
	}
}

// intrude makes something foreign appear, or something that is ours and no longer desired.
func (e *explorer) intrude() {
	e.strange++
	n := e.strange
	switch e.UpTo(6) {
	case 0:
		if name := e.of("a_x", "b_y", "other"); !slices.ContainsFunc(e.o.Services, func(s swarm.Service) bool { return s.Name == name }) {
			swarmtest.Add(&e.o, fmt.Sprintf("svc %s foreign id=foreign%d", name, n))
		}
	case 1:
		swarmtest.Add(&e.o, fmt.Sprintf("svc c9-%d c9/a/x x:1 id=foreign%d", n, n))
	case 2:
		if name := e.of("a_net", "b_net", "other"); !slices.ContainsFunc(e.o.Networks, func(n swarm.Network) bool { return n.Name == name }) {
			swarmtest.Add(&e.o, fmt.Sprintf("net %s foreign id=foreign%d", name, n))
		}
	case 3:
		if name := e.of("a_conf_1", "b_conf_2", "other"); !slices.ContainsFunc(e.o.Objects, func(ob swarm.Object) bool { return ob.Name == name }) {
			swarmtest.Add(&e.o, fmt.Sprintf("config %s foreign id=foreign%d", name, n))
		}
	case 4:
		for _, l := range []string{"net gone%d_net c1/gone id=gone%d", "config gone%d_conf c1/gone id=gone%d", "svc gone%d_x c1/gone/x%d x:1"} {
			l = fmt.Sprintf(l, n, n)
			if strings.HasPrefix(l, "svc") {
				l += fmt.Sprintf(" net=gone%d_net config=gone%d_conf", n, n)
			}
			swarmtest.Add(&e.o, l)
		}
	case 5:
		swarmtest.Add(&e.o, fmt.Sprintf("elsewhere a/z running=%d", e.UpTo(2)))
	}
}

// settle ends all faults and plays on until the plan stays empty. It returns what is wrong with the end.
func (e *explorer) settle() string {
	for _, l := range e.lanes {
		if !e.refused(l.Steps[0].Action) {
			e.do(l.Steps[0].Action)
		}
	}
	e.o = swarmtest.Clone(e.o)
	e.lanes, e.o.Control = nil, true
	clear(e.o.Busy)
	clear(e.o.Failures)
	for _, n := range []string{"pi1", "pi2", "pi3"} {
		swarmtest.Add(&e.o, "node "+n)
	}
	e.retry = nil
	e.render()
	var p plan.Plan
	for quiet, n := 0, 0; quiet < 2; n++ {
		if n > 30 {
			return fmt.Sprintf("no rest after %d passes:\n%s\n%s", n, p, swarmtest.Show(e.o))
		}
		var err error
		if p, err = tryPlan(e.d, e.o); err != nil {
			return err.Error()
		}
		e.count(p)
		for image, nodes := range swarm.Prepulling(e.d, e.o) {
			for _, name := range nodes {
				swarmtest.Add(&e.o, "prepull "+image+" "+name+" here")
			}
		}
		e.o = swarmtest.Work(swarmtest.Apply(e.o, p, 1000))
		if quiet++; !p.Empty() {
			quiet = 0
		}
	}
	return e.reached(p)
}

// reached reports what is neither as desired nor said to be waiting.
func (e *explorer) reached(p plan.Plan) string {
	waits := func(subject string) bool {
		return slices.ContainsFunc(p.Waits, func(w plan.Wait) bool { return w.Subject == subject })
	}
	for _, st := range e.d.Stacks {
		for _, svc := range st.Services {
			there := slices.ContainsFunc(e.o.Services, func(s swarm.Service) bool { return s.Name == svc.Full && s.Hash == svc.Hash && s.Mode == svc.Mode })
			if !there && !waits(st.Name+"/"+svc.Name) {
				return fmt.Sprintf("%s/%s is not as desired, and nothing is said to be waited for:\n%s", st.Name, svc.Name, swarmtest.Show(e.o))
			}
		}
	}
	for _, s := range e.o.Services {
		st, _ := e.d.Stack(s.Stack)
		if _, here := st.Service(s.Key); e.d.Owned(s.Owner) && !st.Opaque && !here && !waits(s.Stack+"/"+s.Key) {
			return s.Name + " is no longer desired and still there"
		}
	}
	return e.leftovers()
}

// leftovers reports what nothing refers to and is still there.
func (e *explorer) leftovers() string {
	for _, ob := range e.o.Objects {
		st, _ := e.d.Stack(ob.Stack)
		name := swarm.ObjectName{Kind: ob.Kind, Name: ob.Name}
		stuck := func(s swarm.Service) bool {
			return slices.Contains(s.Objects, name) || slices.Contains(s.Before, name) || s.Stack == ob.Stack && (s.Update == swarm.Paused || s.Update == swarm.RollbackPaused)
		}
		wanted := slices.ContainsFunc(st.Objects, func(want spec.SwarmObject) bool { return want.Name == ob.Name })
		if e.d.Owned(ob.Owner) && !st.Opaque && !wanted && !slices.ContainsFunc(e.o.Services, stuck) {
			return ob.Name + " is unreferenced and still there"
		}
	}
	return ""
}

// count counts what a plan decides.
func (e *explorer) count(p plan.Plan) {
	for _, w := range p.Waits {
		e.tally["wait: "+string(w.For)]++
	}
	for _, l := range p.Lanes {
		for _, s := range l.Steps {
			e.tally["reason: "+string(s.Reason)]++
			e.tally[strings.TrimPrefix(fmt.Sprintf("%T", s.Action), "plan.")]++
		}
	}
	if p.Empty() {
		e.tally["nothing to do"]++
	}
	if !e.o.Control {
		e.tally["without control"]++
	}
}

// foreign is the part of the Swarm that is not ours, as text.
func foreign(o swarm.Observed) string {
	o.Services = slices.DeleteFunc(slices.Clone(o.Services), func(s swarm.Service) bool { return s.Owner == "c1" })
	o.Networks = slices.DeleteFunc(slices.Clone(o.Networks), func(n swarm.Network) bool { return n.Owner == "c1" })
	o.Objects = slices.DeleteFunc(slices.Clone(o.Objects), func(ob swarm.Object) bool { return ob.Owner == "c1" })
	return fmt.Sprintf("%+v\n%+v\n%+v\n", o.Services, o.Networks, o.Objects)
}
