package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// The explorer drives planner and model against each other in a world that does its worst: desired state changes at any
// time, lanes are cut, steps fail, people interfere. Rules look on.

// choice is where an explorer's decisions come from.
type choice = proptest.Choice

// draft is a stack of the desired state before it is put into words.
type draft struct {
	owner    string
	opaque   bool
	def      int
	services map[string]string // lines of the notation
}

// lane is a lane under way.
type lane struct {
	key, goal string
	steps     []plan.Step
	remedy    plan.Remedy
}

type explorer struct {
	choice
	stacks  map[string]*draft
	owners  []string
	old     bool // the desired state is only remembered
	drained bool // a person drained the node
	d       spec.Desired
	o       node.Observed
	lanes   []lane // that still run
	now     time.Duration
	endings map[plan.Remedy][]ending // since brambled began
	plague  bool                     // health does not last in this world
	strange int                      // foreign objects so far
	watch   func(e *explorer, p plan.Plan) string
	apply   func(before, after node.Observed, a plan.Action) string
	tally   tally
}

// tally counts outcomes.
type tally proptest.Tally

func newExplorer(c choice, count tally) *explorer {
	e := &explorer{choice: c, stacks: map[string]*draft{}, owners: []string{"c1", "static"}, o: nodetest.ParseObserved(""), endings: map[plan.Remedy][]ending{}, tally: count}
	for range 3 {
		e.edit()
	}
	e.plague = e.oneIn(3)
	return e
}

// one in n chances.
func (e *explorer) oneIn(n int) bool { return e.UpTo(n) == 0 }

func pick[T any](e *explorer, list []T) T { return proptest.Pick(e.choice, list) }

// edit changes the desired state in one place.
func (e *explorer) edit() {
	name := pick(e, []string{"a", "b", "s"})
	st := e.stacks[name]
	if st == nil {
		st = &draft{owner: "c1", def: 1, services: map[string]string{}}
		if name == "s" {
			st.owner = "static"
		}
		e.stacks[name] = st
		for _, svc := range []string{"x", "y"} {
			st.services[svc] = e.service(name, svc)
		}
	}
	svc := pick(e, []string{"x", "y", "z"})
	switch e.UpTo(12) {
	case 0:
		delete(e.stacks, name)
	case 1:
		delete(st.services, svc)
	case 2:
		st.opaque = !st.opaque
	case 3:
		st.def = 3 - st.def
	case 4:
		e.owners = pick(e, [][]string{{"c1", "static"}, {"static"}, {"c1", "static"}})
		e.old = e.oneIn(2)
	case 5:
		e.drained = !e.drained
	default:
		st.services[svc] = e.service(name, svc)
	}
	e.render()
}

// service makes a service up. What its hash must cover is in its rev: exclusive services have an "e" in it.
func (e *explorer) service(stack, name string) string {
	rev, attrs := "", ""
	flag := func(n int, letter, attr string) {
		if e.oneIn(n) {
			rev += letter
			attrs += " " + attr
		}
	}
	n := 1 + e.UpTo(3)
	flag(3, "e", "excl=host_port")
	flag(3, "h", "health")
	flag(2, "n", "net="+stack+"_net")
	flag(4, "f", "file=f"+name)
	flag(5, "v", "vol="+stack+"_vol")
	flag(6, "j", "job="+pick(e, []string{"once", "on-failure"}))
	if e.oneIn(8) {
		rev, attrs, n = rev+"c", attrs+" name="+stack+"-front-"+name, 1
	}
	if e.oneIn(4) {
		attrs += fmt.Sprintf(" fb=%s:%d+%s", name, 1+e.UpTo(3), rev+"0")
	}
	if e.oneIn(8) {
		attrs += " done=1"
	}
	if e.oneIn(4) {
		attrs += " heal=" + pick(e, []string{"on", "off"})
	}
	if !strings.Contains(rev, "j") && e.oneIn(5) {
		rev, attrs = rev+"k", attrs+" cutoff=20s policy=no"
	}
	if e.oneIn(8) {
		attrs += " pull=" + pick(e, []string{"always", "never"})
	}
	if !strings.Contains(rev, "j") && e.oneIn(3) {
		attrs += pick(e, []string{" shared", " shared", " voter"})
	}
	if name != "x" && e.oneIn(3) {
		attrs += " dep=x:" + pick(e, []string{"started", "healthy", "completed", "started:restart"})
	}
	return fmt.Sprintf("svc %s img=%s:%d rev=%s n=%d par=%d order=%s fail=%s%s", name, name, 1+e.UpTo(3), rev+"0", n, e.UpTo(3),
		pick(e, []string{"start-first", "stop-first"}), pick(e, []string{"rollback", "pause", "continue"}), attrs)
}

