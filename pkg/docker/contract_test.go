package docker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// contract is what pkg/docker relies on, and gives, on any engine.
func contract(t *testing.T, w world) {
	for name, f := range map[string]func(*testing.T, *bench){
		"create-observe": contractRoundTrip, "adopt": contractAdopt, "name-taken": contractNameTaken,
		"idempotent": contractIdempotent, "networks": contractNetworks, "network-again": contractNetworkAgain,
		"two-networks": contractTwoNetworks, "inherit": contractInherit, "named-volume": contractNamedVolume,
		"health": contractHealth, "exits": contractExits, "events": contractEvents, "cache": contractCache,
		"restart": contractEngineRestart, "files": contractFiles, "up": contractUp, "policy": contractPolicy,
	} {
		t.Run(name, func(t *testing.T) { f(t, newBench(t, w, "ct"+strings.ReplaceAll(name, "-", ""))) })
	}
}

// What was created is observed with the identity and hash it was created with, or every pass would make it anew.
func contractRoundTrip(t *testing.T, b *bench) {
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Body.RestartPolicy, a.Spec.Body.RestartMax = "on-failure", 3
		a.DependsOn = []spec.Dependency{{Service: "db", Condition: spec.Healthy}}
	})
	b.apply(a)
	got := b.mustSee(a.Name)
	want := node.Container{
		ID: got.ID, Name: a.Name, Owner: owner, Stack: b.stack, Service: "app", Replica: 1, Hash: a.Spec.Hash,
		State: node.Created, Policy: "on-failure", PolicyMax: 3, WantPolicy: "on-failure", WantPolicyMax: 3,
		ImageID: b.observe().Images[node.ImageRef{Ref: b.image}].ID, HasCheck: true, Networks: []string{"bridge"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
	// `docker compose -p STACK ps` filters on these.
	l := b.inspect(a.Name).Config.Labels
	for k, v := range map[string]string{
		"com.docker.compose.project": b.stack, "com.docker.compose.service": "app", "com.docker.compose.oneoff": "False",
		"com.docker.compose.container-number": "1", "com.docker.compose.depends_on": "db:service_healthy:false",
	} {
		if l[k] != v {
			t.Errorf("label %s = %q, want %q", k, l[k], v)
		}
	}
	if l["com.docker.compose.config-hash"] == "" {
		t.Error("no config-hash label: docker compose ps would not list the container")
	}
}

// A create whose reply was lost is repeated by the next pass and must find its container.
func contractAdopt(t *testing.T, b *bench) {
	a := b.make("app")
	b.apply(a)
	id := b.mustSee(a.Name).ID
	b.apply(a, plan.Start{Name: a.Name}, a)
	if got := b.mustSee(a.Name); got.ID != id || got.State != node.Running {
		t.Errorf("after the repeated create: %s is %s, want %s running", got.ID, got.State, id)
	}
	a.Spec.Hash = "1:another"
	if err := b.Apply(t.Context(), a); err == nil {
		t.Error("a container of another hash was adopted")
	}
}

// A stranger's container is named in the error and left alone.
func contractNameTaken(t *testing.T, b *bench) {
	id := b.person(b.name("app"))
	err := b.Apply(t.Context(), b.make("app"))
	var taken *docker.NameTakenError
	if !errors.As(err, &taken) || taken.ID != id {
		t.Errorf("create over a foreign container: %v", err)
	}
	b.apply(b.make("two"))
	err = b.Apply(t.Context(), plan.Rename{ID: b.mustSee(b.name("two")).ID, From: b.name("two"), To: b.name("app")})
	if !errors.As(err, &taken) {
		t.Errorf("rename to a foreign name: %v", err)
	}
	got := b.mustSee(b.name("app"))
	if want := (node.Container{ID: id, Name: b.name("app"), State: node.Created, Networks: got.Networks}); cmp.Diff(want, got) != "" {
		t.Errorf("the foreign container is observed as %+v", got)
	}
}

// Each action is done twice: a lost reply must do no harm.
func contractIdempotent(t *testing.T, b *bench) {
	a := b.make("app")
	b.apply(a)
	id := b.mustSee(a.Name).ID
	prev := a.Name + ".prev"
	twice := []plan.Action{
		plan.Start{Name: a.Name}, plan.Stop{ID: id, Name: a.Name}, plan.Rename{ID: id, From: a.Name, To: prev}, plan.Remove{ID: id, Name: prev},
	}
	want := []node.State{node.Running, node.Exited, node.Exited, ""}
	for i, act := range twice {
		b.apply(act, act)
		state := node.State("")
		for _, c := range b.observe().Containers {
			if c.ID == id {
				state = c.State
			}
		}
		if state != want[i] {
			t.Errorf("after %q twice: state %q, want %q", act, state, want[i])
		}
	}
	b.apply(plan.Stop{ID: id, Name: prev}) // one that is gone runs no more
	if err := b.Apply(t.Context(), plan.Start{ID: id, Name: prev}); err == nil {
		t.Error("a container that is gone was started")
	}
	b.apply(b.make("run"), plan.Start{Name: b.name("run")})
	if err := b.Apply(t.Context(), plan.Remove{Name: b.name("run")}); err == nil {
		t.Error("a running container was removed by force")
	}
}

// Health is observed as it turns.
func contractHealth(t *testing.T, b *bench) {
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Body.Health = &spec.Health{Test: []string{"CMD", "/hello", "-healthcheck"}, IntervalNanos: 1e9, TimeoutNanos: 1e9, Retries: 1, StartPeriodNanos: 1e6}
	})
	b.apply(a, plan.Start{Name: a.Name})
	if c := b.mustSee(a.Name); !c.HasCheck || c.Health == node.NoHealth {
		t.Errorf("just started: health %q, check %t", c.Health, c.HasCheck)
	}
	b.turn(t, a.Name, container.Healthy)
	b.eventually("healthy", func() bool { return b.mustSee(a.Name).Health == node.Healthy })
	sick := b.make("sick", func(s *plan.Create) {
		s.Spec.Body = a.Spec.Body
		s.Spec.Body.Command = []string{"-unhealthy", "-1s"}
	})
	b.apply(sick, plan.Start{Name: sick.Name})
	b.turn(t, sick.Name, container.Unhealthy)
	b.eventually("unhealthy", func() bool { return b.mustSee(sick.Name).Health == node.Unhealthy })
	b.apply(plan.Stop{Name: sick.Name})
	if c := b.mustSee(sick.Name); c.Health != node.NoHealth {
		t.Errorf("a stopped container is %s", c.Health)
	}
}

