package swarmtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/internal/notation"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// Hash is the hash that the notation gives to an image and revision, see [notation.Hash].
func Hash(s string) string { return notation.Hash(s) }

func parseLine(text string) notation.Line {
	return notation.Parse(text, "net", "netbefore", "config", "secret", "before", "owner", "dep", "id", "full", "tasks", "update")
}

// ParseDesired reads a desired state. It panics on a line it cannot read: the text is a test's own.
func ParseDesired(text string) spec.Cluster {
	d := spec.Cluster{Owners: []string{"c1"}}
	for _, raw := range notation.Lines(text) {
		l := parseLine(raw)
		switch l.Words[0] {
		case "owners":
			d.Owners = l.Words[1:]
		case "retry":
			for _, h := range l.Words[1:] {
				d.Retry = append(d.Retry, Hash(h))
			}
		case "stack":
			d.Stacks = append(d.Stacks, spec.SwarmStack{Name: l.Words[1], Owner: notation.Or(l.Fields["owner"], "c1"), Held: l.Fields["held"], Opaque: l.Has("opaque")})
		default:
			if len(d.Stacks) == 0 {
				panic("desired: no stack yet: " + raw)
			}
			want(&d.Stacks[len(d.Stacks)-1], l)
		}
	}
	slices.SortFunc(d.Stacks, func(a, b spec.SwarmStack) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// want adds what a line says to a stack.
func want(st *spec.SwarmStack, l notation.Line) {
	name := l.Words[1]
	switch l.Words[0] {
	case "net":
		st.Networks = append(st.Networks, spec.Network{Name: name, External: l.Has("external"), Hash: definition(l), Driver: "overlay"})
	case "config", "secret":
		st.Objects = append(st.Objects, spec.SwarmObject{Kind: spec.ObjectKind(l.Words[0]), Key: name, Name: name, External: l.Has("external"), Hash: definition(l)})
	case "svc":
		st.Services = append(st.Services, service(st.Name, l))
	default:
		panic("desired: " + strings.Join(l.Words, " "))
	}
}

// definition is the hash of a network, a config or a secret.
func definition(l notation.Line) string {
	if l.Has("external") {
		return ""
	}
	return Hash("def" + notation.Or(l.Fields["def"], "1"))
}

func service(stack string, l notation.Line) spec.SwarmService {
	image := l.Fields["img"]
	hash := image
	if rev := l.Fields["rev"]; rev != "" {
		hash += "+" + rev
	}
	replicas := uint64(l.Number("n", 1))
	s := spec.SwarmService{
		Name: l.Words[1], Full: notation.Or(l.Fields["full"], stack+"_"+l.Words[1]), Hash: Hash(hash), Image: image,
		Mode:       spec.Mode(notation.Or(l.Fields["mode"], string(spec.Replicated))),
		PullPolicy: spec.PullPolicy(notation.Or(l.Fields["pull"], string(spec.PullMissing))),
		Prepull:    spec.Prepull(notation.Or(l.Fields["prepull"], string(spec.PrepullRunning))),
		Deploy:     spec.Deploy{Replicas: &replicas, Update: spec.SwarmUpdate{FailureAction: spec.FailureAction(notation.Or(l.Fields["fail"], string(spec.Rollback)))}},
	}
	for _, n := range l.List("net") {
		s.Networks = append(s.Networks, spec.Attachment{Network: n})
	}
	for _, name := range names(l) {
		s.Files = append(s.Files, spec.SwarmFile{Kind: name.Kind, Object: name.Name, Target: "/" + name.Name})
	}
	for _, dep := range l.List("dep") {
		on, condition, _ := strings.Cut(dep, ":")
		s.DependsOn = append(s.DependsOn, spec.Dependency{Service: on, Condition: spec.Condition(condition), Required: true})
	}
	return s
}

// names are the configs and secrets that a line names.
func names(l notation.Line) []swarm.ObjectName {
	var out []swarm.ObjectName
	for _, kind := range []spec.ObjectKind{spec.ConfigObject, spec.SecretObject} {
		for _, n := range l.List(string(kind)) {
			out = append(out, swarm.ObjectName{Kind: kind, Name: n})
		}
	}
	return out
}

// ParseObserved reads an observed state, see [ParseDesired].
func ParseObserved(text string) swarm.Observed {
	o := swarm.Observed{
		Control: true, Pins: map[string]swarm.Pin{}, Prepulls: map[string]map[string]swarm.Prepull{}, Present: map[string]bool{},
		Elsewhere: map[string]swarm.Elsewhere{}, Busy: map[string]bool{}, Failures: map[string]swarm.Failure{},
	}
	for _, raw := range notation.Lines(text) {
		Add(&o, raw)
	}
	return o
}

// Add adds one object to an observed state. What has a key is replaced.
func Add(o *swarm.Observed, raw string) {
	l := parseLine(raw)
	name := ""
	if len(l.Words) > 1 {
		name = l.Words[1]
	}
	lane, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(raw, l.Words[0])), " |")
	switch l.Words[0] {
	case "nocontrol":
		o.Control = false
	case "node":
		o.Nodes = slices.DeleteFunc(slices.Clone(o.Nodes), func(n swarm.Node) bool { return n.Name == name })
		o.Nodes = append(o.Nodes, swarm.Node{ID: "#" + name, Name: name, Ready: !l.Has("down"), Active: !l.Has("drained")})
		o.Present[name] = !l.Has("absent")
	case "net":
		n := swarm.Network{ID: notation.Or(l.Fields["id"], "#"+name), Name: name}
		n.Owner, n.Stack, n.Hash = labels(l)
		o.Networks = append(o.Networks, n)
	case "config", "secret":
		ob := swarm.Object{ID: notation.Or(l.Fields["id"], "#"+name), Kind: spec.ObjectKind(l.Words[0]), Name: name}
		ob.Owner, ob.Stack, ob.Hash = labels(l)
		o.Objects = append(o.Objects, ob)
	case "svc":
		addService(o, l)
	case "task":
		o.Tasks = append(o.Tasks, task(*o, l))
	case "busy":
		o.Busy[lane] = true
	case "fail":
		goal := ""
		if l.Fields["for"] != "" {
			goal = Hash(l.Fields["for"])
		}
		o.Failures[lane] = swarm.Failure{Step: notation.Or(l.Fields["step"], "update x"), Err: notation.Or(l.Fields["err"], "boom"), Hash: goal, Count: 1, RetryIn: l.Duration("retry", 0)}
	default:
		know(o, l, name)
	}
}

