package docker_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

// contractQuorum is what pkg/docker relies on, and gives, where the Swarm itself is changed: on one engine. What takes two is in
// TestQuorumOnDocker.
func contractQuorum(t *testing.T, w world) {
	t.Run("form", func(t *testing.T) { contractForm(t, newBench(t, w, "quform")) })
	for name, f := range map[string]func(*testing.T, *bench){
		"configure": contractConfigure, "set-node": contractSetNode, "last-manager": contractLastManager,
	} {
		t.Run(name, func(t *testing.T) { f(t, newManager(t, w, "qu")) })
	}
}

// quorum looks at the Swarm itself, as a leader does whose term begins now.
func (b *bench) quorum() quorum.Observed {
	b.t.Helper()
	o, err := b.ObserveQuorum(b.t.Context(), b.NewQuorumMemory())
	must(b.t, err)
	return o
}

// swarmSpec is what is asked of the Swarm, as the engine has it.
func (b *bench) swarmSpec() swarmapi.Spec {
	b.t.Helper()
	res, err := b.cli.SwarmInspect(b.t.Context(), client.SwarmInspectOptions{})
	must(b.t, err)
	return res.Swarm.Spec
}

// self is the one node of the Swarm.
func (b *bench) self() quorum.Node {
	b.t.Helper()
	o := b.quorum()
	if !o.Control || len(o.Nodes) != 1 {
		b.t.Fatalf("observed %+v", o)
	}
	return o.Nodes[0]
}

var settings = spec.SwarmSettings{CertExpiry: 365 * 24 * time.Hour, Heartbeat: 2 * time.Second, TaskHistory: 2}

// A Swarm is formed with all that it should carry, once; the next pass finds it so.
func contractForm(t *testing.T, b *bench) {
	if o := b.quorum(); !cmp.Equal(o, quorum.Observed{State: quorum.Inactive}) {
		t.Fatalf("before: %+v", o)
	}
	form := plan.InitSwarm{Node: "pi1", Cluster: "c1", Address: "127.0.0.1", Settings: settings, Pools: []string{"10.213.0.0/16"}, PoolMask: 26}
	b.t.Cleanup(b.leave)
	b.apply(form)
	first := b.quorum()
	want := quorum.Observed{
		State: quorum.Active, Manager: true, Control: true,
		Swarm: quorum.Swarm{ID: first.Swarm.ID, Version: first.Swarm.Version, Cluster: "c1", CertExpiry: settings.CertExpiry, Heartbeat: settings.Heartbeat, TaskHistory: 2},
		Nodes: []quorum.Node{{Availability: plan.Active, Ready: true, Manager: true, Seat: true, Reachable: true, Leader: true, Address: "127.0.0.1:2377"}},
	}
	if diff := cmp.Diff(want, first, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(quorum.Node{}, "ID", "Host", "Version")); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
	if n := first.Nodes[0]; n.ID == "" || n.Host == "" || n.Version == 0 || first.Swarm.ID == "" || first.Swarm.Version == 0 {
		t.Errorf("observed %+v", first)
	}
	b.apply(form)
	if again := b.quorum(); again.Swarm.ID != first.Swarm.ID {
		t.Errorf("formed anew: %s, then %s", first.Swarm.ID, again.Swarm.ID)
	}
	form.Cluster = "c2"
	if err := b.Apply(t.Context(), form); err == nil {
		t.Error("another cluster's Swarm was taken for the one to be formed")
	}
	id, token, err := b.WorkerToken(t.Context())
	if err != nil || id != first.Swarm.ID || token == "" {
		t.Errorf("the token of %q is %d characters long: %v", id, len(token), err)
	}
}

