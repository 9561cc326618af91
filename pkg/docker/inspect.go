package docker

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// inspections remembers what inspecting told, so that a pass over containers that did not change costs lists only. An entry
// is good while no event named its container, the row of the list has the same print, and the event stream held.
type inspections struct {
	now func() time.Time

	mu      sync.Mutex
	epoch   uint64            // counts losses of the event stream: what happened meanwhile is not known
	changes map[string]uint64 // per id: counts events
	known   map[string]*inspection
	starts  map[string]launch // by id or name as it was given: starts of ours that no look has seen yet
}

// launch is a start of ours.
type launch struct {
	epoch uint64 // from 1
	at    time.Time
}

// inspection is one container's memory.
type inspection struct {
	good    bool
	epoch   uint64
	changes uint64
	print   string
	uptime  time.Duration // in the list when it was inspected or last seen
	details container.InspectResponse

	seen      time.Time // first, on our clock
	startedAt string    // the start that since belongs to
	since     time.Time // when it was first seen running since that start
	ran       uint64    // the epoch, from 1, in which it was last seen running or started by us; 0 for never, or seen to end
	ended     bool      // it was running in an earlier epoch, and was not seen to since
	sick      time.Time // when it was first seen unhealthy since it last was anything else
	hung      time.Time // when inspecting it last timed out
}

func newInspections(now func() time.Time) *inspections {
	return &inspections{now: now, changes: map[string]uint64{}, known: map[string]*inspection{}, starts: map[string]launch{}}
}

// dirty notes that a container changed. The event may arrive while it is inspected, hence a count and not a mark.
func (c *inspections) dirty(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes[id]++
}

// touch notes that we changed a container, by its id or its name.
func (c *inspections) touch(ref string) {
	if ref == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, m := range c.known {
		if id == ref || strings.TrimPrefix(m.details.Name, "/") == ref {
			c.changes[id]++
		}
	}
}

// starting notes that we are about to start a container. An engine that is killed right after has ended it, though no look
// has ever seen it run.
func (c *inspections) starting(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts[ref] = launch{c.epoch + 1, c.now()}
}

// started returns the epoch of our start of a container that was not looked at since, 0 if there is none.
func (c *inspections) started(info container.InspectResponse) (epoch uint64) {
	for _, ref := range []string{info.ID, strings.TrimPrefix(info.Name, "/")} {
		epoch = max(epoch, c.starts[ref].epoch)
		delete(c.starts, ref)
	}
	return epoch
}

// reset notes that anything may have changed.
func (c *inspections) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.changes)
}

// hungPause is how long a container that could not be inspected is left alone, unless an event names it.
const hungPause = 30 * time.Second

// look returns the memory of a row's container, and whether it has to be inspected first.
func (c *inspections) look(row container.Summary) (m *inspection, stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m = c.known[row.ID]
	if m == nil {
		m = &inspection{seen: c.now()}
		c.known[row.ID] = m
	}
	up := uptime(row.Status)
	// An event can be lost (the engine drops what a slow reader does not take). An uptime that shrank tells of a restart.
	same := m.good && m.epoch == c.epoch && m.changes == c.changes[row.ID] && m.print == fingerprint(row) && up >= m.uptime
	m.uptime = up
	if same {
		return m, false
	}
	if !m.hung.IsZero() && c.now().Sub(m.hung) < hungPause && m.changes == c.changes[row.ID] && m.epoch == c.epoch {
		return m, false
	}
	m.good = false
	m.epoch, m.changes, m.print = c.epoch, c.changes[row.ID], fingerprint(row)
	return m, true
}

