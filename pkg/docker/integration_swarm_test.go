//go:build integration

package docker_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/brambled/brambled/e2e/harness"
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
