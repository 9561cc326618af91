//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// A service that must not run twice is stopped on a Pi that is cut off, which the others take for gone, and stays so while it is:
// neither a new start of dockerd nor of brambled starts it. All others run on.
func TestStopWhenCutOff(t *testing.T) {
	t.Parallel()
	p := &pi{top: t, engine: harness.StartDockerd(t), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	way := harness.TCPProxy(t, p.consul.Address)
	p.Brambled = harness.StartBrambled(t, harness.Options{Docker: p.proxy.Host, Consul: way.Host, Args: []string{"--resync", "5s"}})
	p.put(t, "web", "x-brambled: { nodes: all }\nservices:\n"+
		"  db:\n    image: brambled/hello:1\n    x-brambled: { nodes: all, stop_when_cut_off: 10s }\n    volumes: [data:/data]\n"+
		"  app:\n    image: brambled/hello:1\n"+
		"volumes: { data: {} }\n")
	before := p.runs(t, "web", "web-app-1", "web-db-1")
	p.state(t, "web", "converged")

	p.Kill(t)
	p.Again(t)
	p.state(t, "web", "converged")
	now := p.runs(t, "web", "web-app-1", "web-db-1")
	same(t, before, now, "web-app-1")
	same(t, before, now, "web-db-1")

	way.Down(t)
	now = p.runs(t, "web", "web-app-1", "web-db-1 exited")
	same(t, before, now, "web-app-1")
	p.says(t, []string{"why", "web/db"}, "contact with Consul", "stop_when_cut_off")

	p.engine.Kill(t)
	p.engine.Again(t)
	harness.Eventually(t, "what may run was started again", func() error {
		if c := p.containers(t, "web")["web-app-1"]; c.State.Status != "running" {
			return fmt.Errorf("web-app-1 is %s", c.State.Status)
		}
		return nil
	})
	p.Kill(t)
	p.Again(t)
	p.says(t, []string{"why", "web/db"}, "contact with Consul")
	p.runs(t, "web", "web-app-1", "web-db-1 exited")

	way.Up(t)
	now = p.runs(t, "web", "web-app-1", "web-db-1")
	if now["web-db-1"].ID != before["web-db-1"].ID {
		t.Errorf("it was made anew: %s, was %s", now["web-db-1"].ID, before["web-db-1"].ID)
	}
	p.state(t, "web", "converged")
}
