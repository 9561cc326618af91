//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

const web = `x-brambled: { nodes: all }
services:
  app:
    image: brambled/hello:1
    environment: { GREETING: "good day" }
    ports: ["8080:8080"]
    depends_on: { db: { condition: service_healthy } }
  db:
    image: brambled/hello:1
    volumes: [data:/data]
volumes: { data: {} }
`

// The life of a stack: each step is what a person does, each check what they would look at.
func TestOnePi(t *testing.T) {
	t.Parallel()
	p := boot(t)
	foreign := p.engine.Docker(t, "run", "-d", "--name", "mine", "brambled/hello:1")

	t.Run("put runs it", func(t *testing.T) {
		p.put(t, "web", web)
		p.runs(t, "web", "web-app-1", "web-db-1")
		p.answers(t, "8080", "good day from")
		p.state(t, "web", "converged")
	})
	t.Run("docker compose lists it", func(t *testing.T) { composeLists(t, p) })
	t.Run("an edit replaces only that container", func(t *testing.T) {
		before := p.runs(t, "web", "web-app-1", "web-db-1")
		p.put(t, "web", strings.Replace(web, "good day", "good evening", 1))
		p.answers(t, "8080", "good evening from")
		after := p.runs(t, "web", "web-app-1", "web-db-1")
		same(t, before, after, "web-db-1")
		if before["web-app-1"].ID == after["web-app-1"].ID {
			t.Error("the edited service kept its container")
		}
	})
	t.Run("docker rm -f is undone", func(t *testing.T) {
		before := p.runs(t, "web", "web-app-1", "web-db-1")
		p.engine.Docker(t, "rm", "-f", "web-app-1")
		p.answers(t, "8080", "good evening from")
		same(t, before, p.runs(t, "web", "web-app-1", "web-db-1"), "web-db-1")
	})
	t.Run("docker stop is undone", func(t *testing.T) {
		p.engine.Docker(t, "stop", "web-app-1")
		p.answers(t, "8080", "good evening from")
	})
	t.Run("dockerd dies and comes back", func(t *testing.T) {
		p.engine.Kill(t)
		p.engine.Again(p.top)
		p.answers(t, "8080", "good evening from")
		p.state(t, "web", "converged")
	})
	t.Run("docker network disconnect is repaired", func(t *testing.T) {
		before := p.runs(t, "web", "web-app-1", "web-db-1")
		p.engine.Docker(t, "network", "disconnect", "-f", "web_default", "web-app-1")
		p.answers(t, "8080", "good evening from")
		same(t, before, p.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1", "web-db-1")
	})
	t.Run("SIGKILL and a new start change nothing", func(t *testing.T) {
		before := p.runs(t, "web", "web-app-1", "web-db-1")
		p.Kill(t)
		p.proxy.Forget()
		p.Again(p.top)
		p.state(t, "web", "converged")
		same(t, before, p.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1", "web-db-1")
		if calls := p.proxy.Mutating(); len(calls) > 0 {
			t.Errorf("the new start changed something: %v", calls)
		}
	})
	t.Run("SIGTERM stops no workload", func(t *testing.T) {
		before := p.runs(t, "web", "web-app-1", "web-db-1")
		if code := p.Term(t, 10*time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
		same(t, before, p.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1", "web-db-1")
		p.Again(p.top)
		p.state(t, "web", "converged")
	})
	t.Run("promtool has nothing to say about the metrics", func(t *testing.T) { promtool(t, p) })
	t.Run("an idle minute makes no call that changes anything", func(t *testing.T) { idle(t, p) })
	t.Run("kv delete removes it and keeps the volume", func(t *testing.T) {
		p.consul.Delete(t, "brambled/stacks/web")
		p.runs(t, "web")
		harness.Eventually(t, "the network is gone", func() error {
			if left := p.engine.Docker(t, "network", "ls", "-q", "--filter", "label=brambled.stack=web"); left != "" {
				return fmt.Errorf("networks %s are left", left)
			}
			return nil
		})
		if got := p.engine.Docker(t, "volume", "ls", "-q", "--filter", "name=web_data"); got != "web_data" {
			t.Errorf("the volume is gone: %q", got)
		}
	})
	if got := p.inspect(t, "name=mine")["mine"]; got.ID != foreign {
		t.Errorf("the foreign container was touched: %+v", got)
	}
}

// same checks that containers kept their id and process.
func same(t *testing.T, before, after map[string]container, names ...string) {
	t.Helper()
	for _, n := range names {
		if before[n].ID != after[n].ID || before[n].State.Pid != after[n].State.Pid {
			t.Errorf("%s was %s with process %d, is %s with process %d", n, before[n].ID, before[n].State.Pid, after[n].ID, after[n].State.Pid)
		}
	}
}

func composeLists(t *testing.T, p *pi) {
	path := strings.TrimSpace(run(t, harness.Script(t, "docker-compose")))
	cmd := exec.Command(path, "-p", "web", "ps", "--format", "{{.Name}} {{.Service}}")
	if strings.HasSuffix(path, "compose") && filepath.Base(path) == "docker" {
		cmd = exec.Command("docker", "compose", "-p", "web", "ps", "--format", "{{.Name}} {{.Service}}")
	}
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+p.engine.Host)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker compose ps: %v\n%s", err, out)
	}
	for _, want := range []string{"web-app-1 app", "web-db-1 db"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("docker compose -p web ps has no %q:\n%s", want, out)
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

func promtool(t *testing.T, p *pi) {
	body, err := p.Fetch("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if !strings.Contains(body, "brambled_passes_total") {
		t.Error("the loop's metrics are missing")
	}
}

// idle watches a converged Pi for longer than a resync takes, from outside of the process.
func idle(t *testing.T, p *pi) {
	var status string
	harness.Eventually(t, "the report is written", func() error {
		status, _ = p.consul.Get(t, "brambled/status/nodes/pi1")
		if !strings.Contains(status, `"state":"converged"`) {
			return fmt.Errorf("it says %s", status)
		}
		return nil
	})
	p.proxy.Forget()
	minute := time.NewTimer(70 * time.Second)
	defer minute.Stop()
	<-minute.C
	if calls := p.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("an idle daemon made calls that change things: %v", calls)
	}
	if calls := p.proxy.Requests(); len(calls) == 0 {
		t.Error("no resync was seen in the audit log: the minute proves nothing")
	}
	if now, _ := p.consul.Get(t, "brambled/status/nodes/pi1"); now != status {
		t.Errorf("the report was written without a change:\n%s\n%s", status, now)
	}
}
