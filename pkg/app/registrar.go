package app

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/catalog"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// renewEvery is how often all checks are renewed, and it is looked what the agent still has: a check may miss two in a row.
const renewEvery = catalog.TTL / 3

// agent is the Consul agent of this Pi as the registrar sees it.
type agent interface {
	Registrations(ctx context.Context) ([]catalog.Registration, error)
	Register(ctx context.Context, r catalog.Registration) error
	Deregister(ctx context.Context, id string) error
	RenewCheck(ctx context.Context, id string, s catalog.Status) error
}

// running is what should be registered and what runs, as it is known at one moment.
type running struct {
	desired   catalog.Desired
	instances []catalog.Instance
}

// registrar keeps what runs on this Pi registered at the agent. Nothing waits for it.
type registrar struct {
	agent agent
	// look is what runs; false while that is not known, when nobody can vouch for anything.
	look func() (running, bool)
	log  *zap.Logger
	wake chan struct{}   // holds one token while there may be news of what runs
	lost <-chan struct{} // tells that the agent may have lost something

	told   *running // what the agent was last told; nil while it may not know all of it
	failed bool     // the last round failed, and that was logged
}

func newRegistrar(a agent, look func() (running, bool), lost <-chan struct{}, log *zap.Logger) *registrar {
	return &registrar{agent: a, look: look, log: log, wake: make(chan struct{}, 1), lost: lost}
}

// news says that what runs may have changed. It does not block.
func (r *registrar) news() {
	select {
	case r.wake <- struct{}{}:
	default: // one is pending already
	}
}

// run keeps the registrations until ctx ends. They outlive it: what runs goes on running, and is vouched for until the time to
// live of its check is over.
func (r *registrar) run(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for all := true; ctx.Err() == nil; {
		r.round(ctx, all)
		select {
		case <-ctx.Done():
		case <-r.wake:
			all = false
		case <-r.lost:
			all = true
		case <-tick.C:
			all = true
		}
	}
}

// round brings the agent up to date. Where all is not set, only news of what runs is looked for.
func (r *registrar) round(ctx context.Context, all bool) {
	now, known := r.look()
	all = all || r.told == nil
	if !known || !all && reflect.DeepEqual(now, *r.told) {
		return
	}
	r.told = nil
	err := r.update(ctx, now, all)
	switch {
	case ctx.Err() != nil:
	case err != nil && !r.failed:
		r.log.Warn("what runs here cannot be registered in the catalog", zap.Error(err))
	case err == nil && r.failed:
		r.log.Info("the catalog can be reached again")
	}
	if r.failed = err != nil; err == nil {
		r.told = &now
	}
}

// update compares and tells the difference, and with all renews the checks of which there is no news. What is refused holds up
// nothing else.
func (r *registrar) update(ctx context.Context, now running, all bool) error {
	have, err := r.agent.Registrations(ctx)
	if err != nil {
		return err
	}
	var failed []error
	changes := catalog.Plan(now.desired, catalog.Observed{Instances: now.instances, Registered: have})
	for _, reg := range changes.Register {
		if err := r.agent.Register(ctx, reg); err != nil {
			failed = append(failed, err)
			continue
		}
		r.log.Info("registered in the catalog", zap.String("id", reg.ID), zap.String("address", reg.Address), zap.Int("port", reg.Port))
	}
	for _, id := range changes.Deregister {
		if err := r.agent.Deregister(ctx, id); err != nil {
			failed = append(failed, err)
			continue
		}
		r.log.Info("taken out of the catalog", zap.String("id", id))
	}
	for _, c := range changes.Checks {
		if all || c.News {
			failed = append(failed, r.agent.RenewCheck(ctx, c.ID, c.Status))
		}
	}
	return errors.Join(failed...)
}

// runningHere is what the registrar works from: the newest pass, and this node's place in the Swarm. While the engine cannot be
// looked at, or the loop hangs, neither says anything of now.
func (a *App) runningHere() (running, bool) {
	p, cur := a.last.Load(), a.current.Load()
	tasks, known := a.place.tasks()
	if p == nil || cur == nil || !known || a.Ready() != nil || a.Healthy() != nil {
		return running{}, false
	}
	out := running{desired: catalog.Desired{
		Node: a.cfg.Node, Address: a.cfg.Address, Owners: p.Desired.Owners, Recalled: p.Desired.Recalled,
	}}
	out.wish(p.Desired, cur.Cluster.Stacks)
	out.see(p.Observed.Containers, tasks)
	return out, true
}

// wish takes in what should be registered, of services of both kinds.
func (r *running) wish(d spec.Desired, inSwarm []spec.SwarmStack) {
	for _, st := range d.Stacks {
		if st.Opaque {
			r.desired.Opaque = append(r.desired.Opaque, st.Owner+"/"+st.Name)
		}
		for _, svc := range st.Services {
			r.add(st.Owner, st.Name, svc.Name, svc.Register)
		}
	}
	for _, st := range inSwarm {
		for _, svc := range st.Services {
			r.add(st.Owner, st.Name, svc.Name, svc.Register)
		}
	}
}

func (r *running) add(owner, stack, service string, register []spec.Registration) {
	if len(register) > 0 {
		r.desired.Services = append(r.desired.Services, catalog.Service{Owner: owner, Stack: stack, Name: service, Register: register})
	}
}

// see takes in what there is of them: a container in whatever state, because brambled replaces and starts it in place, and of
// Swarm only what has not ended, because what a task leaves behind is history.
func (r *running) see(containers []node.Container, tasks []docker.LocalTask) {
	for _, c := range containers {
		if c.Owner != "" && !strings.HasSuffix(c.Name, node.SuffixFailed) {
			r.instances = append(r.instances, catalog.Instance{Owner: c.Owner, Stack: c.Stack, Service: c.Service, Passing: passing(c.State, c.Health)})
		}
	}
	for _, t := range tasks {
		if t.State != node.Exited && t.State != node.Dead && t.State != node.Removing {
			r.instances = append(r.instances, catalog.Instance{Swarm: t.Service, Passing: passing(t.State, t.Health)})
		}
	}
}

func passing(s node.State, h node.Health) bool {
	return s == node.Running && (h == node.NoHealth || h == node.Healthy)
}
