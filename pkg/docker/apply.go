package docker

import (
	"context"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/reconciler/plan"
)

// Apply performs one action and decides nothing. What is done already is success.
func (e *Engine) Apply(ctx context.Context, a plan.Action) error {
	failpoint.Before(a)
	err := e.apply(ctx, a)
	failpoint.After(a)
	// Engine 26 still lists a container as running for a moment after it has answered that it is stopped, and its event
	// may come later still: what we changed ourselves is looked at anew in any case.
	e.cache.touch(touched(a))
	if err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	return nil
}

func (e *Engine) apply(ctx context.Context, a plan.Action) error {
	switch a := a.(type) {
	case plan.Pull:
		return e.pulls.start(a)
	case plan.CreateNetwork:
		return e.createNetwork(ctx, a)
	case plan.RemoveNetwork:
		return e.removeNetwork(ctx, a)
	case plan.Connect:
		return e.connect(ctx, idOr(a.Container, a.Name), a.Attachment)
	case plan.Disconnect:
		return e.disconnect(ctx, idOr(a.Container, a.Name), a.Network)
	case plan.CreateVolume:
		return e.createVolume(ctx, a)
	case plan.Create:
		return e.create(ctx, a)
	case plan.Start:
		return e.start(ctx, idOr(a.ID, a.Name))
	case plan.Stop:
		return e.stop(ctx, idOr(a.ID, a.Name))
	case plan.Remove:
		return e.remove(ctx, idOr(a.ID, a.Name), a.KeepVolumes)
	case plan.Rename:
		return e.rename(ctx, a)
	case plan.SetRestart:
		return e.setRestart(ctx, a)
	case plan.RemoveFile:
		return e.files.remove(a.Digest)
	case plan.CreateService, plan.UpdateService, plan.MarkService, plan.RemoveService, plan.CreateObject, plan.RemoveObject, plan.Pin:
		return e.applySwarm(ctx, a)
	case plan.InitSwarm, plan.ConfigureSwarm, plan.PromoteNode, plan.DemoteNode, plan.DropNode, plan.SetNode, plan.LeaveSwarm:
		return e.applyQuorum(ctx, a)
	case plan.ClaimSwarm, plan.PublishSwarm, plan.JoinSwarm: // need the store
	}
	return fmt.Errorf("unknown action %T", a)
}

// applySwarm performs the actions on a Swarm.
func (e *Engine) applySwarm(ctx context.Context, a plan.Action) error {
	switch a := a.(type) {
	case plan.CreateService:
		return e.createService(ctx, a)
	case plan.UpdateService:
		return e.updateService(ctx, a)
	case plan.MarkService:
		return e.markService(ctx, a)
	case plan.RemoveService:
		return e.removeService(ctx, a)
	case plan.CreateObject:
		return e.createObject(ctx, a)
	case plan.RemoveObject:
		return e.removeObject(ctx, a)
	case plan.Pin:
		return e.pins.start(a)
	default:
	}
	return fmt.Errorf("unknown action %T", a)
}

// touched is the container that an action is about, "" where it is about none that was seen before.
func touched(a plan.Action) string {
	switch a := a.(type) {
	case plan.Start:
		return idOr(a.ID, a.Name)
	case plan.Stop:
		return idOr(a.ID, a.Name)
	case plan.Rename:
		return idOr(a.ID, a.From)
	case plan.SetRestart:
		return idOr(a.ID, a.Name)
	case plan.Connect:
		return idOr(a.Container, a.Name)
	case plan.Disconnect:
		return idOr(a.Container, a.Name)
	case plan.Pull, plan.Create, plan.Remove, plan.CreateNetwork, plan.RemoveNetwork, plan.CreateVolume, plan.RemoveFile:
	case plan.CreateService, plan.UpdateService, plan.MarkService, plan.RemoveService, plan.CreateObject, plan.RemoveObject, plan.Pin:
	case plan.ClaimSwarm, plan.InitSwarm, plan.ConfigureSwarm, plan.PublishSwarm, plan.PromoteNode, plan.DemoteNode, plan.DropNode, plan.SetNode,
		plan.JoinSwarm, plan.LeaveSwarm:
	}
	return ""
}

func idOr(id, name string) string {
	if id != "" {
		return id
	}
	return name
}

// inspect looks at one container, with the short time-out of a call that can hang behind a stuck container.
func (e *Engine) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	var out container.InspectResponse
	err := e.call(ctx, e.cfg.InspectTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		out = res.Container
		return err
	})
	return out, err
}

