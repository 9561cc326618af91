package docker

import (
	"context"
	"fmt"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/node"
)

// imageInfo is what is needed of a local image.
type imageInfo struct {
	node.Image
	Entrypoint []string
	Volumes    []string // targets of its VOLUME lines
}

// images remembers which references are on the engine, until an event of the engine or a pull says otherwise.
type images struct {
	mu    sync.Mutex
	epoch uint64 // counts what makes an answer under way worthless
	known map[node.ImageRef]imageAnswer
}

type imageAnswer struct {
	info  imageInfo
	local bool
}

func newImages() *images { return &images{known: map[node.ImageRef]imageAnswer{}} }

// forget drops what is known of one reference, and forgetAll of every one.
func (i *images) forget(ref node.ImageRef) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.epoch++
	delete(i.known, ref)
}

func (i *images) forgetAll() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.epoch++
	clear(i.known)
}

// keep drops references nobody wants any more.
func (i *images) keep(refs []node.ImageRef) {
	wanted := map[node.ImageRef]bool{}
	for _, r := range refs {
		wanted[r] = true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for r := range i.known {
		if !wanted[r] {
			delete(i.known, r)
		}
	}
}

// get looks a reference up, and reports whether it is on the engine.
func (i *images) get(ctx context.Context, e *Engine, ref node.ImageRef) (imageInfo, bool, error) {
	i.mu.Lock()
	answer, ok := i.known[ref]
	epoch := i.epoch
	i.mu.Unlock()
	if ok {
		return answer.info, answer.local, nil
	}
	answer, err := e.inspectImage(ctx, ref)
	if err != nil {
		return imageInfo{}, false, fmt.Errorf("look up image %s: %w", ref.Ref, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.epoch == epoch {
		i.known[ref] = answer
	}
	return answer.info, answer.local, nil
}

func (e *Engine) inspectImage(ctx context.Context, ref node.ImageRef) (imageAnswer, error) {
	want, err := parsePlatform(ref.Platform)
	if err != nil {
		return imageAnswer{}, nil // convert reports it for the container that asks for it
	}
	var answer imageAnswer
	err = e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		var opts []client.ImageInspectOption
		if want != nil && c.atLeast("1.49") {
			opts = append(opts, client.ImageInspectWithPlatform(want))
		}
		img, err := c.ImageInspect(ctx, ref.Ref, opts...)
		if err != nil {
			return err
		}
		answer = imageAnswer{local: true, info: imageInfo{Image: node.Image{ID: img.ID}}}
		if want != nil && (img.Os != want.OS || img.Architecture != want.Architecture || want.Variant != "" && img.Variant != "" && img.Variant != want.Variant) {
			answer.local = false // the reference is there for another platform
		}
		if cfg := img.Config; cfg != nil {
			answer.info.HasHealthcheck = hasCheck(cfg.Healthcheck)
			answer.info.Entrypoint = cfg.Entrypoint
			answer.info.Volumes = sortedKeys(cfg.Volumes)
		}
		return nil
	})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsInvalidArgument(err) && strings.Contains(err.Error(), "invalid reference") {
		return imageAnswer{}, nil // the pull says what is wrong with the reference
	}
	return answer, err
}
