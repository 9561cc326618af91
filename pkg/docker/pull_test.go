package docker_test

import (
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// pull starts a pull and waits for its end.
func (b *bench) pull(ref, why string) (node.Pull, bool) {
	b.t.Helper()
	b.apply(plan.Pull{Image: ref, For: why})
	return b.pullEnds(ref)
}

// pullEnds waits for a pull's end and reports whether the image is there.
func (b *bench) pullEnds(ref string) (p node.Pull, local bool) {
	b.t.Helper()
	key := node.ImageRef{Ref: ref}
	b.eventually("the pull of "+ref+" ends", func() bool {
		o, err := b.Observe(b.t.Context(), docker.Want{Images: []node.ImageRef{key}})
		must(b.t, err)
		p = o.Pulls[key]
		_, local = o.Images[key]
		return !p.Running
	})
	return p, local
}

// contractPull is what pulling relies on; ref gives the reference for a repository as [dockertest.Registry] has it.
func contractPull(t *testing.T, b *bench, ref func(string) string) {
	b.events()
	good, local := b.pull(ref("good"), "1:a 1:b")
	if good.Err != "" || !local || good.For != "1:a 1:b" {
		t.Errorf("good: %+v, local %t", good, local)
	}
	b.awake("the pull ended")
	missing, local := b.pull(ref("absent"), "")
	if !strings.Contains(missing.Err, "not found") && !strings.Contains(missing.Err, "manifest unknown") || local || missing.RetryIn <= 0 {
		t.Errorf("absent: %+v, local %t", missing, local)
	}
	broken, local := b.pull(ref("broken"), "")
	if broken.Err == "" || local {
		t.Errorf("an error in the stream of a 200: %+v, local %t", broken, local)
	}
	b.apply(plan.Pull{Image: ref("stalled")})
	key := node.ImageRef{Ref: ref("stalled")}
	b.eventually("progress shows", func() bool {
		o, err := b.Observe(t.Context(), docker.Want{Images: []node.ImageRef{key}})
		must(t, err)
		return o.Pulls[key].Running && o.Pulls[key].Total > 0
	})
	if stalled, local := b.pullEnds(ref("stalled")); !strings.Contains(stalled.Err, "no progress") || local {
		t.Errorf("stalled: %+v, local %t", stalled, local)
	}
	if o := b.observe(); len(o.Pulls) != 0 {
		t.Errorf("pulls nobody wants any more are kept: %v", o.Pulls)
	}
}

func TestPullOnFake(t *testing.T) {
	w, s := fakeWorld(t, "1.41")
	never := make(chan struct{})
	half := `{"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"aaa"}`
	s.SetPull("r.example/good:1", dockertest.Pull{Lines: []string{half}, Adds: &dockertest.Image{}})
	s.SetPull("r.example/broken:1", dockertest.Pull{Lines: []string{half, `{"errorDetail":{"message":"failed to register layer"},"error":"failed to register layer"}`}})
	s.SetPull("r.example/stalled:1", dockertest.Pull{Lines: []string{half}, Gate: never})
	contractPull(t, newBench(t, w, "ctpull"), func(name string) string { return "r.example/" + name + ":1" })
}

// A stream that just ends is no success: a dockerd that dies ends it that way.
func TestPullNeedsTheImage(t *testing.T) {
	w, s := fakeWorld(t, "1.41")
	s.SetPull("r.example/app:1", dockertest.Pull{})
	p, local := newBench(t, w, "ctend").pull("r.example/app:1", "")
	if p.Err == "" || local {
		t.Errorf("pull %+v, local %t", p, local)
	}
}

// One reference is pulled once at a time, and a second start is no error.
func TestPullOncePerReference(t *testing.T) {
	w, s := fakeWorld(t, "1.41")
	gate := make(chan struct{})
	s.SetPull("r.example/app:1", dockertest.Pull{Gate: gate, Adds: &dockertest.Image{}})
	b := newBench(t, w, "ctonce")
	for range 3 {
		b.apply(plan.Pull{Image: "r.example/app:1"})
	}
	close(gate)
	if p, local := b.pullEnds("r.example/app:1"); p.Err != "" || !local {
		t.Errorf("pull %+v, local %t", p, local)
	}
	n := 0
	for _, call := range s.Log() {
		if call == "POST /images/create" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d pulls of one reference", n)
	}
}
