package dockertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

type netw struct {
	id, name      string
	scope, driver string
	attachable    bool
	labels        map[string]string
}

type vol struct {
	name   string
	labels map[string]string
}

// filters are those of a list or a stream.
func filters(r *http.Request) map[string]map[string]bool {
	var out map[string]map[string]bool
	_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &out)
	return out
}

func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	filters := filters(r)
	ch := make(chan events.Message, 256)
	s.mu.Lock()
	s.streams[ch] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, ch)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case m, ok := <-ch:
			if !ok {
				return
			}
			action, _, _ := strings.Cut(string(m.Action), ":")
			if len(filters["type"]) > 0 && !filters["type"][string(m.Type)] || len(filters["event"]) > 0 && !filters["event"][action] {
				continue
			}
			_ = json.NewEncoder(w).Encode(m)
			w.(http.Flusher).Flush()
		}
	}
}

// event publishes; a reader that does not keep up loses it, as with a real engine.
func (s *Server) event(t events.Type, a events.Action, id, name string) {
	m := events.Message{Type: t, Action: a, Actor: events.Actor{ID: id, Attributes: map[string]string{"name": name}}}
	if t == events.NetworkEventType {
		m.Actor.Attributes["container"] = name
	}
	for c := range s.streams {
		select {
		case c <- m:
		default:
		}
	}
}

// Publish sends an event of a container that stands for no change, such as a health probe's.
func (s *Server) Publish(a events.Action, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event(events.ContainerEventType, a, id, "")
}

func (s *Server) addNetwork(id, name string, labels map[string]string) *netw {
	n := &netw{id: id, name: name, scope: "local", driver: "bridge", labels: labels}
	s.networks[id] = n
	return n
}

func (s *Server) network(key string) *netw {
	if n := s.networks[key]; n != nil {
		return n
	}
	for _, id := range slices.Sorted(maps.Keys(s.networks)) {
		if s.networks[id].name == key {
			return s.networks[id]
		}
	}
	return nil
}

func (s *Server) withNetwork(f func(http.ResponseWriter, *http.Request, *netw)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := s.network(r.PathValue("id"))
		if n == nil {
			fail(w, http.StatusNotFound, "network "+r.PathValue("id")+" not found")
			return
		}
		f(w, r, n)
	}
}

func (s *Server) listNetworks(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	filters := filters(r)
	out := []network.Summary{}
	for _, id := range slices.Sorted(maps.Keys(s.networks)) {
		n := s.networks[id]
		match := len(filters["name"]) == 0
		for want := range filters["name"] {
			match = match || strings.Contains(n.name, want)
		}
		if match && (len(filters["scope"]) == 0 || filters["scope"][n.scope]) {
			out = append(out, network.Summary{Network: network.Network{
				ID: n.id, Name: n.name, Labels: n.labels, Scope: n.scope, Driver: n.driver, Attachable: n.attachable,
			}})
		}
	}
	reply(w, 200, out)
}

