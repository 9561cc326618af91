package dockertest

import (
	"net/http"

	"github.com/moby/moby/api/types/container"
)

// Store is what an engine keeps containers and images in.
type Store struct {
	ID     string // of the engine
	Driver string
	Kind   string // "io.containerd.snapshotter.v1" for containerd's image store
	Data   string // names the data directory
}

// contents are what another store hides.
type contents struct {
	containers map[string]*ctr
	images     map[string]*Image
	networks   map[string]*netw
	volumes    map[string]*vol
}

// SwitchStore changes the store and returns the former one. As with a real engine, what is in the former is hidden, not
// gone, and networks and volumes go along only with another data directory. A real engine is started again for it: call
// it between Kill and Again.
func (s *Server) SwitchStore(next Store) (former Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	former = s.store
	s.hidden[former] = contents{s.containers, s.images, s.networks, s.volumes}
	c, known := s.hidden[next]
	if !known {
		c = contents{map[string]*ctr{}, map[string]*Image{}, s.networks, s.volumes}
	}
	s.store, s.containers, s.images, s.networks, s.volumes = next, c.containers, c.images, c.networks, c.volumes
	if !known && next.Data != former.Data {
		s.networks, s.volumes = map[string]*netw{}, map[string]*vol{}
		for _, name := range []string{"bridge", "host", "none"} {
			s.addNetwork(next.Data+name, name, nil)
		}
	}
	return former
}

func (s *Server) serveInfo(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var status [][2]string
	if s.store.Kind != "" {
		status = [][2]string{{"driver-type", s.store.Kind}}
	}
	reply(w, 200, map[string]any{
		"ID": s.store.ID, "Driver": s.store.Driver, "DriverStatus": status, "ServerVersion": "0.0.0-fake", "Name": "fake",
		"Swarm": s.swarmInfo(),
	})
}

// FailRemoval makes removals that are waited for fail with this message, or succeed again ("").
func (s *Server) FailRemoval(message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removal = message
}

func (s *Server) waitContainer(w http.ResponseWriter, _ *http.Request, _ *ctr) {
	var answer container.WaitResponse
	if s.removal != "" {
		answer.Error = &container.WaitExitError{Message: s.removal}
	}
	reply(w, http.StatusOK, answer)
}
