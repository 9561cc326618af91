package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// ErrConflict is a check-and-set that did not take place because the key had changed.
var ErrConflict = errors.New("the key was changed by somebody else in the meantime")

// maxWait bounds a blocking query. A reader whose index a rebuilt Consul will never reach is stuck for this long.
const maxWait = 30 * time.Second

// Entry is one key below a list or prefix.
type Entry struct {
	Key         string // relative: "web", "pi1/NAME"
	Value       []byte
	CreateIndex uint64
	ModifyIndex uint64
	Session     string // that holds the key, if any
}

// List is one consistent answer: everything below a prefix.
type List struct {
	Index    uint64 // to send with the next query that is to block
	Filtered bool   // Consul left out what the token may not read
	Entries  []Entry
}

// deletion is the index of the newest deletion below the prefix, 0 where something was written after it: Consul's index of a
// list is the highest of its keys and of the tombstones of deleted ones (kvsListTxn in agent/consul/state/kvs.go).
func (l List) deletion() uint64 {
	var newest uint64
	for _, e := range l.Entries {
		newest = max(newest, e.ModifyIndex)
	}
	if l.Index <= newest {
		return 0
	}
	return l.Index
}

// query is what a lister is asked.
type query struct {
	prefix string // relative, ending with a slash
	index  uint64 // 0 answers at once, more blocks until the list is newer or the wait is over
	wait   time.Duration
}

// deadline is how long an answer may take: the server adds up to a sixteenth to the wait.
func (q query) deadline() time.Duration {
	if q.index == 0 {
		return answerTimeout
	}
	return q.wait + q.wait/16 + answerTimeout
}

// list does one query.
func (c *Client) list(ctx context.Context, q query) (List, error) {
	full := c.prefix + q.prefix
	var out List
	err := c.call(ctx, opList, full, q.deadline(), func(ctx context.Context) error {
		opts := c.read(ctx)
		opts.WaitIndex, opts.WaitTime = q.index, q.wait
		pairs, meta, err := c.watches.KV().List(full, opts)
		if err != nil {
			return err
		}
		if err := genuine(meta); err != nil {
			return err
		}
		out = List{Index: meta.LastIndex, Filtered: meta.ResultsFilteredByACLs}
		for _, p := range pairs {
			out.Entries = append(out.Entries, entry(p, full))
		}
		return nil
	})
	slices.SortFunc(out.Entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return out, err
}

// genuine tells Consul's answer from anybody else's. The library stops reading headers at the first one it does not
// understand and says nothing; KnownLeader comes before the header that tells of filtered results, so an answer without it
// may hide that.
func genuine(meta *api.QueryMeta) error {
	switch {
	case meta.KnownLeader:
		return nil
	case meta.LastIndex == 0:
		return errNotConsul
	}
	return errNoLeader
}

func entry(p *api.KVPair, below string) Entry {
	return Entry{
		Key: strings.TrimPrefix(p.Key, below), Value: p.Value,
		CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex, Session: p.Session,
	}
}

// List returns everything below a prefix.
func (c *Client) List(ctx context.Context, prefix string) (List, error) {
	return c.list(ctx, query{prefix: prefix})
}

// WatchPrefix returns everything below a prefix, as soon as it is newer than the index: 0 for the first call, then the
// returned list's. It also returns when nothing changed for half a minute. After an error start again at 0.
func (c *Client) WatchPrefix(ctx context.Context, prefix string, index uint64) (List, error) {
	got, err := c.list(ctx, query{prefix: prefix, index: index, wait: maxWait})
	if err != nil {
		return List{}, err
	}
	got.Index = nextIndex(index, got.Index)
	return got, nil
}

// Get returns one key, and false when it does not exist.
func (c *Client) Get(ctx context.Context, key string) (Entry, bool, error) {
	var pair *api.KVPair
	err := c.call(ctx, opGet, c.prefix+key, answerTimeout, func(ctx context.Context) error {
		p, meta, err := c.api.KV().Get(c.prefix+key, c.read(ctx))
		if err != nil {
			return err
		}
		pair = p
		return genuine(meta)
	})
	if err != nil || pair == nil {
		return Entry{}, false, err
	}
	return entry(pair, c.prefix), true, nil
}

// Put writes a key whatever it holds.
func (c *Client) Put(ctx context.Context, key string, value []byte) error {
	if err := c.checkSize(key, value); err != nil {
		return err
	}
	return c.call(ctx, opPut, c.prefix+key, answerTimeout, func(ctx context.Context) error {
		_, err := c.api.KV().Put(&api.KVPair{Key: c.prefix + key, Value: value}, c.write(ctx))
		return err
	})
}

// PutCAS writes a key that is still at the index it was read at; 0 creates it. Else the error is ErrConflict.
func (c *Client) PutCAS(ctx context.Context, key string, value []byte, index uint64) error {
	if err := c.checkSize(key, value); err != nil {
		return err
	}
	var done bool
	err := c.call(ctx, opPut, c.prefix+key, answerTimeout, func(ctx context.Context) (err error) {
		done, _, err = c.api.KV().CAS(&api.KVPair{Key: c.prefix + key, Value: value, ModifyIndex: index}, c.write(ctx))
		return err
	})
	return c.conflict(err, done, "write", key)
}

// Delete removes one key; that it does not exist is no error.
func (c *Client) Delete(ctx context.Context, key string) error {
	return c.call(ctx, opDelete, c.prefix+key, answerTimeout, func(ctx context.Context) error {
		_, err := c.api.KV().Delete(c.prefix+key, c.write(ctx))
		return err
	})
}

// DeleteCAS removes one key that is still at the index it was read at. Else the error is ErrConflict.
func (c *Client) DeleteCAS(ctx context.Context, key string, index uint64) error {
	var done bool
	err := c.call(ctx, opDelete, c.prefix+key, answerTimeout, func(ctx context.Context) (err error) {
		done, _, err = c.api.KV().DeleteCAS(&api.KVPair{Key: c.prefix + key, ModifyIndex: index}, c.write(ctx))
		return err
	})
	return c.conflict(err, done, "delete", key)
}

func (c *Client) conflict(err error, done bool, verb, key string) error {
	if err == nil && !done {
		return fmt.Errorf("%s key %s%s: %w", verb, c.prefix, key, ErrConflict)
	}
	return err
}

// checkSize refuses what Consul would refuse with a bare 413.
func (c *Client) checkSize(key string, value []byte) error {
	if len(value) <= MaxValue {
		return nil
	}
	return fmt.Errorf("write key %s%s: the value has %d bytes, Consul takes at most %d (512 KiB): split the stack, or move data into an image or a volume",
		c.prefix, key, len(value), MaxValue)
}
