package docker_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// fakeManager is a bench on a fake that is the manager of a Swarm.
func fakeManager(t *testing.T) (*bench, *dockertest.Server) {
	w, s := fakeWorld(t, "1.41")
	return newManager(t, w, "web"), s
}

// Half an answer is no answer: a pass on it would make again what is there, or take it for gone.
func TestHalfASwarmFailsTheLook(t *testing.T) {
	for _, list := range []string{"info", "services", "tasks", "nodes", "networks", "configs", "secrets"} {
		b, s := fakeManager(t)
		b.apply(b.swarmService("app"))
		s.Break(dockertest.Fault{Match: "^GET /" + list + "$", Message: "rpc error: code = DeadlineExceeded desc = context deadline exceeded"})
		o, err := b.ObserveSwarm(t.Context(), docker.SwarmWant{})
		if err == nil || !strings.Contains(err.Error(), "deadline exceeded") || strings.Contains(err.Error(), "rpc error") {
			t.Errorf("%s failed: %v", list, err)
		}
		if !cmp.Equal(o, swarm.Observed{}) {
			t.Errorf("%s failed, and this was observed: %+v", list, o)
		}
	}
}

// A worker, and a manager that is locked or whose certificates have expired, sees nothing of the Swarm and does not fail.
func TestNoControl(t *testing.T) {
	b, s := fakeManager(t)
	b.apply(b.swarmService("app"))
	for what, state := range map[string]swarmapi.LocalNodeState{
		"worker": swarmapi.LocalNodeStateActive, "locked": swarmapi.LocalNodeStateLocked,
		"error": swarmapi.LocalNodeStateError, "pending": swarmapi.LocalNodeStatePending,
	} {
		s.SetWorker(what == "worker")
		s.SetSwarmState(state)
		if o := b.swarm(); !cmp.Equal(o, swarm.Observed{}) {
			t.Errorf("%s: observed %+v", what, o)
		}
		n, err := b.SwarmNode(t.Context())
		if err != nil || n.Control || n.State != string(state) || len(n.Tasks) != 1 {
			t.Errorf("%s: this node %+v, %v", what, n, err)
		}
	}
	s.SetWorker(false)
	s.SetSwarmState(swarmapi.LocalNodeStateActive)
	if o := b.swarm(); !o.Control || len(o.Services) != 1 {
		t.Errorf("a manager again: %+v", o)
	}
}

// How long a task has been as it is is counted on our own clock, from when we first saw it so.
func TestTaskSince(t *testing.T) {
	b, s := fakeManager(t)
	a := b.swarmService("app")
	b.apply(a)
	since := func() time.Duration { b.t.Helper(); return b.tasks(a.Service.Full)[0].Since }
	since()
	b.clock.Add(int64(time.Minute))
	if got := since(); got != time.Minute {
		t.Errorf("since %s, want a minute", got)
	}
	s.SetTasks(a.Service.Full, func(t *swarmapi.Task) { t.Status.State = swarmapi.TaskStateFailed })
	if got := b.swarm().Tasks[0]; got.State != "failed" || got.Since != 0 {
		t.Errorf("another state: %s since %s", got.State, got.Since)
	}
	b.clock.Add(int64(time.Minute))
	s.SetWorker(true)
	b.swarm()
	s.SetWorker(false)
	if got := b.swarm().Tasks[0].Since; got != 0 {
		t.Errorf("since %s, and in between nobody could look", got)
	}
}

// Swarm forgets what it rolled back from, and soon its tasks too: every daemon knows what failed all the same.
func TestTriedOutlivesTheTasks(t *testing.T) {
	b, s := fakeManager(t)
	b.apply(b.swarmService("app"))
	for _, code := range []string{"3", "4"} {
		bad := b.swarmService("app", command("-exit", code))
		b.update(bad)
		s.ForgetTasks()
		later := newBench(t, b.world, b.stack)
		if got := later.mustService(bad.Service.Full); got.Update != swarm.RollbackCompleted || got.Tried != bad.Service.Hash {
			t.Errorf("update %s, tried %q, want %s", got.Update, got.Tried, bad.Service.Hash)
		}
	}
}

// An update that takes its time is seen to.
func TestUpdating(t *testing.T) {
	b, s := fakeManager(t)
	a := b.swarmService("app")
	b.apply(a)
	s.HoldUpdates(true)
	b.update(b.swarmService("app", env("VERSION=2")))
	if got := b.mustService(a.Service.Full); got.Update != swarm.Updating || b.tasks(a.Service.Full)[0].Current {
		t.Errorf("update %q, tasks %+v", got.Update, b.tasks(a.Service.Full))
	}
	s.HoldUpdates(false)
	if got := b.mustService(a.Service.Full); got.Update != swarm.Completed || !b.tasks(a.Service.Full)[0].Current {
		t.Errorf("update %q, tasks %+v", got.Update, b.tasks(a.Service.Full))
	}
}

