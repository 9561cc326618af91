package dockertest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/moby/moby/api/types/network"
	swarmapi "github.com/moby/moby/api/types/swarm"
)

// cluster is the Swarm that the fake is part of.
type cluster struct {
	state      swarmapi.LocalNodeState
	worker     bool
	id, self   string
	meta       swarmapi.Meta
	spec       swarmapi.Spec
	trouble    string   // why its state is an error
	knows      []string // the managers it knows
	address    string   // its own, as it was formed with
	leaderless bool     // too few managers reach each other
	index      uint64   // of the raft log: every write raises it
	nodes      map[string]*swarmapi.Node
	services   map[string]*swarmapi.Service
	tasks      []*swarmapi.Task // in order of creation
	configs    map[string]*swarmapi.Config
	secrets    map[string]*swarmapi.Secret
	held       bool // updates make no progress
}

// predefined is the id that Swarm gives the network "host" of every node. No list shows it.
const predefined = "swarmhost0000000000000000"

func newCluster() *cluster {
	return &cluster{
		state: swarmapi.LocalNodeStateInactive, nodes: map[string]*swarmapi.Node{}, services: map[string]*swarmapi.Service{},
		configs: map[string]*swarmapi.Config{}, secrets: map[string]*swarmapi.Secret{},
	}
}

func (c *cluster) manager() bool { return c.state == swarmapi.LocalNodeStateActive && !c.worker }

// write notes a write of an object.
func (c *cluster) write(m *swarmapi.Meta) {
	c.index++
	m.Version.Index = c.index
}

// swarmID makes up an id of Swarm's form.
func (s *Server) swarmID(kind string) string {
	s.ids++
	return fmt.Sprintf("%s%024d", kind[:1], s.ids)
}

func (s *Server) swarmRoutes(m *http.ServeMux) {
	m.HandleFunc("POST /swarm/init", s.locked(s.initSwarm))
	m.HandleFunc("POST /swarm/join", s.locked(s.joinSwarm))
	m.HandleFunc("POST /swarm/leave", s.locked(s.leaveSwarm))
	for pattern, f := range map[string]http.HandlerFunc{
		"GET /services": s.listServices, "POST /services/create": s.createService, "GET /services/{id}": s.inspectService,
		"POST /services/{id}/update": s.updateService, "DELETE /services/{id}": s.removeService,
		"GET /swarm": s.inspectSwarm, "POST /swarm/update": s.updateSwarm,
		"GET /tasks": s.listTasks, "GET /nodes": s.listNodes, "GET /nodes/{id}": s.inspectNode,
		"POST /nodes/{id}/update": s.updateNode, "DELETE /nodes/{id}": s.removeNode,
		"GET /configs": s.listConfigs, "POST /configs/create": s.createConfig, "DELETE /configs/{id}": s.removeConfig,
		"GET /secrets": s.listSecrets, "POST /secrets/create": s.createSecret, "DELETE /secrets/{id}": s.removeSecret,
	} {
		m.HandleFunc(pattern, s.managed(f))
	}
	m.HandleFunc("GET /distribution/", s.inspectDistribution)
}

// locked holds the lock while f serves.
func (s *Server) locked(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f(w, r)
	}
}

const noManager = `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`

const noLeader = "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."

// managed serves on a manager only.
func (s *Server) managed(f http.HandlerFunc) http.HandlerFunc {
	return s.locked(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !s.swarm.manager():
			fail(w, http.StatusServiceUnavailable, noManager)
			return
		case s.swarm.leaderless:
			rpc(w, http.StatusInternalServerError, "Unknown", noLeader)
			return
		}
		s.auths[r.Method+" "+r.URL.Path] = r.Header.Get("X-Registry-Auth")
		f(w, r)
	})
}

// Auth is the registry credentials that came with the last call of this "METHOD /path".
func (s *Server) Auth(call string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.auths[call]
}

// SetWorker makes the engine a worker of its Swarm, or a manager again: a worker sees nothing of the Swarm.
func (s *Server) SetWorker(worker bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swarm.worker = worker
}

// SetSwarmState gives the engine a state that no call leads to: pending, locked, error.
func (s *Server) SetSwarmState(state swarmapi.LocalNodeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swarm.state = state
}

// SetSwarmError has the engine fail at its part in the Swarm with these words. It forgets its id as a node, and which managers it knew.
func (s *Server) SetSwarmError(said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swarm.state, s.swarm.trouble, s.swarm.self, s.swarm.knows = swarmapi.LocalNodeStateError, said, "", nil
}

// SetManagers are the managers that the engine knows, host:port.
func (s *Server) SetManagers(addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swarm.knows = addresses
}

