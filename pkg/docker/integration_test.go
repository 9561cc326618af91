//go:build integration

package docker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// flags keep containers alive while dockerd is down, and let it pull from a registry of the test.
var flags = []string{"--live-restore", "--insecure-registry=198.18.0.0/15"}

// realWorld is a Docker Engine of the test's own. Its containers live through a crash of dockerd.
func realWorld(t *testing.T) (world, *harness.Engine) {
	e := harness.StartDockerd(t, flags...)
	e.LoadHello(t)
	id := strings.TrimSpace(e.Docker(t, "create", "brambled/hello:1"))
	e.Docker(t, "commit", "--change", "VOLUME /data", id, "brambled/volume:1")
	e.Docker(t, "rm", "-v", id)
	return world{
		host: e.Host, image: "brambled/hello:1", volumeImage: "brambled/volume:1", patience: 30 * time.Second,
		turn:  func(*testing.T, string, container.HealthStatus) {}, // its probes run
		kill:  func(t *testing.T) { t.Helper(); e.Kill(t) },
		again: func(t *testing.T) { t.Helper(); e.Again(t, flags...) },
	}, e
}

// A real engine keeps the same contract as the fake.
func TestContractOnDocker(t *testing.T) {
	w, _ := realWorld(t)
	contract(t, w)
}

// Pulls from a registry that works, fails and stalls.
func TestPullOnDocker(t *testing.T) {
	w, e := realWorld(t)
	r := dockertest.NewRegistry(t, e.Gateway, false)
	contractPull(t, newBench(t, w, "ctpull"), func(name string) string { return r.Address + "/" + name + ":1" })
}

// Credentials come from the Docker config file.
func TestPullPrivateOnDocker(t *testing.T) {
	w, e := realWorld(t)
	r := dockertest.NewRegistry(t, e.Gateway, true)
	b := newBench(t, w, "ctprivate")
	ref := r.Address + "/good:1"
	if p, local := b.pull(ref, ""); p.Err == "" || local {
		t.Fatalf("without credentials: %+v, local %t", p, local)
	}
	b.login(r.Address, r.User, r.Password)
	if p, local := b.pull(ref, ""); p.Err != "" || !local {
		t.Errorf("with credentials: %+v, local %t", p, local)
	}
}

// Keys that need more than a copied field, read back from an engine that speaks API 1.41.
func TestBodyOnDocker(t *testing.T) {
	w, _ := realWorld(t)
	b := newBench(t, w, "ctbody")
	n := b.network("default")
	b.apply(n)
	made := filepath.Join(t.TempDir(), "made", "by-engine")
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Networks = []spec.Attachment{{Network: n.Network.Name, Aliases: []string{"app"}}}
		a.Spec.Body.MacAddress = "02:42:00:00:00:07"
		a.Spec.Body.ClearCommand = true
		a.Spec.Body.Binds = []spec.Bind{{Source: made, Target: "/made", CreateSource: true, ReadOnly: true}}
		a.Spec.Body.Tmpfs = []spec.Tmpfs{{Target: "/t1", SizeBytes: 1 << 20, Mode: 0o1770}, {Target: "/t2", Options: "size=64k"}}
		a.Spec.Body.Ports = []spec.Port{{Target: 8080, Protocol: "tcp", Published: "18080"}}
		a.Spec.Body.Ulimits = []spec.Ulimit{{Name: "nofile", Soft: 64, Hard: 128}}
		a.Spec.Body.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
		a.Spec.Body.ExtraHosts = []string{"pi:10.0.0.1"}
		a.Spec.Body.MemoryBytes = 64 << 20
	})
	b.apply(a, plan.Start{Name: a.Name})
	if c := b.mustSee(a.Name); c.State != node.Running {
		t.Fatalf("state %s: %s", c.State, c.Error)
	}
	info := b.inspect(a.Name)
	if mac := info.NetworkSettings.Networks[n.Network.Name].MacAddress.String(); mac != "02:42:00:00:00:07" {
		t.Errorf("mac_address %s", mac)
	}
	if st, err := os.Stat(made); err != nil || !st.IsDir() {
		t.Errorf("the bind's source was not made: %v", err)
	}
	if len(info.Config.Cmd) != 0 || len(info.Config.Entrypoint) != 1 {
		t.Errorf("entry point %v, command %v", info.Config.Entrypoint, info.Config.Cmd)
	}
	if info.HostConfig.Tmpfs["/t2"] != "size=64k" || info.HostConfig.Memory != 64<<20 {
		t.Errorf("host config %+v", info.HostConfig)
	}
	gone := b.make("gone", func(a *plan.Create) { a.Spec.Body.Binds = []spec.Bind{{Source: made + "-not", Target: "/x"}} })
	if err := b.Apply(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a bind without its source: %v", err)
	}
}

// `docker compose -p STACK ps` and `logs` know the containers by their labels.
func TestComposeKnowsThem(t *testing.T) {
	w, e := realWorld(t)
	b := newBench(t, w, "ctcompose")
	n := b.network("default")
	a := b.make("app", func(a *plan.Create) {
		a.Spec.Networks = []spec.Attachment{{Network: n.Network.Name}}
		a.DependsOn = []spec.Dependency{{Service: "db", Condition: spec.Started}}
	})
	b.apply(n, b.make("db"), plan.Start{Name: b.name("db")}, a, plan.Start{Name: a.Name})
	list := e.Compose(t, "-p", b.stack, "ps")
	for _, name := range []string{a.Name, b.name("db")} {
		if !strings.Contains(list, name) {
			t.Errorf("docker compose ps does not list %s:\n%s", name, list)
		}
	}
	b.eventually("docker compose logs shows a line", func() bool { return strings.Contains(e.Compose(t, "-p", b.stack, "logs"), "app-1") })
}