func (e *explorer) render() {
	var b strings.Builder
	fmt.Fprintf(&b, "owners %s\nhealing after=1s budget=2\n", strings.Join(e.owners, " "))
	if e.old {
		fmt.Fprintln(&b, "recalled c1")
	}
	if e.drained {
		fmt.Fprintln(&b, "drained c1")
	}
	for _, name := range slices.Sorted(maps.Keys(e.stacks)) {
		st := e.stacks[name]
		if !slices.Contains(e.owners, st.owner) {
			continue // a source that was not read is absent as a whole
		}
		if st.opaque {
			fmt.Fprintf(&b, "stack %s owner=%s opaque held=unreadable\n", name, st.owner)
			continue
		}
		fmt.Fprintf(&b, "stack %s owner=%s\nnet %s_net def=%d\nvol %s_vol def=%d\n", name, st.owner, name, st.def, name, st.def)
		for _, svc := range slices.Sorted(maps.Keys(st.services)) {
			fmt.Fprintln(&b, st.services[svc])
		}
	}
	e.d = nodetest.ParseDesired(b.String())
}

// step is one pass and what befalls it. It returns what a rule says against it.
func (e *explorer) step() string {
	if e.oneIn(4) {
		e.edit()
	}
	e.o.Busy = map[string]bool{}
	for _, l := range e.lanes {
		e.o.Busy[l.key] = true
	}
	e.o.Remedies = e.remedies()
	p := node.Plan(e.d, e.o)
	e.tally.plan(e.d, e.o, p)
	if e.watch != nil {
		if problem := e.watch(e, p); problem != "" {
			return fmt.Sprintf("%s\nplan:\n%s", problem, p)
		}
	}
	if e.oneIn(2) {
		e.o.Permits.Records = carried(e.o.Permits.Records, "pi1", p.Permits)
	}
	for _, l := range p.Lanes {
		remedy, _ := l.Remedy()
		e.lanes = append(e.lanes, lane{l.Key, l.For, l.Steps, remedy})
	}
	if problem := e.work(); problem != "" {
		return fmt.Sprintf("%s\nplan:\n%s", problem, p)
	}
	for range e.UpTo(3) {
		e.event()
	}
	if e.plague {
		e.ail()
	}
	return ""
}

// work lets lanes run: to their end, some steps of the way, or into a failure. All lanes are lost when brambled is killed.
func (e *explorer) work() string {
	running := e.lanes
	e.lanes = nil
	for _, l := range running {
		n := len(l.steps)
		if e.oneIn(4) {
			n = e.UpTo(n + 1)
		}
		for i := range n {
			if e.oneIn(12) || e.refused(l.steps[i].Action) {
				e.failStep(l, l.steps[i].Action)
				n = len(l.steps)
				break
			}
			before := e.o
			e.o = node.Simulate(e.o, l.steps[i].Action)
			if e.apply != nil {
				if problem := e.apply(before, e.o, l.steps[i].Action); problem != "" {
					return problem
				}
			}
		}
		if n < len(l.steps) {
			e.lanes = append(e.lanes, lane{l.key, l.goal, l.steps[n:], l.remedy})
			continue
		}
		if f, failed := e.o.Failures[l.key]; failed && f.RetryIn == 0 {
			delete(e.o.Failures, l.key)
		}
		if l.remedy.Lane != "" {
			e.endings[l.remedy] = append(e.endings[l.remedy], ending{l.goal, e.now})
		}
	}
	if e.oneIn(8) {
		e.killed()
	}
	return ""
}

// refused reports what an engine refuses: a create under a name that somebody took meanwhile, and with it the start that
// follows, which has only the name to go by.
func (e *explorer) refused(a plan.Action) bool {
	name := ""
	switch a := a.(type) {
	case plan.Create:
		name = a.Name
	case plan.Start:
		if a.ID == "" {
			name = a.Name
		}
	}
	return slices.ContainsFunc(e.o.Containers, func(c node.Container) bool {
		return c.Name == name && !slices.Contains([]string{"c1", "static"}, c.Owner)
	})
}