// How a job ended, and how often the engine tried.
func contractExits(t *testing.T, b *bench) {
	a := b.make("job", func(a *plan.Create) {
		a.Spec.Body.Command = []string{"-exit", "3"}
		a.Spec.Body.RestartPolicy, a.Spec.Body.RestartMax = "on-failure", 2
	})
	b.apply(a, plan.Start{Name: a.Name})
	b.eventually("given up after two restarts", func() bool {
		c := b.mustSee(a.Name)
		return c.State == node.Exited && c.ExitCode == 3 && c.RestartCount == 2
	})
	run := b.make("app")
	b.apply(run, plan.Start{Name: run.Name})
	_, err := b.cli.ContainerKill(t.Context(), run.Name, client.ContainerKillOptions{Signal: "KILL"})
	must(t, err)
	b.eventually("killed", func() bool {
		c := b.mustSee(run.Name)
		return c.State == node.Exited && c.ExitCode == 137 && c.Up == 0
	})
}

// An event makes for a look, and what it named is looked at anew.
func contractEvents(t *testing.T, b *bench) {
	b.events()
	a := b.make("app")
	b.apply(a, plan.Start{Name: a.Name})
	b.awake("created and started")
	b.eventually("running", func() bool { return b.mustSee(a.Name).State == node.Running })
	_, err := b.cli.ContainerKill(t.Context(), a.Name, client.ContainerKillOptions{Signal: "KILL"})
	must(t, err)
	b.awake("killed")
	b.eventually("exited", func() bool { return b.mustSee(a.Name).State == node.Exited })
}

// While nothing changes a look costs three lists.
func contractCache(t *testing.T, b *bench) {
	b.events()
	for _, s := range []string{"one", "two", "three"} {
		a := b.make(s, func(a *plan.Create) { a.Spec.Body.Health = &spec.Health{Test: []string{"NONE"}} })
		b.apply(a, plan.Start{Name: a.Name})
	}
	quiet := func() uint64 {
		before := b.Calls()
		b.observe()
		return b.Calls() - before
	}
	b.eventually("three calls a look", func() bool { return quiet() == 3 })
	for range 5 {
		if n := quiet(); n != 3 {
			t.Errorf("a look at nothing new cost %d calls", n)
		}
	}
	b.apply(plan.Stop{Name: b.name("two")})
	if c := b.mustSee(b.name("two")); c.State != node.Exited {
		t.Errorf("two is %s", c.State)
	}
	b.eventually("three calls a look again", func() bool { return quiet() == 3 })
}

