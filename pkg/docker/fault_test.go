package docker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// fake is a bench on the fake engine.
func fake(t *testing.T, api string) (*bench, *dockertest.Server) {
	w, s := fakeWorld(t, api)
	return newBench(t, w, "web"), s
}

// Every change whose reply is lost is repeated and comes out the same.
func TestLostReplies(t *testing.T) {
	b, s := fake(t, "1.41")
	n := b.network("default")
	v := spec.Volume{Name: "web_data", Hash: "1:v"}
	a := b.make("app", func(a *plan.Create) { a.Spec.Networks = []spec.Attachment{{Network: n.Network.Name}} })
	prev := a.Name + ".prev"
	for _, act := range []plan.Action{
		n, plan.CreateVolume{Owner: owner, Stack: "web", Volume: v}, a, plan.Start{Name: a.Name},
		plan.Disconnect{Name: a.Name, Network: n.Network.Name},
		plan.Connect{Name: a.Name, Attachment: a.Spec.Networks[0]},
		plan.SetRestart{Name: a.Name, Policy: "no"}, plan.Stop{Name: a.Name},
	} {
		s.Break(dockertest.Fault{Match: "^(POST|DELETE) ", Times: 1, Kind: dockertest.LoseReply})
		if err := b.Apply(t.Context(), act); err == nil && !slices.Contains([]string{"connect", "disconnect"}, strings.Fields(act.String())[0]) {
			t.Errorf("%s: the lost reply went unnoticed", act)
		}
		s.Mend()
		b.apply(act)
	}
	id := b.mustSee(a.Name).ID
	for _, act := range []plan.Action{plan.Rename{ID: id, From: a.Name, To: prev}, plan.Remove{ID: id, Name: prev}} {
		s.Break(dockertest.Fault{Match: "^(POST|DELETE) ", Times: 1, Kind: dockertest.LoseReply})
		_ = b.Apply(t.Context(), act) // noticed or not
		s.Mend()
		b.apply(act)
	}
	o := b.observe()
	if len(o.Containers) != 0 || len(b.networksNamed(n.Network.Name)) != 1 || len(o.Volumes) != 1 {
		t.Errorf("left: %+v", o)
	}
}

// The engine is upgraded, and later downgraded, under the living daemon.
func TestUpgradeIsNegotiated(t *testing.T) {
	b, s := fake(t, "1.41")
	version := func(want string) {
		t.Helper()
		var got docker.Info
		b.eventually("API "+want, func() bool {
			var err error
			got, err = b.Info(t.Context())
			return err == nil && got.APIVersion == want
		})
	}
	version("1.41")
	for _, v := range []string{"1.54", "1.43"} {
		s.Kill()
		if err := b.Ready(t.Context()); err == nil {
			t.Error("a dead engine is ready")
		}
		s.SetVersion(v)
		s.Again()
		version(v)
	}
	// With socket activation the connection breaks only for calls under way.
	s.SetVersion("1.42")
	if _, err := b.Info(t.Context()); err == nil {
		t.Error("the fake accepted a version it does not speak")
	}
	version("1.42")
	s.SetVersion("1.30")
	s.Kill()
	s.Again()
	b.eventually("an engine that is too old is refused by name", func() bool {
		err := b.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "1.4")
	})
}

// An event stream that ends says that the engine may be another one, whichever connection it was opened over: a lost reply has
// made a new one meanwhile.
func TestStreamsEndIsNegotiated(t *testing.T) {
	b, s := fake(t, "1.41")
	opened := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); b.Events(ctx, func() { opened <- struct{}{} }) }()
	defer func() { cancel(); <-ended }()
	<-opened
	s.Break(dockertest.Fault{Match: "^POST /volumes/create", Times: 1, Kind: dockertest.LoseReply})
	if err := b.Apply(t.Context(), plan.CreateVolume{Owner: "x", Stack: "x", Volume: spec.Volume{Name: b.name("data")}}); err == nil {
		t.Fatal("no reply was lost")
	}
	b.eventually("it is connected anew", func() bool { _, err := b.Info(t.Context()); return err == nil })
	s.Forget()
	s.CutEvents()
	b.eventually("it negotiates again", func() bool {
		return slices.ContainsFunc(s.Log(), func(c string) bool { return strings.HasSuffix(c, "/_ping") })
	})
}

