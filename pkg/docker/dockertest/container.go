package dockertest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// ctr is a container.
type ctr struct {
	id, name string
	number   int // in order of creation
	config   container.Config
	host     container.HostConfig
	ends     map[string]*network.EndpointSettings
	mounts   []container.MountPoint
	imageID  string
	state    container.ContainerState
	health   container.HealthStatus
	started  string
	exit     int
	restarts int
	err      string
	raw      map[string]any // the create request as it came
}

// withContainer finds the container by id, start of an id, or name, and holds the lock.
func (s *Server) withContainer(f func(http.ResponseWriter, *http.Request, *ctr)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.container(r.PathValue("id"))
		if c == nil {
			fail(w, http.StatusNotFound, "No such container: "+r.PathValue("id"))
			return
		}
		f(w, r, c)
	}
}

func (s *Server) container(key string) *ctr {
	for _, c := range s.containers {
		if c.id == key || c.name == key || len(key) >= 12 && strings.HasPrefix(c.id, key) {
			return c
		}
	}
	return nil
}

// id makes up an id of the engine's form.
func (s *Server) id(kind string) string {
	s.ids++
	return fmt.Sprintf("%x%063x", len(kind)%16, s.ids)
}

func (s *Server) sorted() []*ctr {
	return slices.SortedFunc(maps.Values(s.containers), func(a, b *ctr) int { return cmp.Compare(b.number, a.number) })
}

func (s *Server) listContainers(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []container.Summary{}
	labels := filters(r)["label"]
	for _, c := range s.sorted() {
		if !hasLabels(c.config.Labels, labels) {
			continue
		}
		if r.URL.Query().Get("all") == "" && c.state != container.StateRunning {
			continue
		}
		row := container.Summary{
			ID: c.id, Names: []string{"/" + c.name}, Image: c.config.Image, ImageID: c.imageID, Labels: c.config.Labels,
			State: c.state, Status: c.status(), Mounts: c.mounts,
			NetworkSettings: &container.NetworkSettingsSummary{Networks: c.ends},
		}
		if !newer("1.52", s.version) && c.health != "" {
			row.Health = &container.HealthSummary{Status: c.health}
		}
		out = append(out, row)
	}
	reply(w, 200, out)
}

// hasLabels reports whether these labels are there: NAME with any value, or NAME=VALUE.
func hasLabels(have map[string]string, want map[string]bool) bool {
	for label := range want {
		name, value, given := strings.Cut(label, "=")
		if is, ok := have[name]; !ok || given && is != value {
			return false
		}
	}
	return true
}

// status is the text people read.
func (c *ctr) status() string {
	switch c.state {
	case container.StateRunning:
		switch c.health {
		case "", container.NoHealthcheck:
			return "Up 5 seconds"
		case container.Starting:
			return "Up 5 seconds (health: starting)"
		case container.Healthy, container.Unhealthy:
		}
		return "Up 5 seconds (" + string(c.health) + ")"
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) 3 seconds ago", c.exit)
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) 3 seconds ago", c.exit)
	case container.StateCreated:
		return "Created"
	case container.StateDead:
		return "Dead"
	case container.StatePaused:
		return "Up 5 seconds (Paused)"
	case container.StateRemoving:
		return "Removal In Progress"
	}
	return string(c.state)
}

func (s *Server) inspectContainer(w http.ResponseWriter, _ *http.Request, c *ctr) {
	st := &container.State{
		Status: c.state, Running: c.state == container.StateRunning, Restarting: c.state == container.StateRestarting,
		Dead: c.state == container.StateDead, ExitCode: c.exit, Error: c.err, StartedAt: c.started,
	}
	if c.health != "" {
		st.Health = &container.Health{Status: c.health}
	}
	reply(w, 200, container.InspectResponse{
		ID: c.id, Name: "/" + c.name, Image: c.imageID, State: st, RestartCount: c.restarts, Config: &c.config, HostConfig: &c.host,
		Mounts: c.mounts, NetworkSettings: &container.NetworkSettings{Networks: c.ends},
	})
}