func (e *Engine) start(ctx context.Context, id string) error {
	e.cache.starting(id)
	return e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.ContainerStart(ctx, id, client.ContainerStartOptions{})
		return err
	})
}

// stop gives the container its own grace period and some time on top for the kill. One that is gone runs no more.
func (e *Engine) stop(ctx context.Context, id string) error {
	grace := e.grace(ctx, id)
	err := e.call(ctx, grace+time.Minute, func(ctx context.Context, c *conn) error {
		_, err := c.ContainerStop(ctx, id, client.ContainerStopOptions{})
		return err
	})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// grace is how long the engine waits before it kills a container.
func (e *Engine) grace(ctx context.Context, id string) time.Duration {
	info, err := e.inspect(ctx, id)
	switch {
	case err != nil:
		return 10 * time.Minute // unknown: rather wait than call a stop that goes on failed
	case info.Config == nil || info.Config.StopTimeout == nil:
		return 10 * time.Second // the engine's own default
	case *info.Config.StopTimeout < 0:
		return 24 * time.Hour // -1 asks the engine to wait for ever
	}
	return time.Duration(*info.Config.StopTimeout) * time.Second
}

// remove never forces: a running container is stopped first, by an action of its own.
func (e *Engine) remove(ctx context.Context, id string, keepVolumes bool) error {
	var inherited []string
	if !keepVolumes {
		info, err := e.inspect(ctx, id)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err == nil && info.Config != nil {
			inherited = inheritedVolumes(info.Config.Labels)
		}
	}
	if err := e.leftovers.note(inherited); err != nil {
		return err
	}
	err := e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: !keepVolumes})
		if cerrdefs.IsConflict(err) && removing(err) {
			return awaitRemoval(ctx, c, id)
		}
		return err
	})
	if err != nil && !cerrdefs.IsNotFound(err) {
		e.leftovers.keep(inherited...) // it may be gone all the same, the reply lost
		return err
	}
	e.cache.dirty(id)
	failpoint.Hit(failpoint.RemoveCalled)
	return e.removeVolumes(ctx, inherited)
}

// removing tells the conflict "removal is already in progress" from "is running".
func removing(err error) bool { return containsAny(err.Error(), "already in progress") }

// removalPatience is how long a removal that somebody else began may take before it is reported and tried again.
const removalPatience = time.Minute

// awaitRemoval lets a removal that somebody else began come to its end, so that the next step finds the name free.
func awaitRemoval(ctx context.Context, c *conn, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removalPatience)
	defer cancel()
	w := c.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	select {
	case r := <-w.Result:
		if r.Error != nil { // the removal ended, the container did not
			return fmt.Errorf("a removal that was under way failed: %s", r.Error.Message)
		}
		return nil
	case err := <-w.Error:
		return err
	case <-ctx.Done():
		return fmt.Errorf("a removal that was under way does not end: see docker ps -a, and the log of docker.service")
	}
}

// rename succeeds when the container has the name already.
func (e *Engine) rename(ctx context.Context, a plan.Rename) error {
	id := idOr(a.ID, a.From)
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: a.To})
		return err
	})
	if err == nil {
		e.cache.dirty(id)
		return nil
	}
	if info, ierr := e.inspect(ctx, id); ierr == nil && info.Name == "/"+a.To {
		return nil
	}
	if cerrdefs.IsConflict(err) {
		if other, ierr := e.inspect(ctx, a.To); ierr == nil && ownerOf(other) == "" {
			return &NameTakenError{Name: a.To, ID: other.ID}
		}
	}
	return err
}

func (e *Engine) setRestart(ctx context.Context, a plan.SetRestart) error {
	id := idOr(a.ID, a.Name)
	defer e.cache.dirty(id)
	return e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &container.RestartPolicy{
			Name: container.RestartPolicyMode(a.Policy), MaximumRetryCount: a.Max,
		}})
		return err
	})
}

// createVolume leaves a volume of that name as it is: the engine returns it, and volumes are never changed.
func (e *Engine) createVolume(ctx context.Context, a plan.CreateVolume) error {
	return e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.VolumeCreate(ctx, client.VolumeCreateOptions{
			Name: a.Volume.Name, Driver: a.Volume.Driver, DriverOpts: a.Volume.Options, Labels: volumeLabels(a),
		})
		return err
	})
}
