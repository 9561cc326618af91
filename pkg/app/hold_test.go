package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/status"
)

// greets is a stack whose one container is replaced when the word is another.
func greets(word string) string { return small + "    environment: { WORD: " + word + " }\n" }

// holds waits until a hold with this cause is in the report, and returns it.
func (d *instance) holds(t *testing.T, cause string) (hold status.Hold) {
	t.Helper()
	eventually(t, "the hold "+cause+" is shown", func() error {
		list := d.app.Status().Holds
		i := slices.IndexFunc(list, func(h status.Hold) bool { return h.Cause == cause })
		if i < 0 {
			return fmt.Errorf("holds are %+v", list)
		}
		hold = list[i]
		return nil
	})
	return hold
}

func (d *instance) lifts(t *testing.T) {
	t.Helper()
	eventually(t, "no hold is left", func() error {
		if list := d.app.Status().Holds; len(list) > 0 {
			return fmt.Errorf("holds are %+v", list)
		}
		return nil
	})
}

// reported waits until the report in the store has the words.
func (d *instance) reported(t *testing.T, words string) {
	t.Helper()
	eventually(t, "the report in the store says "+words, func() error {
		if p, _ := d.store.Get("brambled/status/nodes/pi1"); !strings.Contains(string(p.Value), words) {
			return fmt.Errorf("it is %s", p.Value)
		}
		return nil
	})
}

// remembers waits until last-known-good is on disk as the daemon has it.
func (d *instance) remembers(t *testing.T, stacks ...string) {
	t.Helper()
	eventually(t, "last-known-good is on disk", func() error {
		d.app.memory.settle(t.Context())
		s := d.app.memory.get()
		for _, name := range stacks {
			if !slices.ContainsFunc(s.Stacks, func(e lastgood.Entry) bool { return e.Key == name }) {
				return fmt.Errorf("%s is not in it", name)
			}
		}
		return nil
	})
}

// restores puts the store back to a snapshot, once the daemon has seen all there is and waits for more. A reader that is between
// two queries finds out only when the next one is over, half a minute later.
func (d *instance) restores(t *testing.T, old consultest.Image) {
	t.Helper()
	eventually(t, "the lists were read", func() error {
		for _, list := range []string{"stacks/", "vars/", "secrets/"} {
			if !d.store.Parked("brambled/" + list) {
				return fmt.Errorf("nobody waits for %s", list)
			}
		}
		return nil
	})
	d.store.Restore(old)
}

// removes has somebody remove a container from the engine.
func (d *instance) removes(t *testing.T, name string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(d.engine.Host(), "unix://"))
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://docker/v1.41/containers/"+name+"?force=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatalf("remove %s: %s", name, res.Status)
	}
}

func (d *instance) restart(t *testing.T) {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.run(t)
}

// takesNothing asserts that nothing was stopped or removed since the engine forgot.
func (d *instance) takesNothing(t *testing.T) {
	t.Helper()
	for _, call := range d.engine.Log() {
		if strings.HasPrefix(call, "DELETE /containers") || strings.Contains(call, "/stop") {
			t.Errorf("something was taken away: %s", call)
		}
	}
}

// Several stacks gone at once wait for a person, also when the daemon was away when they went.
func TestBrakeHoldsAcrossRestart(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		d.store.Put("brambled/stacks/"+name, small)
	}
	for _, name := range []string{"a", "b", "c"} {
		d.is(t, name, status.Converged)
	}
	d.remembers(t, "a", "b", "c")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.store.Delete("brambled/stacks/a")
	d.store.Delete("brambled/stacks/b")
	d.engine.Forget()
	d.run(t)
	hold := d.holds(t, "deletion brake")
	d.is(t, "a", status.Held)
	d.is(t, "c", status.Converged)
	d.restart(t)
	if again := d.holds(t, "deletion brake"); again.ID != hold.ID {
		t.Errorf("the hold is %s and was %s", again.ID, hold.ID)
	}
	d.takesNothing(t)
	d.store.Put("brambled/approvals/"+hold.ID, "")
	d.lifts(t)
	eventually(t, "only c is left", func() error {
		if st := d.app.Status().Stacks; len(st) != 1 {
			return fmt.Errorf("there is %+v", st)
		}
		return nil
	})
}