// learn takes in what inspecting told.
func (c *inspections) learn(m *inspection, info container.InspectResponse, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		m.hung = c.now()
		return
	}
	m.good, m.hung, m.details = true, time.Time{}, trim(info)
	running := info.State != nil && info.State.Running && !info.State.Restarting
	switch {
	case !running:
		m.startedAt, m.since = "", time.Time{}
	case m.startedAt != info.State.StartedAt:
		m.startedAt, m.since, m.sick = info.State.StartedAt, c.now(), time.Time{}
	}
	if epoch := c.started(info); epoch != 0 {
		m.ran, m.ended = epoch, false
	}
	m.follow(running, c.epoch+1)
	switch unhealthy := running && info.State.Health != nil && info.State.Health.Status == container.Unhealthy; {
	case !unhealthy:
		m.sick = time.Time{}
	case m.sick.IsZero():
		m.sick = c.now()
	}
}

// follow tells an end that came while the engine was out of sight from one that was seen. An engine that is killed ends its
// containers when it comes up, and starts none of them: no restart policy counts that as an end.
func (m *inspection) follow(running bool, epoch uint64) {
	switch {
	case running:
		m.ran, m.ended = epoch, false
	case m.ran == epoch:
		m.ran = 0
	case m.ran != 0:
		m.ended = true
	}
}

// trim keeps of an inspection what a look needs: the whole of it, for every container, is memory for nothing.
func trim(in container.InspectResponse) container.InspectResponse {
	out := container.InspectResponse{Name: in.Name, RestartCount: in.RestartCount, State: in.State}
	if s := in.State; s != nil && s.Health != nil {
		s.Health.Log = nil
	}
	if in.Config != nil {
		out.Config = &container.Config{Healthcheck: in.Config.Healthcheck}
	}
	if in.HostConfig != nil {
		out.HostConfig = &container.HostConfig{RestartPolicy: in.HostConfig.RestartPolicy}
	}
	if in.NetworkSettings != nil {
		out.NetworkSettings = &container.NetworkSettings{Networks: in.NetworkSettings.Networks}
	}
	return out
}

// prune forgets containers that are gone.
func (c *inspections) prune(rows []container.Summary) {
	there := make(map[string]bool, len(rows))
	for _, r := range rows {
		there[r.ID] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.known {
		if !there[id] {
			delete(c.known, id)
		}
	}
	for id := range c.changes {
		if c.known[id] == nil {
			delete(c.changes, id)
		}
	}
	// What was started an hour ago and never seen is gone. One that was just made may be missing in these rows.
	maps.DeleteFunc(c.starts, func(_ string, l launch) bool { return c.now().Sub(l.at) > time.Hour })
}

// fingerprint is what of a row, when changed, asks for an inspection. The text of the status is not part of it: it counts
// the time.
func fingerprint(r container.Summary) string {
	var b strings.Builder
	for _, s := range []string{string(r.State), string(rowHealth(r)), r.ImageID} {
		b.WriteString(s + "|")
	}
	for _, n := range r.Names {
		b.WriteString(n + ",")
	}
	if r.NetworkSettings != nil {
		for _, name := range sortedKeys(r.NetworkSettings.Networks) {
			b.WriteString("|" + name)
			if n := r.NetworkSettings.Networks[name]; n != nil {
				b.WriteString("=" + n.NetworkID)
			}
		}
	}
	return b.String()
}

// refresh inspects the containers of ours that changed, a few at a time. One that is gone since the list is not returned.
func (e *Engine) refresh(ctx context.Context, rows []container.Summary) (map[string]*inspection, error) {
	out := make(map[string]*inspection, len(rows))
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	slots := make(chan struct{}, 8)
	for _, row := range rows {
		m, stale := e.cache.look(row)
		mu.Lock() // the inspections that run already take out what is gone
		out[row.ID] = m
		mu.Unlock()
		if !stale {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			info, err := e.inspect(ctx, row.ID)
			var gone *UnreachableError
			switch {
			case cerrdefs.IsNotFound(err):
				mu.Lock()
				delete(out, row.ID)
				mu.Unlock()
			case ctx.Err() != nil || errors.As(err, &gone):
				mu.Lock()
				failed = err
				mu.Unlock()
			default:
				e.cache.learn(m, info, err) // one that cannot be inspected is described by its row alone
			}
		})
	}
	wg.Wait()
	return out, failed
}
