package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

// QuorumMemory is what looking at the nodes of a Swarm more than once tells. It belongs to one term of one leader: what another
// has seen, or was not looked at, does not count. It is for one goroutine.
type QuorumMemory struct {
	now   func() time.Time
	nodes map[string]nodeSince // by id
	roles string               // who is in the Swarm, in which role
	since time.Time            // since when that is so
}

// nodeSince is since when a node has been seen as it is.
type nodeSince struct {
	well, seat, pending bool
	change, as          time.Time // since when it is pending or not; since when it is well, in its role, or away
}

// NewQuorumMemory begins to remember, on the engine's monotonic clock.
func (e *Engine) NewQuorumMemory() *QuorumMemory {
	return &QuorumMemory{now: e.cfg.Now, nodes: map[string]nodeSince{}}
}

// ObserveQuorum looks at the Swarm itself: its settings, its nodes, their seats. A manager of a Swarm that has no leader has no
// control, which is no error: it is what is to be said; a look that fails otherwise is one. The node's name, the record, who is
// present, Busy and Failures are left to the caller.
func (e *Engine) ObserveQuorum(ctx context.Context, seen *QuorumMemory) (quorum.Observed, error) {
	o, err := e.lookQuorum(ctx, seen)
	if err != nil {
		return quorum.Observed{}, fmt.Errorf("observe the nodes of the Swarm: %w", err)
	}
	if !o.Control {
		clear(seen.nodes)
		seen.roles = ""
	}
	return o, nil
}

func (e *Engine) lookQuorum(ctx context.Context, seen *QuorumMemory) (quorum.Observed, error) {
	info, err := e.swarmInfo(ctx)
	if err != nil {
		return quorum.Observed{}, err
	}
	o := quorum.Observed{State: quorum.State(info.LocalNodeState), Manager: info.ControlAvailable, Err: info.Error}
	if !controls(info) {
		return o, nil
	}
	cluster, nodes, err := e.quorumLists(ctx)
	if ctx.Err() == nil && leaderless(err) {
		return o, nil
	}
	if err != nil {
		return quorum.Observed{}, err
	}
	o.Control, o.Swarm = true, quorumSwarm(cluster)
	for _, n := range nodes {
		o.Nodes = append(o.Nodes, quorumNode(n))
	}
	slices.SortFunc(o.Nodes, func(a, b quorum.Node) int { return cmp.Compare(a.ID, b.ID) })
	seen.fill(o.Nodes)
	o.SameFor = seen.same(o.Nodes)
	return o, nil
}

// quorumLists asks for both at the same time: each change carries the version of what it changes.
func (e *Engine) quorumLists(ctx context.Context) (cluster swarmapi.Swarm, nodes []swarmapi.Node, err error) {
	err = e.fetchAll(ctx, map[string]func(context.Context, *conn) error{
		"swarm": func(ctx context.Context, c *conn) error {
			res, err := c.SwarmInspect(ctx, client.SwarmInspectOptions{})
			cluster = res.Swarm
			return err
		},
		"nodes": func(ctx context.Context, c *conn) error {
			res, err := c.NodeList(ctx, client.NodeListOptions{})
			nodes = res.Items
			return err
		},
	})
	return cluster, nodes, err
}

// leaderless knows a manager that reaches no leader by its text: the engine answers with status 500 or 503 (moby,
// daemon/cluster/errors.go and swarmkit, manager/state/raft: ErrNoRaftMember, ErrLostLeadership). While an election runs the call is held
// until its time is over.
func leaderless(err error) bool {
	return err != nil && containsAny(err.Error(),
		"does not have a leader", "not part of a raft cluster", "lost leadership", "context deadline exceeded")
}

func quorumSwarm(s swarmapi.Swarm) quorum.Swarm {
	out := quorum.Swarm{
		ID: s.ID, Version: s.Version.Index, Cluster: s.Spec.Labels[spec.LabelCluster],
		CertExpiry: s.Spec.CAConfig.NodeCertExpiry, Heartbeat: s.Spec.Dispatcher.HeartbeatPeriod,
	}
	if limit := s.Spec.Orchestration.TaskHistoryRetentionLimit; limit != nil {
		out.TaskHistory = int(*limit)
	}
	return out
}

// quorumNode is a node without its durations. Swarm gives a node a manager's status from the moment it is in the raft until
// its seat is taken (swarmkit, manager/controlapi/node.go: ListNodes).
func quorumNode(n swarmapi.Node) quorum.Node {
	out := quorum.Node{
		ID: n.ID, Host: n.Description.Hostname, Version: n.Version.Index, Labels: n.Spec.Labels, Availability: string(n.Spec.Availability),
		Ready: n.Status.State == swarmapi.NodeStateReady, Manager: n.Spec.Role == swarmapi.NodeRoleManager,
	}
	if m := n.ManagerStatus; m != nil {
		out.Seat, out.Reachable, out.Leader, out.Address = true, m.Reachability == swarmapi.ReachabilityReachable, m.Leader, m.Addr
	}
	return out
}

// fill adds for how long each node has been seen as it is, and forgets those that are gone.
func (q *QuorumMemory) fill(nodes []quorum.Node) {
	now, next := q.now(), make(map[string]nodeSince, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		since := q.nodes[n.ID].turn(*n, now)
		next[n.ID] = since
		if since.pending {
			n.PendingFor = now.Sub(since.change)
		}
		if since.well {
			n.ReadyFor = now.Sub(since.as)
		} else {
			n.AwayFor = now.Sub(since.as)
		}
	}
	q.nodes = next
}

// same is for how long the same nodes, sorted by id, have had the same roles.
func (q *QuorumMemory) same(nodes []quorum.Node) time.Duration {
	now, roles := q.now(), ""
	for _, n := range nodes {
		roles += fmt.Sprint(" ", n.ID, n.Manager, n.Seat)
	}
	if roles != q.roles {
		q.roles, q.since = roles, now
	}
	return now.Sub(q.since)
}

// turn is what is remembered of a node after one more look. That a node is away goes on when its seat is taken: it is the
// same absence. That it is well begins anew with its role.
func (s nodeSince) turn(n quorum.Node, now time.Time) nodeSince {
	out := nodeSince{well: n.Ready && (!n.Seat || n.Reachable), seat: n.Seat, pending: n.Manager != n.Seat, change: s.change, as: s.as}
	if out.pending != s.pending || s.change.IsZero() {
		out.change = now
	}
	if out.well != s.well || s.as.IsZero() || out.well && out.seat != s.seat {
		out.as = now
	}
	return out
}

// WorkerToken asks the Swarm for the token by which a worker joins it. It is a secret: it is never logged and is in no plan.
func (e *Engine) WorkerToken(ctx context.Context) (swarm, token string, err error) {
	s, err := e.inspectSwarm(ctx)
	if err != nil {
		return "", "", fmt.Errorf("ask the Swarm for its token: %w", err)
	}
	return s.ID, s.JoinTokens.Worker, nil
}

func (e *Engine) inspectSwarm(ctx context.Context) (swarmapi.Swarm, error) {
	var out swarmapi.Swarm
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.SwarmInspect(ctx, client.SwarmInspectOptions{})
		out = res.Swarm
		return err
	})
	return out, err
}