func (e *explorer) failStep(l lane, a plan.Action) {
	e.o = nodetest.Clone(e.o)
	if pull, ok := a.(plan.Pull); ok {
		e.o.Pulls[node.ImageRef{Ref: pull.Image, Platform: pull.Platform}] = node.Pull{For: pull.For, Err: "registry is away", RetryIn: time.Minute}
		return
	}
	e.o.Failures[l.key] = node.Failure{Step: a.String(), Err: "boom", Hash: l.goal, Count: 1, RetryIn: 4 * time.Second}
	if start, ok := a.(plan.Start); ok {
		for i := range e.o.Containers {
			c := &e.o.Containers[i]
			if (c.ID == start.ID || start.ID == "" && c.Name == start.Name) && c.State == node.Created {
				c.Error = "port is already allocated"
			}
		}
	}
}

// killed is what brambled forgets when its process ends.
func (e *explorer) killed() {
	e.lanes = nil
	e.o = nodetest.Clone(e.o)
	clear(e.o.Failures)
	clear(e.o.Pulls)
	clear(e.endings)
	for i := range e.o.Containers {
		c := &e.o.Containers[i]
		c.Seen, c.Up, c.Sick = 0, 0, 0
	}
}

// event is something the world or a person does.
func (e *explorer) event() {
	e.o = nodetest.Clone(e.o)
	if e.oneIn(12) {
		e.o.CutOff = time.Duration(e.UpTo(3)) * 10 * time.Second // seen, or cut off for longer and longer
	}
	if e.oneIn(6) {
		e.others()
	}
	if len(e.o.Containers) == 0 || e.oneIn(3) {
		e.pass(time.Duration(1+e.UpTo(6)) * time.Second)
		return
	}
	if e.oneIn(6) {
		e.intrude()
		return
	}
	i := e.UpTo(len(e.o.Containers))
	c := &e.o.Containers[i]
	switch e.UpTo(17) {
	case 0, 1, 2:
		if c.State == node.Running && c.HasCheck {
			nodetest.Set(c, "running health="+string(pick(e, []node.Health{node.Healthy, node.Healthy, node.Unhealthy})), nil)
		}
	case 3, 4:
		if c.State == node.Running {
			nodetest.Set(c, fmt.Sprintf("exited exit=%d", e.UpTo(2)), nil)
		}
	case 5:
		if c.State == node.Running {
			c.RestartCount++
			nodetest.Set(c, "restarting", nil)
		}
	case 6:
		e.o.Containers = slices.Delete(e.o.Containers, i, i+1)
	case 7:
		c.Name = fmt.Sprintf("renamed-%d", e.fresh())
	case 8:
		c.Networks = nil
	case 9:
		if c.State == node.Running {
			c.State = node.Paused
		}
	case 10:
		nodetest.Set(c, string(pick(e, []node.State{node.Dead, node.Removing})), nil)
	case 11:
		if c.State == node.Exited && !e.moving(*c) && !strings.Contains(c.Hash, "e") {
			nodetest.Set(c, "running up=1s", nil)
		}
	case 12:
		c.Policy = "no"
	case 13:
		if e.oneIn(3) && c.Owner != "" {
			c.Hash = "2:" + strings.TrimPrefix(c.Hash, "1:")
		}
	case 14:
		for _, img := range slices.Sorted(maps.Keys(stringKeys(e.o.Images))) {
			if e.oneIn(3) {
				delete(e.o.Images, node.ImageRef{Ref: img})
			}
		}
	case 16:
		e.engineEnds()
	case 15:
		for _, img := range slices.Sorted(maps.Keys(stringKeys(e.o.Images))) {
			if e.oneIn(3) {
				e.o.Pulls[node.ImageRef{Ref: img}] = node.Pull{Running: true}
				break
			}
		}
	}
}

