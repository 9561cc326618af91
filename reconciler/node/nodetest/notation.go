package nodetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/internal/notation"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Monitor is the monitor time of a service that names none.
const Monitor = 5 * time.Second

// Hash is the hash that the notation gives to an image and revision, see [notation.Hash].
func Hash(s string) string { return notation.Hash(s) }

// line is a parsed line.
type line = notation.Line

func parseLine(text string) line {
	return notation.Parse(text, "net", "vol", "file", "name", "owner", "dep", "id", "done", "fb")
}

// ParseDesired reads a desired state. It panics on a line it cannot read: the text is a test's own.
func ParseDesired(text string) spec.Desired {
	d := spec.Desired{Node: "pi1", Owners: []string{"c1"}, Healing: spec.Healing{After: 30 * time.Second, Budget: 5}}
	for _, raw := range notation.Lines(text) {
		l := parseLine(raw)
		if l.Words[0] == "owners" {
			d.Owners = l.Words[1:]
			continue
		}
		if l.Words[0] == "retry" {
			d.Retry = l.Words[1:]
			continue
		}
		if l.Words[0] == "prepull" {
			d.Prepull = l.Words[1:]
			continue
		}
		if l.Words[0] == "recalled" {
			d.Recalled = l.Words[1:]
			continue
		}
		if l.Words[0] == "drained" {
			d.Drained = l.Words[1:]
			continue
		}
		if l.Words[0] == "healing" {
			d.Healing = spec.Healing{After: l.Duration("after", 0), Budget: l.Number("budget", 0)}
			continue
		}
		if l.Words[0] == "stack" {
			d.Stacks = append(d.Stacks, spec.Stack{Name: l.Words[1], Owner: notation.Or(l.Fields["owner"], "c1"), Held: l.Fields["held"], Opaque: l.Has("opaque")})
			continue
		}
		if len(d.Stacks) == 0 {
			panic("desired: no stack yet: " + raw)
		}
		st := &d.Stacks[len(d.Stacks)-1]
		switch l.Words[0] {
		case "net":
			st.Networks = append(st.Networks, spec.Network{Name: l.Words[1], External: l.Has("external"), Hash: definition(l)})
		case "vol":
			st.Volumes = append(st.Volumes, spec.Volume{Name: l.Words[1], External: l.Has("external"), Hash: definition(l)})
		case "svc":
			st.Services = append(st.Services, service(l))
		default:
			panic("desired: " + raw)
		}
	}
	slices.SortFunc(d.Stacks, func(a, b spec.Stack) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// definition is the hash of a network or volume.
func definition(l line) string {
	if l.Has("external") {
		return ""
	}
	return Hash("def" + notation.Or(l.Fields["def"], "1"))
}

func service(l line) spec.Service {
	img := l.Fields["img"]
	hash := img
	if rev := l.Fields["rev"]; rev != "" {
		hash += "+" + rev
	}
	c := spec.Container{
		Hash: Hash(hash), Name: l.Fields["name"], Image: img, Platform: l.Fields["platform"],
		PullPolicy: spec.PullPolicy(notation.Or(l.Fields["pull"], string(spec.PullMissing))),
		Body:       spec.Body{RestartPolicy: "unless-stopped"}, Exclusive: l.Fields["excl"], HasHealthcheck: l.Has("health"),
	}
	s := spec.Service{
		Name: l.Words[1], Replicas: l.Number("n", 1), Restart: spec.Always, Heal: spec.Heal(l.Fields["heal"]), StopWhenCutOff: l.Duration("cutoff", 0),
		Update: spec.Update{
			Order: spec.Order(notation.Or(l.Fields["order"], string(spec.StartFirst))), FailureAction: spec.FailureAction(notation.Or(l.Fields["fail"], string(spec.Rollback))),
			Monitor: l.Duration("monitor", Monitor), Parallelism: l.Number("par", 1),
		},
	}
	switch l.Fields["job"] {
	case "once":
		s.Restart, c.Body.RestartPolicy = spec.Once, "no"
	case "on-failure":
		s.Restart, c.Body.RestartPolicy = spec.OnFailure, "on-failure"
	}
	c.Body.RestartPolicy = notation.Or(l.Fields["policy"], c.Body.RestartPolicy)
	for _, n := range l.List("net") {
		c.Networks = append(c.Networks, spec.Attachment{Network: n})
	}
	for _, v := range l.List("vol") {
		v, ro := strings.CutSuffix(v, ":ro")
		c.Volumes = append(c.Volumes, spec.VolumeMount{Volume: v, Target: "/" + v, ReadOnly: ro})
	}
	for _, f := range l.List("file") {
		c.Files = append(c.Files, spec.File{Target: "/" + f, Digest: f})
	}
	for _, dep := range l.List("dep") {
		part := strings.Split(dep, ":")
		s.DependsOn = append(s.DependsOn, spec.Dependency{Service: part[0], Condition: spec.Condition(part[1]), Required: true, Restart: len(part) > 2})
	}
	s.Container = c
	if l.Has("shared") || l.Has("voter") {
		s.Rollout, s.Voter = Hash(notation.Or(l.Fields["rollout"], hash)), l.Has("voter")
	}
	for _, n := range l.List("done") {
		s.Done = append(s.Done, notation.Number(n))
	}
	if img, ok := l.Fields["fb"]; ok {
		s.Fallback = fallback(c, img)
	}
	return s
}

// fallback is an earlier version of a container: "app:1", or "app:1@id" where the image's id is known.
func fallback(c spec.Container, text string) *spec.Fallback {
	hash, id, _ := strings.Cut(text, "@")
	c.Hash, c.Image = Hash(hash), hash
	if name, _, ok := strings.Cut(hash, "+"); ok {
		c.Image = name
	}
	f := &spec.Fallback{Container: c, ImageID: id}
	for _, at := range c.Networks {
		f.Networks = append(f.Networks, spec.Network{Name: at.Network, Hash: Hash("def1")})
	}
	return f
}

// ParseObserved reads an observed state, see [ParseDesired].
func ParseObserved(text string) node.Observed {
	o := node.Observed{
		Images: map[node.ImageRef]node.Image{}, Pulls: map[node.ImageRef]node.Pull{}, Unsupported: map[string]string{},
		Busy: map[string]bool{}, Failures: map[string]node.Failure{}, Remedies: map[plan.Remedy]plan.Repeats{},
	}
	for _, raw := range notation.Lines(text) {
		Add(&o, raw)
	}
	return o
}

// Add adds one object to an observed state. A container of that name, and whatever else has a key, is replaced.
func Add(o *node.Observed, raw string) {
	l := parseLine(raw)
	name := ""
	if len(l.Words) > 1 {
		name = l.Words[1]
	}
	lane, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(raw, l.Words[0])), " |")
	switch l.Words[0] {
	case "image":
		for _, img := range l.Words[1:] {
			o.Images[node.ImageRef{Ref: img, Platform: l.Fields["platform"]}] = node.Image{ID: "sha256:" + img}
		}
	case "net":
		n := node.Network{ID: notation.Or(l.Fields["id"], "#"+name), Name: name, Scope: notation.Or(l.Fields["scope"], "local")}
		n.Owner, n.Stack, n.Hash = labels(l)
		o.Networks = append(o.Networks, n)
	case "vol":
		v := node.Volume{Name: name}
		v.Owner, v.Stack, v.Hash = labels(l)
		o.Volumes = append(o.Volumes, v)
	case "box":
		o.Containers = slices.DeleteFunc(slices.Clone(o.Containers), func(c node.Container) bool { return c.Name == name && l.Fields["id"] == "" })
		o.Containers = append(o.Containers, container(l))
	case "pull":
		o.Pulls[node.ImageRef{Ref: name, Platform: l.Fields["platform"]}] = node.Pull{
			For: l.Fields["for"], Running: l.Has("running"), Done: int64(l.Number("done", 0)) << 20, Total: int64(l.Number("total", 0)) << 20,
			Err: l.Fields["err"], RetryIn: l.Duration("retry", 0),
		}
	case "cut-off":
		o.CutOff = l.Duration("for", 0)
	case "permits":
		o.Permits.Known, o.Permits.Without = l.Has("known"), l.List("without")
	case "permit":
		if o.Permits.Records == nil {
			o.Permits.Records = map[plan.PermitKey]node.Record{}
		}
		o.Permits.Records[permitKey(name)] = record(l)
	case "away":
		o.Permits.Away = l.Words[1:]
	case "file":
		o.Files = slices.Sorted(slices.Values(append(slices.Clone(o.Files), l.Words[1:]...)))
	case "busy":
		o.Busy[lane] = true
	case "fail":
		o.Failures[lane] = node.Failure{Step: notation.Or(l.Fields["step"], "start x"), Err: notation.Or(l.Fields["err"], "boom"), Hash: goal(l.Fields["for"]), Count: 1, RetryIn: l.Duration("retry", 0)}
	case "remedy":
		key := plan.Remedy{Lane: lane, Reason: plan.Reason(l.Fields["why"])}
		o.Remedies[key] = plan.Repeats{For: goal(l.Fields["for"]), Count: l.Number("n", 1), Since: l.Duration("since", 0)}
	case "unsupported":
		o.Unsupported[Hash(name)] = strings.Join(l.Words[2:], " ")
	default:
		panic("observed: " + raw)
	}
}

