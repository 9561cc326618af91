package docker

import (
	"context"
	"fmt"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// named is a config or a secret in the Swarm.
type named struct {
	id string
	swarmapi.Annotations
}

// objectsOf lists the configs or the secrets.
func (e *Engine) objectsOf(ctx context.Context, kind spec.ObjectKind) ([]named, error) {
	var out []named
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		if kind == spec.ConfigObject {
			res, err := c.ConfigList(ctx, client.ConfigListOptions{})
			for _, o := range res.Items {
				out = append(out, named{o.ID, o.Spec.Annotations})
			}
			return err
		}
		res, err := c.SecretList(ctx, client.SecretListOptions{})
		for _, o := range res.Items {
			out = append(out, named{o.ID, o.Spec.Annotations})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", kind, err)
	}
	return out, nil
}

// objectIDs returns the ids of the configs and secrets that files refer to, by name.
func (e *Engine) objectIDs(ctx context.Context, files []spec.SwarmFile) (objectIDs, error) {
	type key struct {
		kind spec.ObjectKind
		name string
	}
	ids := map[key]string{}
	for _, kind := range []spec.ObjectKind{spec.ConfigObject, spec.SecretObject} {
		if !slices.ContainsFunc(files, func(f spec.SwarmFile) bool { return f.Kind == kind }) {
			continue
		}
		have, err := e.objectsOf(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, o := range have {
			ids[key{kind, o.Name}] = o.id
		}
	}
	return func(kind spec.ObjectKind, name string) (string, bool) {
		id, ok := ids[key{kind, name}]
		return id, ok
	}, nil
}

// createObject relies on Swarm for the name: it has one config, and one secret, of a name.
func (e *Engine) createObject(ctx context.Context, a plan.CreateObject) error {
	l := stackLabels(a.Stack, a.Object.Labels)
	l[spec.LabelCluster], l[spec.LabelStack], l[spec.LabelHash] = a.Owner, a.Stack, a.Object.Hash
	note := swarmapi.Annotations{Name: a.Object.Name, Labels: l}
	var template *swarmapi.Driver
	if a.Object.Template != "" {
		template = &swarmapi.Driver{Name: a.Object.Template}
	}
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		if a.Object.Kind == spec.ConfigObject {
			_, err := c.ConfigCreate(ctx, client.ConfigCreateOptions{Spec: swarmapi.ConfigSpec{Annotations: note, Data: a.Object.Content, Templating: template}})
			return err
		}
		_, err := c.SecretCreate(ctx, client.SecretCreateOptions{Spec: swarmapi.SecretSpec{Annotations: note, Data: a.Object.Content, Templating: template}})
		return err
	})
	if cerrdefs.IsConflict(err) {
		return e.adoptObject(ctx, a, err)
	}
	return err
}

// adoptObject is adoptService for a config or a secret.
func (e *Engine) adoptObject(ctx context.Context, a plan.CreateObject, conflict error) error {
	have, err := e.objectsOf(ctx, a.Object.Kind)
	if err != nil {
		return err
	}
	for _, o := range have {
		if o.Name == a.Object.Name {
			return adopt(string(a.Object.Kind), o.id, o.Annotations, a.Owner, a.Object.Hash)
		}
	}
	return conflict
}

// removeObject is refused by Swarm while a service refers to the object.
func (e *Engine) removeObject(ctx context.Context, a plan.RemoveObject) error {
	id := idOr(a.ID, a.Name)
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		if a.Kind == spec.ConfigObject {
			_, err := c.ConfigRemove(ctx, id, client.ConfigRemoveOptions{})
			return err
		}
		_, err := c.SecretRemove(ctx, id, client.SecretRemoveOptions{})
		return err
	})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}
