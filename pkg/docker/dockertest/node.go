package dockertest

import (
	"cmp"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/events"
	swarmapi "github.com/moby/moby/api/types/swarm"
)

func (s *Server) initSwarm(w http.ResponseWriter, r *http.Request) {
	var req swarmapi.InitRequest
	if !decode(w, r, &req) {
		return
	}
	if req.ForceNewCluster {
		s.forceNewCluster(w)
		return
	}
	if s.swarm.state != swarmapi.LocalNodeStateInactive {
		fail(w, http.StatusServiceUnavailable, partOfASwarm)
		return
	}
	c := newCluster()
	c.state, c.id, c.self = swarmapi.LocalNodeStateActive, s.swarmID("cluster"), s.swarmID("node")
	c.spec, c.address = withDefaults(req.Spec), req.AdvertiseAddr
	c.write(&c.meta)
	s.swarm = c
	n := s.addNode(c.self, "fake")
	n.Spec.Role = swarmapi.NodeRoleManager
	n.ManagerStatus = &swarmapi.ManagerStatus{Leader: true, Reachability: swarmapi.ReachabilityReachable, Addr: seat(req.AdvertiseAddr)}
	s.addNetwork(s.swarmID("network"), "ingress", nil).swarm()
	reply(w, http.StatusOK, c.self)
}

// forceNewCluster makes a manager the only one.
func (s *Server) forceNewCluster(w http.ResponseWriter) {
	if !s.swarm.manager() {
		fail(w, http.StatusServiceUnavailable, noManager)
		return
	}
	s.swarm.leaderless, s.swarm.knows = false, nil
	for _, n := range s.swarm.nodes {
		if n.ID != s.swarm.self {
			n.ManagerStatus, n.Spec.Role, n.Status.State = nil, swarmapi.NodeRoleWorker, swarmapi.NodeStateDown
		}
	}
	reply(w, http.StatusOK, s.swarm.self)
}

func (s *Server) leaveSwarm(w http.ResponseWriter, r *http.Request) {
	if s.swarm.manager() && r.URL.Query().Get("force") == "" {
		fail(w, http.StatusServiceUnavailable, "You are attempting to leave the swarm on a node that is participating as a manager.")
		return
	}
	if s.swarm.state == swarmapi.LocalNodeStateInactive {
		fail(w, http.StatusServiceUnavailable, "This node is not part of a swarm")
		return
	}
	if s.swarm.self != "" { // who has forgotten who it is leaves them behind
		for _, t := range s.swarm.tasks {
			s.removeTaskContainer(t)
		}
	}
	maps.DeleteFunc(s.networks, func(_ string, n *netw) bool { return n.scope == "swarm" })
	s.swarm = newCluster()
	w.WriteHeader(http.StatusOK)
}

// joinSwarm joins a Swarm that is nowhere: the fake is one engine. What counts is what the engine says of itself then.
func (s *Server) joinSwarm(w http.ResponseWriter, r *http.Request) {
	var req swarmapi.JoinRequest
	switch {
	case !decode(w, r, &req):
	case s.swarm.state != swarmapi.LocalNodeStateInactive:
		fail(w, http.StatusServiceUnavailable, partOfASwarm)
	case req.JoinToken != WorkerToken:
		fail(w, http.StatusServiceUnavailable, "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster")
	default:
		s.swarm = newCluster()
		s.swarm.state, s.swarm.worker, s.swarm.self = swarmapi.LocalNodeStateActive, true, s.swarmID("node")
		s.swarm.knows = req.RemoteAddrs[:min(1, len(req.RemoteAddrs))] // no other is asked, nor known at first
		w.WriteHeader(http.StatusOK)
	}
}

const partOfASwarm = `This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.`

// WorkerToken is the token by which workers join any Swarm of a fake.
const WorkerToken = "SWMTKN-1-worker"

// withDefaults fills in what Swarm does.
func withDefaults(s swarmapi.Spec) swarmapi.Spec {
	s.Name = "default"
	s.CAConfig.NodeCertExpiry = cmp.Or(s.CAConfig.NodeCertExpiry, 90*24*time.Hour)
	s.Dispatcher.HeartbeatPeriod = cmp.Or(s.Dispatcher.HeartbeatPeriod, 5*time.Second)
	if s.Orchestration.TaskHistoryRetentionLimit == nil {
		limit := int64(5)
		s.Orchestration.TaskHistoryRetentionLimit = &limit
	}
	return s
}

// seat is the address of a manager.
func seat(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(address, "2377")
}

func (s *Server) inspectSwarm(w http.ResponseWriter, _ *http.Request) {
	c := s.swarm
	reply(w, http.StatusOK, swarmapi.Swarm{
		ClusterInfo: swarmapi.ClusterInfo{ID: c.id, Meta: c.meta, Spec: c.spec},
		JoinTokens:  swarmapi.JoinTokens{Worker: WorkerToken, Manager: "SWMTKN-1-manager"},
	})
}

func (s *Server) updateSwarm(w http.ResponseWriter, r *http.Request) {
	var want swarmapi.Spec
	switch {
	case !decode(w, r, &want) || !s.current(w, r, s.swarm.meta):
	case want.Name != "default":
		rpc(w, http.StatusBadRequest, "InvalidArgument", "swarm spec must be named \"default\"")
	default:
		s.swarm.spec = withDefaults(want)
		s.swarm.write(&s.swarm.meta)
		w.WriteHeader(http.StatusOK)
	}
}

