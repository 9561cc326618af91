package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// leftovers are the anonymous volumes that are to go after their container. The engine takes those that a container took over
// from its predecessor for named ones, and once the container is gone nothing tells that they were its own: a daemon that is
// killed in between, or whose call fails, would leave them behind for ever. So they are noted in a folder before, a file for
// each. That it is not synced is enough for a killed process; a power cut at this very moment may leave a volume.
type leftovers struct {
	dir string

	mu   sync.Mutex
	open []string // noted by a process before this one, or not removed at the first attempt
}

func newLeftovers(dir string) *leftovers {
	l := &leftovers{dir: dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return l // there is none, or it cannot be read: a volume that stays is no harm
	}
	for _, e := range entries {
		if anonymous.MatchString(e.Name()) { // what is listed here is removed, and a named volume never is
			l.open = append(l.open, e.Name())
		}
	}
	return l
}

func (l *leftovers) note(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("note volumes to be removed: %w", err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(l.dir, name), nil, 0o600); err != nil {
			return fmt.Errorf("note volumes to be removed: %w", err)
		}
	}
	return nil
}

func (l *leftovers) keep(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, names...)
	slices.Sort(l.open)
	l.open = slices.Compact(l.open)
}

func (l *leftovers) done(name string) {
	_ = os.Remove(filepath.Join(l.dir, name)) // one that stays is tried once more at the next start
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(n string) bool { return n == name })
}

func (l *leftovers) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.open)
}

// Tidy removes the volumes that an earlier removal of a container was to take along. It costs nothing when there are none.
func (e *Engine) Tidy(ctx context.Context) error { return e.removeVolumes(ctx, e.leftovers.list()) }

// removeVolumes removes anonymous volumes by name. One that another container uses stays with it.
func (e *Engine) removeVolumes(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		err := e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
			_, err := c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
			return err
		})
		if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			e.leftovers.keep(name)
			errs = append(errs, fmt.Errorf("remove anonymous volume %s: %w", short(name), err))
			continue
		}
		e.leftovers.done(name)
	}
	return errors.Join(errs...)
}