// Containers that vanish between the list and their inspection, as in a bulk removal by hand, are not observed, and each is
// taken out by its own inspection while others are still being looked up: the race detector watches.
func TestGoneSinceTheList(t *testing.T) {
	b, s := fake(t, "1.41")
	for i := range 24 {
		b.apply(b.make(fmt.Sprintf("app%d", i)))
	}
	s.Break(dockertest.Fault{Match: "^GET /containers/[^/]+/json$", Status: http.StatusNotFound, Message: "No such container"})
	if o := b.observe(); len(o.Containers) != 0 {
		t.Errorf("observed %d containers, want none", len(o.Containers))
	}
}

// A stop that takes minutes in one lane keeps no other call waiting.
func TestLongStopBlocksNobody(t *testing.T) {
	b, s := fake(t, "1.41")
	for _, name := range []string{"slow", "other"} {
		b.apply(b.make(name), plan.Start{Name: b.name(name)})
	}
	s.Break(dockertest.Fault{Match: "/stop$", Kind: dockertest.Hang})
	for range 20 { // more than the connections a client keeps
		go func() { _ = b.Apply(t.Context(), plan.Stop{Name: b.name("slow")}) }()
	}
	b.eventually("the stops are under way", func() bool {
		n := 0
		for _, call := range s.Log() {
			if strings.HasSuffix(call, "/stop") {
				n++
			}
		}
		return n == 20
	})
	if c := b.mustSee(b.name("other")); c.State != node.Running {
		t.Errorf("other is %s", c.State)
	}
	b.apply(b.make("third"), plan.Start{Name: b.name("third")})
	s.Kill()
}

// An inspection that hangs behind a stuck container costs that container its details, and nobody else anything.
func TestStuckContainer(t *testing.T) {
	w, s := fakeWorld(t, "1.41")
	b := newBench(t, w, "web", func(c *docker.Config) { c.InspectTimeout = 100 * time.Millisecond })
	for _, name := range []string{"stuck", "fine"} {
		b.apply(b.make(name), plan.Start{Name: b.name(name)})
	}
	id := b.inspect(b.name("stuck")).ID
	s.Break(dockertest.Fault{Match: "GET /containers/" + id, Kind: dockertest.Hang})
	if c := b.mustSee(b.name("stuck")); c.State != node.Running || !strings.Contains(c.Error, "does not answer") || c.Hash == "" {
		t.Errorf("stuck: %+v", c)
	}
	if c := b.mustSee(b.name("fine")); c.Error != "" || c.Policy != "unless-stopped" {
		t.Errorf("fine: %+v", c)
	}
	before := b.Calls()
	b.observe()
	if n := b.Calls() - before; n != 3 {
		t.Errorf("the next look cost %d calls: the stuck container is asked again at once", n)
	}
}

// Half an answer is no answer: a pass on it would create what is there.
func TestFailedListFailsTheLook(t *testing.T) {
	for _, list := range []string{"GET /containers/json", "GET /networks$", "GET /volumes$", "GET /images/"} {
		b, s := fake(t, "1.41")
		b.apply(b.make("app"))
		s.Break(dockertest.Fault{Match: list, Message: "out of disk"})
		s.RemoveImage("nothing") // an event that makes images doubtful
		b.events()
		o, err := b.Observe(t.Context(), docker.Want{Images: []node.ImageRef{{Ref: "other:1"}}})
		if err == nil || !strings.Contains(err.Error(), "out of disk") || len(o.Containers) != 0 {
			t.Errorf("%s failed: %v, %d containers", list, err, len(o.Containers))
		}
	}
}

