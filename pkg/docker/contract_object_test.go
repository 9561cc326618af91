package docker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

func (b *bench) network(name string) plan.CreateNetwork {
	n := spec.Network{Name: b.stack + "_" + name, Key: name, Labels: map[string]string{"mine": "yes"}}
	n.Hash = spec.HashNetwork(n)
	return plan.CreateNetwork{Owner: owner, Stack: b.stack, Network: n}
}

func (b *bench) networksNamed(name string) (out []node.Network) {
	for _, n := range b.observe().Networks {
		if n.Name == name {
			out = append(out, n)
		}
	}
	return out
}

// A container cut from its network is seen to be, and joined again with its aliases.
func contractNetworks(t *testing.T, b *bench) {
	n := b.network("default")
	b.apply(n, n) // engines before API 1.44 would make a second one
	have := b.networksNamed(n.Network.Name)
	if len(have) != 1 || have[0].Hash != n.Network.Hash || have[0].Owner != owner || have[0].Stack != b.stack {
		t.Fatalf("networks %+v", have)
	}
	at := spec.Attachment{Network: n.Network.Name, Aliases: []string{"web"}}
	a := b.make("app", func(a *plan.Create) { a.Spec.Networks = []spec.Attachment{at} })
	b.apply(a, plan.Start{Name: a.Name})
	c := b.mustSee(a.Name)
	if diff := cmp.Diff([]string{n.Network.Name}, c.Networks); diff != "" {
		t.Fatalf("networks (-want +got):\n%s", diff)
	}
	cut := plan.Disconnect{Container: c.ID, Name: a.Name, Network: n.Network.Name}
	b.apply(cut, cut)
	if got := b.mustSee(a.Name).Networks; len(got) != 0 {
		t.Errorf("after the cut: on %v", got)
	}
	join := plan.Connect{Container: c.ID, Name: a.Name, Attachment: at}
	b.apply(join, join)
	if diff := cmp.Diff([]string{n.Network.Name}, b.mustSee(a.Name).Networks); diff != "" {
		t.Errorf("after the repair (-want +got):\n%s", diff)
	}
	if end := b.inspect(a.Name).NetworkSettings.Networks[n.Network.Name]; !slices.Contains(end.Aliases, "web") {
		t.Errorf("aliases %v lack web", end.Aliases)
	}
	b.apply(cut)
	rm := plan.RemoveNetwork{ID: have[0].ID, Name: n.Network.Name}
	b.apply(rm, rm)
	n.Network.Hash = "1:other"
	b.apply(n)
	n.Network.Hash = "1:third"
	if err := b.Apply(t.Context(), n); err == nil {
		t.Error("a network of another definition counted as made")
	}
}

// A network made again under its name while the container was down is another network: the container does not start with
// its old endpoint.
func contractNetworkAgain(t *testing.T, b *bench) {
	n := b.network("default")
	b.apply(n)
	at := spec.Attachment{Network: n.Network.Name}
	a := b.make("app", func(a *plan.Create) { a.Spec.Networks = []spec.Attachment{at} })
	b.apply(a, plan.Start{Name: a.Name}, plan.Stop{Name: a.Name})
	b.apply(plan.RemoveNetwork{ID: b.networksNamed(n.Network.Name)[0].ID, Name: n.Network.Name}, n)
	c := b.mustSee(a.Name)
	if len(c.Networks) != 0 {
		t.Errorf("the stale endpoint counts as %v", c.Networks)
	}
	b.apply(plan.Connect{Container: c.ID, Name: a.Name, Attachment: at}, plan.Start{Name: a.Name})
	if c = b.mustSee(a.Name); c.State != node.Running || !slices.Equal(c.Networks, []string{n.Network.Name}) {
		t.Errorf("after the repair: %s on %v", c.State, c.Networks)
	}
}

