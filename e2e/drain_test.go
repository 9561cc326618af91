//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// A Pi is taken out of service and put back, over a restart of everything: the engine, too, starts nothing of it meanwhile, whatever
// its policy, and afterwards the same containers run.
func TestDrainAndBackInService(t *testing.T) {
	t.Parallel()
	p := boot(t)
	expect := func(code int, words string, args ...string) harness.Result {
		t.Helper()
		res := p.Run(t, args...)
		if res.Code != code || !strings.Contains(res.Stdout+res.Stderr, words) {
			t.Errorf("brambled %v: exit code %d, want %d, and %q in:\n%s%s", args, res.Code, code, words, res.Stdout, res.Stderr)
		}
		return res
	}
	p.put(t, "web", small+"    restart: always\n  front: { image: brambled/hello:1, depends_on: [app] }\n")
	before := p.runs(t, "web", "web-app-1", "web-front-1")
	node := p.node(t)
	expect(1, "there is no node nobody; known are "+node, "drain", "nobody")
	expect(1, "it is not drained", "undrain", node)
	expect(1, node+" is present", "node", "rm", node)
	p.proxy.Forget()
	expect(0, node+" is drained", "drain", node)
	stops := ""
	for _, r := range p.proxy.Mutating() {
		if strings.HasSuffix(r.Path, "/stop") {
			stops += r.Path + " "
		}
	}
	app, front := strings.Index(stops, before["web-app-1"].ID), strings.Index(stops, before["web-front-1"].ID)
	if front < 0 || app < front {
		t.Errorf("the stops were %s; front depends on app (%s)", stops, before["web-app-1"].ID)
	}
	expect(0, "drained", "status")
	expect(0, "brambled undrain "+node, "why", "web/app")
	expect(0, "present, leads, drained", "node", "list")
	rests := func(when string) {
		t.Helper()
		for name, c := range p.containers(t, "web") {
			if c.ID != before[name].ID || c.State.Status != "exited" {
				t.Errorf("%s %s is %s, %s", when, name, c.State.Status, c.ID)
			}
		}
	}
	rests("drained,")
	p.Brambled.Kill(t)
	p.engine.Kill(t)
	p.engine.Again(t)
	rests("before brambled is back")
	p.Brambled.Again(t)
	harness.Eventually(t, "the daemon is back", func() error {
		_, err := p.Fetch("/readyz")
		return err
	})
	rests("after a boot")
	expect(0, "put back into service", "undrain", node)
	after := p.runs(t, "web", "web-app-1", "web-front-1")
	for name, c := range after {
		if c.ID != before[name].ID {
			t.Errorf("%s is another container", name)
		}
	}
	if after["web-front-1"].State.StartedAt < after["web-app-1"].State.StartedAt {
		t.Error("front, which depends on app, started before it")
	}
	if policy := p.engine.Docker(t, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", "web-app-1"); policy != "always" {
		t.Errorf("the policy of web-app-1 is %q", policy)
	}
}

// node is the Pi's name, once the store has its report.
func (p *pi) node(t *testing.T) (name string) {
	t.Helper()
	harness.Eventually(t, "the Pi has reported", func() error {
		for _, key := range p.consul.Keys(t, "brambled/status/nodes/") {
			name = strings.TrimPrefix(key, "brambled/status/nodes/")
			return nil
		}
		return fmt.Errorf("no report")
	})
	return name
}