// What was remembered before the stream broke is not believed after.
func TestCutStreamForgets(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app")
	b.apply(a, plan.Start{Name: a.Name})
	b.events()
	b.observe()
	b.observe()
	s.Forget()
	s.CutEvents()
	b.awake("the stream broke")
	b.eventually("the container is inspected again", func() bool {
		b.observe()
		return slices.ContainsFunc(s.Log(), func(c string) bool {
			return strings.HasSuffix(c, a.Name+"/json") || strings.Contains(c, b.mustSee(a.Name).ID+"/json")
		})
	})
}

// What an engine ended when it came up again is told from what ended by itself: the one says nothing of a new version.
func TestEndedWithTheEngine(t *testing.T) {
	restart := func(b *bench, s *dockertest.Server, name string) {
		s.Forget()
		s.Kill()
		s.SetState(name, container.StateExited)
		s.Again()
		// Who asks for events again has noticed that the stream broke.
		b.eventually("another stream", func() bool { return s.Count("GET /events") > 0 })
	}
	t.Run("killed before anybody saw the container run", func(t *testing.T) {
		b, s := fake(t, "1.41")
		a := b.make("app")
		b.events()
		b.apply(a, plan.Start{Name: a.Name})
		restart(b, s, a.Name)
		if c := b.mustSee(a.Name); c.State != node.Exited || !c.EngineEnded {
			t.Errorf("%+v", c)
		}
		// It is started again, and ends by itself before anybody looks.
		b.apply(plan.Start{Name: a.Name})
		s.SetState(a.Name, container.StateExited)
		if c := b.mustSee(a.Name); c.State != node.Exited || c.EngineEnded {
			t.Errorf("started again: %+v", c)
		}
	})
	t.Run("it had ended before", func(t *testing.T) {
		b, s := fake(t, "1.41")
		a := b.make("app")
		b.events()
		b.apply(a, plan.Start{Name: a.Name})
		b.mustSee(a.Name)
		s.SetState(a.Name, container.StateExited)
		b.mustSee(a.Name)
		restart(b, s, a.Name)
		if c := b.mustSee(a.Name); c.State != node.Exited || c.EngineEnded {
			t.Errorf("%+v", c)
		}
	})
}

// Probes of health checks send events all day: they wake nobody.
func TestProbesDoNotWake(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app")
	b.apply(a, plan.Start{Name: a.Name})
	b.events()
	id := b.mustSee(a.Name).ID
	for _, e := range []events.Action{"exec_create: /hello", "exec_start: /hello", "exec_die", events.ActionHealthStatusRunning} {
		s.Publish(e, id)
	}
	s.SetHealth(a.Name, container.Healthy) // comes after the probes, so the first waking is its
	b.awake("health turned")
	select {
	case <-b.woken:
		t.Error("woken more than once")
	default:
	}
	if c := b.mustSee(a.Name); c.Health != node.Healthy {
		t.Errorf("health %s", c.Health)
	}
}

// A restart that no event told of is seen by the container's own start time once it is looked at.
func TestRestartResetsUp(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app")
	b.apply(a, plan.Start{Name: a.Name})
	b.events()
	b.mustSee(a.Name)
	b.clock.Add(int64(time.Minute))
	s.Restart(a.Name)
	b.awake("restarted")
	if c := b.mustSee(a.Name); c.Up != 0 || c.RestartCount != 1 {
		t.Errorf("after the restart: up %s, %d restarts", c.Up, c.RestartCount)
	}
}

// Engines before API 1.44 know the address by a field that the client has no more.
func TestOldMacAddress(t *testing.T) {
	b, s := fake(t, "1.41")
	n := b.network("default")
	b.apply(n)
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Body.MacAddress = "02:42:00:00:00:07"
		a.Spec.Networks = []spec.Attachment{{Network: n.Network.Name}}
	})
	b.apply(a)
	if got := s.CreateRequest(a.Name)["MacAddress"]; got != "02:42:00:00:00:07" {
		t.Errorf("MacAddress in the request: %v", got)
	}
}