// Settings are changed at the version that was observed; what is not ours stays.
func contractConfigure(t *testing.T, b *bench) {
	person := b.swarmSpec()
	person.Labels = map[string]string{"room": "attic"}
	_, err := b.cli.SwarmUpdate(t.Context(), client.SwarmUpdateOptions{Version: swarmapi.Version{Index: b.quorum().Swarm.Version}, Spec: person})
	must(t, err)
	before := b.quorum().Swarm
	a := plan.ConfigureSwarm{ID: before.ID, Version: before.Version, Cluster: "c1", Settings: spec.SwarmSettings{Heartbeat: 2 * time.Second}}
	b.apply(a, a) // the second: its reply was lost
	after := b.quorum().Swarm
	want := before
	want.Version, want.Cluster, want.Heartbeat = after.Version, "c1", 2*time.Second
	if diff := cmp.Diff(want, after); diff != "" || after.Version == before.Version {
		t.Errorf("version %d: %s", after.Version, diff)
	}
	if got := b.swarmSpec().Labels["room"]; got != "attic" {
		t.Errorf("a person's label is %q", got)
	}
	a.Settings = settings
	var late *docker.OutOfSequenceError
	if err := b.Apply(t.Context(), a); !errors.As(err, &late) {
		t.Errorf("at a former version: %v", err)
	}
	other := a
	other.ID, other.Version = "another", after.Version
	if err := b.Apply(t.Context(), other); err == nil {
		t.Error("the settings of another Swarm were written here")
	}
	if got := b.quorum().Swarm; !cmp.Equal(got, after) {
		t.Errorf("refused, and changed: %+v", got)
	}
	a.Version = after.Version
	b.apply(a)
	if got := b.quorum().Swarm; got.CertExpiry != settings.CertExpiry || got.TaskHistory != 2 {
		t.Errorf("settings %+v", got)
	}
}

// Labels and availability are written at the version that was observed, and the role stays.
func contractSetNode(t *testing.T, b *bench) {
	before := b.self()
	set := plan.SetNode{ID: before.ID, Name: "pi1", Version: before.Version, Labels: map[string]string{spec.LabelNode: "pi1", "disk": "ssd"}, Availability: plan.Drained}
	b.apply(set, set)
	after := b.self()
	if !maps.Equal(after.Labels, set.Labels) || after.Availability != plan.Drained || !after.Manager || !after.Seat {
		t.Errorf("observed %+v", after)
	}
	set.Availability = plan.Active
	var late *docker.OutOfSequenceError
	if err := b.Apply(t.Context(), set); !errors.As(err, &late) || late.What != "node pi1" {
		t.Errorf("at a former version: %v", err)
	}
	set.Version = after.Version
	b.apply(set)
	if got := b.self(); got.Availability != plan.Active {
		t.Errorf("observed %+v", got)
	}
}

// What would end the Swarm is refused, because nothing is forced.
func contractLastManager(t *testing.T, b *bench) {
	n := b.self()
	for _, a := range []plan.Action{
		plan.DemoteNode{ID: n.ID, Name: "pi1", Version: n.Version}, plan.DropNode{ID: n.ID, Name: "pi1"},
		plan.LeaveSwarm{Node: "pi1", ID: n.ID},
	} {
		if err := b.Apply(t.Context(), a); err == nil {
			t.Errorf("%s: was done", a)
		}
	}
	if got := b.self(); !cmp.Equal(got, n) {
		t.Errorf("before %+v, after %+v", n, got)
	}
	b.apply(plan.PromoteNode{ID: n.ID, Name: "pi1", Version: n.Version}, plan.DropNode{ID: "none", Name: "pi9"}) // is so already
	b.leave()
	b.apply(plan.LeaveSwarm{Node: "pi1", ID: n.ID})
}

// leaveAs has a worker leave its Swarm: as the node that it is, not as one that it has been meanwhile.
func leaveAs(t *testing.T, b *bench, id string) {
	t.Helper()
	n, err := b.SwarmNode(t.Context())
	must(t, err)
	if err := b.Apply(t.Context(), plan.LeaveSwarm{Swarm: id, Node: "pi2", ID: "another"}); err == nil || b.quorum().State != quorum.Active {
		t.Errorf("it left as a node that it is not: %v", err)
	}
	leave := plan.LeaveSwarm{Swarm: id, Node: "pi2", ID: n.ID}
	b.apply(leave, leave)
	if o := b.quorum(); o.State != quorum.Inactive {
		t.Errorf("after it left: %+v", o)
	}
}

// A node may have left and joined anew since it was looked at.
func TestLeave(t *testing.T) {
	b, s := fakeManager(t)
	s.SetWorker(true)
	leaveAs(t, b, "")
}

