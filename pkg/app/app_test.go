package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/pkg/status"
)

const small = "x-brambled: { nodes: all }\nservices:\n  app:\n    image: hello:1\n"

// instance is a whole instance in this process, on fakes of the engine and the store.
type instance struct {
	app    *App
	cfg    config.Config
	engine *dockertest.Server
	store  *consultest.Server
	stop   func() error
}

func start(t *testing.T, change func(*config.Config)) *instance {
	t.Helper()
	d := &instance{engine: dockertest.New(t), store: consultest.Start(t)}
	d.engine.AddImage("hello:1", dockertest.Image{})
	d.store.MinTTL = time.Second
	dir := t.TempDir()
	d.cfg = config.Default()
	d.cfg.Node, d.cfg.Address, d.cfg.Listen = "pi1", "192.0.2.1", "127.0.0.1:0"
	d.cfg.StateDir, d.cfg.ManifestsDir = filepath.Join(dir, "state"), filepath.Join(dir, "manifests")
	d.cfg.Consul.Address, d.cfg.Docker.Host = strings.TrimPrefix(d.store.URL, "http://"), d.engine.Host()
	if change != nil {
		change(&d.cfg)
	}
	d.run(t)
	return d
}

func (d *instance) run(t *testing.T) {
	t.Helper()
	a, err := New(Options{Config: d.cfg, Version: "test", Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stopped := false
	d.app, d.stop = a, func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func (d *instance) get(path string) (int, string) {
	res, err := http.Get("http://" + d.app.web.Addr() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// testLimit is how long a test waits. BRAMBLED_PATIENCE makes it shorter where the wait is likely to be in vain.
func testLimit(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("BRAMBLED_PATIENCE")
	if text == "" {
		return 30 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// eventually waits for what other goroutines bring about, over real sockets.
func eventually(t *testing.T, desc string, check func() error) {
	t.Helper()
	deadline := time.NewTimer(testLimit(t))
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: %v", desc, err)
		case <-tick.C:
		}
	}
}

func (d *instance) is(t *testing.T, stack string, want status.State) {
	t.Helper()
	eventually(t, fmt.Sprintf("stack %s is %s", stack, want), func() error {
		for _, st := range d.app.Status().Stacks {
			if st.Name == stack && st.State == want {
				return nil
			}
		}
		return fmt.Errorf("report is %+v", d.app.Status())
	})
}

// TestDaemon is the whole way: a key is put before brambled ever ran, a container runs, the report is in the store, and the
// key's end is the container's.
func TestDaemon(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	if code, body := d.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := d.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if _, body := d.get("/metrics"); !strings.Contains(body, `brambled_steps_total{action="create",outcome="ok"} 1`) {
		t.Error("the metrics do not count the create")
	}
	eventually(t, "the report is in the store", func() error {
		p, ok := d.store.Get("brambled/status/nodes/pi1")
		if !ok || !strings.Contains(string(p.Value), `"web"`) {
			return fmt.Errorf("it is %q", p.Value)
		}
		return nil
	})
	d.store.Delete("brambled/stacks/web")
	eventually(t, "the stack is gone", func() error {
		if st := d.app.Status().Stacks; len(st) > 0 {
			return fmt.Errorf("there is %+v", st)
		}
		return nil
	})
}

// A store that was wiped is no command, also to a daemon that starts anew on it: the labels on the engine say that there
// was a cluster.
func TestWipedStore(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.store.Wipe()
	d.engine.Forget()
	d.run(t)
	eventually(t, "the hold is shown", func() error {
		for _, h := range d.app.Status().Holds {
			if h.Cause == "no-cluster-id" {
				return nil
			}
		}
		return fmt.Errorf("holds are %+v", d.app.Status().Holds)
	})
	for _, call := range d.engine.Log() {
		if strings.HasPrefix(call, "DELETE") || strings.Contains(call, "/stop") {
			t.Errorf("something was removed: %s", call)
		}
	}
	if _, ok := d.store.Get("brambled/stacks/.cluster"); ok {
		t.Error("a cluster id was created over a loss")
	}
}

func TestSecondDaemonOnOneStateFolder(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	eventually(t, "the first one runs", func() error { return d.app.Ready() })
	second, err := New(Options{Config: d.cfg, Version: "test", Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another brambled runs with this state folder") {
		t.Errorf("run: %v", err)
	}

}

func TestStaticTierWithoutStore(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) {
		c.Consul.Address = "127.0.0.1:1"
		if err := os.MkdirAll(c.ManifestsDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.ManifestsDir, "base.yaml"), []byte(small), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	d.is(t, "base", status.Converged)
}

// The engine may be away when the daemon starts, and come later.
func TestEngineComesLater(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	d.engine.Kill()
	eventually(t, "the daemon says that it is not ready", func() error {
		if d.app.Ready() == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	d.engine.Again()
	eventually(t, "it is ready again", func() error { return d.app.Ready() })
}

// A stack of both kinds: its containers run, and its Swarm service is no error but waits, and says for what.
func TestSwarmServiceWaits(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small+"  web:\n    image: hello:1\n    x-brambled: { swarm: true }\n")
	d.is(t, "web", status.Converged)
	d.store.Put("brambled/stacks/shop", "services:\n  web:\n    image: hello:1\n")
	eventually(t, "both Swarm services are shown", func() error {
		found := 0
		for _, st := range d.app.Status().Stacks {
			for _, svc := range st.Services {
				if svc.Name == "web" && svc.State == status.Elsewhere && strings.Contains(svc.Why, "once a leader can deploy it") && st.Error == "" {
					found++
				}
			}
		}
		if found != 2 {
			return fmt.Errorf("report is %+v", d.app.Status().Stacks)
		}
		return nil
	})
}

// What the static tier asks of Swarm is refused, and holds that stack alone.
func TestStaticTierHasNoSwarm(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) {
		if err := os.MkdirAll(c.ManifestsDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"base.yaml": small, "other.yaml": "services:\n  web:\n    image: hello:1\n"} {
			if err := os.WriteFile(filepath.Join(c.ManifestsDir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	d.store.Put("brambled/stacks/web", "services:\n  web:\n    image: hello:1\n")
	d.is(t, "base", status.Converged)
	d.is(t, "other", status.Held)
	eventually(t, "the same file in the store is none of it", func() error {
		for _, st := range d.app.Status().Stacks {
			if st.Name == "web" && st.Error == "" {
				return nil
			}
		}
		return fmt.Errorf("report is %+v", d.app.Status().Stacks)
	})
}