// What this engine lacks is known before anything is stopped, by hash, and refused at create.
func TestUnsupported(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Body.Health = &spec.Health{Test: []string{"CMD", "x"}, StartIntervalNanos: 1e9}
	})
	look := func() string {
		o, err := b.Observe(t.Context(), docker.Want{Containers: []spec.Container{a.Spec}})
		must(t, err)
		return o.Unsupported[a.Spec.Hash]
	}
	if got := look(); !strings.Contains(got, "start_interval") {
		t.Errorf("unsupported: %q", got)
	}
	var lacks *docker.UnsupportedError
	if err := b.Apply(t.Context(), a); !errors.As(err, &lacks) {
		t.Errorf("create: %v", err)
	}
	s.Kill()
	s.SetVersion("1.44")
	s.Again()
	b.eventually("the upgraded engine can", func() bool { return b.Ready(t.Context()) == nil && look() == "" })
	b.apply(a)
}

// A task of Swarm is not ours, though its service carries our labels.
func TestSwarmTaskIsForeign(t *testing.T) {
	b, _ := fake(t, "1.41")
	a := b.make("app", func(a *plan.Create) { a.Spec.Body.Labels = map[string]string{"com.docker.swarm.task.id": "x"} })
	b.apply(a)
	if c := b.mustSee(a.Name); c.Owner != "" || c.Hash != "" {
		t.Errorf("observed as ours: %+v", c)
	}
}

// An image that is missing is named; the error is not the engine's riddle.
func TestMissingImage(t *testing.T) {
	b, _ := fake(t, "1.41")
	err := b.Apply(t.Context(), b.make("app", func(a *plan.Create) { a.Spec.Image = "nginx:9" }))
	if err == nil || err.Error() != "create web-app-1: image nginx:9 is not on this engine" {
		t.Errorf("create: %v", err)
	}
}

// An image appears by docker load, and goes by docker rmi, with no doing of ours.
func TestImagesAreFollowed(t *testing.T) {
	b, s := fake(t, "1.41")
	b.events()
	has := func() bool {
		o, err := b.Observe(t.Context(), docker.Want{Images: []node.ImageRef{{Ref: "app:1"}, {Ref: "app:1", Platform: "linux/arm64"}}})
		must(t, err)
		_, here := o.Images[node.ImageRef{Ref: "app:1"}]
		_, arm := o.Images[node.ImageRef{Ref: "app:1", Platform: "linux/arm64"}]
		if arm {
			t.Error("an image for amd64 counts as one for arm64")
		}
		return here
	}
	if has() {
		t.Error("there before it was loaded")
	}
	s.AddImage("app:1", dockertest.Image{Arch: "amd64"})
	b.eventually("loaded", has)
	s.RemoveImage("app:1")
	b.eventually("removed", func() bool { return !has() })
}

// Credentials or content of an unknown kind never make a path out of the store.
func TestFileNames(t *testing.T) {
	b, _ := fake(t, "1.41")
	for _, digest := range []string{"", "../x", ".hidden", "a/b"} {
		if err := b.Apply(t.Context(), plan.RemoveFile{Digest: digest}); err == nil {
			t.Errorf("removed %q", digest)
		}
		a := b.make("app", func(a *plan.Create) { a.Spec.Files = []spec.File{{Target: "/x", Digest: digest}} })
		if err := b.Apply(t.Context(), a); err == nil {
			t.Errorf("wrote %q", digest)
		}
	}
}

// A removal that is under way is waited for, so that the name is free for the next step.
func TestRemovalUnderWay(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app")
	b.apply(a)
	s.Break(dockertest.Fault{Match: "^DELETE /containers/", Times: 1, Status: 409, Message: "removal of container abc is already in progress"})
	s.Forget()
	b.apply(plan.Remove{Name: a.Name})
	if !slices.ContainsFunc(s.Log(), func(c string) bool { return strings.HasSuffix(c, "/wait") }) {
		t.Errorf("it was not waited for: %v", s.Log())
	}
}

// A container that is half removed has the name, but is nothing to adopt: it would never start.
func TestHalfRemovedIsNotAdopted(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app")
	b.apply(a)
	for _, state := range []container.ContainerState{container.StateDead, container.StateRemoving} {
		s.SetState(a.Name, state)
		if err := b.Apply(t.Context(), a); err == nil {
			t.Errorf("adopted while %s", state)
		}
	}
}