// createNetwork makes a second network of one name before API 1.44, unless asked to check.
func (s *Server) createNetwork(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var req struct {
		network.CreateRequest
		CheckDuplicate bool
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if s.network(req.Name) != nil && (req.CheckDuplicate || !newer("1.44", s.version)) {
		fail(w, http.StatusConflict, "network with name "+req.Name+" already exists")
		return
	}
	overlay := req.Driver == "overlay"
	if overlay && !s.swarm.manager() {
		fail(w, http.StatusInternalServerError, noManager)
		return
	}
	n := s.addNetwork(s.id("network"), req.Name, req.Labels)
	n.attachable = req.Attachable
	if overlay {
		n.swarm()
	}
	s.event(events.NetworkEventType, events.ActionCreate, n.id, "")
	reply(w, http.StatusCreated, network.CreateResponse{ID: n.id})
}

func (s *Server) removeNetwork(w http.ResponseWriter, _ *http.Request, n *netw) {
	if user := s.networkUsed(n.id); user != "" {
		rpc(w, http.StatusBadRequest, "FailedPrecondition", "network "+n.id+" is in use by service "+user)
		return
	}
	for _, c := range s.containers {
		if end := c.ends[n.name]; end != nil && end.NetworkID == n.id && c.state == container.StateRunning {
			fail(w, http.StatusForbidden, "error while removing network: network "+n.name+" id "+n.id+" has active endpoints")
			return
		}
	}
	delete(s.networks, n.id)
	s.event(events.NetworkEventType, events.ActionDestroy, n.id, "")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request, n *netw) {
	var req network.ConnectRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	c := s.container(req.Container)
	switch {
	case c == nil:
		fail(w, http.StatusNotFound, "No such container: "+req.Container)
		return
	case c.ends[n.name] != nil:
		fail(w, http.StatusForbidden, fmt.Sprintf("endpoint with name %s already exists in network %s", c.name, n.name))
		return
	}
	end := req.EndpointConfig
	if end == nil {
		end = &network.EndpointSettings{}
	}
	end.NetworkID = n.id
	c.ends[n.name] = end
	s.event(events.NetworkEventType, events.ActionConnect, n.id, c.id)
	w.WriteHeader(http.StatusOK)
}

// disconnect works by name for a network that is gone.
func (s *Server) disconnect(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var req network.DisconnectRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	key := r.PathValue("id")
	n, c := s.network(key), s.container(req.Container)
	if n != nil {
		key = n.name
	}
	if c == nil || c.ends[key] == nil {
		fail(w, http.StatusNotFound, fmt.Sprintf("container %s is not connected to the network %s", req.Container, key))
		return
	}
	delete(c.ends, key)
	s.event(events.NetworkEventType, events.ActionDisconnect, r.PathValue("id"), c.id)
	w.WriteHeader(http.StatusOK)
}

// volume returns a volume's name, making the volume where it is missing and the name where there is none.
func (s *Server) volume(name string) string {
	if name == "" {
		name = s.id("volume")
	}
	if s.volumes[name] == nil {
		s.volumes[name] = &vol{name: name}
	}
	return name
}

func (s *Server) listVolumes(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := volume.ListResponse{Volumes: []volume.Volume{}}
	for _, name := range slices.Sorted(maps.Keys(s.volumes)) {
		out.Volumes = append(out.Volumes, volume.Volume{Name: name, Labels: s.volumes[name].labels, Driver: "local", Scope: "local"})
	}
	reply(w, 200, out)
}

func (s *Server) createVolume(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var req volume.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if s.volumes[req.Name] == nil {
		s.volumes[s.volume(req.Name)].labels = req.Labels
		s.event(events.VolumeEventType, events.ActionCreate, req.Name, "")
	}
	reply(w, http.StatusCreated, volume.Volume{Name: req.Name, Labels: s.volumes[req.Name].labels})
}

func (s *Server) removeVolume(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.PathValue("id")
	switch {
	case s.volumes[name] == nil:
		fail(w, http.StatusNotFound, "get "+name+": no such volume")
	case s.volumeUsed(name):
		fail(w, http.StatusConflict, "remove "+name+": volume is in use")
	default:
		delete(s.volumes, name)
		s.event(events.VolumeEventType, events.ActionDestroy, name, "")
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) volumeUsed(name string) bool {
	for _, c := range s.containers {
		if slices.ContainsFunc(c.mounts, func(m container.MountPoint) bool { return m.Name == name }) {
			return true
		}
	}
	return false
}

// removeAnonymous removes the volumes that the container was given without a name, and those only.
func (s *Server) removeAnonymous(c *ctr) {
	named := map[string]bool{}
	for _, m := range c.host.Mounts {
		if m.Type == mount.TypeVolume && m.Source != "" {
			named[m.Source] = true
		}
	}
	for _, m := range c.mounts {
		if m.Type == mount.TypeVolume && !named[m.Name] && !s.volumeUsed(m.Name) {
			delete(s.volumes, m.Name)
		}
	}
}