// A store that was restored older lacks what came later. The hold is told in a report, which covers the older one that gave
// the store away; it must hold on, over a restart too.
func TestStoreThatWentBackTakesNothing(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", greets("old"))
	d.is(t, "web", status.Converged)
	d.reported(t, `"web"`)
	image := d.store.Save()
	d.store.Put("brambled/stacks/web", greets("new"))
	d.store.Put("brambled/stacks/late", small)
	d.is(t, "late", status.Converged)
	d.is(t, "web", status.Converged)
	d.reported(t, `"late"`)
	d.remembers(t, "web", "late")
	d.witnessed(t, "late")
	d.engine.Forget()
	d.restores(t, image)
	d.holds(t, "index-regressed")
	d.reported(t, "index-regressed")
	d.store.Put("brambled/stacks/web", greets("new"))
	d.holds(t, "store went back")
	d.restart(t)
	d.holds(t, "store went back")
	d.takesNothing(t)
	d.is(t, "late", status.Converged)

	d.store.Put("brambled/stacks/late", small)
	d.lifts(t)
	d.takesNothing(t)
	if d.app.memory.get().WentBack != "" {
		t.Error("it is still suspected")
	}
	d.store.Delete("brambled/stacks/late") // with no suspicion left this is a command
	d.gone(t, "late")
}

// After a restore of an older snapshot the command that the hold names lifts it, though all that is older has its value already:
// it is written again. Somebody has put a key meanwhile, so the store is not simply the one that was.
func TestRestoringLastGoodLiftsTheHold(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.store.Put("brambled/secrets/key", "hush")
	d.is(t, "web", status.Converged)
	image := d.store.Save()
	id, _ := d.store.Get("brambled/vars/.cluster")
	d.store.Delete("brambled/secrets/key")
	d.store.Put("brambled/secrets/key", "hush")
	d.store.Delete("brambled/vars/.cluster")
	d.store.Put("brambled/vars/.cluster", string(id.Value))
	d.store.Put("brambled/stacks/late", small)
	d.is(t, "late", status.Converged)
	d.remembers(t, "web", "late")
	d.restores(t, image)
	d.store.Put("brambled/vars/OTHER", "x")
	d.holds(t, "index-regressed")
	o, err := NewOperator(d.cfg, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	was, err := o.LastGood()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Restore(t.Context(), was, false); err != nil {
		t.Fatal(err)
	}
	d.lifts(t)
	d.is(t, "late", status.Converged)
}

// A Pi that boots alone brings back what it ran, and takes nothing away.
func TestBootsAlone(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.store.Put("brambled/stacks/base", small)
	d.is(t, "web", status.Converged)
	d.is(t, "base", status.Converged)
	d.remembers(t, "web", "base")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.removes(t, "web-app-1")
	d.engine.Forget()
	d.cfg.Consul.Address = "127.0.0.1:1"
	d.run(t)
	d.holds(t, "unreachable")
	d.is(t, "web", status.Converged)
	d.is(t, "base", status.Converged)
	d.takesNothing(t)
}

// An approval lets exactly what it was given for pass, once: the same stacks, put back and gone again, are a new decision.
func TestApprovalIsForOnce(t *testing.T) {
	const id = "0123456789ab"
	a := newApprovals(t.TempDir())
	if a.given(id, 0) {
		t.Error("nobody has approved it")
	}
	a.learn([]consul.Entry{{Key: id, ModifyIndex: 7}})
	if !a.given(id, 6) {
		t.Error("what was approved after it was written is not let pass")
	}
	if a.given(id, 8) {
		t.Error("what was written after the approval passes")
	}
	if err := approveLocally(filepath.Dir(a.dir), id); err != nil {
		t.Fatal(err)
	}
	if !a.given(id, 8) {
		t.Error("an approval on this node is not seen")
	}
	if a.given(id, 8) {
		t.Error("an approval on this node counts twice")
	}
}

// An engine that comes up with another storage driver shows none of our containers: they are not made anew beside the old
// ones, and not by a brambled that is started again meanwhile either.
func TestHiddenStore(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	d.engine.Kill()
	former := d.engine.SwitchStore(dockertest.Store{ID: "FAKE", Driver: "other"})
	d.engine.AddImage("hello:1", dockertest.Image{})
	d.engine.Forget()
	d.engine.Again()
	d.holds(t, "engine-store-changed")
	d.is(t, "web", status.Held)
	d.restart(t)
	d.holds(t, "engine-store-changed")
	for _, call := range d.engine.Log() {
		if strings.HasPrefix(call, "POST /containers/create") {
			t.Errorf("a container was made anew: %s", call)
		}
	}
	d.engine.Kill()
	d.engine.SwitchStore(former)
	d.engine.Again()
	d.lifts(t)
	d.is(t, "web", status.Converged)
}

// What a person decides a second time is a second decision, though it is the same: the index of its key must move.
func TestDecidedTwice(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	o, err := NewOperator(d.cfg, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for range 2 {
		if err := o.decide(t.Context(), "retry/web", "retry"); err != nil {
			t.Fatal(err)
		}
		p, _ := d.store.Get("brambled/approvals/retry/web")
		if p.ModifyIndex <= last {
			t.Errorf("the index is %d, was %d", p.ModifyIndex, last)
		}
		last = p.ModifyIndex
	}
}