func permitKey(name string) plan.PermitKey {
	if name == "voters" {
		return plan.Voters()
	}
	return plan.ParsePermitKey(name)
}

// record is what the store has of a permit.
func record(l line) node.Record {
	r := node.Record{Damaged: l.Fields["damaged"]}
	for _, h := range l.List("by") {
		who, what, _ := strings.Cut(h, ":")
		if !strings.Contains(what, "/") { // of the voters' permit it is a service
			what = Hash(what)
		}
		r.Holders = append(r.Holders, node.Holder{Node: who, Hash: what})
	}
	if f := l.List("failed"); len(f) == 3 {
		r.Failed = &node.FailedRollout{Node: f[0], Hash: Hash(f[1]), Error: f[2]}
	}
	return r
}

// goal is the goal of a lane: a hash, a roll back from one, or nothing.
func goal(s string) string {
	if of, ok := strings.CutPrefix(s, "rollback "); ok {
		return "rollback " + Hash(of)
	}
	if s == "" {
		return ""
	}
	return Hash(s)
}

func labels(l line) (owner, stack, hash string) {
	if l.Has("foreign") {
		return "", "", ""
	}
	owner, stack, _ = strings.Cut(l.Words[2], "/")
	if v, ok := l.Fields["hash"]; ok {
		return owner, stack, Hash(v)
	}
	return owner, stack, definition(l)
}