func (s *Server) createContainer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var raw json.RawMessage
	var req container.CreateRequest
	c := &ctr{state: container.StateCreated, ends: map[string]*network.EndpointSettings{}, started: "0001-01-01T00:00:00Z"}
	if json.NewDecoder(r.Body).Decode(&raw) != nil || json.Unmarshal(raw, &req) != nil || json.Unmarshal(raw, &c.raw) != nil || req.Config == nil {
		fail(w, http.StatusBadRequest, "invalid JSON")
		return
	}
	c.name = strings.TrimPrefix(r.URL.Query().Get("name"), "/")
	if other := s.container(c.name); other != nil {
		fail(w, http.StatusConflict, fmt.Sprintf("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+c.name, other.id))
		return
	}
	img := s.image(req.Config.Image)
	if img == nil {
		fail(w, http.StatusNotFound, "No such image: "+req.Config.Image)
		return
	}
	c.config, c.imageID = *req.Config, img.ID
	if req.HostConfig != nil {
		c.host = *req.HostConfig
	}
	if c.config.Healthcheck == nil {
		c.config.Healthcheck = img.Healthcheck
	}
	if len(c.config.Entrypoint) == 0 && len(c.config.Cmd) == 0 {
		c.config.Cmd = img.Cmd
	}
	c.id = s.id("container")
	s.ticks++
	c.number = s.ticks
	s.mount(c, img)
	s.attach(c, req.NetworkingConfig)
	s.containers[c.id] = c
	s.event(events.ContainerEventType, events.ActionCreate, c.id, c.name)
	reply(w, http.StatusCreated, container.CreateResponse{ID: c.id, Warnings: []string{}})
}

// mount works out the mounts: the request's, then the image's volumes where nothing else is.
func (s *Server) mount(c *ctr, img *Image) {
	taken := map[string]bool{}
	add := func(m container.MountPoint) {
		taken[m.Destination] = true
		c.mounts = append(c.mounts, m)
	}
	for _, m := range c.host.Mounts {
		switch m.Type {
		case mount.TypeVolume:
			add(container.MountPoint{Type: m.Type, Name: s.volume(m.Source), Destination: m.Target, RW: !m.ReadOnly, Driver: "local"})
		default:
			add(container.MountPoint{Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly})
		}
	}
	for _, b := range c.host.Binds {
		p := strings.SplitN(b, ":", 3)
		add(container.MountPoint{Type: mount.TypeBind, Source: p[0], Destination: p[1], RW: len(p) < 3 || !strings.Contains(p[2], "ro")})
	}
	for _, target := range img.Volumes {
		if c.config.Volumes == nil {
			c.config.Volumes = map[string]struct{}{}
		}
		c.config.Volumes[target] = struct{}{}
		if !taken[target] {
			add(container.MountPoint{Type: mount.TypeVolume, Name: s.volume(""), Destination: target, RW: true, Driver: "local"})
		}
	}
}

// attach puts a new container on its networks: one before API 1.44.
func (s *Server) attach(c *ctr, cfg *network.NetworkingConfig) {
	mode := string(c.host.NetworkMode)
	if mode == "" || mode == network.NetworkDefault {
		mode = network.NetworkBridge
	}
	names := []string{mode}
	if cfg != nil {
		names = append(names, slices.Sorted(maps.Keys(cfg.EndpointsConfig))...)
	}
	for _, name := range names {
		n := s.network(name)
		if n == nil || c.ends[n.name] != nil || len(c.ends) > 0 && newer("1.44", s.version) {
			continue
		}
		end := &network.EndpointSettings{}
		if cfg != nil && cfg.EndpointsConfig[name] != nil {
			end = cfg.EndpointsConfig[name]
		}
		end.NetworkID = n.id
		c.ends[n.name] = end
	}
}

func (s *Server) startContainer(w http.ResponseWriter, _ *http.Request, c *ctr) {
	if c.state == container.StateRunning {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	for name, end := range c.ends {
		if n := s.network(end.NetworkID); n == nil {
			c.err = "network " + end.NetworkID + " not found"
			fail(w, http.StatusNotFound, "network "+name+" not found")
			return
		}
	}
	s.ticks++
	c.state, c.restarts, c.err, c.exit, c.health = container.StateRunning, 0, "", 0, ""
	c.started = fmt.Sprintf("2026-01-01T00:%02d:%02d.0Z", s.ticks/60%60, s.ticks%60)
	if h := c.config.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
		c.health = container.Starting
	}
	s.event(events.ContainerEventType, events.ActionStart, c.id, c.name)
	if code, ok := c.exitFlag(); ok {
		if code != 0 && c.host.RestartPolicy.IsOnFailure() {
			c.restarts = c.host.RestartPolicy.MaximumRetryCount
		}
		s.exited(c, code)
	}
	w.WriteHeader(http.StatusNoContent)
}

// exitFlag reads the hello image's flag "-exit N": a job.
func (c *ctr) exitFlag() (int, bool) {
	i := slices.Index(c.config.Cmd, "-exit")
	if i < 0 || i+1 >= len(c.config.Cmd) {
		return 0, false
	}
	n, err := strconv.Atoi(c.config.Cmd[i+1])
	return n, err == nil
}

func (s *Server) exited(c *ctr, code int) {
	c.state, c.exit = container.StateExited, code
	s.event(events.ContainerEventType, events.ActionDie, c.id, c.name)
}

func (s *Server) stopContainer(w http.ResponseWriter, _ *http.Request, c *ctr) {
	if c.state != container.StateRunning && c.state != container.StateRestarting && c.state != container.StatePaused {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.exited(c, 0)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) killContainer(w http.ResponseWriter, _ *http.Request, c *ctr) {
	if c.state != container.StateRunning {
		fail(w, http.StatusConflict, "Container "+c.id+" is not running")
		return
	}
	s.exited(c, 137)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) renameContainer(w http.ResponseWriter, r *http.Request, c *ctr) {
	name := r.URL.Query().Get("name")
	if name == c.name {
		fail(w, http.StatusBadRequest, "Renaming a container with the same name as its current name")
		return
	}
	if other := s.container(name); other != nil {
		fail(w, http.StatusConflict, fmt.Sprintf("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, other.id))
		return
	}
	c.name = name
	s.event(events.ContainerEventType, events.ActionRename, c.id, c.name)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) updateContainer(w http.ResponseWriter, r *http.Request, c *ctr) {
	var u container.UpdateConfig
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if u.RestartPolicy.Name != "" {
		c.host.RestartPolicy = u.RestartPolicy
	}
	s.event(events.ContainerEventType, events.ActionUpdate, c.id, c.name)
	reply(w, 200, container.UpdateResponse{})
}

func (s *Server) removeContainer(w http.ResponseWriter, r *http.Request, c *ctr) {
	if c.state == container.StateRunning && r.URL.Query().Get("force") == "" {
		fail(w, http.StatusConflict, "You cannot remove a running container "+c.id+". Stop the container before attempting removal or force remove")
		return
	}
	delete(s.containers, c.id)
	if r.URL.Query().Get("v") != "" {
		s.removeAnonymous(c)
	}
	s.event(events.ContainerEventType, events.ActionDestroy, c.id, c.name)
	w.WriteHeader(http.StatusNoContent)
}

// Set changes a container as the engine would by itself, and tells of it by an event unless quiet.
func (s *Server) set(name string, action events.Action, change func(*ctr)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.container(name)
	if c == nil {
		s.t.Fatalf("fake engine: no container %s", name)
	}
	change(c)
	if action != "" {
		s.event(events.ContainerEventType, action, c.id, c.name)
	}
}

// SetHealth gives a running container a health.
func (s *Server) SetHealth(name string, h container.HealthStatus) {
	s.t.Helper()
	s.set(name, events.ActionHealthStatus+": "+events.Action(h), func(c *ctr) { c.health = h })
}

// SetState gives a container a state that no call leads to: dead, removing, paused, restarting.
func (s *Server) SetState(name string, state container.ContainerState) {
	s.t.Helper()
	s.set(name, events.ActionDie, func(c *ctr) { c.state = state })
}

// Restart restarts a container as the engine's restart policy would.
func (s *Server) Restart(name string) {
	s.t.Helper()
	s.set(name, events.ActionStart, func(c *ctr) {
		s.ticks++
		c.restarts++
		c.started = fmt.Sprintf("2026-01-02T00:%02d:%02d.0Z", s.ticks/60%60, s.ticks%60)
	})
}

// CreateRequest is the request a container was created with, as it came.
func (s *Server) CreateRequest(name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.container(name); c != nil {
		return c.raw
	}
	return nil
}