// others is what the other nodes and a person do to the store's records, and what becomes of the store.
func (e *explorer) others() {
	e.o.Permits.Known = !e.oneIn(4)
	e.o.Permits.Without = pick(e, [][]string{nil, nil, {"static"}})
	e.o.Permits.Away = pick(e, [][]string{nil, {"pi2"}})
	if len(e.d.Stacks) == 0 {
		return
	}
	st := pick(e, e.d.Stacks)
	if len(st.Services) == 0 {
		return
	}
	svc := pick(e, st.Services)
	records := maps.Clone(e.o.Permits.Records)
	if records == nil {
		records = map[plan.PermitKey]node.Record{}
	}
	key, hash := plan.PermitKey{Owner: st.Owner, Stack: st.Name, Service: svc.Name}, svc.Rollout
	if e.oneIn(4) {
		key, hash = plan.Voters(), key.String()
	}
	r := records[key]
	switch e.UpTo(5) {
	case 0:
		r, _ = r.Ask(node.Holder{Node: "pi2", Hash: hash}, 1)
	case 1:
		r = r.Return("pi2", hash)
	case 2:
		r = r.Fail(node.FailedRollout{Node: "pi2", Hash: hash, Error: "boom"})
	case 3:
		r = r.Retry(func(string) bool { return e.oneIn(2) })
	case 4:
		r.Damaged = pick(e, []string{"", "", "unreadable"})
	}
	if records[key] = r; r.Empty() && r.Damaged == "" {
		delete(records, key)
	}
	e.o.Permits.Records = records
}

// engineEnds is a dockerd that was killed and came up again: what ran has exited.
func (e *explorer) engineEnds() {
	for i := range e.o.Containers {
		if c := &e.o.Containers[i]; c.State == node.Running {
			nodetest.Set(c, "exited ended-by-engine", nil)
			e.tally["engine ended a container"]++
		}
	}
}

func stringKeys(m map[node.ImageRef]node.Image) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k.Ref] = true
	}
	return out
}

// intrude makes something foreign appear, or one more of ours than there should be.
func (e *explorer) intrude() {
	n := e.fresh()
	switch e.UpTo(7) {
	case 0:
		nodetest.Add(&e.o, fmt.Sprintf("box %s foreign running net=%s id=foreign%d", e.freeName(pick(e, []string{"a-x-1", "b-y-2", "a-x-1.prev", "a-y-1.failed", "s-x-1"}), n), pick(e, []string{"-", "a_net"}), n))
	case 1:
		nodetest.Add(&e.o, fmt.Sprintf("box c9-%d c9/a/x/1 x:1 exited id=foreign%d", n, n))
	case 2:
		name := pick(e, []string{"a_net", "b_net", "other"})
		if !slices.ContainsFunc(e.o.Networks, func(have node.Network) bool { return have.Name == name }) {
			nodetest.Add(&e.o, fmt.Sprintf("net %s foreign id=foreign%d", name, n))
		}
	case 3:
		nodetest.Add(&e.o, fmt.Sprintf("box copy-%d c1/a/%s/1 x:1+0 %s id=copy%d", n, pick(e, []string{"x", "y"}), pick(e, []string{"running", "exited"}), n))
	case 4:
		nodetest.Add(&e.o, fmt.Sprintf("net gone%d_net c1/gone id=gone%d", n, n))
		nodetest.Add(&e.o, fmt.Sprintf("box gone-x-%d c1/gone/x/%d x:1 running net=gone%d_net vol=gone_vol file=f0 id=gone%d", n, n, n, n))
		nodetest.Add(&e.o, "file f0")
	case 5:
		for _, st := range e.d.Stacks {
			for _, svc := range st.Services {
				if e.oneIn(4) {
					nodetest.Add(&e.o, fmt.Sprintf("unsupported %s no such driver", strings.TrimPrefix(svc.Container.Hash, "1:")))
				}
			}
		}
	case 6:
		nodetest.Add(&e.o, fmt.Sprintf("vol foreign%d foreign", n))
	}
}

func (e *explorer) fresh() int { e.strange++; return e.strange }

// freeName is the name, or another one when somebody has it.
func (e *explorer) freeName(name string, n int) string {
	if slices.ContainsFunc(e.o.Containers, func(c node.Container) bool { return c.Name == name }) {
		return fmt.Sprintf("stranger-%d", n)
	}
	return name
}

