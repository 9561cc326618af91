package node

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Simulate returns what would be observed after an action succeeded. It is the model that the property tests and the
// fake engine stand on, and what `brambled plan` shows beyond the next step. The input is not modified.
//
// A pull is modelled as done, a start as running with its health check not yet passed.
func Simulate(o Observed, a plan.Action) Observed {
	o = o.clone()
	switch a := a.(type) {
	case plan.Pull:
		ref := ImageRef{a.Image, a.Platform}
		o.Images[ref] = Image{ID: "sha256:" + a.Image}
		o.Pulls[ref] = Pull{For: a.For}
	case plan.CreateNetwork:
		o.Networks = append(o.Networks, Network{ID: fresh("net", len(o.Networks), o.networkTaken), Name: a.Network.Name, Owner: a.Owner, Stack: a.Stack, Hash: a.Network.Hash, Scope: "local"})
	case plan.RemoveNetwork:
		o.Networks = slices.DeleteFunc(o.Networks, func(n Network) bool { return n.ID == a.ID })
	case plan.Connect:
		o.edit(a.Container, a.Name, func(c *Container) { c.Networks = appendOnce(c.Networks, a.Attachment.Network) })
	case plan.Disconnect:
		o.edit(a.Container, a.Name, func(c *Container) {
			c.Networks = slices.DeleteFunc(slices.Clone(c.Networks), func(n string) bool { return n == a.Network })
		})
	case plan.CreateVolume:
		o.Volumes = append(o.Volumes, Volume{Name: a.Volume.Name, Owner: a.Owner, Stack: a.Stack, Hash: a.Volume.Hash})
	case plan.Create:
		o.create(a)
	case plan.Start:
		o.edit(a.ID, a.Name, start)
	case plan.Stop:
		o.edit(a.ID, a.Name, func(c *Container) { c.State, c.Health, c.Up, c.Sick = Exited, NoHealth, 0, 0 })
	case plan.Remove:
		o.Containers = slices.DeleteFunc(o.Containers, func(c Container) bool { return c.ID == a.ID })
	case plan.Rename:
		o.edit(a.ID, a.From, func(c *Container) { c.Name = a.To })
	case plan.SetRestart:
		o.edit(a.ID, a.Name, func(c *Container) { c.Policy, c.PolicyMax = a.Policy, a.Max })
	case plan.RemoveFile:
		o.Files = slices.DeleteFunc(o.Files, func(f string) bool { return f == a.Digest })
	default: // of the Swarm: nothing changes on this Pi
	}
	return o
}

func start(c *Container) {
	c.State, c.Up, c.Sick, c.Error, c.ExitCode, c.EngineEnded, c.RestartCount = Running, 0, 0, "", 0, false, 0
	c.Health = NoHealth
	if c.HasCheck {
		c.Health = Starting
	}
}

func (o *Observed) create(a plan.Create) {
	if slices.ContainsFunc(o.Containers, func(c Container) bool { return c.Name == a.Name }) {
		return // the name is the key: created before, or taken
	}
	policy, most := Policy(a.Spec.Body)
	c := Container{
		ID:   fresh("c", len(o.Containers), o.containerTaken),
		Name: a.Name, Owner: a.Owner, Stack: a.Stack, Service: a.Service, Replica: a.Replica, Hash: a.Spec.Hash,
		State: Created, Policy: policy, PolicyMax: most, WantPolicy: policy, WantPolicyMax: most,
		ImageID: o.Images[ImageRef{a.Spec.Image, a.Spec.Platform}].ID, HasCheck: a.Spec.HasHealthcheck,
	}
	for _, at := range a.Spec.Networks {
		c.Networks = append(c.Networks, at.Network)
	}
	for _, v := range a.Spec.Volumes {
		if v.Volume != "" {
			c.Volumes = append(c.Volumes, v.Volume)
		}
	}
	for _, f := range a.Spec.Files {
		c.Files = append(c.Files, f.Digest)
		o.Files = appendOnce(o.Files, f.Digest)
	}
	slices.Sort(o.Files)
	o.Containers = append(o.Containers, c)
}

// Policy is the engine's restart policy that a body asks for; an empty one is "no".
func Policy(b spec.Body) (name string, most int) {
	if b.RestartPolicy == "" {
		return "no", 0
	}
	return b.RestartPolicy, b.RestartMax
}

// edit changes the container with this id, or with this name where the id is not known yet.
func (o *Observed) edit(id, name string, change func(*Container)) {
	for i := range o.Containers {
		c := &o.Containers[i]
		if c.ID == id || id == "" && c.Name == name {
			change(c)
			return
		}
	}
}

func (o *Observed) containerTaken(id string) bool {
	return slices.ContainsFunc(o.Containers, func(c Container) bool { return c.ID == id })
}

func (o *Observed) networkTaken(id string) bool {
	return slices.ContainsFunc(o.Networks, func(n Network) bool { return n.ID == id })
}

// fresh makes an id that is not taken.
func fresh(prefix string, n int, taken func(string) bool) string {
	for {
		id := prefix + strings.Repeat("x", n+1)
		if !taken(id) {
			return id
		}
		n++
	}
}

func appendOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(slices.Clone(list), s)
}

// clone copies all that Simulate may change.
func (o Observed) clone() Observed {
	o.Containers = slices.Clone(o.Containers)
	o.Networks = slices.Clone(o.Networks)
	o.Volumes = slices.Clone(o.Volumes)
	o.Files = slices.Clone(o.Files)
	images := make(map[ImageRef]Image, len(o.Images)+1)
	maps.Copy(images, o.Images)
	pulls := make(map[ImageRef]Pull, len(o.Pulls)+1)
	maps.Copy(pulls, o.Pulls)
	o.Images, o.Pulls = images, pulls
	o.Remedies = maps.Clone(o.Remedies)
	return o
}

// Pass lets time pass for everything that runs: what a simulation does between two plans.
func (o Observed) Pass(d time.Duration) Observed {
	o = o.clone()
	for i := range o.Containers {
		c := &o.Containers[i]
		c.Seen += d
		if c.State == Running {
			c.Up += d
		}
		if c.State == Running && c.Health == Unhealthy {
			c.Sick += d
		}
	}
	for k, r := range o.Remedies {
		if r.Since += d; r.Since < time.Hour {
			o.Remedies[k] = r
		} else {
			delete(o.Remedies, k)
		}
	}
	return o
}
