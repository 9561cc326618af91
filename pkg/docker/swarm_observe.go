package docker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/network"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// SwarmWant is what of the desired state observing the Swarm needs.
type SwarmWant struct {
	Images []string // references as written, whose digests are of interest
}

// SwarmWantOf collects what is wanted by all services.
func SwarmWantOf(c spec.Cluster) SwarmWant {
	var w SwarmWant
	for _, st := range c.Stacks {
		for _, svc := range st.Services {
			w.Images = append(w.Images, svc.Image)
		}
	}
	slices.Sort(w.Images)
	w.Images = slices.Compact(w.Images)
	return w
}

// swarmMemory is what looking at a Swarm more than once tells.
type swarmMemory struct {
	mu    sync.Mutex
	since map[string]taskSince // by task
}

// taskSince is when a task was first seen in a state. A task never returns to a state that it has left.
type taskSince struct {
	state swarmapi.TaskState
	at    time.Time
}

func newSwarmMemory() *swarmMemory {
	return &swarmMemory{since: map[string]taskSince{}}
}

// swarmLists is one look at everything a manager lists.
type swarmLists struct {
	services []swarmapi.Service
	tasks    []swarmapi.Task
	nodes    []swarmapi.Node
	networks []network.Summary
	configs  []swarmapi.Config
	secrets  []swarmapi.Secret
}

// ObserveSwarm looks at the Swarm. An engine that is no manager, or in no Swarm, has no control, which is no error; a manager
// that does not answer for all of it (it has no quorum) is one: half an answer is no answer. Prepulls, Present, Elsewhere, Busy
// and Failures are left to the caller.
func (e *Engine) ObserveSwarm(ctx context.Context, want SwarmWant) (swarm.Observed, error) {
	o, err := e.lookSwarm(ctx, want)
	if err != nil {
		return swarm.Observed{}, fmt.Errorf("observe the Swarm: %w", err)
	}
	return o, nil
}

func (e *Engine) lookSwarm(ctx context.Context, want SwarmWant) (swarm.Observed, error) {
	var o swarm.Observed
	info, err := e.swarmInfo(ctx)
	if err != nil {
		return o, err
	}
	if !controls(info) || info.Error != "" { // a manager without quorum has no control
		e.swarm.forget()
		return o, nil
	}
	o.Control = true
	if info.Cluster != nil {
		o.SwarmID = info.Cluster.ID
	}
	o.Pins = e.pins.observed(want.Images)
	l, err := e.swarmLists(ctx)
	if err != nil {
		return o, err
	}
	e.swarm.translate(&o, l, e.cfg.Now())
	return o, nil
}

func (e *Engine) swarmInfo(ctx context.Context) (swarmapi.Info, error) {
	var out swarmapi.Info
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.Info(ctx, client.InfoOptions{})
		out = res.Info.Swarm
		out.Error = rpcPreamble.ReplaceAllString(out.Error, "")
		return err
	})
	return out, err
}

// controls reports whether an engine is a manager that can change the Swarm.
func controls(i swarmapi.Info) bool {
	return i.LocalNodeState == swarmapi.LocalNodeStateActive && i.ControlAvailable
}

// swarmLists fetches the lists at the same time: what they have in common is checked by the version of each service when it
// is changed, not by their moment.
func (e *Engine) swarmLists(ctx context.Context) (swarmLists, error) {
	var l swarmLists
	err := e.fetchAll(ctx, map[string]func(context.Context, *conn) error{
		"services": func(ctx context.Context, c *conn) error {
			res, err := c.ServiceList(ctx, client.ServiceListOptions{})
			l.services = res.Items
			return err
		},
		"tasks": func(ctx context.Context, c *conn) error {
			res, err := c.TaskList(ctx, client.TaskListOptions{})
			l.tasks = res.Items
			return err
		},
		"nodes": func(ctx context.Context, c *conn) error {
			res, err := c.NodeList(ctx, client.NodeListOptions{})
			l.nodes = res.Items
			return err
		},
		"networks": func(ctx context.Context, c *conn) error {
			res, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("scope", "swarm")})
			l.networks = res.Items
			return err
		},
		"configs": func(ctx context.Context, c *conn) error {
			res, err := c.ConfigList(ctx, client.ConfigListOptions{})
			l.configs = res.Items
			return err
		},
		"secrets": func(ctx context.Context, c *conn) error {
			res, err := c.SecretList(ctx, client.SecretListOptions{})
			l.secrets = res.Items
			return err
		},
	})
	return l, err
}
