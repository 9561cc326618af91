package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/pkg/lease"
)

// lockWait bounds a blocking query on the leader key. It is shorter than that of lists: a candidate that waits on an index
// of a Consul that is gone keeps a cluster without leader.
const lockWait = 20 * time.Second

// LeaderLock is the leader key in Consul, for pkg/lease.
type LeaderLock struct {
	c      *Client
	bucket *bucket // of the reads that wait
}

var _ lease.Store = (*LeaderLock)(nil)

// NewLeaderLock returns the leader key. One elector uses it.
func NewLeaderLock(c *Client) *LeaderLock {
	return &LeaderLock{c: c, bucket: newBucket(askBurst, askEvery)}
}

// Open makes a session that only its time to live ends.
func (l *LeaderLock) Open(ctx context.Context, name string, ttl, lockDelay time.Duration) (string, error) {
	id, err := l.c.openSession(ctx, &api.SessionEntry{
		Name: name, TTL: ttl.String(), LockDelay: lockDelay, Behavior: api.SessionBehaviorRelease,
	}, ttl)
	if err != nil && strings.Contains(err.Error(), "Invalid Session TTL") {
		return "", fmt.Errorf("%w: %w", lease.ErrTTL, err)
	}
	return id, err
}

// Renew restarts a session's time to live.
func (l *LeaderLock) Renew(ctx context.Context, id string) (ttl time.Duration, err error) {
	var entry *api.SessionEntry
	err = l.c.call(ctx, opSession, id, answerTimeout, func(ctx context.Context) (err error) {
		entry, _, err = l.c.api.Session().Renew(id, l.c.write(ctx))
		return err
	})
	if err != nil {
		return 0, err
	}
	if entry == nil {
		return 0, fmt.Errorf("renew session %s in Consul: %w", id, lease.ErrSessionGone)
	}
	if ttl, err = time.ParseDuration(entry.TTL); err != nil {
		return 0, fmt.Errorf("renew session %s in Consul: %w", id, err)
	}
	return ttl, nil
}

// Close destroys a session.
func (l *LeaderLock) Close(ctx context.Context, id string) error { return l.c.destroySession(ctx, id) }

// Acquire takes the key as it was seen, in one transaction: what was found out about the last holder is still true then.
func (l *LeaderLock) Acquire(ctx context.Context, session string, value []byte, seen lease.Record) (uint64, bool, error) {
	key := l.c.prefix + lease.Key
	check := &api.KVTxnOp{Verb: api.KVCheckIndex, Key: key, Index: seen.Index}
	if seen.Index == 0 {
		check = &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key}
	}
	pairs, err := l.c.txn(ctx, "that acquires "+key, []*api.KVTxnOp{
		check, {Verb: api.KVLock, Key: key, Value: value, Session: session},
	})
	switch {
	case errors.Is(err, ErrConflict) && strings.Contains(err.Error(), "invalid session"):
		return 0, false, fmt.Errorf("%w: %w", lease.ErrSessionGone, err)
	case errors.Is(err, ErrConflict):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case len(pairs) == 0 || pairs[len(pairs)-1].Session != session:
		return 0, false, fmt.Errorf("acquire key %s: %w", key, errNotConsul)
	}
	return pairs[len(pairs)-1].ModifyIndex, true, nil
}

// Rewrite changes the value while the session holds the key.
func (l *LeaderLock) Rewrite(ctx context.Context, session string, value []byte) error {
	err := l.c.Fenced(ctx, lease.Key, session, Write{Key: lease.Key, Value: value})
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: %w", lease.ErrNotHeld, err)
	}
	return err
}

// Release gives the key up, if the session holds it.
func (l *LeaderLock) Release(ctx context.Context, session string, value []byte) error {
	key := l.c.prefix + lease.Key
	_, err := l.c.txn(ctx, "that releases "+key, []*api.KVTxnOp{
		{Verb: api.KVUnlock, Key: key, Value: value, Session: session},
	})
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// Read returns the key, at once or when it may have changed.
func (l *LeaderLock) Read(ctx context.Context, cursor uint64) (lease.Record, error) {
	q := query{index: cursor, wait: lockWait}
	reader := l.c.api
	if cursor != 0 {
		reader = l.c.watches
		if err := l.bucket.take(ctx); err != nil {
			return lease.Record{}, err
		}
	}
	key := l.c.prefix + lease.Key
	var out lease.Record
	err := l.c.call(ctx, opGet, key, q.deadline(), func(ctx context.Context) error {
		opts := l.c.read(ctx)
		opts.WaitIndex, opts.WaitTime = q.index, q.wait
		pair, meta, err := reader.KV().Get(key, opts)
		if err != nil {
			return err
		}
		// An index that went back is a new world's: waiting on it is right, since what it says was just read.
		out = lease.Record{Cursor: max(meta.LastIndex, 1)}
		if pair != nil {
			out.Index, out.Session, out.Value = pair.ModifyIndex, pair.Session, pair.Value
		}
		return genuine(meta)
	})
	if err != nil {
		return lease.Record{}, err
	}
	return out, nil
}

// FencedBy does all the writes if the term that gave the fence still holds the leader key when they are done, and none
// otherwise.
func (c *Client) FencedBy(ctx context.Context, f lease.Fence, writes ...Write) error {
	return c.Fenced(ctx, f.Lock, f.Session, writes...)
}
