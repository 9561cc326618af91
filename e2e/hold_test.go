//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// service is a stack of one container that greets with the given words.
func service(words string) string {
	return small + "    environment: { GREETING: \"" + words + "\" }\n"
}

// hold waits until the daemon reports a hold of a cause and returns its id.
func (p *pi) hold(t *testing.T, cause string) string {
	t.Helper()
	id := ""
	harness.Eventually(t, "the hold "+cause+" is shown", func() error {
		r := p.report(t)
		for _, h := range r.Holds {
			if h.Cause == cause {
				id = h.ID
				return nil
			}
		}
		return fmt.Errorf("holds are %+v", r.Holds)
	})
	return id
}

// lifted waits until no hold is reported.
func (p *pi) lifted(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "no hold is left", func() error {
		if r := p.report(t); len(r.Holds) > 0 {
			return fmt.Errorf("holds are %+v", r.Holds)
		}
		return nil
	})
}

// command runs a command of brambled that must end with the code, and returns what it printed.
func (p *pi) command(t *testing.T, code int, args ...string) string {
	t.Helper()
	r := p.Run(t, args...)
	if r.Code != code {
		t.Fatalf("brambled %s ended with %d, want %d:\n%s%s", strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

// removed asserts that brambled has removed or stopped nothing since the proxy forgot.
func (p *pi) nothingTaken(t *testing.T) {
	t.Helper()
	for _, r := range p.proxy.Mutating() {
		if r.Method == "DELETE" || strings.HasSuffix(r.Path, "/stop") || strings.HasSuffix(r.Path, "/kill") {
			t.Errorf("brambled took something away: %v", r)
		}
	}
}

// remembered waits until last-known-good is on disk with this stack proven.
func (p *pi) proven(t *testing.T, stacks ...string) {
	t.Helper()
	harness.Eventually(t, "last-known-good knows that it works", func() error {
		out := p.Run(t, "snapshot", "inspect", "--from-last-good", "--output", "json")
		var have struct {
			Stacks  []string
			Healthy []string
		}
		if err := json.Unmarshal([]byte(out.Stdout), &have); err != nil {
			return fmt.Errorf("%w: %s", err, out.Stderr)
		}
		for _, s := range stacks {
			if !slices.Contains(have.Stacks, s) || !slices.ContainsFunc(have.Healthy, func(h string) bool { return strings.HasPrefix(h, s+"/") }) {
				return fmt.Errorf("it has %+v", have)
			}
		}
		return nil
	})
}

// Deletions that are large enough to be a mistake wait for a person; a small one, and the last one, are commands.
func TestBrake(t *testing.T) {
	t.Parallel()
	p := boot(t)
	three := "x-brambled: { nodes: all }\nservices:\n  a: { image: brambled/hello:1 }\n  b: { image: brambled/hello:1 }\n  c: { image: brambled/hello:1 }\n"
	for _, stack := range []string{"one", "two", "three"} {
		p.put(t, stack, service(stack))
	}
	before := map[string]container{}
	for _, stack := range []string{"one", "two", "three"} {
		before[stack] = p.runs(t, stack, stack+"-app-1")[stack+"-app-1"]
	}

	t.Run("several stacks at once are held", func(t *testing.T) {
		p.proxy.Forget()
		// In one transaction, as `consul kv delete -recurse` on a folder, or a script, would do it.
		p.consul.Txn(t, harness.DeleteKey("brambled/stacks/one"), harness.DeleteKey("brambled/stacks/two"))
		id := p.hold(t, "deletion brake")
		p.says(t, []string{"status"}, "brambled approve "+id)
		p.command(t, 3, "status")
		p.says(t, []string{"why", "one"}, "deletion brake")
		p.engine.Docker(t, "rm", "-f", "two-app-1")
		p.runs(t, "two", "two-app-1") // held as it runs means kept running
		p.nothingTaken(t)
	})
	t.Run("it survives a restart", func(t *testing.T) {
		p.Kill(t)
		p.Again(p.top)
		p.hold(t, "deletion brake")
		same(t, map[string]container{"one-app-1": before["one"]}, p.runs(t, "one", "one-app-1"), "one-app-1")
	})
	t.Run("one that is put back is out of it", func(t *testing.T) {
		p.put(t, "one", service("one"))
		p.runs(t, "two") // one of three is a command
		p.lifted(t)
		same(t, map[string]container{"one-app-1": before["one"]}, p.runs(t, "one", "one-app-1"), "one-app-1")
	})
	t.Run("what is approved passes, on all nodes", func(t *testing.T) {
		p.consul.Txn(t, harness.DeleteKey("brambled/stacks/one"), harness.DeleteKey("brambled/stacks/three"))
		id := p.hold(t, "deletion brake")
		p.command(t, 1, "approve", "0123456789ab")
		p.command(t, 0, "approve", id)
		p.runs(t, "one")
		p.runs(t, "three")
		p.lifted(t)
	})
	t.Run("most services of a stack by one edit", func(t *testing.T) {
		p.put(t, "web", three)
		was := p.runs(t, "web", "web-a-1", "web-b-1", "web-c-1")
		p.put(t, "web", "x-brambled: { nodes: all }\nservices:\n  a: { image: brambled/hello:2 }\n")
		id := p.hold(t, "deletion brake")
		same(t, was, p.runs(t, "web", "web-a-1", "web-b-1", "web-c-1"), "web-a-1", "web-b-1", "web-c-1")
		p.command(t, 0, "approve", id)
		p.runs(t, "web", "web-a-1")
		p.lifted(t)
	})
	t.Run("an approval is for once", func(t *testing.T) {
		p.put(t, "one", service("one"))
		p.put(t, "three", service("three"))
		p.runs(t, "one", "one-app-1")
		p.runs(t, "three", "three-app-1")
		p.consul.Txn(t, harness.DeleteKey("brambled/stacks/one"), harness.DeleteKey("brambled/stacks/three"))
		p.hold(t, "deletion brake")
		p.runs(t, "one", "one-app-1")
		p.put(t, "one", service("one"))
		p.put(t, "three", service("three"))
		p.lifted(t)
	})
	t.Run("the last stack is a command", func(t *testing.T) {
		for _, stack := range []string{"one", "three", "web"} {
			p.consul.Delete(t, "brambled/stacks/"+stack)
			p.runs(t, stack)
		}
	})
}

// A store that was restored from a snapshot, or rebuilt, is no command either.
func TestStoreWentBack(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", service("old"))
	p.runs(t, "web", "web-app-1")
	p.state(t, "web", "converged")
	snapshot := filepath.Join(p.consul.Dir, "old.snap")
	p.consul.CLI(t, "snapshot", "save", snapshot)
	p.put(t, "web", service("new"))
	p.put(t, "late", service("late"))
	p.state(t, "web", "converged")
	p.state(t, "late", "converged")
	before := p.runs(t, "web", "web-app-1")
	late := p.runs(t, "late", "late-app-1")

	t.Run("restored older: an older file is held", func(t *testing.T) {
		p.consul.CLI(t, "snapshot", "restore", snapshot)
		p.hold(t, "index-regressed")
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
		same(t, late, p.runs(t, "late", "late-app-1"), "late-app-1")
	})
	t.Run("restored older: a newer stack that is only missing is held", func(t *testing.T) {
		p.put(t, "web", service("new")) // now no key is older; what is missing looks deleted
		p.hold(t, "store went back")
		same(t, late, p.runs(t, "late", "late-app-1"), "late-app-1")
		p.Kill(t)
		p.Again(p.top)
		p.hold(t, "store went back")
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
		same(t, late, p.runs(t, "late", "late-app-1"), "late-app-1")
	})
	t.Run("what is put back lifts it", func(t *testing.T) {
		out := p.command(t, 0, "snapshot", "restore", "--from-last-good")
		if !strings.Contains(out, "1 keys written") {
			t.Errorf("restore says: %s", out)
		}
		p.lifted(t)
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
		same(t, late, p.runs(t, "late", "late-app-1"), "late-app-1")
	})
	t.Run("rebuilt empty, and seeded again from last-known-good", func(t *testing.T) {
		p.consul.Kill(t)
		if err := os.RemoveAll(p.consul.DataDir()); err != nil {
			t.Fatal(err)
		}
		p.consul.Again(p.top)
		p.hold(t, "no-cluster-id")
		p.command(t, 0, "snapshot", "restore", "--from-last-good")
		p.lifted(t)
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
		same(t, late, p.runs(t, "late", "late-app-1"), "late-app-1")
		p.put(t, "web", service("newest"))
		p.state(t, "web", "converged")
	})
	t.Run("an older store that is wanted is approved", func(t *testing.T) {
		p.consul.CLI(t, "snapshot", "save", snapshot)
		p.put(t, "web", service("regretted"))
		p.state(t, "web", "converged")
		p.consul.CLI(t, "snapshot", "restore", snapshot)
		p.command(t, 0, "approve", p.hold(t, "index-regressed"))
		p.lifted(t)
		harness.Eventually(t, "the older file is in force", func() error {
			for _, c := range p.containers(t, "web") {
				if c.Name == "/web-app-1" && slices.Contains(c.Config.Env, "GREETING=newest") {
					return nil
				}
			}
			return fmt.Errorf("it is not")
		})
	})
}

// A Pi that boots alone brings back what it ran: no Consul, no registry, no other Pi.
func TestOfflineBoot(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.consul.Put(t, "brambled/secrets/key", "hush")
	p.put(t, "web", "x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:1\n    secrets: [key]\n    volumes: [data:/data]\n    depends_on: { init: { condition: service_completed_successfully } }\n"+
		"  init:\n    image: brambled/hello:1\n    command: [-exit, \"0\"]\n    restart: \"no\"\nsecrets: { key: { external: true } }\nvolumes: { data: {} }\n")
	p.put(t, "base", service("base"))
	p.state(t, "web", "converged")
	p.proven(t, "web", "base")
	// The newest version of base never worked, the newest file of web cannot be read: neither may come up after the boot.
	p.put(t, "base", service("broken")+"    command: [-unhealthy, \"-1s\"]\n")
	p.state(t, "base", "failed")
	p.put(t, "web", "services: [")
	p.state(t, "web", "held")

	p.Kill(t)
	p.consul.Kill(t)
	for _, name := range []string{"web-app-1", "web-init-1", "base-app-1"} {
		p.engine.Docker(t, "rm", "-f", name)
	}
	p.engine.Docker(t, "rmi", "--no-prune", "brambled/hello:2")
	p.engine.Kill(t)
	p.engine.Again(p.top)
	p.proxy.Forget()
	p.Again(p.top)

	back := p.runs(t, "web", "web-app-1")
	harness.Eventually(t, "the last good version of base runs", func() error {
		if c := p.containers(t, "base")["base-app-1"]; c.State.Status != "running" || !slices.Contains(c.Config.Env, "GREETING=base") {
			return fmt.Errorf("base-app-1 is %s with %v", c.State.Status, c.Config.Env)
		}
		return nil
	})
	if _, again := p.containers(t, "web")["web-init-1"]; again {
		t.Error("a job that had finished was run again")
	}
	secret := ""
	for _, m := range back["web-app-1"].Mounts {
		if m.Destination == "/run/secrets/key" {
			secret = m.Source
		}
	}
	if content, err := os.ReadFile(secret); err != nil || string(content) != "hush" {
		t.Errorf("the secret at %q is %q: %v", secret, content, err)
	}
	p.nothingTaken(t)
	p.hold(t, "unreachable")

	t.Run("the store comes back", func(t *testing.T) {
		p.consul.Again(p.top)
		p.state(t, "web", "held")
		same(t, back, p.runs(t, "web", "web-app-1"), "web-app-1")
	})
}

// The files of last-known-good may be damaged, of a newer version, or not writable.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small)
	before := p.runs(t, "web", "web-app-1")
	p.proven(t, "web")
	files, err := filepath.Glob(filepath.Join(p.StateDir(), "lastgood*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no last-known-good in %s: %v", p.StateDir(), err)
	}
	t.Run("all are damaged", func(t *testing.T) {
		p.Kill(t)
		p.consul.Kill(t)
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			write(t, f, string(content[:len(content)/2]))
		}
		p.proxy.Forget()
		p.Again(p.top)
		p.hold(t, "unreachable")
		same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
		p.nothingTaken(t)
		p.consul.Again(p.top)
		p.state(t, "web", "converged")
		p.proven(t, "web")
	})
}

// A node that gets another name would lose what is chosen by name.
func TestNodeRenamed(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", strings.Replace(small, "nodes: all", "nodes: [pi1]", 1))
	before := p.runs(t, "web", "web-app-1")
	p.proven(t, "web")
	p.Kill(t)
	i := slices.Index(p.Args, "--node")
	p.Args[i+1] = "pi9"
	p.Again(p.top)
	id := p.hold(t, "node renamed")
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(id) {
		t.Fatalf("the hold's id is %q", id)
	}
	p.command(t, 0, "approve", "--local", id)
	harness.Eventually(t, "the daemon ends, for systemd to start it again", func() error {
		if ended, _ := p.Exited(); !ended {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	p.Again(p.top)
	p.runs(t, "web")
}

// A failure is not tried again until somebody asks for it.
func TestRetry(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small)
	before := p.runs(t, "web", "web-app-1")
	p.command(t, 1, "retry", "web")
	p.put(t, "web", small+"    command: [-unhealthy, \"-1s\"]\n")
	p.state(t, "web", "failed")
	first := p.runs(t, "web", "web-app-1", "web-app-1.failed exited")["web-app-1.failed"]
	p.retry(t, "web")
	harness.Eventually(t, "it failed once more", func() error {
		if again, ok := p.containers(t, "web")["web-app-1.failed"]; !ok || again.ID == first.ID {
			return fmt.Errorf("the evidence is %v", again.ID)
		}
		return nil
	})
	same(t, before, p.runs(t, "web", "web-app-1", "web-app-1.failed exited"), "web-app-1")
	p.state(t, "web", "failed")
	second := p.containers(t, "web")["web-app-1.failed"]
	p.Kill(t)
	p.Again(p.top)
	p.state(t, "web", "failed")
	same(t, map[string]container{"web-app-1.failed": second}, p.containers(t, "web"), "web-app-1.failed")
}
