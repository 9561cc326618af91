//go:build integration

package docker_test

import (
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// swarmWorld is a Docker Engine of the test's own that may join a Swarm, behind a proxy that loses replies. Without
// --live-restore: Swarm refuses it.
func swarmWorld(t *testing.T) (world, *harness.Engine) {
	e := harness.StartDockerd(t)
	e.LoadHello(t)
	p := harness.SocketProxy(t, e.Socket)
	return world{
		host: p.Host, image: "brambled/hello:1", patience: 60 * time.Second,
		turn:  func(*testing.T, string, container.HealthStatus) {},
		kill:  func(t *testing.T) { t.Helper(); e.Kill(t) },
		again: func(t *testing.T) { t.Helper(); e.Again(t) },
		lose: func() {
			p.Break(func(r *http.Request) harness.Fault {
				if r.Method == http.MethodPost || r.Method == http.MethodDelete {
					return harness.LoseReply
				}
				return nil
			})
		},
		mend: func() { p.Break(nil) },
	}, e
}

// A real manager keeps the same contract as the fake.
func TestSwarmContractOnDocker(t *testing.T) {
	t.Parallel()
	w, _ := swarmWorld(t)
	contractSwarm(t, w)
	contractQuorum(t, w)
}

// Digests from a registry, and its credentials from the Docker config file.
func TestPinOnDocker(t *testing.T) {
	w, e := swarmWorld(t)
	r := dockertest.NewRegistry(t, e.Gateway, false)
	contractPin(t, newManager(t, w, "swpin"), func(name string) string { return r.Address + "/" + name + ":1" }, r.Digest("good"))
}

func TestPinPrivateOnDocker(t *testing.T) {
	w, e := swarmWorld(t)
	r := dockertest.NewRegistry(t, e.Gateway, true)
	b := newManager(t, w, "swprivate")
	ref := r.Address + "/good:1"
	if p := b.pin(ref); p.Image != "" || !strings.Contains(p.Err, "docker login") {
		t.Errorf("without credentials: %+v", p)
	}
	b.login(r.Address, r.User, r.Password)
	b.apply(plan.Pin{Image: ref})
	b.eventually("with credentials", func() bool { return b.pins(ref)[ref] == swarm.Pin{Image: ref + "@" + r.Digest("good")} })
}

// wire joins the networks of two engines by a cable, and returns their addresses on it. It goes with the namespaces.
func wire(t *testing.T, a, b *harness.Engine) (string, string) {
	t.Helper()
	ip := func(words ...string) {
		t.Helper()
		if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
	one, two := filepath.Base(a.Namespace), filepath.Base(b.Namespace)
	ip("-n", one, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", two)
	for namespace, address := range map[string]string{one: "198.19.255.1", two: "198.19.255.2"} {
		ip("-n", namespace, "addr", "add", address+"/30", "dev", "wire")
		ip("-n", namespace, "link", "set", "wire", "up")
	}
	return "198.19.255.1", "198.19.255.2"
}

// join makes an engine a worker in the Swarm of a manager that was just made.
func join(t *testing.T, manager, worker *bench, at, from string) {
	t.Helper()
	_, err := manager.cli.SwarmInit(t.Context(), client.SwarmInitOptions{ListenAddr: at + ":2377", AdvertiseAddr: at})
	must(t, err)
	info, err := manager.cli.SwarmInspect(t.Context(), client.SwarmInspectOptions{})
	must(t, err)
	_, err = worker.cli.SwarmJoin(t.Context(), client.SwarmJoinOptions{
		ListenAddr: from + ":2377", AdvertiseAddr: from, RemoteAddrs: []string{at + ":2377"}, JoinToken: info.Swarm.JoinTokens.Worker,
	})
	must(t, err)
}

// Two engines: one forms the Swarm, the other joins, gets a seat, gives it back, leaves, and its record is removed.
func TestQuorumOnDocker(t *testing.T) {
	t.Parallel()
	one, oneEngine := swarmWorld(t)
	two, twoEngine := swarmWorld(t)
	a, b := newBench(t, one, "qutwo"), newBench(t, two, "qutwo")
	at, from := wire(t, oneEngine, twoEngine)
	a.apply(plan.InitSwarm{Node: "pi1", Cluster: "c1", Address: at, Settings: settings})
	id, token, err := a.WorkerToken(t.Context())
	must(t, err)
	join := plan.JoinSwarm{Swarm: id, Node: "pi2", Address: from, Managers: []string{at + ":2377"}}
	if err := b.JoinSwarm(t.Context(), join, token[:len(token)-1]+"?"); err == nil {
		t.Error("joined by another token")
	}
	must(t, b.JoinSwarm(t.Context(), join, token))
	must(t, b.JoinSwarm(t.Context(), join, token)) // its reply was lost
	if o := b.quorum(); o.State != quorum.Active || o.Manager || o.Control {
		t.Errorf("the worker observes %+v", o)
	}
	self, err := b.SwarmNode(t.Context())
	must(t, err)
	node := func() (out quorum.Node) {
		for _, n := range a.quorum().Nodes {
			if n.ID == self.ID {
				out = n
			}
		}
		return out
	}
	a.eventually("the worker is ready", func() bool { return node().Ready })
	a.apply(plan.PromoteNode{ID: self.ID, Name: "pi2", Version: node().Version})
	a.eventually("it has its seat", func() bool { n := node(); return n.Manager && n.Seat && n.Reachable && n.Address == from+":2377" })
	if err := a.Apply(t.Context(), plan.DropNode{ID: self.ID, Name: "pi2"}); err == nil {
		t.Error("a manager was removed")
	}
	b.eventually("it sees both", func() bool { o := b.quorum(); return o.Control && len(o.Nodes) == 2 })
	a.apply(plan.DemoteNode{ID: self.ID, Name: "pi2", Version: node().Version})
	a.eventually("its seat is taken", func() bool { n := node(); return !n.Manager && !n.Seat })
	b.eventually("it knows", func() bool { o := b.quorum(); return o.State == quorum.Active && !o.Manager })
	leaveAs(t, b, id)
	a.eventually("it is down", func() bool { return !node().Ready })
	a.apply(plan.DropNode{ID: self.ID, Name: "pi2"}, plan.DropNode{ID: self.ID, Name: "pi2"})
	if n := a.quorum().Nodes; len(n) != 1 {
		t.Errorf("after its removal: %+v", n)
	}
}

// Of two managers one is left: it is a manager, and has no control.
func TestNoQuorumOnDocker(t *testing.T) {
	t.Parallel()
	one, oneEngine := swarmWorld(t)
	two, twoEngine := swarmWorld(t)
	a, b := newBench(t, one, "qunone"), newBench(t, two, "qunone")
	at, from := wire(t, oneEngine, twoEngine)
	join(t, a, b, at, from)
	oneEngine.Docker(t, "node", "promote", twoEngine.Docker(t, "info", "--format", "{{.Swarm.NodeID}}"))
	b.eventually("both are managers", func() bool {
		o, err := b.ObserveQuorum(t.Context(), b.NewQuorumMemory())
		return err == nil && o.Control
	})
	oneEngine.Kill(t)
	b.eventually("no quorum", func() bool {
		o, err := b.ObserveQuorum(t.Context(), b.NewQuorumMemory())
		return err == nil && cmp.Equal(o, quorum.Observed{State: quorum.Active, Manager: true, Err: noLeader})
	})
}

// Of two managers one is left, and a person has it go on alone: the Swarm is the one it was, with all that it ran.
func TestRecoverOnDocker(t *testing.T) {
	t.Parallel()
	one, oneEngine := swarmWorld(t)
	two, twoEngine := swarmWorld(t)
	a, b := newBench(t, one, "qurec"), newBench(t, two, "qurec")
	at, from := wire(t, oneEngine, twoEngine)
	a.apply(plan.InitSwarm{Node: "pi1", Cluster: "c1", Address: at, Settings: settings})
	id, token, err := a.WorkerToken(t.Context())
	must(t, err)
	must(t, b.JoinSwarm(t.Context(), plan.JoinSwarm{Swarm: id, Node: "pi2", Address: from, Managers: []string{at + ":2377"}}, token))
	oneEngine.Docker(t, "node", "promote", twoEngine.Docker(t, "info", "--format", "{{.Swarm.NodeID}}"))
	b.eventually("both are managers", func() bool {
		o, err := b.ObserveQuorum(t.Context(), b.NewQuorumMemory())
		return err == nil && o.Control
	})
	app := a.swarmService("app", func(s *spec.SwarmService) { s.Mode = spec.Global })
	a.apply(app)
	survivor := docker.NewSurvivor(b.Engine)
	if err := survivor.ForceNewCluster(t.Context()); !errors.Is(err, docker.ErrLed) {
		t.Errorf("with a quorum: %v", err)
	}
	oneEngine.Kill(t)
	var lost docker.Loss
	b.eventually("no quorum", func() bool {
		lost, err = survivor.Look(t.Context())
		return err == nil && lost.Leaderless
	})
	if lost.Address != from+":2377" || len(lost.Others) != 1 || lost.Others[0].Address != at+":2377" || !lost.Manager {
		t.Errorf("it sees %+v", lost)
	}
	must(t, survivor.ForceNewCluster(t.Context()))
	b.eventually("it is the only manager", func() bool {
		o, err := b.ObserveQuorum(t.Context(), b.NewQuorumMemory())
		seats := 0
		for _, n := range o.Nodes {
			if n.Seat {
				seats++
			}
		}
		return err == nil && o.Control && seats == 1 && o.Swarm.ID == id && o.Swarm.Cluster == "c1"
	})
	if have := b.mustService(app.Service.Full); have.Hash != app.Service.Hash {
		t.Errorf("its service is %+v", have)
	}
	if err := survivor.ForceNewCluster(t.Context()); !errors.Is(err, docker.ErrLed) {
		t.Errorf("once more: %v", err)
	}
}

// A worker has no control and knows its own tasks; a manager that has lost the others has none either, and does not see half a Swarm.
func TestTwoNodesOnDocker(t *testing.T) {
	t.Parallel()
	one, oneEngine := swarmWorld(t)
	two, twoEngine := swarmWorld(t)
	manager, worker := newBench(t, one, "swtwo"), newBench(t, two, "swtwo")
	at, from := wire(t, oneEngine, twoEngine)
	join(t, manager, worker, at, from)
	a := manager.swarmService("app", func(s *spec.SwarmService) { s.Mode = spec.Global })
	manager.apply(a)
	manager.runs(a.Service.Full, 2)
	if got := manager.mustService(a.Service.Full).Replicas; got != 2 {
		t.Errorf("a global service on two nodes wants %d tasks", got)
	}
	if o := worker.swarm(); !cmp.Equal(o, swarm.Observed{}) {
		t.Errorf("a worker observes %+v", o)
	}
	n, err := worker.SwarmNode(t.Context())
	if err != nil || n.State != "active" || n.Control || n.ID == "" || len(n.Tasks) != 1 || n.Tasks[0].Service != a.Service.Full {
		t.Errorf("the worker: %+v, %v", n, err)
	}
	if err := worker.Apply(t.Context(), plan.RemoveService{Name: a.Service.Full}); err == nil || !strings.Contains(err.Error(), "not a swarm manager") {
		t.Errorf("a worker removes a service: %v", err)
	}
	oneEngine.Docker(t, "node", "promote", n.ID)
	worker.eventually("the other is a manager", func() bool {
		o, err := worker.ObserveSwarm(t.Context(), docker.SwarmWant{})
		return err == nil && o.Control && len(o.Services) == 1
	})
	oneEngine.Kill(t)
	worker.eventually("without quorum there is no control", func() bool {
		o, err := worker.ObserveSwarm(t.Context(), docker.SwarmWant{})
		if err == nil && o.Control && len(o.Services) != 1 {
			t.Errorf("half a Swarm was observed: %+v", o)
		}
		return err == nil && cmp.Equal(o, swarm.Observed{})
	})
	if n, err := worker.SwarmNode(t.Context()); err != nil || len(n.Tasks) != 1 {
		t.Errorf("without quorum its own tasks: %+v, %v", n, err)
	}
}