// moving reports whether a lane of the container's replica is under way.
func (e *explorer) moving(c node.Container) bool {
	key := fmt.Sprintf("container %s/%s/%d", c.Stack, c.Service, c.Replica)
	return slices.ContainsFunc(e.lanes, func(l lane) bool { return l.key == key })
}

func (e *explorer) pass(d time.Duration) {
	e.now += d
	e.o = nodetest.Clone(e.o.Pass(d))
	if e.o.CutOff > 0 {
		e.o.CutOff += d
	}
	for k, f := range e.o.Failures {
		f.RetryIn = max(0, f.RetryIn-d)
		e.o.Failures[k] = f
	}
	for k, p := range e.o.Pulls {
		p.RetryIn = max(0, p.RetryIn-d)
		if p.Running {
			p = node.Pull{}
		}
		e.o.Pulls[k] = p
	}
	e.o.Containers = slices.DeleteFunc(e.o.Containers, func(c node.Container) bool { return c.State == node.Removing })
	for i := range e.o.Containers {
		if c := &e.o.Containers[i]; c.State == node.Restarting {
			c.State = node.Running
		}
	}
}

// settle ends all faults and plays on until the plan stays empty. It returns what is wrong with the end.
func (e *explorer) settle() string {
	if e.work(); len(e.lanes) > 0 {
		for _, l := range e.lanes {
			e.o = applied(e.o, plan.Plan{Lanes: []plan.Lane{{Steps: l.steps}}}, 1000)
		}
	}
	e.lanes, e.o.Busy = nil, map[string]bool{}
	clear(e.o.Failures)
	clear(e.o.Unsupported)
	clear(e.endings)
	clear(e.o.Remedies)
	e.o.CutOff = 0
	e.o.Permits.Known, e.o.Permits.Without = true, nil
	e.o.Permits.Records = maps.Clone(e.o.Permits.Records)
	for key, r := range e.o.Permits.Records { // the others come to an end too
		r.Damaged = ""
		if e.o.Permits.Records[key] = r.Return("pi2", holding(r, "pi2")); e.o.Permits.Records[key].Empty() {
			delete(e.o.Permits.Records, key)
		}
	}
	var p plan.Plan
	for quiet, n := 0, 0; quiet < 2; n++ {
		if n > 50 {
			return fmt.Sprintf("no rest after %d passes:\n%s\n%s", n, p, nodetest.Show(e.o))
		}
		p = node.Plan(e.d, e.o)
		e.tally.plan(e.d, e.o, p)
		if err := node.Check(e.d, e.o, p); err != nil {
			return err.Error()
		}
		e.o = live(e.d, applied(e.o, p, 1000), worlds[0])
		e.pass(time.Minute)
		if quiet++; !p.Empty() {
			quiet = 0
		}
	}
	if problem := e.reached(p) + e.atRest(p); problem != "" {
		return problem
	}
	e.pass(24 * time.Hour)
	if later := node.Plan(e.d, e.o); !later.Empty() {
		return "the plan of a converged state is empty only for a while:\n" + later.String()
	}
	return ""
}

// holding is the version that a node holds a permit for.
func holding(r node.Record, by string) string {
	h, _ := r.Held(by)
	return h.Hash
}

// reached reports a replica that is neither as desired nor said to be waiting.
func (e *explorer) reached(p plan.Plan) string {
	for _, st := range e.d.Stacks {
		for _, svc := range st.Services {
			for n := 1; n <= svc.Replicas && !st.Opaque; n++ {
				if slices.Contains(svc.Done, n) {
					continue // a job that is done may be lost
				}
				subject := fmt.Sprintf("%s/%s/%d", st.Name, svc.Name, n)
				name := node.ContainerName(st.Name, svc, n)
				if slices.ContainsFunc(p.Waits, func(w plan.Wait) bool { return w.Subject == subject }) {
					continue
				}
				i := slices.IndexFunc(e.o.Containers, func(c node.Container) bool {
					return c.Name == name && c.Hash == svc.Container.Hash && (c.State == node.Running || svc.Restart.Job() && c.State == node.Exited)
				})
				if i < 0 {
					return fmt.Sprintf("%s is not as desired, and nothing is said to be waited for:\n%s", subject, nodetest.Show(e.o))
				}
			}
		}
	}
	for _, c := range e.o.Containers {
		st, ok := e.d.Stack(c.Stack)
		waits := func(w plan.Wait) bool { return w.Subject == fmt.Sprintf("%s/%s/%d", c.Stack, c.Service, c.Replica) }
		if slices.ContainsFunc(p.Waits, waits) {
			continue
		}
		if svc, here := st.Service(c.Service); e.d.Owned(c.Owner) && !(ok && st.Opaque) && spec.HashSchema(c.Hash) <= spec.Schema &&
			(!ok || !here || c.Replica > svc.Replicas) {
			return c.Name + " is no longer desired and still there"
		}
	}
	return ""
}

