package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// Want is what of the desired state observing needs.
type Want struct {
	Images     []node.ImageRef
	Containers []spec.Container // to be judged by what the engine can do
}

// WantOf collects what is wanted by all services.
func WantOf(d spec.Desired) Want {
	var w Want
	seen := map[node.ImageRef]bool{}
	for _, st := range d.Stacks {
		for _, svc := range st.Services {
			c := svc.Container
			if ref := (node.ImageRef{Ref: c.Image, Platform: c.Platform}); !seen[ref] {
				seen[ref] = true
				w.Images = append(w.Images, ref)
			}
			w.Containers = append(w.Containers, c)
		}
	}
	for _, image := range d.Prepull {
		if ref := (node.ImageRef{Ref: image}); !seen[ref] {
			w.Images = append(w.Images, ref)
		}
	}
	return w
}

// lists is one look at everything the engine lists.
type lists struct {
	api        string
	containers []container.Summary
	networks   []network.Summary
	volumes    []volume.Volume
}

// Observe looks at the engine. While nothing changes it costs three lists.
func (e *Engine) Observe(ctx context.Context, want Want) (node.Observed, error) {
	e.observe.Lock()
	defer e.observe.Unlock()
	o, err := e.look(ctx, want)
	if err != nil {
		return node.Observed{}, fmt.Errorf("observe the engine: %w", err)
	}
	return o, nil
}

func (e *Engine) look(ctx context.Context, want Want) (node.Observed, error) {
	// Pulls first: one that ends while the lists are fetched shows as running, and the pass after its end corrects it. The
	// other way round its image would be missing with no pull to wait for.
	o := node.Observed{Pulls: e.pulls.observed(want.Images), Images: map[node.ImageRef]node.Image{}, Unsupported: map[string]string{}}
	l, err := e.lists(ctx)
	if err != nil {
		return o, err
	}
	if o.Containers, err = e.containers(ctx, l); err != nil {
		return o, err
	}
	for _, n := range l.networks {
		o.Networks = append(o.Networks, node.Network{
			ID: n.ID, Name: n.Name, Scope: n.Scope,
			Owner: n.Labels[spec.LabelCluster], Stack: n.Labels[spec.LabelStack], Hash: n.Labels[spec.LabelHash],
		})
	}
	for _, v := range l.volumes {
		o.Volumes = append(o.Volumes, node.Volume{
			Name: v.Name, Owner: v.Labels[spec.LabelCluster], Stack: v.Labels[spec.LabelStack], Hash: v.Labels[spec.LabelHash],
		})
	}
	sortObserved(&o)
	if err := e.observeImages(ctx, want.Images, o.Images); err != nil {
		return o, err
	}
	for _, c := range want.Containers {
		if what := lacks(c, l.api); what != "" {
			o.Unsupported[c.Hash] = what
		}
	}
	o.Files, err = e.files.list()
	return o, err
}

func sortObserved(o *node.Observed) {
	slices.SortFunc(o.Containers, func(a, b node.Container) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(o.Networks, func(a, b node.Network) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(o.Volumes, func(a, b node.Volume) int { return cmp.Compare(a.Name, b.Name) })
}

// lists fetches the lists at the same time. They are in the engine's memory: no container is locked, none is asked for its
// size.
func (e *Engine) lists(ctx context.Context) (lists, error) {
	var l lists
	err := e.fetchAll(ctx, map[string]func(context.Context, *conn) error{
		"containers": func(ctx context.Context, c *conn) error {
			res, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
			l.containers, l.api = res.Items, c.version
			return err
		},
		"networks": func(ctx context.Context, c *conn) error {
			res, err := c.NetworkList(ctx, client.NetworkListOptions{})
			l.networks = res.Items
			return err
		},
		"volumes": func(ctx context.Context, c *conn) error {
			res, err := c.VolumeList(ctx, client.VolumeListOptions{})
			l.volumes = res.Items
			return err
		},
	})
	return l, err
}

// fetchAll fetches lists at the same time; one that fails fails them all.
func (e *Engine) fetchAll(ctx context.Context, lists map[string]func(context.Context, *conn) error) error {
	var wg sync.WaitGroup
	names := sortedKeys(lists)
	errs := make([]error, len(names))
	for i, what := range names {
		wg.Go(func() {
			if err := e.call(ctx, e.cfg.CallTimeout, lists[what]); err != nil {
				errs[i] = fmt.Errorf("list %s: %w", what, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if gone, ok := errors.AsType[*UnreachableError](err); ok {
			return gone // once is enough
		}
	}
	return errors.Join(errs...)
}

// containers translates the list, inspecting what changed.
func (e *Engine) containers(ctx context.Context, l lists) ([]node.Container, error) {
	live := make(map[string]bool, len(l.networks))
	for _, n := range l.networks {
		live[n.ID] = true
	}
	var mine []container.Summary
	var out []node.Container
	for _, r := range l.containers {
		if ours(r) {
			mine = append(mine, r)
		} else {
			out = append(out, foreign(r))
		}
	}
	e.cache.prune(mine)
	known, err := e.refresh(ctx, mine)
	if err != nil {
		return nil, err
	}
	now := e.cfg.Now()
	for _, r := range mine {
		if m := known[r.ID]; m != nil {
			out = append(out, own(r, m, live, e.files.dir, now))
		}
	}
	return out, nil
}

// observeImages looks up the wanted images that are not known yet.
func (e *Engine) observeImages(ctx context.Context, refs []node.ImageRef, into map[node.ImageRef]node.Image) error {
	e.images.keep(refs)
	for _, ref := range refs {
		img, local, err := e.images.get(ctx, e, ref)
		if err != nil {
			return err
		}
		if local {
			into[ref] = img.Image
		}
	}
	return nil
}
