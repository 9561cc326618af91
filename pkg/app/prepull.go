package app

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/reconciler/swarm"
)

// The leader says below swarm/ which images which nodes should have before it lets Swarm run them.
const (
	swarmKeys  = "swarm/"
	prepullKey = "prepull"
)

// prepulls are the images that were asked for: by image, the ids in the Swarm of the nodes that should have it.
type prepulls struct {
	mu     sync.Mutex
	wanted map[string][]string
}

func newPrepulls() *prepulls { return &prepulls{} }

// mine are the images that the node with this id in the Swarm should have, sorted.
func (p *prepulls) mine(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for image, nodes := range p.wanted {
		if id != "" && slices.Contains(nodes, id) {
			out = append(out, image)
		}
	}
	slices.Sort(out)
	return out
}

// take takes in what is below swarm/. What cannot be read asks for nothing.
func (p *prepulls) take(entries []consul.Entry) {
	wanted := map[string][]string{}
	for _, e := range entries {
		if e.Key == prepullKey && json.Unmarshal(e.Value, &wanted) != nil {
			wanted = map[string][]string{}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = wanted
}

// followPrepulls keeps up with what the leader asks for.
func (a *App) followPrepulls(ctx context.Context) {
	var index uint64
	for failures := 0; ctx.Err() == nil; {
		l, err := a.store.WatchPrefix(ctx, swarmKeys, index)
		if err != nil {
			index = 0
			if failures++; errors.Is(pause(ctx, min(time.Duration(failures)*time.Second, 15*time.Second)), context.Canceled) {
				return
			}
			continue
		}
		if l.Index != index {
			a.swarmNews()
		}
		failures, index = 0, l.Index
		id := a.place.get().ID
		before := a.prepulls.mine(id)
		a.prepulls.take(l.Entries)
		if !slices.Equal(before, a.prepulls.mine(id)) {
			a.assemble()
			a.loop.Trigger()
		}
	}
}

// ask writes what the leader wants to be pulled, when that changes.
type ask struct {
	write func(context.Context, ...consul.Write) error
	log   *zap.Logger
	wake  chan struct{}

	mu      sync.Mutex
	next    map[string][]string
	written map[string][]string // nil while it is not known what the store has
}

func newAsk(write func(context.Context, ...consul.Write) error, log *zap.Logger) *ask {
	return &ask{write: write, log: log, wake: make(chan struct{}, 1)}
}

// want takes in which nodes, by host name, should have which image by now.
func (k *ask) want(images map[string][]string, nodes []swarm.Node) {
	next := map[string][]string{}
	for image, hosts := range images {
		for _, n := range nodes {
			if slices.Contains(hosts, n.Name) {
				next[image] = append(next[image], n.ID)
			}
		}
		slices.Sort(next[image])
	}
	k.mu.Lock()
	k.next = next
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default: // one is pending already, and it will take the newest
	}
}

func (k *ask) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		err := k.update(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == 1 {
			k.log.Warn("what the nodes should pull is not written", zap.Error(err))
		}
		if pause(ctx, min(time.Duration(failures)*time.Second, 15*time.Second)) != nil {
			return
		}
		select {
		case k.wake <- struct{}{}:
		default: // something newer is pending
		}
	}
}

// update writes what is wanted, unless the store has it. Nothing wanted and nothing known to be written is written too, once
// a term: a former leader may have left something.
func (k *ask) update(ctx context.Context) error {
	k.mu.Lock()
	next, same := k.next, k.written != nil && maps.EqualFunc(k.next, k.written, slices.Equal)
	k.mu.Unlock()
	if same {
		return nil
	}
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := k.write(ctx, consul.Write{Key: swarmKeys + prepullKey, Value: value}); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written = next
	return nil
}
