package docker_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
)

// A Swarm is forced onto one manager only where it has no leader, and by none but a manager of it.
func TestSurvivor(t *testing.T) {
	t.Parallel()
	s := dockertest.New(t)
	e, err := docker.New(docker.Config{Host: s.Host(), StateDir: t.TempDir()}, zaptest.NewLogger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	survivor := docker.NewSurvivor(e)
	refused := func(when string) {
		t.Helper()
		if err := survivor.ForceNewCluster(t.Context()); !errors.Is(err, docker.ErrLed) {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("in no Swarm")
	if err := e.Apply(t.Context(), plan.InitSwarm{Node: "pi1", Cluster: "c1", Address: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	s.SetManagers("192.0.2.3:2377", "192.0.2.2:2377", "192.0.2.1:2377")
	refused("with a leader")
	s.SetLeaderless(true)
	s.SetWorker(true)
	refused("as a worker")
	if n := s.Count("POST /swarm/init"); n != 1 {
		t.Errorf("the engine was asked: %v", s.Log())
	}
	s.SetWorker(false)
	l, err := survivor.Look(t.Context())
	want := docker.Loss{State: "active", Manager: true, Leaderless: true, Err: l.Err, Address: "192.0.2.1:2377", Others: []docker.Peer{{Address: "192.0.2.2:2377"}, {Address: "192.0.2.3:2377"}}}
	if diff := cmp.Diff(want, l); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if err := survivor.ForceNewCluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("once more")
}
