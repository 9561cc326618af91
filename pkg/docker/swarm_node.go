package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/container"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/node"
)

// SwarmNode is what one engine knows of its own part in a Swarm, manager or not, with or without quorum.
type SwarmNode struct {
	State   string // "inactive", "pending", "active", "error", "locked"
	Control bool   // it is a manager that can change the Swarm
	ID      string // of the node in the Swarm; "" where it is in none
	Swarm   string // the Swarm's id; "" where this is no manager
	Err     string // why the state is "error": certificates have expired
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

// SwarmNode looks at this engine's part in a Swarm.
func (e *Engine) SwarmNode(ctx context.Context) (SwarmNode, error) {
	info, err := e.swarmInfo(ctx)
	if err != nil {
		return SwarmNode{}, fmt.Errorf("ask the engine for its Swarm: %w", err)
	}
	out := SwarmNode{State: string(info.LocalNodeState), Control: controls(info), ID: info.NodeID, Err: info.Error}
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
