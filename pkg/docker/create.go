package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// create puts the files in place, creates the container and joins it to all its networks; it does not start it.
func (e *Engine) create(ctx context.Context, a plan.Create) error {
	for _, f := range a.Spec.Files {
		if err := e.files.write(f); err != nil {
			return err
		}
	}
	if err := checkSources(a.Spec.Body.Binds); err != nil {
		return err
	}
	near, err := e.surroundings(ctx, a)
	if err != nil {
		return err
	}
	r, err := convert(a, near)
	if err != nil {
		return err
	}
	err = e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		if r.oldMAC != "" {
			ctx = withOldField(ctx, "MacAddress", r.oldMAC)
		}
		res, err := c.ContainerCreate(ctx, r.options)
		for _, w := range res.Warnings {
			e.log.Warn("the engine warns", zap.String("container", a.Name), zap.String("warning", w))
		}
		return err
	})
	failpoint.Hit(failpoint.CreateCalled)
	switch {
	case cerrdefs.IsConflict(err):
		return e.adopt(ctx, a, err)
	case cerrdefs.IsNotFound(err):
		e.images.forget(node.ImageRef{Ref: a.Spec.Image, Platform: a.Spec.Platform})
		return err
	case err != nil:
		return err
	}
	return e.connectAll(ctx, a.Name, r.later)
}

// adopt accepts the container that has the name if it is the one that was to be created: the reply of an earlier try was
// lost, or brambled died right after it.
func (e *Engine) adopt(ctx context.Context, a plan.Create, conflict error) error {
	info, err := e.inspect(ctx, a.Name)
	if err != nil {
		return errors.Join(conflict, err)
	}
	if info.Config == nil || info.Name != "/"+a.Name {
		return conflict // about something else than the name
	}
	switch l := info.Config.Labels; {
	case ownerOf(info) == "":
		return &NameTakenError{Name: a.Name, ID: info.ID}
	case l[spec.LabelCluster] != a.Owner:
		return fmt.Errorf("the name is taken by a container of another cluster (%s): docker rm it, or give it another name", l[spec.LabelCluster])
	case l[spec.LabelHash] != a.Spec.Hash, half(info.State):
		return conflict
	}
	var missing []spec.Attachment
	for _, n := range a.Spec.Networks {
		if !onNetwork(info, n.Network) {
			missing = append(missing, n)
		}
	}
	return e.connectAll(ctx, a.Name, missing)
}

// half reports whether a container is half removed: it keeps its name but cannot be started any more.
func half(s *container.State) bool {
	return s != nil && (s.Status == container.StateDead || s.Status == container.StateRemoving)
}

func (e *Engine) connectAll(ctx context.Context, name string, list []spec.Attachment) error {
	for _, n := range list {
		if err := e.connect(ctx, name, n); err != nil {
			return fmt.Errorf("connect to %s: %w", n.Network, err)
		}
	}
	return nil
}

// checkSources refuses a bind whose source is missing where the engine would make it though the file says not to.
func checkSources(binds []spec.Bind) error {
	for _, b := range binds {
		if b.SELinux == "" || b.CreateSource {
			continue
		}
		if _, err := os.Stat(b.Source); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("bind source %s does not exist: create it, or set bind.create_host_path", b.Source)
		}
	}
	return nil
}

// surroundings looks up what the conversion needs: API version, image, and the predecessor's anonymous volumes.
func (e *Engine) surroundings(ctx context.Context, a plan.Create) (surroundings, error) {
	s := surroundings{fileDir: e.files.dir}
	err := e.call(ctx, e.cfg.CallTimeout, func(_ context.Context, c *conn) error {
		s.api = c.version
		return nil
	})
	if err != nil {
		return s, err
	}
	ref := node.ImageRef{Ref: a.Spec.Image, Platform: a.Spec.Platform}
	img, ok, err := e.images.get(ctx, e, ref)
	if err != nil {
		return s, err
	}
	if !ok {
		return s, &engineError{text: fmt.Sprintf("image %s is not on this engine", a.Spec.Image), err: cerrdefs.ErrNotFound}
	}
	s.image = img
	if a.Inherit == "" {
		return s, nil
	}
	s.inherited, err = e.inherit(ctx, a, img)
	return s, err
}

// inherit returns the predecessor's anonymous volumes that the successor still declares, by target. A predecessor that is
// gone has none.
func (e *Engine) inherit(ctx context.Context, a plan.Create, img imageInfo) (map[string]string, error) {
	old, err := e.inspect(ctx, a.Inherit)
	if cerrdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the predecessor: %w", err)
	}
	wanted := map[string]bool{}
	for _, target := range img.Volumes {
		wanted[target] = true
	}
	for _, v := range a.Spec.Volumes {
		wanted[v.Target] = v.Volume == ""
	}
	for _, b := range a.Spec.Body.Binds {
		wanted[b.Target] = false
	}
	for _, t := range a.Spec.Body.Tmpfs {
		wanted[t.Target] = false
	}
	out := map[string]string{}
	for target, name := range anonymousVolumes(old) {
		if wanted[target] {
			out[target] = name
		}
	}
	return out, nil
}

// anonymousVolumes are the volumes of a container nobody named, by target: those it was given without a name, by the image
// or the file, and those it took over from its own predecessor.
func anonymousVolumes(c container.InspectResponse) map[string]string {
	if c.Config == nil || c.HostConfig == nil {
		return nil
	}
	unnamed := map[string]bool{}
	for target := range c.Config.Volumes {
		unnamed[target] = true
	}
	for _, m := range c.HostConfig.Mounts {
		if m.Type == mount.TypeVolume {
			unnamed[m.Target] = m.Source == ""
		}
	}
	inherited := map[string]bool{}
	for _, name := range inheritedVolumes(c.Config.Labels) {
		inherited[name] = true
	}
	out := map[string]string{}
	for _, m := range c.Mounts {
		if m.Type == mount.TypeVolume && anonymous.MatchString(m.Name) && (unnamed[m.Destination] || inherited[m.Name]) {
			out[m.Destination] = m.Name
		}
	}
	return out
}

// anonymous is the form of the names the engine makes up.
var anonymous = regexp.MustCompile(`^[0-9a-f]{64}$`)

// inheritedVolumes reads our label. A name that is not one the engine makes up is not believed: what is listed here is
// removed along with the container, and a named volume never is.
func inheritedVolumes(labels map[string]string) []string {
	var out []string
	for name := range strings.SplitSeq(labels[labelInherited], ",") {
		if anonymous.MatchString(name) {
			out = append(out, name)
		}
	}
	return out
}

// ownerOf is the owner label of a container, "" for a foreign one.
func ownerOf(c container.InspectResponse) string {
	if c.Config == nil || c.Config.Labels[labelSwarmTask] != "" {
		return ""
	}
	return c.Config.Labels[spec.LabelCluster]
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
