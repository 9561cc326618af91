package docker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// world is an engine under contract: the fake, or a real one.
type world struct {
	host string
	// image is on the engine; it understands "-exit N" and brings a health check of its own.
	image string
	// volumeImage has VOLUME /data.
	volumeImage string
	// patience is how long to wait for what the world does in its own time.
	patience time.Duration
	// turn makes a container's health check give this answer, where the world does not by itself.
	turn func(t *testing.T, name string, h container.HealthStatus)
	// kill ends the engine and leaves its containers; again brings it back.
	kill, again func(t *testing.T)
	// lose makes the next change lose its reply; mend ends that.
	lose, mend func()
}

const owner = "c0ffee"

// bench is one test's engine, adapter and loose ends.
type bench struct {
	world
	*docker.Engine
	t     *testing.T
	cli   *client.Client // what a person does at the engine
	state string
	auth  string // folder of the Docker config file
	stack string // names everything this test makes
	clock atomic.Int64
	woken chan struct{}
}

func newBench(t *testing.T, w world, stack string, edits ...func(*docker.Config)) *bench {
	t.Helper()
	b := &bench{world: w, t: t, state: t.TempDir(), auth: t.TempDir(), stack: stack, woken: make(chan struct{}, 1)}
	start := time.Now()
	var err error
	cfg := docker.Config{
		Host: w.host, StateDir: b.state, AuthDir: b.auth, PullIdle: 2 * time.Second, PullRetry: time.Hour,
		Now: func() time.Time { return start.Add(time.Duration(b.clock.Load())) },
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	b.Engine, err = docker.New(cfg, zaptest.NewLogger(t), nil)
	must(t, err)
	b.cli, err = client.New(client.WithHost(w.host))
	must(t, err)
	t.Cleanup(func() {
		b.sweep()
		b.Engine.Close()
		_ = b.cli.Close()
	})
	return b
}

// sweep removes all that the test made.
func (b *bench) sweep() {
	ctx := context.Background()
	list, err := b.cli.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return // the test left a fake broken
	}
	for _, c := range list.Items {
		if strings.HasPrefix(c.Names[0], "/"+b.stack+"-") {
			_, _ = b.cli.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
			_, _ = b.cli.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
	}
	nets, err := b.cli.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return
	}
	for _, n := range nets.Items {
		if strings.HasPrefix(n.Name, b.stack+"_") {
			_, _ = b.cli.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		}
	}
}

// leave ends the engine's part in its Swarm, with all that is in it.
func (b *bench) leave() {
	_, _ = b.cli.SwarmLeave(context.Background(), client.SwarmLeaveOptions{Force: true}) // the test left a fake broken
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) apply(actions ...plan.Action) {
	b.t.Helper()
	for _, a := range actions {
		must(b.t, b.Apply(b.t.Context(), a))
	}
}

func (b *bench) observe() node.Observed {
	b.t.Helper()
	o, err := b.Observe(b.t.Context(), docker.Want{Images: []node.ImageRef{{Ref: b.image}}})
	must(b.t, err)
	return o
}

// see returns one container as observed.
func (b *bench) see(name string) (node.Container, bool) {
	b.t.Helper()
	for _, c := range b.observe().Containers {
		if c.Name == name {
			return c, true
		}
	}
	return node.Container{}, false
}

func (b *bench) mustSee(name string) node.Container {
	b.t.Helper()
	c, ok := b.see(name)
	if !ok {
		b.t.Fatalf("%s is not observed", name)
	}
	return c
}

// eventually looks until ok; the engine does some things in its own time.
func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(b.patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("never: %s", what)
		}
	}
}

// events starts the event stream and waits until it stands.
func (b *bench) events() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Events(ctx, func() {
			select {
			case b.woken <- struct{}{}:
			default:
			}
		})
	}()
	b.t.Cleanup(func() { cancel(); <-done })
	b.awake("the stream stands")
}

func (b *bench) awake(why string) {
	b.t.Helper()
	select {
	case <-b.woken:
	case <-time.After(b.patience):
		b.t.Fatalf("no notification: %s", why)
	}
}

func (b *bench) name(service string) string { return b.stack + "-" + service + "-1" }

// make is a create action for one service of the test's stack.
func (b *bench) make(service string, edit ...func(*plan.Create)) plan.Create {
	a := plan.Create{
		Name: b.name(service), Owner: owner, Stack: b.stack, Service: service, Replica: 1,
		Spec: spec.Container{Image: b.image, Body: spec.Body{Env: []string{"GREETING=hi"}, RestartPolicy: "unless-stopped", StopSeconds: new(1)}},
	}
	for _, f := range edit {
		f(&a)
	}
	if a.Spec.Hash == "" {
		a.Spec.Hash = spec.HashContainer(a.Spec)
	}
	return a
}

// person creates a container that is not ours.
func (b *bench) person(name string) string {
	b.t.Helper()
	res, err := b.cli.ContainerCreate(b.t.Context(), client.ContainerCreateOptions{Name: name, Config: &container.Config{Image: b.image}})
	must(b.t, err)
	return res.ID
}

func (b *bench) inspect(name string) container.InspectResponse {
	b.t.Helper()
	res, err := b.cli.ContainerInspect(b.t.Context(), name, client.ContainerInspectOptions{})
	must(b.t, err)
	return res.Container
}