// Old engines take one network at create; the others must be there before the first start all the same.
func contractTwoNetworks(t *testing.T, b *bench) {
	one, two := b.network("one"), b.network("two")
	b.apply(one, two)
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Networks = []spec.Attachment{{Network: two.Network.Name, Priority: 2}, {Network: one.Network.Name}}
	})
	b.apply(a)
	if diff := cmp.Diff([]string{one.Network.Name, two.Network.Name}, b.mustSee(a.Name).Networks); diff != "" {
		t.Errorf("before the start (-want +got):\n%s", diff)
	}
	// Died between create and connect: the repeated create finishes the work.
	b.apply(plan.Disconnect{Name: a.Name, Network: one.Network.Name}, a)
	if got := b.mustSee(a.Name).Networks; len(got) != 2 {
		t.Errorf("after adoption: on %v", got)
	}
}

func (b *bench) volumeAt(name, target string) string {
	b.t.Helper()
	for _, m := range b.inspect(name).Mounts {
		if m.Destination == target {
			return m.Name
		}
	}
	b.t.Fatalf("%s has no volume at %s", name, target)
	return ""
}

func (b *bench) haveVolume(name string) bool {
	return slices.ContainsFunc(b.observe().Volumes, func(v node.Volume) bool { return v.Name == name })
}

// Data in anonymous volumes, the file's and the image's, outlives a replacement, and goes with the last of the line.
func contractInherit(t *testing.T, b *bench) {
	kind := func(a *plan.Create) {
		a.Spec.Image = b.volumeImage
		a.Spec.Volumes = []spec.VolumeMount{{Target: "/cache"}}
	}
	first := b.make("app", kind)
	b.apply(first)
	data, cache := b.volumeAt(first.Name, "/data"), b.volumeAt(first.Name, "/cache")
	old := first.Name
	for i := range 2 { // the second heir inherits what the first one did
		id := b.mustSee(old).ID
		prev := fmt.Sprintf("%s.prev%d", first.Name, i)
		heir := b.make("app", kind, func(a *plan.Create) { a.Inherit, a.Spec.Hash = id, fmt.Sprintf("1:heir%d", i) })
		b.apply(plan.Rename{ID: id, From: old, To: prev}, heir, plan.Remove{ID: id, Name: prev, KeepVolumes: true})
		if got := b.volumeAt(heir.Name, "/data"); got != data {
			t.Errorf("heir %d: /data is %s, want %s", i, got, data)
		}
		if got := b.volumeAt(heir.Name, "/cache"); got != cache {
			t.Errorf("heir %d: /cache is %s, want %s", i, got, cache)
		}
	}
	if got := b.mustSee(old).Volumes; len(got) != 0 {
		t.Errorf("anonymous volumes count as named: %v", got)
	}
	b.apply(plan.Remove{Name: old})
	if b.haveVolume(data) || b.haveVolume(cache) {
		t.Error("the anonymous volumes outlived the last of their line")
	}
	b.apply(b.make("app", kind, func(a *plan.Create) { a.Inherit = strings.Repeat("0", 64) })) // a predecessor that is gone
}

// A named volume carries our labels and survives the removal of what used it.
func contractNamedVolume(t *testing.T, b *bench) {
	v := spec.Volume{Name: b.stack + "_data", Key: "data"}
	v.Hash = spec.HashVolume(v)
	mk := plan.CreateVolume{Owner: owner, Stack: b.stack, Volume: v}
	b.apply(mk, mk)
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Volumes = []spec.VolumeMount{{Volume: v.Name, Target: "/data", ReadOnly: true}}
	})
	b.apply(a)
	if diff := cmp.Diff([]string{v.Name}, b.mustSee(a.Name).Volumes); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	b.apply(plan.Remove{Name: a.Name})
	i := slices.IndexFunc(b.observe().Volumes, func(o node.Volume) bool { return o.Name == v.Name })
	if i < 0 {
		t.Fatal("the named volume is gone")
	}
	if diff := cmp.Diff(node.Volume{Name: v.Name, Owner: owner, Stack: b.stack, Hash: v.Hash}, b.observe().Volumes[i]); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	_, _ = b.cli.VolumeRemove(t.Context(), v.Name, client.VolumeRemoveOptions{})
}