// An engine that leaves a Swarm may leave containers of its tasks behind (Engine 20.10 does). They are no tasks of the Swarm
// it is in now, nor of none, and they are not ours.
func TestTaskOfAnotherSwarm(t *testing.T) {
	b, _ := fakeManager(t)
	b.apply(b.swarmService("app"))
	_, err := b.cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{Name: "web_old.1.x", Config: &container.Config{
		Image:  b.image,
		Labels: map[string]string{spec.LabelCluster: owner, "com.docker.swarm.task.id": "x", "com.docker.swarm.node.id": "another"},
	}})
	must(t, err)
	if here := b.localTasks(); len(here) != 1 || here[0].Service != "web_app" {
		t.Errorf("tasks on this node: %+v", here)
	}
	if c := b.mustSee("web_old.1.x"); c.Owner != "" {
		t.Errorf("what is left counts as ours: %+v", c)
	}
	b.leave()
	if here := b.localTasks(); len(here) != 0 {
		t.Errorf("in no Swarm the tasks on this node are %+v", here)
	}
}

// The tasks of a service that was removed take their time, and whose they are is known meanwhile.
func TestLeavingTasks(t *testing.T) {
	b, s := fakeManager(t)
	a := b.swarmService("app")
	b.apply(a)
	s.HoldUpdates(true)
	b.apply(plan.RemoveService{ID: b.mustService(a.Service.Full).ID, Name: a.Service.Full})
	o := b.swarm()
	if len(o.Services) != 0 || len(o.Tasks) != 1 || o.Tasks[0].Stack != b.stack || o.Tasks[0].Key != "app" || o.Tasks[0].Desired != "remove" || o.Tasks[0].Current {
		t.Errorf("while they leave: services %+v, tasks %+v", o.Services, o.Tasks)
	}
	s.HoldUpdates(false)
	if o := b.swarm(); len(o.Tasks) != 0 {
		t.Errorf("tasks %+v", o.Tasks)
	}
}

// Somebody else is faster between the look that an update makes and the update itself: Swarm's own check is what holds.
func TestSequenceAtTheLastMoment(t *testing.T) {
	b, s := fakeManager(t)
	a := b.swarmService("app")
	b.apply(a)
	s.Break(dockertest.Fault{Match: "/update$", Message: "rpc error: code = Unknown desc = update out of sequence"})
	err := b.Apply(t.Context(), b.to(b.swarmService("app", env("VERSION=2"))))
	if _, late := errors.AsType[*docker.OutOfSequenceError](err); !late {
		t.Errorf("update: %v", err)
	}
}

// An update names the version that was observed. A manager that is asked without one, or with the one it has now, has no fence.
func TestUpdateCarriesTheObservedVersion(t *testing.T) {
	b, s := fakeManager(t)
	a := b.swarmService("app")
	b.apply(a)
	update := b.to(b.swarmService("app", env("VERSION=2")))
	s.Meanwhile("GET /services/"+update.ID, func() {
		s.SetService(a.Service.Full, func(svc *swarmapi.Service) { svc.Spec.Labels["theirs"] = "yes" })
	})
	if err := b.Apply(t.Context(), update); err == nil {
		t.Error("the change of somebody else was overwritten")
	}
	if got := b.mustService(a.Service.Full).Hash; got != a.Service.Hash {
		t.Errorf("hash %s, want %s", got, a.Service.Hash)
	}
}

// What a person did with docker service update --force is not undone: less of it would replace all tasks.
func TestForceUpdateIsKept(t *testing.T) {
	b, s := fakeManager(t)
	a := b.swarmService("app")
	b.apply(a)
	s.SetService(a.Service.Full, func(svc *swarmapi.Service) { svc.Spec.TaskTemplate.ForceUpdate = 3 })
	s.SetTasks(a.Service.Full, func(t *swarmapi.Task) { t.Spec.ForceUpdate = 3 })
	before := b.runs(a.Service.Full, 1)[0].ID
	b.apply(b.to(b.swarmService("app", count(2))))
	if after := b.runs(a.Service.Full, 2); !slices.ContainsFunc(after, func(n swarm.Task) bool { return n.ID == before }) {
		t.Errorf("task %s was replaced: %+v", before, after)
	}
}

// For a moment after Swarm has removed an overlay the engine still has its own part of it, and answers in a way of its own.
func TestOverlayIsGoneInSwarm(t *testing.T) {
	b, s := fakeManager(t)
	rm := plan.RemoveNetwork{ID: "t033y2zsu8ypupeic3ieh2b84", Name: "web_default"}
	s.Break(dockertest.Fault{Match: "^DELETE /networks/", Times: 1, Message: "network t033y2zsu8ypupeic3ieh2b84 not found"})
	b.apply(rm)
	s.Break(dockertest.Fault{Match: "^DELETE /networks/", Message: "plugin weave not found"})
	if err := b.Apply(t.Context(), rm); err == nil {
		t.Error("something else was not found, and the network counts as removed")
	}
}

