//go:build integration

package docker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
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
	w, _ := swarmWorld(t)
	contractSwarm(t, w)
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
