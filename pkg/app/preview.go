package app

import (
	"context"
	"fmt"
	"time"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// previewPasses bounds how far ahead a preview looks: a replacement takes about five passes.
const previewPasses = 50

// Preview returns the plans that would follow one after the other if the files were applied now, each as if the one before
// had gone well and its containers become healthy. Restarts of unhealthy containers are no part of it: what was tried before is
// known to the daemon alone. Nothing is touched. Without files it is what the daemon would do about
// the store as it is.
func (o *Operator) Preview(ctx context.Context, files []File) ([]plan.Plan, error) {
	desired, err := o.previewDesired(ctx, files)
	if err != nil {
		return nil, err
	}
	engine, err := docker.New(docker.Config{Host: o.cfg.Docker.Host, StateDir: o.cfg.StateDir}, o.log, nil)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	observed, err := engine.Observe(ctx, docker.WantOf(desired.Desired))
	if err != nil {
		return nil, err
	}
	observed.Permits.Without = desired.Desired.Owners // as if each permit were given at once
	var plans []plan.Plan
	for range previewPasses {
		p := node.Plan(desired.Desired, observed)
		if p.Empty() && (len(p.Waits) == 0 || len(plans) > 0 && p.String() == plans[len(plans)-1].String()) {
			break
		}
		plans = append(plans, p)
		for _, l := range p.Lanes {
			for _, s := range l.Steps {
				observed = node.Simulate(observed, s.Action)
			}
		}
		observed = settled(observed)
	}
	return plans, nil
}

// settled models that all goes well: time passes and what has a health check is healthy.
func settled(o node.Observed) node.Observed {
	o = o.Pass(time.Hour)
	for i := range o.Containers {
		if c := &o.Containers[i]; c.State == node.Running && c.Health == node.Starting {
			c.Health = node.Healthy
		}
	}
	return o
}

// previewDesired is the desired state of this node with the files in place of the stacks of their names.
func (o *Operator) previewDesired(ctx context.Context, files []File) (assembled, error) {
	snap, err := o.snapshot(ctx)
	if err != nil {
		return assembled{}, err
	}
	t, err := readTier(o.cfg.ManifestsDir)
	if err != nil {
		return assembled{}, err
	}
	owners, all := sources(o.cfg, t, snap)
	for _, f := range files {
		replaced := false
		for i := range all {
			if all[i].Name == f.Stack {
				all[i].File, all[i].Source, all[i].Index, replaced = f.Content, f.Path, ^uint64(0), true
			}
		}
		if !replaced {
			env := storeEnv(o.cfg.Node, staticEnv(o.cfg, t), snap)
			all = append(all, stackFile{Name: f.Stack, Source: f.Path, File: f.Content, Index: ^uint64(0), Env: env})
		}
	}
	out := newAssembler().assemble(o.cfg.Node, owners, all)
	if d, cluster, err := o.store.Drain(ctx, o.cfg.Node); err != nil {
		return assembled{}, err
	} else if d.Yes(cluster) {
		out.Desired.Drained = []string{cluster}
	}
	for _, f := range files {
		if err := out.Errors[f.Stack]; err != nil {
			return out, fmt.Errorf("%w: %w", ErrHeld, err)
		}
	}
	return out, nil
}
