//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/docker/dockertest"
)

// Rows 26, 37 and 38 of the fault matrix: files that are only half there, and daemons that are one too many.
func TestMatrixIdentity(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", service("good day"))
	p.put(t, "other", service("other"))
	p.runs(t, "web", "web-app-1")
	p.runs(t, "other", "other-app-1")
	p.state(t, "web", "converged")
	p.state(t, "other", "converged")

	t.Run("26 a stack that is written before its variable", func(t *testing.T) { halfWritten(t, p) })
	t.Run("26 more than Consul takes", func(t *testing.T) { tooLarge(t, p) })
	t.Run("37 a second daemon on one state folder", func(t *testing.T) { secondOnState(t, p) })
	t.Run("37 a second machine of one name", func(t *testing.T) { secondOfName(t, p) })
	t.Run("38 the cluster id is another one", func(t *testing.T) { otherID(t, p) })
	t.Run("38 another cluster takes the prefix", func(t *testing.T) { otherCluster(t, p) })
}

func halfWritten(t *testing.T, p *pi) {
	before := p.runs(t, "web", "web-app-1")
	p.put(t, "web", service("${WORDS} ${NAME}"))
	p.state(t, "web", "held")
	p.says(t, []string{"status", "web"}, "WORDS has no value", "consul kv put brambled/vars/WORDS")
	p.put(t, "other", service("meanwhile"))
	p.greets(t, "other-app-1", "meanwhile")
	p.engine.Docker(t, "kill", "web-app-1") // held as it runs means kept running
	after := p.runs(t, "web", "web-app-1")
	if before["web-app-1"].ID != after["web-app-1"].ID {
		t.Error("the held stack was recreated")
	}
	p.consul.Put(t, "brambled/vars/WORDS", "good")
	harness.Eventually(t, "the hold names what is still missing", func() error {
		for _, h := range p.report(t).Holds {
			if h.Cause == "bad input" && strings.Contains(h.Detail, "NAME has no value") && !strings.Contains(h.Detail, "WORDS has") {
				return nil
			}
		}
		return fmt.Errorf("holds are %+v", p.report(t).Holds)
	})
	same(t, after, p.runs(t, "web", "web-app-1"), "web-app-1")
	p.consul.Put(t, "brambled/vars/NAME", "evening")
	p.greets(t, "web-app-1", "good evening")
	p.state(t, "web", "converged")
	p.lifted(t)
}

// greets waits until a container has this greeting in its environment and runs.
func (p *pi) greets(t *testing.T, name, words string) {
	t.Helper()
	harness.Eventually(t, name+" says "+words, func() error {
		c, ok := p.inspect(t, "name=^/"+name+"$")[name]
		if !ok || c.State.Status != "running" || !strings.Contains(strings.Join(c.Config.Env, "\n"), "GREETING="+words) {
			return fmt.Errorf("it is %s with %v", c.State.Status, c.Config.Env)
		}
		return nil
	})
}

func tooLarge(t *testing.T, p *pi) {
	before := p.runs(t, "web", "web-app-1")
	file := []byte(service("too much") + "#" + strings.Repeat("x", 513<<10))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+p.consul.Address+"/v1/kv/brambled/stacks/web", bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("Consul answers %s: what brambled counts on is no longer so", res.Status)
	}
	path := filepath.Join(t.TempDir(), "web.yaml")
	write(t, path, string(file))
	if out := p.command(t, 1, "apply", path); !strings.Contains(out, "524288") {
		t.Errorf("apply does not name the limit: %s", out)
	}
	p.state(t, "web", "converged")
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
}

func secondOnState(t *testing.T, p *pi) {
	before := p.runs(t, "web", "web-app-1")
	p.proxy.Forget()
	i := slices.Index(p.Args, "--listen") + 1 // its HTTP address would stop it sooner
	listen := p.Args[i]
	p.Args[i] = "127.0.0.1:0"
	out := p.command(t, 1, "run")
	p.Args[i] = listen
	if !strings.Contains(out, "another brambled runs with this state folder") || !strings.Contains(out, p.StateDir()) {
		t.Errorf("it does not say why it ends: %s", out)
	}
	if calls := p.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("something was changed: %v", calls)
	}
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	p.state(t, "web", "converged")
	p.lifted(t)
}