// On a fake the other nodes are only told of: what is asked of them, and for how long they have been seen so.
func TestQuorumMemory(t *testing.T) {
	b, s := fakeManager(t)
	s.AddNode("pi2")
	seen, same := b.NewQuorumMemory(), time.Duration(0)
	look := func(after time.Duration) quorum.Node {
		t.Helper()
		b.clock.Add(int64(after))
		o, err := b.ObserveQuorum(t.Context(), seen)
		must(t, err)
		same = o.SameFor
		for _, n := range o.Nodes {
			if n.Host == "pi2" {
				return n
			}
		}
		return quorum.Node{}
	}
	expect := func(what string, n quorum.Node, ready, away, pending time.Duration) {
		t.Helper()
		if n.ReadyFor != ready || n.AwayFor != away || n.PendingFor != pending {
			t.Errorf("%s: ready for %s, away for %s, pending for %s; want %s, %s, %s", what, n.ReadyFor, n.AwayFor, n.PendingFor, ready, away, pending)
		}
	}
	edit := func(change func(*swarmapi.Node)) { t.Helper(); s.SetNode("pi2", change) }
	look(0)
	expect("a minute on", look(time.Minute), time.Minute, 0, 0)
	if same != time.Minute {
		t.Errorf("all have their roles for %s", same)
	}
	edit(func(n *swarmapi.Node) { n.Spec.Role = swarmapi.NodeRoleManager })
	look(0)
	expect("promoted, without a seat", look(time.Second), time.Minute+time.Second, 0, time.Second)
	edit(func(n *swarmapi.Node) {
		n.ManagerStatus = &swarmapi.ManagerStatus{Reachability: swarmapi.ReachabilityReachable}
	})
	look(0)
	expect("with its seat", look(time.Second), time.Second, 0, 0)
	if same != time.Second {
		t.Errorf("a second after one has got its seat all have their roles for %s", same)
	}
	edit(func(n *swarmapi.Node) { n.ManagerStatus.Reachability = swarmapi.ReachabilityUnreachable })
	look(0)
	expect("unreachable", look(time.Second), 0, time.Second, 0)
	edit(func(n *swarmapi.Node) {
		n.Status.State, n.ManagerStatus, n.Spec.Role = swarmapi.NodeStateDown, nil, swarmapi.NodeRoleWorker
	})
	expect("its seat is taken, it is away as before", look(time.Second), 0, 2*time.Second, 0)
	s.SetLeaderless(true)
	look(time.Second)
	s.SetLeaderless(false)
	expect("nobody could look in between", look(time.Second), 0, 0, 0)
	expect("and so it begins anew", look(time.Second), 0, time.Second, 0)
}

// noLeader is what an engine says of its part in a Swarm that has lost its quorum.
const noLeader = "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."

// A manager without quorum has no control, which is to be said and is no failed look. Any other half answer fails the look.
func TestNoQuorum(t *testing.T) {
	b, s := fakeManager(t)
	s.SetLeaderless(true)
	want := quorum.Observed{State: quorum.Active, Manager: true, Err: noLeader}
	if got := b.quorum(); !cmp.Equal(got, want) {
		t.Errorf("observed %+v", got)
	}
	if got, err := b.ObserveSwarm(t.Context(), docker.SwarmWant{}); err != nil || got.Control {
		t.Errorf("services: observed %+v, %v", got, err)
	}
	s.SetLeaderless(false)
	s.SetWorker(true)
	if got := b.quorum(); !cmp.Equal(got, quorum.Observed{State: quorum.Active}) {
		t.Errorf("a worker: %+v", got)
	}
	s.SetWorker(false)
	for _, path := range []string{"swarm", "nodes", "info"} {
		s.Break(dockertest.Fault{Match: "^GET /" + path + "$", Message: "rpc error: code = Internal desc = broken"})
		if got, err := b.ObserveQuorum(t.Context(), b.NewQuorumMemory()); err == nil || !cmp.Equal(got, quorum.Observed{}) {
			t.Errorf("%s: observed %+v, %v", path, got, err)
		}
		s.Mend()
		if got := b.quorum(); !got.Control {
			t.Errorf("mended: %+v", got)
		}
	}
}
