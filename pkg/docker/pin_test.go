package docker_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/swarm"
)

const digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

func (b *bench) pins(refs ...string) map[string]swarm.Pin {
	b.t.Helper()
	o, err := b.ObserveSwarm(b.t.Context(), docker.SwarmWant{Images: refs})
	must(b.t, err)
	return o.Pins
}

// pin asks for a digest and waits for the answer.
func (b *bench) pin(ref string) swarm.Pin {
	b.t.Helper()
	b.apply(plan.Pin{Image: ref})
	var p swarm.Pin
	b.eventually("the registry answers for "+ref, func() bool {
		p = b.pins(ref)[ref]
		return p.Image != "" || p.Err != ""
	})
	return p
}

// contractPin is what pinning relies on; ref gives the reference for a repository as [dockertest.Registry] has it.
func contractPin(t *testing.T, b *bench, ref func(string) string, want string) {
	b.events()
	if p := b.pins(ref("good")); len(p) != 0 {
		t.Errorf("nobody asked, and the pins are %+v", p)
	}
	if p := b.pin(ref("good")); p != (swarm.Pin{Image: ref("good") + "@" + want}) {
		t.Errorf("good: %+v, want %s", p, want)
	}
	b.awake("the registry answered")
	absent := b.pin(ref("absent"))
	if !strings.Contains(absent.Err, "not found") && !strings.Contains(absent.Err, "unknown") || absent.Image != "" || absent.RetryIn <= 0 {
		t.Errorf("absent: %+v", absent)
	}
	b.clock.Add(int64(absent.RetryIn / 2))
	if p := b.pins(ref("absent"))[ref("absent")]; p.RetryIn != absent.RetryIn-absent.RetryIn/2 || p.Err != absent.Err {
		t.Errorf("half-way to the retry: %+v, was %+v", p, absent)
	}
	if p := b.pin(ref("good") + "@" + want); p.Image != ref("good")+"@"+want {
		t.Errorf("a reference with a digest: %+v", p)
	}
	if p := b.pins(); len(p) != 0 {
		t.Errorf("pins nobody wants any more are kept: %v", p)
	}
}

func TestPinOnFake(t *testing.T) {
	w, s := fakeWorld(t, "1.41")
	s.SetDistribution("r.example/good:1", dockertest.Distribution{Digest: digest})
	contractPin(t, newManager(t, w, "swpin"), func(name string) string { return "r.example/" + name + ":1" }, digest)
}

// A question that hangs, because the registry is away, is open to the planner and asked once; the service can be deployed
// meanwhile, because no call to a manager asks a registry.
func TestPinUnderWay(t *testing.T) {
	b, s := fakeManager(t)
	gate := make(chan struct{})
	s.SetDistribution("docker.io/library/nginx:latest", dockertest.Distribution{Digest: digest, Gate: gate})
	for range 3 {
		b.apply(plan.Pin{Image: "nginx"})
	}
	p, asked := b.pins("nginx")["nginx"]
	if !asked || p.Image != "" || p.Err != "" || p.RetryIn <= 0 {
		t.Errorf("while it is asked: %+v, %t", p, asked)
	}
	b.apply(b.swarmService("app"))
	close(gate)
	b.eventually("the answer is there", func() bool { return b.pins("nginx")["nginx"].Image == "nginx:latest@"+digest })
	if n := s.Count("GET /distribution/"); n != 1 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// A registry that cannot be reached is asked again, ever more rarely, and what it said before stands meanwhile.
func TestPinRetry(t *testing.T) {
	w, s := fakeWorld(t, "1.41")
	b := newManager(t, w, "web", func(c *docker.Config) { c.PullRetry = time.Second })
	s.SetDistribution("docker.io/library/nginx:1", dockertest.Distribution{Status: 500, Message: "dial tcp: connection refused"})
	first := b.pin("nginx:1")
	b.clock.Add(int64(first.RetryIn))
	if again := b.pins("nginx:1")["nginx:1"]; again.RetryIn != 0 || again.Err == "" {
		t.Errorf("when its time has come: %+v", again)
	}
	gate := make(chan struct{})
	s.SetDistribution("docker.io/library/nginx:1", dockertest.Distribution{Status: 500, Message: "no route to host", Gate: gate})
	b.apply(plan.Pin{Image: "nginx:1"})
	if again := b.pins("nginx:1")["nginx:1"]; again.Err != first.Err || again.RetryIn <= 0 {
		t.Errorf("while it is asked again: %+v, was %+v", again, first)
	}
	close(gate)
	var second swarm.Pin
	b.eventually("it failed again", func() bool { second = b.pins("nginx:1")["nginx:1"]; return second.Err != first.Err })
	if second.RetryIn <= first.RetryIn {
		t.Errorf("asked again in %s, after %s", second.RetryIn, first.RetryIn)
	}
	s.SetDistribution("docker.io/library/nginx:1", dockertest.Distribution{Digest: digest})
	b.apply(plan.Pin{Image: "nginx:1"})
	b.eventually("resolved", func() bool { return b.pins("nginx:1")["nginx:1"] == swarm.Pin{Image: "nginx:1@" + digest} })
	s.SetDistribution("docker.io/library/nginx:1", dockertest.Distribution{Status: 500, Message: "dial tcp: connection refused"})
	b.apply(plan.Pin{Image: "nginx:1"})
	b.eventually("away again", func() bool { return b.pins("nginx:1")["nginx:1"].Err != "" })
	if p := b.pins("nginx:1")["nginx:1"]; p.Image != "nginx:1@"+digest {
		t.Errorf("the registry is away, and what it said is forgotten: %+v", p)
	}
}

// login writes credentials for a registry into the Docker config file.
func (b *bench) login(registry, user, password string) {
	b.t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	must(b.t, os.WriteFile(filepath.Join(b.auth, "config.json"), []byte(`{"auths":{"`+registry+`":{"auth":"`+auth+`"}}}`), 0o600))
}

// The nodes that pull for a task have no credentials of their own: they come with the service.
func TestServiceCarriesCredentials(t *testing.T) {
	b, s := fakeManager(t)
	b.login("r.example", "pi", "raspberry")
	private := func(a plan.CreateService) plan.CreateService {
		a.Image = "r.example/app:1"
		return a
	}
	a := private(b.swarmService("app"))
	b.apply(a)
	id := b.mustService(a.Service.Full).ID
	b.apply(b.to(private(b.swarmService("app", env("VERSION=2")))), plan.Pin{Image: a.Image})
	b.eventually("the registry was asked", func() bool { return s.Count("GET /distribution/") == 1 })
	for _, call := range []string{"POST /services/create", "POST /services/" + id + "/update", "GET /distribution/r.example/app:1/json"} {
		raw, err := base64.URLEncoding.DecodeString(s.Auth(call))
		if err != nil || !strings.Contains(string(raw), `"raspberry"`) {
			t.Errorf("%s: credentials %q, %v", call, raw, err)
		}
	}
}
