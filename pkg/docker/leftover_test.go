package docker_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// heir is a container that took over an anonymous volume from a predecessor that is gone.
func (b *bench) heir() (name, volume string) {
	kind := func(a *plan.Create) { a.Spec.Volumes = []spec.VolumeMount{{Target: "/cache"}} }
	first := b.make("app", kind)
	b.apply(first)
	id := b.mustSee(first.Name).ID
	next := b.make("app", kind, func(a *plan.Create) { a.Inherit, a.Spec.Hash = id, "1:heir" })
	prev := first.Name + ".prev"
	b.apply(plan.Rename{ID: id, From: first.Name, To: prev}, next, plan.Remove{ID: id, Name: prev, KeepVolumes: true})
	return next.Name, b.volumeAt(next.Name, "/cache")
}

// restarted is the adapter of the daemon's next start.
func (b *bench) restarted() *docker.Engine {
	b.t.Helper()
	e, err := docker.New(docker.Config{Host: b.host, StateDir: b.state}, zaptest.NewLogger(b.t), nil)
	must(b.t, err)
	b.t.Cleanup(e.Close)
	return e
}

// A volume that a container took over goes with it, though the removal is cut between the two: by a call that fails, a reply
// that is lost, or the end of the daemon. For the next start the volume has no trace on the engine that it was ours.
func TestRemovalCutShort(t *testing.T) {
	for name, fault := range map[string]dockertest.Fault{
		"the volume's removal fails":    {Match: "^DELETE /volumes/", Times: 1},
		"the container's reply is lost": {Match: "^DELETE /containers/", Times: 1, Kind: dockertest.LoseReply},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b, s := fake(t, "1.41")
				heir, volume := b.heir()
				s.Break(fault)
				if err := b.Apply(t.Context(), plan.Remove{Name: heir}); err == nil {
					t.Error("nothing went wrong")
				}
				s.Mend()
				if err := b.Apply(t.Context(), plan.Remove{Name: heir}); err != nil {
					t.Fatal(err)
				}
				e := b.Engine
				if restart {
					e = b.restarted()
				}
				must(t, e.Tidy(t.Context()))
				if b.haveVolume(volume) {
					t.Error("the volume is left behind")
				}
				if left, err := os.ReadDir(filepath.Join(b.state, "volumes")); err != nil || len(left) > 0 {
					t.Errorf("left on disk: %v, %v", left, err)
				}
			})
		}
	}
}

// What is noted and still in use stays, and what is no name that the engine makes up is not believed.
func TestTidyTakesNothingElse(t *testing.T) {
	b, s := fake(t, "1.41")
	_, volume := b.heir()
	v := spec.Volume{Name: "web_data", Hash: "1:v"}
	b.apply(plan.CreateVolume{Owner: owner, Stack: "web", Volume: v})
	must(t, os.MkdirAll(filepath.Join(b.state, "volumes"), 0o700))
	for _, name := range []string{volume, v.Name} {
		must(t, os.WriteFile(filepath.Join(b.state, "volumes", name), nil, 0o600))
	}
	must(t, b.restarted().Tidy(t.Context()))
	if !b.haveVolume(volume) || !b.haveVolume(v.Name) {
		t.Error("a volume that is in use, or that has a name, was removed")
	}
	s.Forget()
	must(t, b.restarted().Tidy(t.Context()))
	if calls := s.Log(); len(calls) > 0 {
		t.Errorf("with nothing to do it makes calls: %v", calls)
	}
}
