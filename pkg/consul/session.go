package consul

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// createSession makes a session that only its time to live ends, with a lock-delay of 1 ms. Where remove is set, what the
// session holds is deleted at its end, else released.
func (c *Client) createSession(ctx context.Context, name string, ttl time.Duration, remove bool) (string, error) {
	entry := &api.SessionEntry{Name: name, TTL: ttl.String(), LockDelay: time.Millisecond, Behavior: api.SessionBehaviorRelease}
	if remove {
		entry.Behavior = api.SessionBehaviorDelete
	}
	return c.openSession(ctx, entry, ttl)
}

// openSession makes a session without the check of the agent's own health (serfHealth), which ends sessions at small network
// troubles. A lock-delay must be set: the library leaves a 0 out, and the server then takes 15 s.
func (c *Client) openSession(ctx context.Context, entry *api.SessionEntry, ttl time.Duration) (id string, err error) {
	name := entry.Name
	err = c.call(ctx, opSession, name, answerTimeout, func(ctx context.Context) (err error) {
		id, _, err = c.api.Session().CreateNoChecks(entry, c.write(ctx))
		if err != nil && strings.Contains(err.Error(), "Invalid Session TTL") {
			return fmt.Errorf("the servers allow no time to live of %v: raise session_ttl, or lower session_ttl_min in their configuration: %w", ttl, err)
		}
		return err
	})
	return id, err
}

// renewSession tells whether the session is still alive.
func (c *Client) renewSession(ctx context.Context, id string, timeout time.Duration) (alive bool, err error) {
	err = c.call(ctx, opSession, id, timeout, func(ctx context.Context) error {
		entry, _, err := c.api.Session().Renew(id, c.write(ctx))
		alive = entry != nil
		return err
	})
	return alive, err
}

// destroySession ends a session; that it does not exist is no error.
func (c *Client) destroySession(ctx context.Context, id string) error {
	return c.call(ctx, opSession, id, answerTimeout, func(ctx context.Context) error {
		_, err := c.api.Session().Destroy(id, c.write(ctx))
		return err
	})
}

// acquire writes a key and takes it for a session; false where another session has it.
func (c *Client) acquire(ctx context.Context, key string, value []byte, session string) (held bool, err error) {
	err = c.call(ctx, opPut, c.prefix+key, answerTimeout, func(ctx context.Context) (err error) {
		held, _, err = c.api.KV().Acquire(&api.KVPair{Key: c.prefix + key, Value: value, Session: session}, c.write(ctx))
		return err
	})
	return held, err
}