// An engine that is gone is an error that says so; one that is back is used without further ado.
func contractEngineRestart(t *testing.T, b *bench) {
	b.events()
	a := b.make("app")
	b.apply(a)
	before, err := b.Info(t.Context())
	must(t, err)
	if before.Version == "" || before.ID == "" || before.Driver == "" {
		t.Errorf("info %+v", before)
	}
	b.kill(t)
	_, err = b.Observe(t.Context(), docker.Want{})
	if _, ok := errors.AsType[*docker.UnreachableError](err); !ok {
		t.Errorf("observing a dead engine: %v", err)
	}
	b.again(t)
	b.eventually("the engine is back", func() bool { return b.Ready(t.Context()) == nil })
	if after, err := b.Info(t.Context()); err != nil || after != before {
		t.Errorf("info after the restart: %+v, %v; before: %+v", after, err, before)
	}
	b.eventually("the stream is back", func() bool {
		select {
		case <-b.woken:
			c, ok := b.see(a.Name)
			return ok && c.Hash == a.Spec.Hash
		default:
			return false
		}
	})
	b.apply(plan.Start{Name: a.Name})
}

// Configs and secrets are files with mode and content in place before create, and appear nowhere else.
func contractFiles(t *testing.T, b *bench) {
	content := []byte("s3cr3t-" + strings.Repeat("x", 8))
	f := spec.File{Target: "/run/secrets/key", Mode: 0o440, UID: os.Getuid(), GID: os.Getgid(), Secret: true, Content: content}
	f.Digest = spec.FileDigest(content, f.Mode, f.UID, f.GID)
	a := b.make("app", func(a *plan.Create) { a.Spec.Files = []spec.File{f} })
	b.apply(a, plan.Start{Name: a.Name})
	o := b.observe()
	if !slices.Equal(o.Files, []string{f.Digest}) || !slices.Equal(b.mustSee(a.Name).Files, []string{f.Digest}) {
		t.Errorf("files %v, of the container %v", o.Files, b.mustSee(a.Name).Files)
	}
	mounts := b.inspect(a.Name).Mounts
	i := slices.IndexFunc(mounts, func(m container.MountPoint) bool { return m.Destination == f.Target })
	if i < 0 || mounts[i].RW {
		t.Fatalf("mounts %+v: no read-only %s", mounts, f.Target)
	}
	got, err := os.ReadFile(mounts[i].Source)
	must(t, err)
	info, err := os.Stat(mounts[i].Source)
	must(t, err)
	if !bytes.Equal(got, content) || info.Mode().Perm() != 0o440 {
		t.Errorf("content %q mode %s", got, info.Mode())
	}
	dir, err := os.Stat(filepath.Dir(mounts[i].Source))
	must(t, err)
	if dir.Mode().Perm() != 0o700 {
		t.Errorf("the folder of secrets has mode %s", dir.Mode())
	}
	raw, err := json.Marshal(b.inspect(a.Name))
	must(t, err)
	if bytes.Contains(raw, content) {
		t.Error("the secret shows in docker inspect")
	}
	b.apply(plan.RemoveFile{Digest: f.Digest}, plan.RemoveFile{Digest: f.Digest})
	if _, err := os.Stat(mounts[i].Source); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after removal: %v", err)
	}
}

// Up is time we saw it run, on our own clock, and starts anew with each start.
func contractUp(t *testing.T, b *bench) {
	a := b.make("app")
	b.apply(a, plan.Start{Name: a.Name})
	if c := b.mustSee(a.Name); c.Up != 0 || c.Seen != 0 {
		t.Errorf("first seen: up %s, seen %s", c.Up, c.Seen)
	}
	b.clock.Add(int64(7 * time.Second))
	if c := b.mustSee(a.Name); c.Up != 7*time.Second || c.Seen != 7*time.Second {
		t.Errorf("7 s later: up %s, seen %s", c.Up, c.Seen)
	}
	b.apply(plan.Stop{Name: a.Name})
	b.mustSee(a.Name)
	b.apply(plan.Start{Name: a.Name})
	if c := b.mustSee(a.Name); c.Up != 0 || c.Seen != 7*time.Second {
		t.Errorf("started anew: up %s, seen %s", c.Up, c.Seen)
	}
}

// A predecessor is kept with policy "no" and gets its own back.
func contractPolicy(t *testing.T, b *bench) {
	a := b.make("app")
	b.apply(a)
	id := b.mustSee(a.Name).ID
	for _, p := range []string{"no", "unless-stopped"} {
		act := plan.SetRestart{ID: id, Name: a.Name, Policy: p}
		b.apply(act, act)
		if c := b.mustSee(a.Name); c.Policy != p || c.WantPolicy != "unless-stopped" {
			t.Errorf("after %q: policy %s, wanted %s", act, c.Policy, c.WantPolicy)
		}
	}
}