// plan counts what a plan decides.
func (t tally) plan(d spec.Desired, o node.Observed, p plan.Plan) {
	t.health(d, o)
	for _, w := range p.Waits {
		t["wait: "+string(w.For)]++
		if strings.Contains(w.Detail, "restarts within an hour") {
			t["budget spent"]++
		}
		if strings.Contains(w.Detail, "was started and ended again") {
			t["ended again"]++
		}
		if strings.Contains(w.Detail, "the predecessor is kept as") {
			t["pause"]++
		}
		if strings.HasPrefix(w.Detail, "job exited") {
			t["job failed"]++
		}
		if strings.Contains(w.Detail, "is not cut short") {
			t["drained: a job is not cut short"]++
		}
		if strings.Contains(w.Detail, "depends on it and still runs") {
			t["drained: in order"]++
		}
	}
	for _, l := range p.Lanes {
		t.lane(d, o, l)
	}
	for _, s := range p.Permits {
		t["permit: "+string(s.Do)]++
		if s.Key == plan.Voters() {
			t["voters: "+string(s.Do)]++
		}
	}
	for _, st := range d.Stacks {
		if st.Opaque && slices.ContainsFunc(o.Containers, func(c node.Container) bool { return c.Stack == st.Name }) {
			t["opaque stack held"]++
		}
		for _, svc := range st.Services {
			if svc.Restart.Job() && slices.ContainsFunc(o.Containers, func(c node.Container) bool {
				return c.Stack == st.Name && c.Service == svc.Name && c.Hash == svc.Container.Hash && c.State == node.Exited && c.ExitCode == 0
			}) {
				t["job done"]++
			}
		}
	}
	if p.Empty() {
		t["nothing to do"]++
	}
}

func (t tally) lane(d spec.Desired, o node.Observed, l plan.Lane) {
	created, stopped, renamed := false, false, false
	for _, s := range l.Steps {
		t["reason: "+string(s.Reason)]++
		switch a := s.Action.(type) {
		case plan.Create:
			created = true
			t["create"]++
		case plan.Stop:
			stopped = true
		case plan.Start:
			if created && s.Reason == plan.ReasonChanged {
				t[map[bool]string{false: "replace start-first", true: "replace stop-first"}[stopped]]++
			}
			if !created && s.Reason == plan.ReasonChanged && a.ID != "" && !renamed {
				t["succession taken up"]++
			}
		case plan.Rename:
			renamed = true
			if s.Reason == plan.ReasonChanged && !strings.HasSuffix(a.To, node.SuffixPrevious) {
				t["name given back or revert"]++
			}
		case plan.Remove:
			t.removed(d, o, a, s.Reason)
			if s.Reason == plan.ReasonDrain {
				t["drained: in trial"]++
			}
		case plan.RemoveNetwork:
			t["network removed"]++
		case plan.Connect:
			t["network repaired"]++
		}
	}
}

// removed counts predecessors that were given up under failure_action continue.
func (t tally) removed(d spec.Desired, o node.Observed, a plan.Remove, why plan.Reason) {
	i := slices.IndexFunc(o.Containers, func(c node.Container) bool { return c.ID == a.ID })
	if i < 0 || why != plan.ReasonSuperseded || strings.HasSuffix(o.Containers[i].Name, node.SuffixFailed) {
		return
	}
	st, _ := d.Stack(o.Containers[i].Stack)
	svc, _ := st.Service(o.Containers[i].Service)
	name := node.ContainerName(st.Name, svc, o.Containers[i].Replica)
	if svc.Update.FailureAction == spec.Continue && slices.ContainsFunc(o.Containers, func(c node.Container) bool {
		return c.Name == name && (c.State == node.Exited || c.Health == node.Unhealthy)
	}) {
		t["continue"]++
	}
}
