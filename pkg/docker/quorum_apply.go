package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// swarmPort is Swarm's own.
const swarmPort = ":2377"

// applyQuorum performs the actions on the Swarm itself. What is written to the store before or instead (claims, invitations, notes
// of removals) is the caller's.
func (e *Engine) applyQuorum(ctx context.Context, a plan.Action) error {
	switch a := a.(type) {
	case plan.InitSwarm:
		return e.initSwarm(ctx, a)
	case plan.ConfigureSwarm:
		return e.configureSwarm(ctx, a)
	case plan.PromoteNode:
		return e.setNode(ctx, a.ID, a.Name, a.Version, func(s *swarmapi.NodeSpec) { s.Role = swarmapi.NodeRoleManager })
	case plan.DemoteNode:
		return e.setNode(ctx, a.ID, a.Name, a.Version, func(s *swarmapi.NodeSpec) { s.Role = swarmapi.NodeRoleWorker })
	case plan.SetNode:
		return e.setNode(ctx, a.ID, a.Name, a.Version, func(s *swarmapi.NodeSpec) {
			s.Labels, s.Availability = a.Labels, swarmapi.NodeAvailability(a.Availability)
		})
	case plan.DropNode:
		return e.dropNode(ctx, a)
	case plan.LeaveSwarm:
		return e.leaveSwarm(ctx, a)
	default:
	}
	return fmt.Errorf("unknown action %T", a)
}

// initSwarm forms a Swarm, unless one of this cluster is here already: the reply of an earlier try was lost.
func (e *Engine) initSwarm(ctx context.Context, a plan.InitSwarm) error {
	pools, err := addressPools(a.Pools)
	if err != nil {
		return err
	}
	want := swarmapi.Spec{Annotations: swarmapi.Annotations{Labels: map[string]string{spec.LabelCluster: a.Cluster}}}
	giveSettings(&want, a.Settings)
	err = e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.SwarmInit(ctx, client.SwarmInitOptions{
			ListenAddr: a.Address + swarmPort, AdvertiseAddr: a.Address, Spec: want, DefaultAddrPool: pools, SubnetSize: uint32(a.PoolMask),
		})
		return err
	})
	if err != nil && containsAny(err.Error(), "already part of a swarm") {
		if have, look := e.inspectSwarm(ctx); look == nil && have.Spec.Labels[spec.LabelCluster] == a.Cluster {
			return nil
		}
	}
	return err
}

func addressPools(pools []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(pools))
	for _, p := range pools {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("address pool %q: want a network such as 10.20.0.0/16: %w", p, err)
		}
		out = append(out, prefix)
	}
	return out, nil
}

// giveSettings writes what is set; Swarm keeps its default, or what it has, of the others.
func giveSettings(s *swarmapi.Spec, want spec.SwarmSettings) {
	if want.CertExpiry != 0 {
		s.CAConfig.NodeCertExpiry = want.CertExpiry
	}
	if want.Heartbeat != 0 {
		s.Dispatcher.HeartbeatPeriod = want.Heartbeat
	}
	if want.TaskHistory != 0 {
		limit := int64(want.TaskHistory)
		s.Orchestration.TaskHistoryRetentionLimit = &limit
	}
}

func (e *Engine) configureSwarm(ctx context.Context, a plan.ConfigureSwarm) error {
	have, err := e.inspectSwarm(ctx)
	switch {
	case err != nil:
		return err
	case have.ID != a.ID:
		return fmt.Errorf("this engine is in Swarm %s meanwhile: nothing was changed", have.ID)
	}
	want := have.Spec
	want.Labels = maps.Clone(have.Spec.Labels)
	if want.Labels == nil {
		want.Labels = map[string]string{}
	}
	want.Labels[spec.LabelCluster] = a.Cluster
	giveSettings(&want, a.Settings)
	if quorumSwarm(have) == quorumSwarm(swarmapi.Swarm{ClusterInfo: swarmapi.ClusterInfo{ID: have.ID, Meta: have.Meta, Spec: want}}) {
		return nil // the reply of an earlier try was lost
	}
	return sequenced("settings of the Swarm", e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.SwarmUpdate(ctx, client.SwarmUpdateOptions{Version: swarmapi.Version{Index: a.Version}, Spec: want})
		return err
	}))
}

