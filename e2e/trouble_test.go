//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

const small = "x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:1\n"

// A store that is down or that lost everything is no command to remove anything.
func TestStoreTrouble(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small)
	before := p.runs(t, "web", "web-app-1")

	t.Run("Consul is down", func(t *testing.T) {
		p.consul.Kill(t)
		harness.Eventually(t, "the hold is shown", func() error { return held(t, p, "unreachable") })
		p.engine.Docker(t, "rm", "-f", "web-app-1")
		after := p.runs(t, "web", "web-app-1")
		if after["web-app-1"].ID == before["web-app-1"].ID {
			t.Error("the container was not removed, so nothing was shown")
		}
		before = after
	})
	t.Run("Consul comes back empty", func(t *testing.T) {
		if err := os.RemoveAll(p.consul.DataDir()); err != nil {
			t.Fatal(err)
		}
		p.consul.Again(p.top)
		harness.Eventually(t, "the hold is shown", func() error { return held(t, p, "no-cluster-id") })
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
		if keys := p.consul.Keys(t, "brambled/stacks/"); len(keys) > 0 {
			t.Errorf("a cluster id was created over a loss: %v", keys)
		}
	})
	t.Run("brambled restarts over it", func(t *testing.T) {
		p.Kill(t)
		p.Again(p.top)
		harness.Eventually(t, "the hold is shown", func() error { return held(t, p, "no-cluster-id") })
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	})
}

func held(t *testing.T, p *pi, cause string) error {
	r := p.report(t)
	for _, h := range r.Holds {
		if h.Cause == cause {
			return nil
		}
	}
	return fmt.Errorf("holds are %v", r.Holds)
}

// The static tier needs neither Consul nor network.
func TestStaticTier(t *testing.T) {
	t.Parallel()
	engine := harness.StartDockerd(t)
	engine.LoadHello(t)
	dir := harness.Workspace(t, "static")
	manifests := filepath.Join(dir, "manifests")
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(manifests, "base.yaml"), "x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:1\n    environment: { GREETING: \"${WORDS}\" }\n    network_mode: host\n    secrets: [key]\nsecrets: { key: { external: true } }\n")
	write(t, filepath.Join(dir, "vars.yaml"), "WORDS: good night\n")
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "secrets", "key"), "hush")
	b := harness.StartBrambled(t, harness.Options{Docker: engine.Host, Consul: "127.0.0.1:1", Dir: dir})
	if b.ManifestsDir() != manifests {
		t.Fatalf("manifests are in %s, not %s", b.ManifestsDir(), manifests)
	}
	p := &pi{top: t, engine: engine, Brambled: b}
	p.runs(t, "base", "base-app-1")
	p.answers(t, "8080", "good night")

	write(t, filepath.Join(dir, "vars.yaml"), "WORDS: good noon\n")
	p.answers(t, "8080", "good noon")
	if err := os.Remove(filepath.Join(manifests, "base.yaml")); err != nil {
		t.Fatal(err)
	}
	p.runs(t, "base")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a foreign container has, brambled does not take.
func TestForeignName(t *testing.T) {
	t.Parallel()
	p := boot(t)
	foreign := p.engine.Docker(t, "run", "-d", "--name", "web-app-1", "brambled/hello:2")
	p.put(t, "web", small)
	harness.Eventually(t, "why names the foreign container", func() error {
		if out := p.Run(t, "why", "web/app").Stdout; !strings.Contains(out, "web-app-1") || !strings.Contains(out, "not ours") {
			return fmt.Errorf("why says %q", out)
		}
		return nil
	})
	if got := p.inspect(t, "name=web-app-1")["web-app-1"]; got.ID != foreign || got.State.Status != "running" {
		t.Errorf("the foreign container was touched: %+v", got)
	}
	p.engine.Docker(t, "rename", "web-app-1", "elsewhere")
	p.runs(t, "web", "web-app-1")
}

// A stop that takes long in one lane must not delay a repair in another.
func TestLongStop(t *testing.T) {
	t.Parallel()
	p := boot(t)
	file := "x-brambled: { nodes: all }\nservices:\n  slow:\n    image: brambled/hello:1\n    command: [-stop, 10m]\n    stop_grace_period: 10m\n    environment: { N: \"1\" }\n    network_mode: host\n  quick:\n    image: brambled/hello:1\n"
	p.put(t, "web", file)
	p.runs(t, "web", "web-slow-1", "web-quick-1")
	p.put(t, "web", strings.Replace(file, `N: "1"`, `N: "2"`, 1))
	harness.Eventually(t, "the old container is being stopped", func() error {
		if _, ok := p.containers(t, "web")["web-slow-1.prev"]; !ok {
			return fmt.Errorf("there is no predecessor yet")
		}
		return nil
	})
	p.engine.Docker(t, "rm", "-f", "web-quick-1")
	harness.Eventually(t, "the other service is back", func() error {
		got := p.containers(t, "web")
		if got["web-quick-1"].State.Status != "running" {
			return fmt.Errorf("web-quick-1 is %q", got["web-quick-1"].State.Status)
		}
		if got["web-slow-1.prev"].State.Status != "running" {
			return fmt.Errorf("the slow stop ended before its time")
		}
		return nil
	})
	p.engine.Docker(t, "kill", "web-slow-1.prev")
	p.runs(t, "web", "web-slow-1", "web-quick-1")
}

// The gate: a successor that does not become healthy is rolled back, kept as evidence, and not tried again.
func TestGate(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small)
	before := p.runs(t, "web", "web-app-1")
	p.state(t, "web", "converged")
	p.put(t, "web", small+"    command: [-unhealthy, \"-1s\"]\n")
	p.state(t, "web", "failed")
	// The failed successor is kept as evidence.
	same(t, before, p.runs(t, "web", "web-app-1", "web-app-1.failed exited"), "web-app-1")
	p.put(t, "web", small+"    command: [-sleep, 1h]\n    healthcheck: { disable: true }\n")
	p.runs(t, "web", "web-app-1")
	p.state(t, "web", "converged")
}

// Jobs run once for each hash.
func TestJob(t *testing.T) {
	t.Parallel()
	p := boot(t)
	file := "x-brambled: { nodes: all }\nservices:\n  job:\n    image: brambled/hello:1\n    command: [-exit, \"0\"]\n    restart: \"no\"\n  app:\n    image: brambled/hello:1\n    depends_on: { job: { condition: service_completed_successfully } }\n"
	p.put(t, "web", file)
	p.state(t, "web", "converged")
	first := p.containers(t, "web")
	if first["web-job-1"].State.Status != "exited" || first["web-app-1"].State.Status != "running" {
		t.Errorf("want a finished job and a running app, got %+v", first)
	}
	p.put(t, "web", strings.Replace(file, `"0"`, `"3"`, 1))
	p.state(t, "web", "failed")
	harness.Eventually(t, "why names the exit code", func() error {
		if out := p.Run(t, "why", "web/job").Stdout; !strings.Contains(out, "exited with 3") {
			return fmt.Errorf("why says %q", out)
		}
		return nil
	})
	same(t, first, p.containers(t, "web"), "web-app-1")
}