// current refuses an update that names another version than the newest.
func (s *Server) current(w http.ResponseWriter, r *http.Request, m swarmapi.Meta) bool {
	if r.URL.Query().Get("version") != strconv.FormatUint(m.Version.Index, 10) {
		rpc(w, http.StatusInternalServerError, "Unknown", "update out of sequence")
		return false
	}
	return true
}

func (s *Server) addNode(id, hostname string) *swarmapi.Node {
	n := &swarmapi.Node{
		ID: id, Spec: swarmapi.NodeSpec{Role: swarmapi.NodeRoleWorker, Availability: swarmapi.NodeAvailabilityActive},
		Description: swarmapi.NodeDescription{Hostname: hostname}, Status: swarmapi.NodeStatus{State: swarmapi.NodeStateReady},
	}
	s.swarm.write(&n.Meta)
	s.swarm.nodes[id] = n
	return n
}

// AddNode adds a worker of this host name to the Swarm.
func (s *Server) AddNode(hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addNode(s.swarmID("node"), hostname)
}

// SetLeaderless makes the Swarm one whose managers do not reach each other, or mends that.
func (s *Server) SetLeaderless(leaderless bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swarm.leaderless = leaderless
}

// SetNode changes a node as Swarm, or a person, would.
func (s *Server) SetNode(hostname string, change func(*swarmapi.Node)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.swarm.nodes {
		if n.Description.Hostname == hostname {
			change(n)
			s.swarm.write(&n.Meta)
			s.event(events.NodeEventType, events.ActionUpdate, n.ID, hostname)
			return
		}
	}
	s.t.Fatalf("fake Swarm: no node %s", hostname)
}

// NodeLabels are a node's labels in the Swarm.
func (s *Server) NodeLabels(hostname string) (labels map[string]string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.swarm.nodes {
		if n.Description.Hostname == hostname {
			labels = maps.Clone(n.Spec.Labels)
		}
	}
	return labels
}

// Drain keeps new tasks from a node, as `docker node update --availability drain` does.
func (s *Server) Drain(hostname string) {
	s.t.Helper()
	s.SetNode(hostname, func(n *swarmapi.Node) { n.Spec.Availability = swarmapi.NodeAvailabilityDrain })
}

// Down makes a node one that the managers do not hear of any more.
func (s *Server) Down(hostname string) {
	s.t.Helper()
	s.SetNode(hostname, func(n *swarmapi.Node) { n.Status.State = swarmapi.NodeStateDown })
}

func (s *Server) listNodes(w http.ResponseWriter, _ *http.Request) {
	reply(w, 200, values(s.swarm.nodes))
}

// node finds a node, or answers that there is none.
func (s *Server) node(w http.ResponseWriter, r *http.Request) *swarmapi.Node {
	n := s.swarm.nodes[r.PathValue("id")]
	if n == nil {
		fail(w, http.StatusNotFound, "node "+r.PathValue("id")+" not found")
	}
	return n
}

func (s *Server) inspectNode(w http.ResponseWriter, r *http.Request) {
	if n := s.node(w, r); n != nil {
		reply(w, http.StatusOK, n)
	}
}

// updateNode gives and takes seats at once, where Swarm takes a moment.
func (s *Server) updateNode(w http.ResponseWriter, r *http.Request) {
	var want swarmapi.NodeSpec
	n := s.node(w, r)
	if n == nil || !decode(w, r, &want) || !s.current(w, r, n.Meta) {
		return
	}
	if n.ManagerStatus != nil && want.Role == swarmapi.NodeRoleWorker {
		if !s.removable(n) {
			rpc(w, http.StatusBadRequest, "FailedPrecondition", "can't remove member from the raft: this would result in a loss of quorum")
			return
		}
		n.ManagerStatus = nil
	}
	if n.ManagerStatus == nil && want.Role == swarmapi.NodeRoleManager && n.Status.State == swarmapi.NodeStateReady {
		n.ManagerStatus = &swarmapi.ManagerStatus{Reachability: swarmapi.ReachabilityReachable, Addr: seat(n.Description.Hostname)}
	}
	n.Spec = want
	s.swarm.write(&n.Meta)
	s.event(events.NodeEventType, events.ActionUpdate, n.ID, n.Description.Hostname)
	w.WriteHeader(http.StatusOK)
}

// removable is Swarm's own test: of the other seats more than half can be reached.
func (s *Server) removable(gone *swarmapi.Node) bool {
	seats, reachable := 0, 0
	for _, n := range s.swarm.nodes {
		if n.ManagerStatus == nil || n == gone {
			continue
		}
		seats++
		if n.ManagerStatus.Reachability == swarmapi.ReachabilityReachable {
			reachable++
		}
	}
	return seats > 0 && reachable > seats/2
}

func (s *Server) removeNode(w http.ResponseWriter, r *http.Request) {
	n := s.node(w, r)
	switch {
	case n == nil:
	case n.ManagerStatus != nil:
		rpc(w, http.StatusBadRequest, "FailedPrecondition", "node "+n.ID+" is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal")
	case n.Status.State == swarmapi.NodeStateReady:
		rpc(w, http.StatusBadRequest, "FailedPrecondition", "node "+n.ID+" is not down and can't be removed")
	default:
		delete(s.swarm.nodes, n.ID)
		s.swarm.write(&s.swarm.meta) // it remembers the certificate as one to refuse
		w.WriteHeader(http.StatusOK)
	}
}
