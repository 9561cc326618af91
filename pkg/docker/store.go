package docker

import (
	"context"
	"fmt"
	"sync"

	"github.com/moby/moby/client"
)

// StoreIdentity tells one store of containers and images from another. An engine that is started with another storage
// driver, with containerd's image store, or on another data directory (the SSD was not mounted) answers as if it had never
// had a container, while all of them are still on the disk. It is comparable; the zero value is no store.
type StoreIdentity struct {
	// Engine is the engine's own id. Before Engine 25 it is kept beside the data directory and survives a change of it.
	Engine string `json:"engine"`
	// Data is the id of the network "host": the engine makes it once for each data directory, in every version.
	Data string `json:"data"`
	// Driver stores the layers ("overlay2"), and Kind tells containerd's image store from the engine's own ("").
	Driver string `json:"driver"`
	Kind   string `json:"kind,omitempty"`
}

// String is the identity as a person sees it.
func (s StoreIdentity) String() string {
	if s == (StoreIdentity{}) {
		return "no store"
	}
	kind := ""
	if s.Kind != "" {
		kind = " (" + s.Kind + ")"
	}
	return fmt.Sprintf("%s%s of engine %s, data %s", s.Driver, kind, short(s.Engine), short(s.Data))
}

// storeMemory is the identity as the connection it was asked over told it. An engine cannot change its store without
// being started again, and that ends every connection.
type storeMemory struct {
	mu   sync.Mutex
	conn *conn
	id   StoreIdentity
}

// Store returns the identity of the engine's store. It is asked for once for each connection.
func (e *Engine) Store(ctx context.Context) (StoreIdentity, error) {
	e.store.mu.Lock()
	defer e.store.mu.Unlock()
	if c := e.conns.current(); c != nil && c == e.store.conn {
		return e.store.id, nil
	}
	return e.askStore(ctx)
}

// StoreNow asks the engine in any case: a connection that seems to stand may lead to an engine that was started again.
func (e *Engine) StoreNow(ctx context.Context) (StoreIdentity, error) {
	e.store.mu.Lock()
	defer e.store.mu.Unlock()
	return e.askStore(ctx)
}

func (e *Engine) askStore(ctx context.Context) (StoreIdentity, error) {
	var id StoreIdentity
	var asked *conn
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		asked = c
		res, err := c.Info(ctx, client.InfoOptions{})
		if err != nil {
			return err
		}
		id.Engine, id.Driver = res.Info.ID, res.Info.Driver
		for _, s := range res.Info.DriverStatus {
			if s[0] == "driver-type" {
				id.Kind = s[1]
			}
		}
		networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("name", "host")})
		for _, n := range networks.Items {
			if n.Name == "host" { // the filter also finds names that contain it
				id.Data = n.ID
			}
		}
		return err
	})
	if err != nil {
		return StoreIdentity{}, fmt.Errorf("ask the engine for its store: %w", err)
	}
	e.store.conn, e.store.id = asked, id
	return id, nil
}
