package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/status"
)

// drain waits until the node says that it is so far with its drain.
func (d *instance) drain(t *testing.T, want status.Drain) {
	t.Helper()
	eventually(t, fmt.Sprintf("the drain is %q", want), func() error {
		if n := d.app.Status(); n.Drain != want {
			return fmt.Errorf("it is %q, and the report %+v", n.Drain, n.Stacks)
		}
		return nil
	})
}

// stateOf is how many containers of a stack run, and how it is.
func (d *instance) stateOf(stack string) (running int, state status.State) {
	st, _ := d.app.Status().Stack(stack)
	for _, s := range st.Services {
		running, state = running+s.Running, s.State
	}
	return running, state
}

// began are the containers that were made or started since the engine forgot.
func (d *instance) began() (calls []string) {
	for _, call := range d.engine.Log() {
		if strings.HasPrefix(call, "POST /containers/") && !strings.HasSuffix(call, "/stop") && !strings.HasSuffix(call, "/update") {
			calls = append(calls, call)
		}
	}
	return calls
}

// A key takes the node out of service, but for its static tier, and back; while it is out nothing of the store's begins.
func TestDrain(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) {
		if err := os.MkdirAll(c.ManifestsDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.ManifestsDir, "base.yaml"), []byte(small), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	d.is(t, "base", status.Converged)
	d.store.Put("brambled/drain/pi1", `{"by": "a person"}`)
	d.drain(t, status.DrainDone)
	if running, state := d.stateOf("web"); running != 0 || state != status.Drained {
		t.Errorf("web has %d running and is %s", running, state)
	}
	if running, state := d.stateOf("base"); running != 1 || state != status.Running {
		t.Errorf("the static tier has %d running and is %s", running, state)
	}
	d.reported(t, `"drain":"drained"`)
	d.engine.Forget()
	d.store.Put("brambled/stacks/late", small)
	eventually(t, "the late one is taken in", func() error {
		if _, state := d.stateOf("late"); state != status.Drained {
			return fmt.Errorf("it is %q", state)
		}
		return nil
	})
	if calls := d.began(); len(calls) > 0 {
		t.Errorf("something began on a drained node: %s", calls)
	}
	d.store.Delete("brambled/drain/pi1") // by hand; the report shows that the store is past the drain
	d.drain(t, "")
	d.is(t, "late", status.Converged)
	if running, state := d.stateOf("web"); running != 1 || state != status.Running {
		t.Errorf("web has %d running and is %s", running, state)
	}
	if n := d.engine.Count("POST /containers/create"); n != 1 {
		t.Errorf("%d containers were made for the late one: %s", n, d.engine.Log())
	}
}

// A node that was drained boots alone, and stays drained; so it does on a store that has lost the word, until a person says so.
func TestDrainedBootsAlone(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	before := d.store.Save()
	d.store.Put("brambled/drain/pi1", "")
	d.drain(t, status.DrainDone)
	d.reported(t, `"drain":"drained"`)
	d.remembers(t, "web")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.engine.Forget()
	address := d.cfg.Consul.Address
	d.cfg.Consul.Address = "127.0.0.1:1"
	d.run(t)
	d.holds(t, "unreachable")
	d.drain(t, status.DrainDone)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.store.Restore(before)
	d.cfg.Consul.Address = address
	d.run(t)
	hold := d.holds(t, "drain went back")
	d.drain(t, status.DrainDone)
	if calls := d.began(); len(calls) > 0 {
		t.Errorf("something began on a drained node: %s", calls)
	}
	d.store.Put("brambled/approvals/"+hold.ID, "yes")
	d.drain(t, "")
	d.is(t, "web", status.Converged)
}

// A node that is drained before it ever ran starts nothing.
func TestDrainedFromTheStart(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	other := &instance{engine: d.engine, store: d.store, cfg: d.cfg}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.removes(t, "web-app-1")
	d.engine.Forget()
	d.store.Put("brambled/drain/pi9", `{"on": true}`)
	other.cfg.Node, other.cfg.Address, other.cfg.StateDir = "pi9", "192.0.2.9", filepath.Join(t.TempDir(), "state")
	other.run(t)
	other.drain(t, status.DrainDone)
	if calls := other.began(); len(calls) > 0 {
		t.Errorf("something began on a drained node: %s", calls)
	}
}