// Nodes are as Swarm sees them, and a task on a node that is away is where it was placed.
func TestNodes(t *testing.T) {
	b, s := fakeManager(t)
	s.AddNode("pi2")
	s.AddNode("pi3")
	a := b.swarmService("app", func(s *spec.SwarmService) { s.Mode = spec.Global })
	b.apply(a)
	if got := b.mustService(a.Service.Full).Replicas; got != 3 {
		t.Errorf("a global service on three nodes wants %d tasks", got)
	}
	s.SetNode("pi2", func(n *swarmapi.Node) { n.Status.State = swarmapi.NodeStateDown })
	s.SetNode("pi3", func(n *swarmapi.Node) { n.Spec.Availability = swarmapi.NodeAvailabilityDrain })
	var got []swarm.Node
	for _, n := range b.swarm().Nodes {
		n.ID = ""
		got = append(got, n)
	}
	want := []swarm.Node{{Name: "fake", Ready: true, Active: true, Manager: true}, {Name: "pi2", Active: true}, {Name: "pi3", Ready: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if here := b.localTasks(); len(here) != 1 {
		t.Errorf("tasks on this node: %+v", here)
	}
}

// Images are asked about once each, in order.
func TestSwarmWantOf(t *testing.T) {
	c := spec.Cluster{Stacks: []spec.SwarmStack{
		{Services: []spec.SwarmService{{Image: "b:1"}, {Image: "a:1"}}}, {Services: []spec.SwarmService{{Image: "b:1"}}},
	}}
	if got := docker.SwarmWantOf(c); !slices.Equal(got.Images, []string{"a:1", "b:1"}) {
		t.Errorf("wanted %v", got.Images)
	}
}

// What an engine says of its trouble decides what is done about it. The texts are those of real engines.
func TestTroubleIsKnownByItsText(t *testing.T) {
	const dial = `manager stopped: can't initialize raft node: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing dial tcp 192.0.2.1:2377: connect: no route to host"`
	for said, want := range map[string]docker.SwarmNode{
		dial: {Stranded: true},
		"manager stopped: can't initialize raft node: WAL error cannot be repaired: unexpected EOF":                                     {},
		"error while loading TLS certificate in /var/lib/docker/swarm/certificates/swarm-node.crt: certificate (1 - x) not valid after": {Expired: true},
		"x509: certificate has expired or is not yet valid":                                                                             {Expired: true},
		"context canceled": {},
	} {
		b, s := fakeManager(t)
		s.SetManagers("192.0.2.2:2377", "192.0.2.1:2377")
		a := b.swarmService("app")
		b.apply(a)
		b.runs(a.Service.Full, 1)
		n, err := b.SwarmNode(t.Context())
		self := n.ID
		if err != nil || !slices.Equal(n.Knows, []string{"192.0.2.1:2377", "192.0.2.2:2377"}) || n.Stranded || n.Expired {
			t.Errorf("before: %+v, %v", n, err)
		}
		s.SetSwarmError(said)
		n, err = b.SwarmNode(t.Context())
		if err != nil || n.Stranded != want.Stranded || n.Expired != want.Expired || n.Control || n.ID != "" || n.State != "error" || len(n.Tasks) != 1 {
			t.Errorf("%s: %+v, %v", said, n, err)
		}
		// The id is the one that was noted, since the engine has forgotten it.
		if err := b.Apply(t.Context(), plan.LeaveSwarm{Swarm: "x", Node: "pi1", ID: self}); err != nil {
			t.Errorf("leave: %v", err)
		}
		if n, err := b.SwarmNode(t.Context()); err != nil || n.State != "inactive" {
			t.Errorf("after leaving: %+v, %v", n, err)
		}
		res, err := b.cli.ContainerList(t.Context(), client.ContainerListOptions{All: true})
		if err != nil || len(res.Items) > 0 {
			t.Errorf("it left behind %+v, %v", res.Items, err)
		}
	}
}

// An engine joins by the first manager of a list, dead or alive.
func TestJoinByOneThatAnswers(t *testing.T) {
	w, _ := fakeWorld(t, "1.41")
	b := newBench(t, w, "web")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, gone.Close())
	join := plan.JoinSwarm{Swarm: "x", Node: "pi2", Address: "127.0.0.1", Managers: []string{gone.Addr().String(), l.Addr().String()}}
	must(t, b.JoinSwarm(t.Context(), join, dockertest.WorkerToken))
	n, err := b.SwarmNode(t.Context())
	if err != nil || !slices.Equal(n.Knows, join.Managers[1:]) {
		t.Errorf("it joined by %v, %v", n.Knows, err)
	}
}