func container(l line) node.Container {
	c := node.Container{ID: notation.Or(l.Fields["id"], "#"+l.Words[1]), Name: l.Words[1]}
	rest := l.Words[2:]
	if rest[0] == "foreign" {
		rest = rest[1:]
	} else {
		part := strings.Split(rest[0], "/")
		c.Owner, c.Stack, c.Service = part[0], part[1], part[2]
		c.Replica, _ = strconv.Atoi(part[3])
		c.Hash, c.ImageID = Hash(rest[1]), "sha256:"+rest[1]
		c.Policy, c.WantPolicy = "unless-stopped", "unless-stopped"
		rest = rest[2:]
	}
	c.State = node.State(rest[0])
	if c.State == node.Running {
		c.Up = time.Hour
	}
	c.Seen = time.Hour
	Set(&c, strings.Join(rest, " "), l.Fields)
	return c
}

// Set changes a container as "running health=healthy up=10s exit=0" says.
func Set(c *node.Container, text string, fields map[string]string) {
	l := parseLine(text)
	if fields != nil {
		l.Fields = fields
	}
	c.EngineEnded = false
	for _, w := range l.Words {
		switch w {
		case "check":
			c.HasCheck = true
		case "ended-by-engine":
			c.EngineEnded = true
		default:
			c.State = node.State(w)
		}
	}
	if c.State != node.Running && c.State != node.Paused {
		c.Up, c.Health = 0, node.NoHealth
	}
	c.Sick = 0
	for k, v := range l.Fields {
		switch k {
		case "health":
			c.Health, c.HasCheck = node.Health(v), true
		case "up":
			c.Up = l.Duration(k, 0)
		case "sick":
			c.Sick = l.Duration(k, 0)
		case "seen":
			c.Seen = l.Duration(k, 0)
		case "exit":
			c.ExitCode = l.Number(k, 0)
		case "restarts":
			c.RestartCount = l.Number(k, 0)
		case "policy":
			c.Policy = v
		case "want":
			c.WantPolicy = v
			if _, ok := l.Fields["policy"]; !ok {
				c.Policy = v
			}
		case "net":
			c.Networks = l.List(k)
		case "file":
			c.Files = l.List(k)
		case "vol":
			c.Volumes = l.List(k)
		case "err":
			c.Error = v
		case "id":
			c.ID = v
		default:
			panic("container: unknown field " + k)
		}
	}
}

// Show is the part of an observed state that lasts, as text: what two runs that end alike agree on.
func Show(o node.Observed) string {
	var out []string
	for _, c := range o.Containers {
		l := fmt.Sprintf("box %s %s %s", c.Name, strings.TrimPrefix(c.Hash, "1:"), c.State)
		if c.Health != node.NoHealth {
			l += " " + string(c.Health)
		}
		if c.Policy != c.WantPolicy {
			l += " policy=" + c.Policy
		}
		if len(c.Networks) > 0 {
			l += " net=" + strings.Join(slices.Sorted(slices.Values(c.Networks)), ",")
		}
		out = append(out, l)
	}
	for _, n := range o.Networks {
		out = append(out, strings.TrimSpace(fmt.Sprintf("net %s %s", n.Name, strings.TrimPrefix(n.Hash, "1:"))))
	}
	for _, v := range o.Volumes {
		out = append(out, strings.TrimSpace(fmt.Sprintf("vol %s %s", v.Name, strings.TrimPrefix(v.Hash, "1:"))))
	}
	for _, f := range o.Files {
		out = append(out, "file "+f)
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n"
}

// Clone is a copy that shares nothing with the original.
func Clone(o node.Observed) node.Observed {
	o = o.Pass(0) // copies what Simulate changes
	for i := range o.Containers {
		c := &o.Containers[i]
		c.Networks, c.Files, c.Volumes = slices.Clone(c.Networks), slices.Clone(c.Files), slices.Clone(c.Volumes)
	}
	o.Permits.Records = maps.Clone(o.Permits.Records)
	busy, failures, lacks := o.Busy, o.Failures, o.Unsupported
	o.Busy, o.Failures, o.Unsupported = map[string]bool{}, map[string]node.Failure{}, map[string]string{}
	maps.Copy(o.Busy, busy)
	maps.Copy(o.Failures, failures)
	maps.Copy(o.Unsupported, lacks)
	return o
}
