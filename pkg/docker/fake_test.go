package docker_test

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/brambled/brambled/pkg/docker/dockertest"
)

// fakeWorld is the fake engine speaking one API version.
func fakeWorld(t *testing.T, api string) (world, *dockertest.Server) {
	s := dockertest.New(t)
	s.SetVersion(api)
	check := &container.HealthConfig{Test: []string{"CMD", "/hello", "-healthcheck"}}
	s.AddImage("brambled/hello:1", dockertest.Image{Entrypoint: []string{"/hello"}, Healthcheck: check})
	s.AddImage("brambled/volume:1", dockertest.Image{Entrypoint: []string{"/hello"}, Volumes: []string{"/data"}})
	return world{
		host: s.Host(), image: "brambled/hello:1", volumeImage: "brambled/volume:1", patience: 10 * time.Second,
		turn:  func(t *testing.T, name string, h container.HealthStatus) { t.Helper(); s.SetHealth(name, h) },
		kill:  func(*testing.T) { s.Kill() },
		again: func(*testing.T) { s.Again() },
		lose:  func() { s.Break(dockertest.Fault{Match: "^(POST|DELETE) ", Times: 1, Kind: dockertest.LoseReply}) },
		mend:  s.Mend,
	}, s
}

// The fake keeps the contract as Debian 12's engine speaks it and as the newest one does.
func TestContractOnFake(t *testing.T) {
	for _, api := range []string{"1.41", "1.54"} {
		t.Run("api-"+api, func(t *testing.T) {
			w, _ := fakeWorld(t, api)
			contract(t, w)
		})
	}
}

// So it does as a manager of a Swarm.
func TestSwarmContractOnFake(t *testing.T) {
	for _, api := range []string{"1.41", "1.54"} {
		t.Run("api-"+api, func(t *testing.T) {
			w, _ := fakeWorld(t, api)
			contractSwarm(t, w)
			contractQuorum(t, w)
		})
	}
}
