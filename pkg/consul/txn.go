package consul

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Write is one operation of a fenced transaction.
type Write struct {
	Key    string
	Value  []byte
	Delete bool
	// Index limits the operation to a key that is still at this index. It counts only where CAS is set; 0 then means that
	// the key must not exist.
	Index uint64
	CAS   bool
}

// Fenced does all the writes, if the session still holds the lock key at the moment they are done, and none otherwise. That
// check is the first operation of the transaction: nothing that was once a holder can write after it lost the lock, however
// late its request arrives. A refused transaction is ErrConflict.
func (c *Client) Fenced(ctx context.Context, lock, session string, writes ...Write) error {
	ops := []*api.KVTxnOp{{Verb: api.KVCheckSession, Key: c.prefix + lock, Session: session}}
	for _, w := range writes {
		if err := c.checkSize(w.Key, w.Value); err != nil {
			return err
		}
		ops = append(ops, c.txnOp(w))
	}
	_, err := c.txn(ctx, "fenced by "+c.prefix+lock, ops)
	return err
}

func (c *Client) txnOp(w Write) *api.KVTxnOp {
	out := &api.KVTxnOp{Key: c.prefix + w.Key, Value: w.Value, Index: w.Index}
	switch {
	case w.Delete && w.CAS:
		out.Verb = api.KVDeleteCAS
	case w.Delete:
		out.Verb = api.KVDelete
	case w.CAS:
		out.Verb = api.KVCAS
	default:
		out.Verb = api.KVSet
	}
	return out
}

// PutWitness writes a key that is still at the index it was read at (0: it does not exist) at a moment when the other keys
// are at their indexes, and returns the index it is at then. Else the error is ErrConflict and nothing was written. A store
// in which the key is later at that index or above has not gone back behind the others.
func (c *Client) PutWitness(ctx context.Context, key string, value []byte, index uint64, others ...Entry) (uint64, error) {
	if err := c.checkSize(key, value); err != nil {
		return 0, err
	}
	var ops []*api.KVTxnOp
	for _, e := range others {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVCheckIndex, Key: c.prefix + e.Key, Index: e.ModifyIndex})
	}
	ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: c.prefix + key, Value: value, Index: index})
	pairs, err := c.txn(ctx, "that writes "+c.prefix+key, ops)
	if err != nil {
		return 0, err
	}
	if len(pairs) == 0 {
		return 0, fmt.Errorf("write key %s%s: %w", c.prefix, key, errNotConsul)
	}
	return pairs[len(pairs)-1].ModifyIndex, nil
}

// Renew gives a key that is still at the index a newer one, and leaves its value. Consul takes a put of the value that is there
// for no change, so the key is removed and made again at one moment. Else the error is ErrConflict.
func (c *Client) Renew(ctx context.Context, key string, value []byte, index uint64) error {
	_, err := c.txn(ctx, "that renews "+c.prefix+key, renewal(c.prefix+key, value, index))
	return err
}

// renewal are the operations of it, for a key in full.
func renewal(key string, value []byte, index uint64) []*api.KVTxnOp {
	return []*api.KVTxnOp{
		{Verb: api.KVDeleteCAS, Key: key, Index: index},
		{Verb: api.KVCAS, Key: key, Value: value, Index: 0},
	}
}

// txn does a transaction of KV operations and returns what it read.
func (c *Client) txn(ctx context.Context, subject string, kv []*api.KVTxnOp) ([]*api.KVPair, error) {
	ops := make(api.TxnOps, len(kv))
	for i, o := range kv {
		ops[i] = &api.TxnOp{KV: o}
	}
	var refused []string
	var pairs []*api.KVPair
	err := c.call(ctx, opTxn, subject, answerTimeout, func(ctx context.Context) error {
		done, resp, _, err := c.api.Txn().Txn(ops, c.read(ctx))
		if err != nil {
			return err
		}
		if done {
			for _, r := range resp.Results {
				pairs = append(pairs, r.KV)
			}
			return nil
		}
		for _, e := range resp.Errors {
			refused = append(refused, e.What)
		}
		if len(refused) == 0 {
			return errNotConsul // a refusal names its operation; a 409 without one is somebody else's
		}
		return nil
	})
	if err == nil && len(refused) > 0 {
		return nil, fmt.Errorf("transaction %s: %w: %s", subject, ErrConflict, strings.Join(refused, "; "))
	}
	return pairs, err
}
