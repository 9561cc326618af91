package docker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
)

// Another driver, containerd's image store, another data directory and another engine are each another store; the same one
// after a restart is not.
func TestStoreIdentity(t *testing.T) {
	b, s := fake(t, "1.41")
	ask := func() docker.StoreIdentity {
		t.Helper()
		id, err := b.Store(t.Context())
		must(t, err)
		return id
	}
	restart := func(next *dockertest.Store) {
		t.Helper()
		s.Kill()
		if err := b.Ready(t.Context()); err == nil {
			t.Error("a dead engine is ready")
		}
		if next != nil {
			s.SwitchStore(*next)
		}
		s.Again()
	}
	first := ask()
	if first.Engine != "FAKE" || first.Driver != "fake" || first.Data == "" {
		t.Errorf("store is %+v", first)
	}
	restart(nil)
	if again := ask(); again != first {
		t.Errorf("a restart made %v of %v", again, first)
	}
	seen := map[docker.StoreIdentity]bool{first: true}
	for _, next := range []dockertest.Store{
		{ID: "FAKE", Driver: "overlayfs", Kind: "io.containerd.snapshotter.v1"},
		{ID: "FAKE", Driver: "overlayfs"},
		{ID: "FAKE", Driver: "fake", Data: "other"},
		{ID: "OTHER", Driver: "fake"},
	} {
		restart(&next)
		id := ask()
		if seen[id] {
			t.Errorf("%+v looks like one seen before: %v", next, id)
		}
		seen[id] = true
	}
	restart(&dockertest.Store{ID: "FAKE", Driver: "fake"})
	if back := ask(); back != first {
		t.Errorf("the first store is back as %v, it was %v", back, first)
	}
}

// The identity costs one question for each connection.
func TestStoreIsAskedOnce(t *testing.T) {
	b, s := fake(t, "1.41")
	for range 3 {
		_, err := b.Store(t.Context())
		must(t, err)
	}
	infos := func() int {
		return len(slices.DeleteFunc(s.Log(), func(c string) bool { return c != "GET /info" }))
	}
	if n := infos(); n != 1 {
		t.Errorf("asked %d times over one connection", n)
	}
	if _, err := b.StoreNow(t.Context()); err != nil || infos() != 2 {
		t.Errorf("StoreNow asked %d times: %v", infos()-1, err)
	}
}

// A removal that somebody else began and that failed is a failure: taken for success, it would be tried without end.
func TestFailedRemovalUnderWay(t *testing.T) {
	b, s := fake(t, "1.41")
	a := b.make("app")
	b.apply(a)
	s.Break(dockertest.Fault{Match: "^DELETE /containers/", Status: 409, Message: "removal of container abc is already in progress"})
	s.FailRemoval("device or resource busy")
	if err := b.Apply(t.Context(), plan.Remove{Name: a.Name}); err == nil || !strings.Contains(err.Error(), "device or resource busy") {
		t.Errorf("remove: %v", err)
	}
	s.Mend()
	s.FailRemoval("")
	b.apply(plan.Remove{Name: a.Name})
	if _, there := b.see(a.Name); there {
		t.Error("it is still there")
	}
}

// A full disk is told with what to do.
func TestFullDisk(t *testing.T) {
	b, s := fake(t, "1.41")
	s.Break(dockertest.Fault{Match: "^POST /containers/create", Message: "write /var/lib/docker/tmp: no space left on device"})
	if err := b.Apply(t.Context(), b.make("app")); err == nil || !strings.Contains(err.Error(), "docker system df") {
		t.Errorf("create: %v", err)
	}
}
