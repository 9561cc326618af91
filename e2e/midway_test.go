//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// alone is a service of which two must never run at once: they write one volume. Its health is as the flags say; starting is
// how long bad health does not count.
func alone(greeting, flags, starting string) string {
	return `x-brambled: { nodes: all }
services:
  db:
    image: brambled/hello:1
    command: [-alone, /data/lock` + flags + `]
    environment: { GREETING: "` + greeting + `" }
    ports: ["8080:8080"]
    networks: { default: { aliases: [store] } }
    volumes: [data:/data]
    healthcheck: { test: [CMD, /hello, -healthcheck], interval: 1s, start_period: ` + starting + `, retries: 2 }
    deploy: { update_config: { failure_action: rollback } }
volumes: { data: {} }
`
}

// midway is a Pi in the middle of a stop-first update: the old container is stopped, the new one has yet to show that it is
// healthy.
type midway struct {
	*pi
	old container
}

func (m *midway) between(t *testing.T) {
	t.Helper()
	got := m.runs(t, "web", "web-db-1", "web-db-1.prev exited")
	if got["web-db-1.prev"].ID != m.old.ID {
		t.Errorf("the predecessor is %s, was %s", got["web-db-1.prev"].ID, m.old.ID)
	}
}

// neverTwice asserts that no two ever ran at once.
func (m *midway) neverTwice(t *testing.T) {
	t.Helper()
	mark := filepath.Join(m.engine.Dir, "data", "volumes", "web_data", "_data", "lock")
	if _, err := os.Stat(mark); err != nil {
		t.Fatalf("nobody has locked the volume, so nothing is shown: %v", err)
	}
	if _, err := os.Stat(mark + ".overlap"); err == nil {
		t.Error("two containers ran at once on one volume")
	}
}

// back asserts that the predecessor runs again, with its name, port, network and volume.
func (m *midway) back(t *testing.T, others ...string) {
	t.Helper()
	got := m.runs(t, "web", append(others, "web-db-1")...)["web-db-1"]
	if got.ID != m.old.ID {
		t.Errorf("web-db-1 is another container than before the update")
	}
	m.answers(t, "8080", "first")
	if out := m.engine.Docker(t, "inspect", "--format", `{{json .NetworkSettings.Networks.web_default.Aliases}} {{(index .Mounts 0).Name}} {{.HostConfig.RestartPolicy.Name}}`, "web-db-1"); !strings.Contains(out, `"store"`) || !strings.Contains(out, "web_data unless-stopped") {
		t.Errorf("it is not what it was: %s", out)
	}
}

// Brambled, dockerd or the power goes in the middle of an update. Old and new never run together, whoever starts what, and the
// way back is open all the time.
func TestCutInTheMiddle(t *testing.T) {
	t.Parallel()
	m := &midway{pi: boot(t)}
	m.put(t, "web", alone("first", "", "0s"))
	m.old = m.runs(t, "web", "web-db-1")["web-db-1"]
	m.state(t, "web", "converged")
	m.put(t, "web", alone("second", `, -unhealthy, "-1s"`, "1h"))
	m.between(t)

	step := func(name string, run func(t *testing.T)) {
		if !t.Run(name, run) {
			t.Fatal("the steps that follow need a Pi that is in the middle of it")
		}
	}
	step("dockerd is killed", func(t *testing.T) {
		m.engine.Kill(t)
		m.engine.Again(m.top)
		m.between(t)
	})
	step("brambled is killed", func(t *testing.T) {
		m.Kill(t)
		m.Again(m.top)
		m.between(t)
	})
	step("the power fails", func(t *testing.T) {
		pid := m.runs(t, "web", "web-db-1", "web-db-1.prev exited")["web-db-1"].State.Pid
		m.Kill(t)
		m.engine.Kill(t)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("end the container's process: %v", err)
		}
		m.engine.Again(m.top)
		harness.Eventually(t, "dockerd has started the new one", func() error {
			if c := m.containers(t, "web")["web-db-1"]; c.State.Status != "running" {
				return fmt.Errorf("it is %s", c.State.Status)
			}
			return nil
		})
		m.Again(m.top)
		m.between(t)
	})
	m.neverTwice(t)
	step("the file is taken back", func(t *testing.T) {
		m.put(t, "web", alone("first", "", "0s"))
		m.back(t)
		m.state(t, "web", "converged")
	})
	step("the new one fails, and apply says so", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "web.yaml")
		write(t, path, alone("third", `, -unhealthy, "-1s"`, "0s"))
		if out := m.command(t, 1, "apply", path); !strings.Contains(strings.ToLower(out), "failed") {
			t.Errorf("apply says: %s", out)
		}
		m.back(t, "web-db-1.failed exited")
		m.state(t, "web", "failed")
	})
	m.neverTwice(t)
}