// setNode changes a part of what is asked of a node, and leaves the others as they are. It is refused where the node is no
// longer at the version that was observed: that changes with its state too, so a node that died is not promoted.
func (e *Engine) setNode(ctx context.Context, id, name string, version uint64, change func(*swarmapi.NodeSpec)) error {
	var have swarmapi.Node
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.NodeInspect(ctx, id, client.NodeInspectOptions{})
		have = res.Node
		return err
	})
	if err != nil {
		return err
	}
	want := have.Spec
	change(&want)
	if want.Role == have.Spec.Role && want.Availability == have.Spec.Availability && maps.Equal(want.Labels, have.Spec.Labels) {
		return nil // the reply of an earlier try was lost
	}
	return sequenced("node "+name, e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.NodeUpdate(ctx, id, client.NodeUpdateOptions{Version: swarmapi.Version{Index: version}, Spec: want})
		return err
	}))
}

// sequenced names what was changed by somebody else meanwhile.
func sequenced(what string, err error) error {
	if outOfSequence(err) {
		return &OutOfSequenceError{What: what}
	}
	return err
}

// dropNode never forces: Swarm refuses it for a node that is Ready and for a manager.
func (e *Engine) dropNode(ctx context.Context, a plan.DropNode) error {
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.NodeRemove(ctx, a.ID, client.NodeRemoveOptions{})
		return err
	})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// JoinSwarm joins a Swarm as a worker, by a token for workers. Swarm answers after 20 s that it goes on in the background: the state
// of the engine tells how that ends.
func (e *Engine) JoinSwarm(ctx context.Context, a plan.JoinSwarm, token string) error {
	managers := answering(ctx, a.Managers)
	err := e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.SwarmJoin(ctx, client.SwarmJoinOptions{
			ListenAddr: a.Address + swarmPort, AdvertiseAddr: a.Address, RemoteAddrs: managers, JoinToken: token,
		})
		return err
	})
	switch {
	case err != nil && containsAny(err.Error(), "continue in the background", "already part of a swarm"):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", a, err)
	}
	return nil
}

// removeTasks removes the containers of the tasks that this engine has as a node of a Swarm. An engine that leaves does so itself, by
// force and with their volumes, but not in trouble, when it has forgotten which node it is (moby, daemon/cluster/swarm.go, Leave): then
// they would keep their ports for ever.
func (e *Engine) removeTasks(ctx context.Context, id string) error {
	return e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", swarmNodeID+"="+id)})
		for _, r := range res.Items {
			if _, removed := c.ContainerRemove(ctx, r.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); !cerrdefs.IsNotFound(removed) {
				err = errors.Join(err, removed)
			}
		}
		if err != nil {
			return fmt.Errorf("remove the tasks of node %s: %w", id, err)
		}
		return nil
	})
}

// dialTime is how long a manager has to take a connection.
const dialTime = 2 * time.Second

// answering puts a manager that takes connections in front: an engine joins by the first of a list and never asks another (moby,
// daemon/cluster/swarm.go, Join).
func answering(ctx context.Context, managers []string) []string {
	for i, address := range managers {
		d := net.Dialer{Timeout: dialTime}
		if c, err := d.DialContext(ctx, "tcp", address); err == nil {
			_ = c.Close() // nothing was said
			return append([]string{address}, slices.Delete(slices.Clone(managers), i, i+1)...)
		}
	}
	return managers
}

// leaveSwarm leaves as the node that was meant, and never forces: a manager refuses it.
func (e *Engine) leaveSwarm(ctx context.Context, a plan.LeaveSwarm) error {
	info, err := e.swarmInfo(ctx)
	switch {
	case err != nil:
		return err
	case info.LocalNodeState == swarmapi.LocalNodeStateInactive:
		return nil
	case info.NodeID != a.ID && (info.NodeID != "" || info.LocalNodeState != swarmapi.LocalNodeStateError): // in trouble an engine forgets its id
		return fmt.Errorf("this engine is node %q of a Swarm meanwhile: it stays there", info.NodeID)
	case info.NodeID == "" && a.ID != "":
		if err := e.removeTasks(ctx, a.ID); err != nil {
			return err
		}
	}
	err = e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.SwarmLeave(ctx, client.SwarmLeaveOptions{})
		return err
	})
	return err
}
