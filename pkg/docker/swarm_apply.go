package docker

import (
	"context"
	"fmt"
	"maps"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
	"go.uber.org/zap"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// createService relies on Swarm for the name: it has one service of a name.
func (e *Engine) createService(ctx context.Context, a plan.CreateService) error {
	s, err := e.serviceSpec(ctx, a.Owner, a.Stack, a.Service, a.Image, nil)
	if err != nil {
		return err
	}
	auth, err := registryAuth(ctx, e.cfg.AuthDir, a.Image)
	if err != nil {
		return err
	}
	err = e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		// The digest is resolved by an action of its own: a registry that is away would hold this call up for half a minute.
		res, err := c.ServiceCreate(ctx, client.ServiceCreateOptions{Spec: s, EncodedRegistryAuth: auth})
		e.warn(a.Service.Full, res.Warnings)
		return err
	})
	if cerrdefs.IsConflict(err) {
		return e.adoptService(ctx, a, err)
	}
	return err
}

// serviceSpec is the version to be made, former the one it takes the place of; nil at create.
func (e *Engine) serviceSpec(ctx context.Context, owner, stack string, svc spec.SwarmService, image string, former *swarmapi.ServiceSpec) (swarmapi.ServiceSpec, error) {
	ids, err := e.objectIDs(ctx, svc.Files)
	if err != nil {
		return swarmapi.ServiceSpec{}, err
	}
	s, err := serviceSpec(owner, stack, svc, image, ids)
	if err != nil {
		return swarmapi.ServiceSpec{}, err
	}
	if former != nil {
		// Counts what a person did with docker service update --force: less would be a change.
		s.TaskTemplate.ForceUpdate = former.TaskTemplate.ForceUpdate
	}
	s.Labels[spec.LabelTried] = svc.Hash
	// Whose a task is must be known when its service is gone. No version changes these, so no task is replaced for them.
	l := s.TaskTemplate.ContainerSpec.Labels
	l[spec.LabelStack], l[spec.LabelService] = stack, svc.Name
	return s, nil
}

func (e *Engine) warn(service string, warnings []string) {
	for _, w := range warnings {
		e.log.Warn("the engine warns", zap.String("service", service), zap.String("warning", w))
	}
}

// adoptService accepts the service that has the name if it is the one that was to be created: the reply of an earlier try was
// lost, or brambled died right after it.
func (e *Engine) adoptService(ctx context.Context, a plan.CreateService, conflict error) error {
	var have []swarmapi.Service
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.ServiceList(ctx, client.ServiceListOptions{Filters: client.Filters{}.Add("name", a.Service.Full)})
		have = res.Items
		return err
	})
	if err != nil {
		return fmt.Errorf("look at the service of that name: %w", err)
	}
	for _, s := range have {
		if s.Spec.Name == a.Service.Full { // the filter also finds names that begin with it
			return adopt("service", s.ID, s.Spec.Annotations, a.Owner, a.Service.Hash)
		}
	}
	return conflict
}

// adopt says whether what has a name in the Swarm is what was to be created.
func adopt(kind, id string, have swarmapi.Annotations, owner, hash string) error {
	switch l := have.Labels; {
	case l[spec.LabelCluster] == "":
		return &NameTakenError{Kind: kind, Name: have.Name, ID: id}
	case l[spec.LabelCluster] != owner:
		return fmt.Errorf("the name is taken by a %s of another cluster (%s): docker %s rm %s, or give it another name", kind, l[spec.LabelCluster], kind, short(id))
	case l[spec.LabelHash] != hash:
		return fmt.Errorf("the %s is there in another version: it is looked at again, and what to do planned anew", kind)
	}
	return nil
}

// OutOfSequenceError says that something in the Swarm was changed after it was observed. Nothing was done: the next pass looks at
// it again and plans anew.
type OutOfSequenceError struct{ What string } // "service web_app"

// Error implements error.
func (e *OutOfSequenceError) Error() string {
	return fmt.Sprintf("the %s was changed by somebody else meanwhile: it is looked at again, and the change planned anew", e.What)
}

// updateService looks at the service first: what the new version has to keep, and whether it is there already because the
// reply of an earlier try was lost.
func (e *Engine) updateService(ctx context.Context, a plan.UpdateService) error {
	former, err := e.inspectService(ctx, a.ID)
	if err != nil {
		return err
	}
	if former.Version.Index != a.Version {
		if isVersion(former.Spec, a) {
			return nil
		}
		return &OutOfSequenceError{What: "service " + a.Service.Full}
	}
	s, err := e.serviceSpec(ctx, a.Owner, a.Stack, a.Service, a.Image, &former.Spec)
	if err != nil {
		return err
	}
	if a.Force {
		s.TaskTemplate.ForceUpdate++
	}
	auth, err := registryAuth(ctx, e.cfg.AuthDir, a.Image)
	if err != nil {
		return err
	}
	return e.change(ctx, a.ID, a.Version, s, auth)
}

// change brings a service that is still at a version to a spec. Without credentials Swarm keeps those it has.
func (e *Engine) change(ctx context.Context, id string, version uint64, s swarmapi.ServiceSpec, auth string) error {
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.ServiceUpdate(ctx, id, client.ServiceUpdateOptions{
			Version: swarmapi.Version{Index: version}, Spec: s, EncodedRegistryAuth: auth,
		})
		e.warn(s.Name, res.Warnings)
		return err
	})
	return sequenced("service "+s.Name, err)
}

// markService changes one label of what is there.
func (e *Engine) markService(ctx context.Context, a plan.MarkService) error {
	have, err := e.inspectService(ctx, a.ID)
	if err != nil {
		return err
	}
	if have.Version.Index != a.Version {
		if have.Spec.Labels[spec.LabelTried] == a.Tried {
			return nil
		}
		return &OutOfSequenceError{What: "service " + a.Name}
	}
	l := maps.Clone(have.Spec.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[spec.LabelTried] = a.Tried
	have.Spec.Labels = l
	return e.change(ctx, a.ID, a.Version, have.Spec, "")
}

func (e *Engine) inspectService(ctx context.Context, id string) (swarmapi.Service, error) {
	var out swarmapi.Service
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.ServiceInspect(ctx, id, client.ServiceInspectOptions{})
		out = res.Service
		return err
	})
	return out, err
}

// isVersion reports whether a service is in the version that an update was to bring.
func isVersion(s swarmapi.ServiceSpec, a plan.UpdateService) bool {
	c := s.TaskTemplate.ContainerSpec
	return s.Labels[spec.LabelCluster] == a.Owner && s.Labels[spec.LabelHash] == a.Service.Hash && c != nil && c.Image == tagged(a.Image)
}

// outOfSequence knows the refusal of an update that names an older version by its text: the engine answers with status 500
// (swarmkit, manager/state/store: ErrSequenceConflict).
func outOfSequence(err error) bool {
	return err != nil && strings.Contains(err.Error(), "update out of sequence")
}

func (e *Engine) removeService(ctx context.Context, a plan.RemoveService) error {
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.ServiceRemove(ctx, idOr(a.ID, a.Name), client.ServiceRemoveOptions{})
		return err
	})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}