// know adds what is known beside what is in the Swarm.
func know(o *swarm.Observed, l notation.Line, name string) {
	switch l.Words[0] {
	case "pin":
		p := swarm.Pin{Err: l.Fields["err"], RetryIn: l.Duration("retry", 0)}
		if len(l.Words) > 2 {
			p.Image = l.Words[2]
		}
		o.Pins[name] = p
	case "prepull":
		if o.Prepulls[name] == nil {
			o.Prepulls[name] = map[string]swarm.Prepull{}
		}
		o.Prepulls[name][l.Words[2]] = swarm.Prepull{
			Here: l.Has("here"), Done: int64(l.Number("done", 0)) << 20, Total: int64(l.Number("total", 0)) << 20, Err: l.Fields["err"],
		}
	case "elsewhere":
		o.Elsewhere[name] = swarm.Elsewhere{Running: l.Number("running", 0), Healthy: l.Number("healthy", 0), Completed: l.Number("completed", 0)}
	default:
		panic("observed: " + strings.Join(l.Words, " "))
	}
}

func labels(l notation.Line) (owner, stack, hash string) {
	if l.Has("foreign") {
		return "", "", ""
	}
	owner, stack, _ = strings.Cut(l.Words[2], "/")
	if v, ok := l.Fields["hash"]; ok {
		return owner, stack, Hash(v)
	}
	return owner, stack, definition(l)
}