// swarmInfo is the part of the engine's answer about itself.
func (s *Server) swarmInfo() swarmapi.Info {
	c := s.swarm
	i := swarmapi.Info{LocalNodeState: c.state, NodeID: c.self, NodeAddr: c.address, ControlAvailable: c.manager()}
	for _, address := range c.knows {
		i.RemoteManagers = append(i.RemoteManagers, swarmapi.Peer{Addr: address})
	}
	switch {
	case c.trouble != "":
		i.Error = c.trouble
	case c.manager() && c.leaderless:
		i.Error = "rpc error: code = Unknown desc = " + noLeader
	case c.manager():
		i.Cluster = &swarmapi.ClusterInfo{ID: c.id}
		i.Nodes, i.Managers = len(c.nodes), 1
	}
	return i
}

// values are the values in the order of their keys.
func values[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// object finds one by id or name.
func object[V any](m map[string]*V, key string, name func(*V) string) *V {
	if v := m[key]; v != nil {
		return v
	}
	for _, v := range m {
		if name(v) == key {
			return v
		}
	}
	return nil
}

// The labels that Swarm puts on a task's container.
func taskLabels(s *swarmapi.Service, t *swarmapi.Task) map[string]string {
	l := maps.Clone(t.Spec.ContainerSpec.Labels)
	if l == nil {
		l = map[string]string{}
	}
	maps.Copy(l, map[string]string{
		"com.docker.swarm.node.id": t.NodeID, "com.docker.swarm.service.id": s.ID, "com.docker.swarm.service.name": s.Spec.Name,
		"com.docker.swarm.task": "", "com.docker.swarm.task.id": t.ID, "com.docker.swarm.task.name": taskName(s, t),
	})
	return l
}

func taskName(s *swarmapi.Service, t *swarmapi.Task) string {
	slot := cmp.Or(t.NodeID, "none")
	if t.Slot > 0 {
		slot = fmt.Sprint(t.Slot)
	}
	return s.Spec.Name + "." + slot + "." + t.ID
}

// swarm makes a network one of Swarm's scope.
func (n *netw) swarm() { n.scope, n.driver = "swarm", "overlay" }

// Distribution says what the registry answers for a reference.
type Distribution struct {
	Digest  string
	Status  int // of an answer that is none
	Message string
	Gate    <-chan struct{} // closed when the registry answers at last
}

// SetDistribution sets what the registry has of a reference, written in full ("docker.io/library/nginx:1"). Without it, it has
// nothing.
func (s *Server) SetDistribution(ref string, d Distribution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry[ref] = d
}

func (s *Server) inspectDistribution(w http.ResponseWriter, r *http.Request) {
	ref := r.URL.Path[len("/distribution/") : len(r.URL.Path)-len("/json")]
	s.mu.Lock()
	d, ok := s.registry[ref]
	hung := s.hung
	s.auths["GET "+r.URL.Path] = r.Header.Get("X-Registry-Auth")
	s.mu.Unlock()
	if d.Gate != nil {
		select {
		case <-d.Gate:
		case <-r.Context().Done():
			return
		case <-hung:
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case !ok:
		fail(w, http.StatusNotFound, "manifest unknown: manifest unknown")
	case d.Status != 0:
		fail(w, d.Status, d.Message)
	default:
		reply(w, 200, map[string]any{"Descriptor": map[string]any{"digest": d.Digest}, "Platforms": []any{}})
	}
}

// rpc answers as an engine that passes on what Swarm said.
func rpc(w http.ResponseWriter, status int, code, message string) {
	fail(w, status, "rpc error: code = "+code+" desc = "+message)
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

// networkUsed is the id of a service on a network of Swarm's scope, "" when there is none.
func (s *Server) networkUsed(id string) string {
	for _, svc := range values(s.swarm.services) {
		if slices.ContainsFunc(svc.Spec.TaskTemplate.Networks, func(a swarmapi.NetworkAttachmentConfig) bool { return a.Target == id }) {
			return svc.ID
		}
	}
	return ""
}

// attachments are the networks of a task, with their names.
func (s *Server) attachments(list []swarmapi.NetworkAttachmentConfig) []swarmapi.NetworkAttachment {
	var out []swarmapi.NetworkAttachment
	for _, a := range list {
		n := swarmapi.Network{ID: a.Target}
		n.Spec.Name = network.NetworkHost
		if have := s.networks[a.Target]; have != nil {
			n.Spec.Name = have.name
		}
		out = append(out, swarmapi.NetworkAttachment{Network: n})
	}
	return out
}