// secondOfName starts a daemon as another machine of the same name would: with its own engine and state.
func secondOfName(t *testing.T, p *pi) {
	report, _ := p.consul.Get(t, "brambled/status/nodes/pi1")
	presence, _ := p.consul.Get(t, "brambled/presence/pi1")
	before := p.runs(t, "web", "web-app-1")
	engine := dockertest.New(t)
	engine.AddImage("brambled/hello:1", dockertest.Image{})
	second := &pi{top: p.top, engine: p.engine, consul: p.consul, Brambled: harness.StartBrambled(t, harness.Options{
		Docker: engine.Host(), Consul: p.consul.Address, Address: "198.18.255.9",
	})}
	id := second.hold(t, "not present")
	if id != "" {
		t.Errorf("the hold can be approved as %s", id)
	}
	second.state(t, "web", "converged")
	if body, err := second.Fetch("/api/v1/status"); err != nil || !strings.Contains(body, "198.18.255.1") || !strings.Contains(body, "has another name") {
		t.Errorf("it does not say who has the name, and what to do: %v: %s", err, body)
	}
	p.put(t, "other", service("news")) // both have something to report
	p.greets(t, "other-app-1", "news")
	harness.Eventually(t, "the first reports it", func() error {
		now, _ := p.consul.Get(t, "brambled/status/nodes/pi1")
		if now == report || !strings.Contains(now, `"state":"converged"`) || strings.Contains(now, "converging") {
			return fmt.Errorf("report is %s", now)
		}
		return nil
	})
	second.state(t, "other", "converged")
	if now, _ := p.consul.Get(t, "brambled/status/nodes/pi1"); strings.Contains(now, "198.18.255.9") {
		t.Errorf("the second has written over the first's report: %s", now)
	}
	if now, _ := p.consul.Get(t, "brambled/presence/pi1"); now != presence {
		t.Errorf("the first's presence was taken: %s, then %s", presence, now)
	}
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	p.lifted(t)
	second.Kill(t)
	if now, _ := p.consul.Get(t, "brambled/status/nodes/pi1"); strings.Contains(now, "198.18.255.9") {
		t.Errorf("the second has written over the first's report: %s", now)
	}
}

var vouched = []string{"brambled/stacks/.cluster", "brambled/vars/.cluster", "brambled/secrets/.cluster"}

func otherID(t *testing.T, p *pi) {
	before := p.runs(t, "web", "web-app-1")
	p.proxy.Forget()
	own := map[string]string{}
	for _, key := range vouched {
		own[key], _ = p.consul.Get(t, key)
		p.consul.Put(t, key, "0123456789abcdef")
	}
	p.consul.Put(t, "brambled/stacks/web", service("another cluster's"))
	p.consul.Delete(t, "brambled/stacks/other")
	p.hold(t, "foreign-cluster")
	// The report in the store belongs to whose the store is; the daemon's own page and API tell in any case.
	page, err := p.Fetch("/")
	if err != nil || !strings.Contains(page, "foreign-cluster") || !strings.Contains(page, "0123456789abcdef") {
		t.Errorf("the page does not show the hold: %v", err)
	}
	p.says(t, []string{"why", "web"}, "foreign-cluster")
	p.says(t, []string{"status"}, "foreign-cluster")
	p.engine.Docker(t, "rm", "-f", "other-app-1")
	p.greets(t, "other-app-1", "news")
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	p.nothingTaken(t)
	for key, id := range own {
		p.consul.Put(t, key, id)
	}
	p.lifted(t)
	p.runs(t, "other")
	p.greets(t, "web-app-1", "another cluster's") // it is in the store of this cluster now
	p.state(t, "web", "converged")
}

// otherCluster has another machine, that knows of no cluster, found its own under the same prefix.
func otherCluster(t *testing.T, p *pi) {
	before := p.runs(t, "web", "web-app-1")
	p.proven(t, "web")
	p.Kill(t)
	p.consul.CLI(t, "kv", "delete", "-recurse", "brambled/")
	second := harness.StartBrambled(t, harness.Options{
		Node: "pi2", Docker: dockertest.New(t).Host(), Consul: p.consul.Address, Address: "198.18.255.9",
	})
	harness.Eventually(t, "the other cluster is founded", func() error {
		if id, ok := p.consul.Get(t, vouched[0]); !ok {
			return fmt.Errorf("its id is %q", id)
		}
		return nil
	})
	p.proxy.Forget()
	p.Again(p.top)
	p.hold(t, "foreign-cluster")
	p.consul.Put(t, "brambled/stacks/web", service("not ours"))
	p.engine.Docker(t, "kill", "web-app-1")
	p.greets(t, "web-app-1", "another cluster's")
	after := p.runs(t, "web", "web-app-1")
	if after["web-app-1"].ID != before["web-app-1"].ID {
		t.Error("the container was recreated")
	}
	p.nothingTaken(t)
	if n, _ := p.consul.Get(t, "brambled/stacks/.cluster"); n == "" {
		t.Error("the other cluster's id is gone")
	}
	second.Kill(t)
}
