package docker_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// contractSwarm is what pkg/docker relies on, and gives, on any manager.
func contractSwarm(t *testing.T, w world) {
	for name, f := range map[string]func(*testing.T, *bench){
		"create-observe": contractService, "adopt": contractAdoptService, "foreign": contractForeignService,
		"update": contractUpdate, "same-template": contractSameTemplate, "sequence": contractSequence,
		"rollback": contractRollback, "persons-rollback": contractPersonsRollback, "paused": contractPaused,
		"mark": contractMark, "objects": contractObjects, "rotate": contractRotate, "overlay": contractOverlay, "global": contractGlobal,
		"removal": contractRemoval, "lost": contractLostReplies, "events": contractSwarmEvents, "tasks-here": contractTasksHere,
	} {
		t.Run(name, func(t *testing.T) { f(t, newManager(t, w, "sw"+strings.ReplaceAll(name, "-", ""))) })
	}
	t.Run("no-swarm", func(t *testing.T) { contractNoSwarm(t, newBench(t, w, "swnone")) })
}

// newManager is a bench on an engine that is the one manager of a Swarm of its own.
func newManager(t *testing.T, w world, stack string, edits ...func(*docker.Config)) *bench {
	t.Helper()
	b := newBench(t, w, stack, edits...)
	_, err := b.cli.SwarmInit(t.Context(), client.SwarmInitOptions{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1"})
	must(t, err)
	t.Cleanup(b.leave)
	return b
}

func (b *bench) swarm() swarm.Observed {
	b.t.Helper()
	o, err := b.ObserveSwarm(b.t.Context(), docker.SwarmWant{})
	must(b.t, err)
	return o
}

// service returns a service as observed.
func (b *bench) service(name string) (swarm.Service, bool) {
	b.t.Helper()
	for _, s := range b.swarm().Services {
		if s.Name == name {
			return s, true
		}
	}
	return swarm.Service{}, false
}

func (b *bench) mustService(name string) swarm.Service {
	b.t.Helper()
	s, ok := b.service(name)
	if !ok {
		b.t.Fatalf("service %s is not observed", name)
	}
	return s
}

// tasks are the tasks of a service that should run and do.
func (b *bench) tasks(name string) (out []swarm.Task) {
	b.t.Helper()
	o := b.swarm()
	for _, t := range o.Tasks {
		if i := slices.IndexFunc(o.Services, func(s swarm.Service) bool { return s.ID == t.Service }); i < 0 || o.Services[i].Name != name {
			continue
		}
		if t.Desired == "running" && t.State == "running" {
			out = append(out, t)
		}
	}
	return out
}

// runs waits until a service has so many tasks of its present version running, and none of another.
func (b *bench) runs(name string, count int) []swarm.Task {
	b.t.Helper()
	var got []swarm.Task
	b.eventually(name+" runs", func() bool {
		got = b.tasks(name)
		return len(got) == count && !slices.ContainsFunc(got, func(t swarm.Task) bool { return !t.Current })
	})
	return got
}

// swarmService is a create action for one service of the test's stack, with the shortest of everything.
func (b *bench) swarmService(name string, edit ...func(*spec.SwarmService)) plan.CreateService {
	grace, delay := 0, 100*time.Millisecond
	s := spec.SwarmService{
		Name: name, Full: b.stack + "_" + name, Mode: spec.Replicated, Image: b.image,
		Body: spec.Body{StopSeconds: &grace},
		Deploy: spec.Deploy{
			EndpointMode: "dnsrr", Restart: spec.SwarmRestart{Delay: &delay},
			Update: spec.SwarmUpdate{Parallelism: 1, FailureAction: spec.Rollback, Monitor: time.Second, Order: spec.StartFirst},
		},
	}
	for _, f := range edit {
		f(&s)
	}
	s.Hash = spec.HashSwarmService(s)
	return plan.CreateService{Owner: owner, Stack: b.stack, Service: s, Image: s.Image}
}

// to is the update of a service, as observed now, to another version.
func (b *bench) to(a plan.CreateService) plan.UpdateService {
	b.t.Helper()
	have := b.mustService(a.Service.Full)
	return plan.UpdateService{ID: have.ID, Version: have.Version, Owner: a.Owner, Stack: a.Stack, Service: a.Service, Image: a.Image}
}

// update marks a service, as observed now, with another version and brings it there, as the planner does.
func (b *bench) update(a plan.CreateService) {
	b.t.Helper()
	b.apply(b.mark(a))
	b.apply(b.to(a))
}

// mark is the step before an update.
func (b *bench) mark(a plan.CreateService) plan.MarkService {
	b.t.Helper()
	have := b.mustService(a.Service.Full)
	return plan.MarkService{ID: have.ID, Name: have.Name, Version: have.Version, Tried: a.Service.Hash}
}

func command(words ...string) func(*spec.SwarmService) {
	return func(s *spec.SwarmService) { s.Body.Command = words }
}

func env(words ...string) func(*spec.SwarmService) {
	return func(s *spec.SwarmService) { s.Body.Env = words }
}

func count(n uint64) func(*spec.SwarmService) {
	return func(s *spec.SwarmService) { s.Deploy.Replicas = &n }
}

func onFailure(action spec.FailureAction) func(*spec.SwarmService) {
	return func(s *spec.SwarmService) { s.Deploy.Update.FailureAction = action }
}

// What was created is observed with the identity and hash it was created with, or every pass would update it.
func contractService(t *testing.T, b *bench) {
	a := b.swarmService("app", count(2))
	b.apply(a)
	tasks := b.runs(a.Service.Full, 2)
	o := b.swarm()
	got := b.mustService(a.Service.Full)
	want := swarm.Service{
		ID: got.ID, Name: b.stack + "_app", Version: got.Version, Owner: owner, Stack: b.stack, Key: "app", Hash: a.Service.Hash,
		Tried: a.Service.Hash, Mode: spec.Replicated, Asked: b.image, Image: b.image, Replicas: 2,
	}
	if diff := cmp.Diff(want, got); diff != "" || got.ID == "" || got.Version == 0 {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
	if !o.Control || o.SwarmID == "" {
		t.Errorf("control %t of Swarm %q", o.Control, o.SwarmID)
	}
	if len(o.Nodes) != 1 || !o.Nodes[0].Ready || !o.Nodes[0].Active || !o.Nodes[0].Manager || o.Nodes[0].Name == "" {
		t.Fatalf("nodes %+v", o.Nodes)
	}
	for i, task := range tasks {
		want := swarm.Task{
			ID: task.ID, Service: got.ID, Stack: b.stack, Key: "app", Node: o.Nodes[0].ID, Slot: i + 1, State: "running", Desired: "running", Image: b.image,
			Container: task.Container, Current: true,
		}
		if diff := cmp.Diff(want, task); diff != "" || task.Container == "" {
			t.Errorf("task (-want +got):\n%s", diff)
		}
	}
	b.clock.Add(int64(7 * time.Second))
	for _, task := range b.tasks(a.Service.Full) {
		if task.Since != 7*time.Second {
			t.Errorf("7 s later: in its state since %s", task.Since)
		}
	}
}

// A create whose reply was lost is repeated by the next pass and must find its service, and no other.
func contractAdoptService(t *testing.T, b *bench) {
	longer := b.swarmService("app2")
	a := b.swarmService("app")
	b.apply(longer, a)
	id := b.mustService(a.Service.Full).ID
	b.apply(a)
	if got := b.mustService(a.Service.Full).ID; got != id || len(b.swarm().Services) != 2 {
		t.Errorf("after the repeated create: %+v", b.swarm().Services)
	}
	for what, change := range map[string]func(*plan.CreateService){
		"another version": func(a *plan.CreateService) { a.Service.Hash = "1:another" },
		"another owner":   func(a *plan.CreateService) { a.Owner = "deca" },
	} {
		other := a
		change(&other)
		if err := b.Apply(t.Context(), other); err == nil {
			t.Errorf("adopted: %s", what)
		}
	}
}

// A stranger's service and config are named in the error and left alone.
func contractForeignService(t *testing.T, b *bench) {
	full := b.stack + "_app"
	_, err := b.cli.ServiceCreate(t.Context(), client.ServiceCreateOptions{Spec: swarmapi.ServiceSpec{
		Annotations:  swarmapi.Annotations{Name: full},
		TaskTemplate: swarmapi.TaskSpec{ContainerSpec: &swarmapi.ContainerSpec{Image: b.image}},
		EndpointSpec: &swarmapi.EndpointSpec{Mode: swarmapi.ResolutionModeDNSRR},
	}})
	must(t, err)
	err = b.Apply(t.Context(), b.swarmService("app"))
	var taken *docker.NameTakenError
	if !errors.As(err, &taken) || taken.ID != b.mustService(full).ID || taken.Kind != "service" {
		t.Errorf("create over a foreign service: %v", err)
	}
	if got := b.mustService(full); got.Owner != "" || got.Hash != "" || got.Image != b.image || got.Replicas != 1 {
		t.Errorf("the foreign service is observed as %+v", got)
	}
	o := b.object(spec.ConfigObject, "key", "x")
	_, err = b.cli.ConfigCreate(t.Context(), client.ConfigCreateOptions{Spec: swarmapi.ConfigSpec{Annotations: swarmapi.Annotations{Name: o.Object.Name}, Data: []byte("x")}})
	must(t, err)
	if err := b.Apply(t.Context(), o); !errors.As(err, &taken) || taken.Kind != "config" {
		t.Errorf("create over a foreign config: %v", err)
	}
}

// An update replaces the tasks, and those of the former version are told from those of the present one.
func contractUpdate(t *testing.T, b *bench) {
	a := b.swarmService("app", count(2))
	b.apply(a)
	before := b.runs(a.Service.Full, 2)
	next := b.swarmService("app", count(2), env("GREETING=hello"))
	b.update(next)
	if got := b.mustService(a.Service.Full); got.Hash != next.Service.Hash {
		t.Errorf("hash %s, want %s", got.Hash, next.Service.Hash)
	}
	b.eventually("completed", func() bool { return b.mustService(a.Service.Full).Update == swarm.Completed })
	after := b.runs(a.Service.Full, 2)
	for _, old := range before {
		if slices.ContainsFunc(after, func(n swarm.Task) bool { return n.ID == old.ID }) {
			t.Errorf("task %s was not replaced", old.ID)
		}
		i := slices.IndexFunc(b.swarm().Tasks, func(n swarm.Task) bool { return n.ID == old.ID })
		if i >= 0 && b.swarm().Tasks[i].Current {
			t.Errorf("task %s counts as one of the present version", old.ID)
		}
	}
	if got := b.mustService(a.Service.Full); got.Tried != got.Hash {
		t.Errorf("tried %q, want %q", got.Tried, got.Hash)
	}
}

// Another count of replicas, policy or label replaces no task, though the service's hash is another.
func contractSameTemplate(t *testing.T, b *bench) {
	a := b.swarmService("app")
	b.apply(a)
	before := b.runs(a.Service.Full, 1)[0]
	next := b.swarmService("app", count(3), onFailure(spec.Pause), func(s *spec.SwarmService) { s.Deploy.Labels = map[string]string{"mine": "yes"} })
	b.update(next)
	after := b.runs(a.Service.Full, 3)
	if !slices.ContainsFunc(after, func(n swarm.Task) bool { return n.ID == before.ID && n.Container == before.Container }) {
		t.Errorf("the task that ran was replaced: %+v", after)
	}
	if got := b.mustService(a.Service.Full); got.Hash != next.Service.Hash || got.Replicas != 3 {
		t.Errorf("observed %+v", got)
	}
}

// Swarm refuses an update that has seen an older version: the only fence there is.
func contractSequence(t *testing.T, b *bench) {
	a := b.swarmService("app")
	b.apply(a)
	mine := b.to(b.swarmService("app", env("VERSION=mine")))
	theirs := b.to(b.swarmService("app", count(2)))
	b.apply(theirs)
	var late *docker.OutOfSequenceError
	if err := b.Apply(t.Context(), mine); !errors.As(err, &late) || late.What != "service "+a.Service.Full {
		t.Errorf("an update that has seen an older version: %v", err)
	}
	if got := b.mustService(a.Service.Full).Hash; got != theirs.Service.Hash {
		t.Errorf("hash %s, want that of the other update, %s", got, theirs.Service.Hash)
	}
	b.apply(theirs) // repeated: it is done
	mine.ID = strings.Repeat("0", 25)
	if err := b.Apply(t.Context(), mine); err == nil {
		t.Error("a service that is gone was updated")
	}
}

// Swarm rolls back by itself and forgets the version that failed. What failed must be known all the same, also to a daemon that
// came later: it would be tried for ever.
func contractRollback(t *testing.T, b *bench) {
	good := b.swarmService("app")
	bad := b.swarmService("app", command("-exit", "3"))
	b.apply(good)
	b.runs(good.Service.Full, 1)
	b.update(bad)
	b.eventually("rolled back", func() bool { return b.mustService(good.Service.Full).Update == swarm.RollbackCompleted })
	b.runs(good.Service.Full, 1)
	later := newBench(t, b.world, b.stack)
	for who, bench := range map[string]*bench{"the same daemon": b, "another one": later} {
		got := bench.mustService(good.Service.Full)
		if got.Hash != good.Service.Hash || got.Tried != bad.Service.Hash {
			t.Errorf("%s: hash %s, tried %q; want %s and %s", who, got.Hash, got.Tried, good.Service.Hash, bad.Service.Hash)
		}
	}
	i := slices.IndexFunc(b.swarm().Tasks, func(n swarm.Task) bool { return n.State == "failed" })
	if i < 0 || b.swarm().Tasks[i].Current || !strings.Contains(b.swarm().Tasks[i].Err, "exit") {
		t.Errorf("tasks %+v: no failed one of another version", b.swarm().Tasks)
	}
	better := b.swarmService("app", env("VERSION=better"))
	b.update(better)
	b.eventually("the next version is tried", func() bool {
		got := b.mustService(good.Service.Full)
		return got.Hash == better.Service.Hash && got.Tried == better.Service.Hash
	})
}

// The mark that goes before an update is there for every daemon to see, replaces no task, and is fenced as the update is.
func contractMark(t *testing.T, b *bench) {
	a, next := b.swarmService("app"), b.swarmService("app", env("VERSION=2"))
	b.apply(a)
	before := b.runs(a.Service.Full, 1)[0]
	mark := b.mark(next)
	b.apply(mark, mark)
	got := b.mustService(a.Service.Full)
	if got.Hash != a.Service.Hash || got.Tried != next.Service.Hash || got.Image != b.image || got.Replicas != 1 {
		t.Errorf("marked: %+v", got)
	}
	if after := b.runs(a.Service.Full, 1)[0]; after.ID != before.ID || after.Container != before.Container {
		t.Errorf("task %+v was replaced by %+v", before, after)
	}
	mark.Tried = "1:other"
	if _, late := errors.AsType[*docker.OutOfSequenceError](b.Apply(t.Context(), mark)); !late {
		t.Error("a mark that has seen an older version was made")
	}
}

// A person's `docker service rollback` leaves the version it left in the service: no mark is needed, and none is made where the
// update would not be rolled back by Swarm.
func contractPersonsRollback(t *testing.T, b *bench) {
	first, second := b.swarmService("app", onFailure(spec.Pause)), b.swarmService("app", onFailure(spec.Pause), env("VERSION=2"))
	b.apply(first)
	b.runs(first.Service.Full, 1)
	b.apply(b.to(second))
	b.eventually("updated", func() bool { return b.mustService(first.Service.Full).Update == swarm.Completed })
	have := b.mustService(first.Service.Full)
	svc, err := b.cli.ServiceInspect(t.Context(), have.ID, client.ServiceInspectOptions{})
	must(t, err)
	_, err = b.cli.ServiceUpdate(t.Context(), have.ID, client.ServiceUpdateOptions{Version: svc.Service.Version, Spec: svc.Service.Spec, Rollback: "previous"})
	must(t, err)
	b.eventually("rolled back", func() bool { return b.mustService(first.Service.Full).Update == swarm.RollbackCompleted })
	if got := b.mustService(first.Service.Full); got.Hash != first.Service.Hash || got.Tried != second.Service.Hash {
		t.Errorf("hash %s, tried %q; want %s and %s", got.Hash, got.Tried, first.Service.Hash, second.Service.Hash)
	}
}

// A paused update keeps the new version, and says why.
func contractPaused(t *testing.T, b *bench) {
	good := b.swarmService("app", onFailure(spec.Pause))
	bad := b.swarmService("app", onFailure(spec.Pause), command("-exit", "3"))
	b.apply(good)
	b.runs(good.Service.Full, 1)
	b.update(bad)
	b.eventually("paused", func() bool { return b.mustService(good.Service.Full).Update == swarm.Paused })
	got := b.mustService(good.Service.Full)
	if got.Hash != bad.Service.Hash || got.Tried != bad.Service.Hash || !strings.Contains(got.Message, "update paused") {
		t.Errorf("observed %+v", got)
	}
	// Tried again it is paused again: an update to what is there would be over at once.
	before := b.tasksOf(good.Service.Full)
	again := plan.UpdateService{ID: got.ID, Version: got.Version, Owner: bad.Owner, Stack: bad.Stack, Service: bad.Service, Image: bad.Image, Force: true}
	b.apply(again)
	b.eventually("paused again, by another task", func() bool {
		now := b.tasksOf(good.Service.Full)
		return b.mustService(good.Service.Full).Update == swarm.Paused && len(now) > 0 && !slices.Equal(now, before)
	})
	b.update(good)
	b.runs(good.Service.Full, 1)
}

// tasksOf are the ids of a service's present tasks, sorted.
func (b *bench) tasksOf(name string) []string {
	b.t.Helper()
	o, svc := b.swarm(), b.mustService(name)
	var ids []string
	for _, k := range o.Tasks {
		if k.Service == svc.ID && k.Current {
			ids = append(ids, k.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (b *bench) object(kind spec.ObjectKind, key, content string) plan.CreateObject {
	return plan.CreateObject{Owner: owner, Stack: b.stack, Object: spec.SwarmObject{
		Kind: kind, Key: key, Name: b.stack + "_" + key + "_" + content, Hash: "1:" + content, Labels: map[string]string{"mine": "yes"}, Content: []byte(content),
	}}
}

func (b *bench) objectNamed(name string) (swarm.Object, bool) {
	b.t.Helper()
	for _, o := range b.swarm().Objects {
		if o.Name == name {
			return o, true
		}
	}
	return swarm.Object{}, false
}

// Configs and secrets are made once, are not removed while in use, and removed twice without harm.
func contractObjects(t *testing.T, b *bench) {
	for _, kind := range []spec.ObjectKind{spec.ConfigObject, spec.SecretObject} {
		o := b.object(kind, "key", "hush")
		b.apply(o, o)
		have, _ := b.objectNamed(o.Object.Name)
		want := swarm.Object{ID: have.ID, Kind: kind, Name: o.Object.Name, Owner: owner, Stack: b.stack, Hash: "1:hush"}
		if diff := cmp.Diff(want, have); diff != "" || have.ID == "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
		other := o
		other.Object.Hash = "1:other"
		if err := b.Apply(t.Context(), other); err == nil {
			t.Errorf("a %s of other content was adopted", kind)
		}
		a := b.swarmService("app", func(s *spec.SwarmService) {
			s.Files = []spec.SwarmFile{{Kind: kind, Object: o.Object.Name, Target: "/key", Mode: 0o400}}
		})
		b.apply(a)
		if diff := cmp.Diff([]swarm.ObjectName{{Kind: kind, Name: o.Object.Name}}, b.mustService(a.Service.Full).Objects); diff != "" {
			t.Errorf("the service's objects (-want +got):\n%s", diff)
		}
		rm := plan.RemoveObject{ID: have.ID, Kind: kind, Name: o.Object.Name}
		if err := b.Apply(t.Context(), rm); err == nil || !strings.Contains(err.Error(), "in use by") || strings.Contains(err.Error(), "rpc error") {
			t.Errorf("removing a %s in use: %v", kind, err)
		}
		b.apply(plan.RemoveService{ID: b.mustService(a.Service.Full).ID, Name: a.Service.Full}, rm, rm)
		if _, there := b.objectNamed(o.Object.Name); there {
			t.Errorf("the %s is still there", kind)
		}
	}
	a := b.swarmService("app", func(s *spec.SwarmService) {
		s.Files = []spec.SwarmFile{{Kind: spec.SecretObject, Object: "nowhere", Target: "/key"}}
	})
	if err := b.Apply(t.Context(), a); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a service without its secret: %v", err)
	}
}

// New content is a new object, and a rollback would want the former one back.
func contractRotate(t *testing.T, b *bench) {
	one, two := b.object(spec.ConfigObject, "key", "one"), b.object(spec.ConfigObject, "key", "two")
	with := func(o plan.CreateObject) plan.CreateService {
		return b.swarmService("app", func(s *spec.SwarmService) {
			s.Files = []spec.SwarmFile{{Kind: o.Object.Kind, Object: o.Object.Name, Target: "/key", Mode: 0o444}}
		})
	}
	b.apply(one, two, with(one))
	b.update(with(two))
	got := b.mustService(b.stack + "_app")
	want := func(o plan.CreateObject) []swarm.ObjectName {
		return []swarm.ObjectName{{Kind: o.Object.Kind, Name: o.Object.Name}}
	}
	if !slices.Equal(got.Objects, want(two)) || !slices.Equal(got.Before, want(one)) {
		t.Errorf("objects %v, before %v", got.Objects, got.Before)
	}
}

// An overlay is made once, attached to by name, and not removed while a service is on it.
func contractOverlay(t *testing.T, b *bench) {
	n := b.network("default")
	n.Network.Driver, n.Network.Attachable = "overlay", true
	n.Network.Hash = spec.HashNetwork(n.Network)
	b.apply(n, n)
	var have []swarm.Network
	for _, o := range b.swarm().Networks {
		if o.Name == n.Network.Name {
			have = append(have, o)
		}
	}
	if len(have) != 1 {
		t.Fatalf("networks %+v", have)
	}
	want := swarm.Network{ID: have[0].ID, Name: n.Network.Name, Owner: owner, Stack: b.stack, Hash: n.Network.Hash, Attachable: true}
	if diff := cmp.Diff(want, have[0]); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	on := b.swarmService("app", func(s *spec.SwarmService) {
		s.Networks = []spec.Attachment{{Network: n.Network.Name, Aliases: []string{"web"}}}
	})
	host := b.swarmService("host", func(s *spec.SwarmService) { s.Networks = []spec.Attachment{{Network: "host"}} })
	b.apply(on, host)
	if got := b.mustService(on.Service.Full).Networks; !slices.Equal(got, []string{n.Network.Name}) {
		t.Errorf("networks of the service %v", got)
	}
	b.update(b.swarmService("app", env("VERSION=2")))
	if got := b.mustService(on.Service.Full); len(got.Networks) != 0 || !slices.Equal(got.NetworksBefore, []string{n.Network.Name}) {
		t.Errorf("networks %v, before %v", got.Networks, got.NetworksBefore)
	}
	b.update(on)
	b.eventually("the host's network is known by name", func() bool {
		return slices.Equal(b.mustService(host.Service.Full).Networks, []string{"host"})
	})
	rm := plan.RemoveNetwork{ID: have[0].ID, Name: n.Network.Name}
	if err := b.Apply(t.Context(), rm); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("removing a network in use: %v", err)
	}
	b.apply(plan.RemoveService{ID: b.mustService(on.Service.Full).ID, Name: on.Service.Full})
	b.eventually("the network is given up", func() bool { return b.Apply(t.Context(), rm) == nil })
	b.apply(rm)
}

// A global service wants a task for each node, and a job's tasks end.
func contractGlobal(t *testing.T, b *bench) {
	everywhere := b.swarmService("app", func(s *spec.SwarmService) { s.Mode = spec.Global })
	job := b.swarmService("job", command("-exit", "0"), func(s *spec.SwarmService) {
		s.Mode = spec.ReplicatedJob
		s.Deploy.Restart = spec.SwarmRestart{Condition: "none"}
	})
	b.apply(everywhere, job)
	b.runs(everywhere.Service.Full, 1)
	if got := b.mustService(everywhere.Service.Full); got.Mode != spec.Global || got.Replicas != 1 {
		t.Errorf("mode %s, replicas %d", got.Mode, got.Replicas)
	}
	got := b.mustService(job.Service.Full)
	if got.Mode != spec.ReplicatedJob || got.Replicas != 1 || got.Hash != job.Service.Hash {
		t.Errorf("the job is observed as %+v", got)
	}
	b.eventually("the job is done", func() bool {
		return slices.ContainsFunc(b.swarm().Tasks, func(n swarm.Task) bool { return n.Service == got.ID && n.State == "complete" && n.Current })
	})
	b.apply(b.to(b.swarmService("job", command("-exit", "0", "again"), func(s *spec.SwarmService) {
		s.Mode = spec.ReplicatedJob
		s.Deploy.Restart = spec.SwarmRestart{Condition: "none"}
	})))
	b.eventually("the job is run again", func() bool {
		done := 0
		for _, n := range b.swarm().Tasks {
			if n.Service == got.ID && n.State == "complete" && n.Current {
				done++
			}
		}
		return done == 1
	})
}

// What is gone may be removed again, and its tasks go.
func contractRemoval(t *testing.T, b *bench) {
	a := b.swarmService("app")
	b.apply(a)
	b.runs(a.Service.Full, 1)
	rm := plan.RemoveService{ID: b.mustService(a.Service.Full).ID, Name: a.Service.Full}
	b.apply(rm, rm)
	if _, there := b.service(a.Service.Full); there {
		t.Error("the service is still there")
	}
	b.eventually("its tasks are gone", func() bool { return len(b.swarm().Tasks) == 0 && len(b.localTasks()) == 0 })
}

// Every change whose reply is lost is repeated and comes out the same.
func contractLostReplies(t *testing.T, b *bench) {
	n := b.network("default")
	n.Network.Driver = "overlay"
	o := b.object(spec.SecretObject, "key", "hush")
	a := b.swarmService("app", func(s *spec.SwarmService) {
		s.Networks = []spec.Attachment{{Network: n.Network.Name}}
		s.Files = []spec.SwarmFile{{Kind: spec.SecretObject, Object: o.Object.Name, Target: "/key", Mode: 0o400}}
	})
	lost := func(act plan.Action) {
		t.Helper()
		b.lose()
		err := b.Apply(t.Context(), act)
		b.mend()
		if err == nil {
			t.Errorf("%s: the lost reply went unnoticed", act)
		}
		b.apply(act)
	}
	for _, act := range []plan.Action{n, o, a} {
		lost(act)
	}
	id := b.mustService(a.Service.Full).ID
	next := a
	next.Service.Body.Env = []string{"GREETING=hello"}
	next.Service.Hash = spec.HashSwarmService(next.Service)
	lost(b.mark(next))
	lost(b.to(next))
	if got := b.mustService(a.Service.Full); got.ID != id || got.Hash != next.Service.Hash {
		t.Errorf("after the update: %+v", got)
	}
	have, _ := b.objectNamed(o.Object.Name)
	lost(plan.RemoveService{ID: id, Name: a.Service.Full})
	lost(plan.RemoveObject{ID: have.ID, Kind: spec.SecretObject, Name: o.Object.Name})
	if left := b.swarm(); len(left.Services) != 0 || len(left.Objects) != 0 {
		t.Errorf("left: %+v, %+v", left.Services, left.Objects)
	}
}

// A change of a service makes for a look.
func contractSwarmEvents(t *testing.T, b *bench) {
	b.events()
	o := b.object(spec.ConfigObject, "key", "x")
	b.apply(o)
	b.awake("a config was made")
	have, _ := b.objectNamed(o.Object.Name)
	b.apply(plan.RemoveObject{ID: have.ID, Kind: spec.ConfigObject, Name: o.Object.Name})
	b.awake("and removed")
	if o := b.swarm(); len(o.Objects) != 0 {
		t.Errorf("objects %+v", o.Objects)
	}
}

func (b *bench) localTasks() []docker.LocalTask {
	b.t.Helper()
	n, err := b.SwarmNode(b.t.Context())
	must(b.t, err)
	return n.Tasks
}

// The containers of tasks are known as such, and foreign to the planner of containers, whatever their labels say.
func contractTasksHere(t *testing.T, b *bench) {
	a := b.swarmService("app", func(s *spec.SwarmService) {
		s.Body.Labels = map[string]string{spec.LabelCluster: owner, spec.LabelStack: b.stack, spec.LabelService: "app", spec.LabelHash: "1:x"}
	})
	b.apply(a)
	task := b.runs(a.Service.Full, 1)[0]
	n, err := b.SwarmNode(t.Context())
	must(t, err)
	if n.State != "active" || !n.Control || n.ID != task.Node || n.Swarm != b.swarm().SwarmID || len(n.Tasks) != 1 {
		t.Fatalf("this node %+v", n)
	}
	here := n.Tasks[0]
	if here.ID != task.ID || here.Service != a.Service.Full || here.Container != task.Container || here.State != node.Running {
		t.Errorf("task here %+v, want that of %+v", here, task)
	}
	i := slices.IndexFunc(b.observe().Containers, func(c node.Container) bool { return c.ID == task.Container })
	if i < 0 {
		t.Fatal("the task's container is not observed")
	}
	if c := b.observe().Containers[i]; c.Owner != "" || c.Stack != "" || c.Service != "" || c.Hash != "" {
		t.Errorf("the task's container counts as ours: %+v", c)
	}
}

// An engine in no Swarm has no control, which is no error, and every change is refused.
func contractNoSwarm(t *testing.T, b *bench) {
	if o := b.swarm(); !cmp.Equal(o, swarm.Observed{}) {
		t.Errorf("observed %+v", o)
	}
	if n, err := b.SwarmNode(t.Context()); err != nil || n.State != "inactive" || n.Control || n.ID != "" || len(n.Tasks) != 0 {
		t.Errorf("this node %+v, %v", n, err)
	}
	overlay := b.network("default")
	overlay.Network.Driver = "overlay"
	for _, a := range []plan.Action{
		b.swarmService("app"), plan.UpdateService{ID: "x", Version: 1}, plan.MarkService{ID: "x"}, plan.RemoveService{ID: "x"},
		b.object(spec.ConfigObject, "key", "x"), b.object(spec.SecretObject, "key", "x"), plan.RemoveObject{ID: "x", Kind: spec.SecretObject}, overlay,
	} {
		if err := b.Apply(t.Context(), a); err == nil || !strings.Contains(err.Error(), "not a swarm manager") {
			t.Errorf("%s: %v", a, err)
		}
	}
}
