package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/node"
)

// SwarmNode is what one engine knows of its own part in a Swarm, manager or not, with or without quorum.
type SwarmNode struct {
	State   string // "inactive", "pending", "active", "error", "locked"
	Manager bool   // it is a manager, with or without quorum
	Control bool   // it is a manager that can change the Swarm, which has a leader
	ID      string // of the node in the Swarm; "" where it is in none
	Swarm   string // the Swarm's id; "" where this is no manager
	Err     string // why the state is "error", or that the Swarm has no leader
	Expired bool   // Err says that the node's certificate has expired
	// Stranded is true where Err says that the engine is stuck on its way to become a manager, since the one it asks does not answer.
	Stranded bool
	// Knows are the managers the engine knows, host:port, sorted.
	Knows []string
	// Tasks are the containers of Swarm's tasks on this engine, sorted by name.
	Tasks []LocalTask
}

// LocalTask is a container that Swarm runs on this engine.
type LocalTask struct {
	ID, Name           string // of the task; the name is "<service>.<slot>.<id>"
	Service, ServiceID string
	Container          string // engine id
	Image              string
	State              node.State
	Health             node.Health
	ExitCode           int
}

// The labels that Swarm puts on the containers of its tasks.
const (
	swarmTaskName    = "com.docker.swarm.task.name"
	swarmServiceName = "com.docker.swarm.service.name"
	swarmServiceID   = "com.docker.swarm.service.id"
	swarmNodeID      = "com.docker.swarm.node.id"
)

// certificateExpired knows by its text why an engine's part in the Swarm is an error (Go, crypto/x509: CertificateInvalidError;
// swarmkit, ca/certificates.go).
func certificateExpired(said string) bool {
	return containsAny(said, "certificate has expired", "not valid after")
}

// stranded knows by its text an engine that could not join the managers (swarmkit, manager/manager.go and manager/state/raft: the
// error of dialling the manager by which it joins). The error of one that is a manager already and cannot read its raft names no connection.
func stranded(said string) bool {
	return strings.Contains(said, "can't initialize raft node") && containsAny(said, "connection error", "error while dialing", "code = Unavailable")
}

// SwarmNode looks at this engine's part in a Swarm.
func (e *Engine) SwarmNode(ctx context.Context) (SwarmNode, error) {
	info, err := e.swarmInfo(ctx)
	if err != nil {
		return SwarmNode{}, fmt.Errorf("ask the engine for its Swarm: %w", err)
	}
	out := SwarmNode{State: string(info.LocalNodeState), Manager: info.ControlAvailable, Control: controls(info) && info.Error == "", ID: info.NodeID, Err: info.Error}
	out.Expired, out.Stranded = certificateExpired(info.Error), stranded(info.Error)
	for _, m := range info.RemoteManagers {
		out.Knows = append(out.Knows, m.Addr)
	}
	slices.Sort(out.Knows)
	if info.Cluster != nil {
		out.Swarm = info.Cluster.ID
	}
	if info.LocalNodeState == swarmapi.LocalNodeStateInactive {
		return out, nil // what another Swarm left here is nobody's task
	}
	err = e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelSwarmTask)})
		for _, r := range res.Items {
			if taskOf(r, out) {
				out.Tasks = append(out.Tasks, localTask(r))
			}
		}
		return err
	})
	if err != nil {
		return SwarmNode{}, fmt.Errorf("list the containers of Swarm: %w", err)
	}
	slices.SortFunc(out.Tasks, func(a, b LocalTask) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// taskOf tells the containers of a node's Swarm from what another one, which the engine has left, did not clear away. A node
// that is locked does not know its id.
func taskOf(r container.Summary, n SwarmNode) bool {
	return n.ID == "" || r.Labels[swarmNodeID] == n.ID
}

func localTask(r container.Summary) LocalTask {
	return LocalTask{
		ID: r.Labels[labelSwarmTask], Name: r.Labels[swarmTaskName], Service: r.Labels[swarmServiceName], ServiceID: r.Labels[swarmServiceID],
		Container: r.ID, Image: r.Image, State: node.State(r.State), Health: rowHealth(r), ExitCode: rowExitCode(r),
	}
}