func addService(o *swarm.Observed, l notation.Line) {
	name := l.Words[1]
	s := swarm.Service{ID: notation.Or(l.Fields["id"], "#"+name), Name: name, Version: 10, Mode: spec.Replicated, Replicas: 1}
	if !l.Has("foreign") {
		part := strings.Split(l.Words[2], "/")
		s.Owner, s.Stack, s.Key = part[0], part[1], part[2]
		s.Hash = Hash(l.Words[3])
		s.Asked, _, _ = strings.Cut(l.Words[3], "+")
		s.Tried, s.Image = s.Hash, s.Asked+"@sha256:1"
	}
	Set(&s, l)
	o.Services = append(o.Services, s)
	hosts := l.List("tasks")
	if _, said := l.Fields["tasks"]; !said {
		hosts = slices.Repeat([]string{"pi1"}, s.Replicas)
	}
	for i, host := range hosts {
		state := "running"
		if s.Mode.Job() {
			state = "complete"
		}
		o.Tasks = append(o.Tasks, swarm.Task{
			ID: fmt.Sprintf("#%s.%d", name, i+1), Service: s.ID, Stack: s.Stack, Key: s.Key, Node: "#" + host, Slot: i + 1,
			State: state, Desired: "running", Image: s.Image, Current: true,
		})
	}
}

// Set changes a service as "update=paused msg=boom tried=app:2" says.
func Set(s *swarm.Service, l notation.Line) {
	for k, v := range l.Fields {
		switch k {
		case "hash":
			s.Hash = Hash(v)
		case "tried":
			s.Tried = Hash(v)
		case "asked":
			s.Asked = v
		case "img":
			s.Image = v
		case "mode":
			s.Mode = spec.Mode(v)
		case "v":
			s.Version = uint64(l.Number(k, 0))
		case "n":
			s.Replicas = l.Number(k, 0)
		case "update":
			s.Update = swarm.UpdateState(v)
		case "msg":
			s.Message = v
		case "net":
			s.Networks = l.List(k)
		case "netbefore":
			s.NetworksBefore = l.List(k)
		case "config", "secret":
			s.Objects = names(l)
		case "before":
			s.Before = nil
			for _, name := range l.List(k) {
				kind, name, _ := strings.Cut(name, ":")
				s.Before = append(s.Before, swarm.ObjectName{Kind: spec.ObjectKind(kind), Name: name})
			}
		case "id", "tasks":
		default:
			panic("service: unknown field " + k)
		}
	}
}

func task(o swarm.Observed, l notation.Line) swarm.Task {
	stack, key, _ := strings.Cut(l.Words[1], "/")
	t := swarm.Task{
		ID: fmt.Sprintf("#task%d", len(o.Tasks)), Service: "#gone", Stack: stack, Key: key, Slot: l.Number("slot", 1),
		State: l.Words[2], Desired: "running", Err: l.Fields["err"], Current: !l.Has("old"), Since: l.Duration("since", 0),
	}
	if on := l.Fields["on"]; on != "" {
		t.Node = "#" + on
	}
	for _, s := range o.Services {
		if s.Stack == stack && s.Key == key {
			t.Service, t.Image = s.ID, s.Image
		}
	}
	return t
}

// Show is the part of an observed state that lasts, as text: what two runs that end alike agree on.
func Show(o swarm.Observed) string {
	var out []string
	for _, s := range o.Services {
		l := fmt.Sprintf("svc %s %s %s", s.Name, strings.TrimPrefix(s.Hash, "1:"), s.Image)
		if s.Tried != s.Hash {
			l += " tried=" + strings.TrimPrefix(s.Tried, "1:")
		}
		if s.Update != swarm.NotUpdated {
			l += " " + string(s.Update)
		}
		if s.Mode != spec.Replicated {
			l += " " + string(s.Mode)
		}
		out = append(out, l)
	}
	for _, n := range o.Networks {
		out = append(out, strings.TrimSpace(fmt.Sprintf("net %s %s", n.Name, strings.TrimPrefix(n.Hash, "1:"))))
	}
	for _, ob := range o.Objects {
		out = append(out, fmt.Sprintf("%s %s", ob.Kind, ob.Name))
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n"
}

// Apply applies the first n steps of each lane of a plan.
func Apply(o swarm.Observed, p plan.Plan, n int) swarm.Observed {
	for _, l := range p.Lanes {
		for _, st := range l.Steps[:min(n, len(l.Steps))] {
			o = swarm.Simulate(o, st.Action)
		}
	}
	return o
}
