package consul

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/pkg/failpoint"
)

// ErrClusterHold is a cluster id that must not be created here and now: one is or was in use, and the lists without it are a
// loss that a person must look at.
var ErrClusterHold = errors.New("no cluster id is created")

// EnsureCluster returns the cluster id, and creates it where there is none and none ever was.
//
// It is created in all three lists by one transaction, each key only if it does not exist. Of several nodes that try at
// once one wins and the others return its id. Keys that the user put before there was an id stay as they are and are
// obeyed from then on.
//
// The caller tells by allowed whether this node knows of no cluster: no last-known-good, no object with a cluster label.
// Here it is made sure that no present node names one. A node whose presence cannot be understood may well be one that does.
//
// An id in some of the lists and not in the others is a hold in any case. Since the three are made by one transaction, a
// missing one was lost or deleted, and so may be what it vouched for; the error says how a person puts it back.
func (c *Client) EnsureCluster(ctx context.Context, allowed func() (ok bool, why string)) (id string, created bool, err error) {
	for range 3 {
		id, err := c.clusterID(ctx)
		if err != nil || id != "" {
			return id, false, err
		}
		if ok, why := allowed(); !ok {
			return "", false, fmt.Errorf("%w: no list below %s names one, but %s", ErrClusterHold, c.prefix, why)
		}
		if err := c.nobodyKnows(ctx); err != nil {
			return "", false, err
		}
		id, err = c.createCluster(ctx)
		if !errors.Is(err, ErrConflict) {
			return id, err == nil, err
		}
		// Another node was faster, or one key appeared: look again.
	}
	return "", false, fmt.Errorf("create cluster id below %s: %w", c.prefix, ErrConflict)
}

// clusterID reads the id all three lists carry; empty where none does.
func (c *Client) clusterID(ctx context.Context) (string, error) {
	keys, err := c.clusterKeys(ctx)
	if err != nil {
		return "", err
	}
	var have, missing []string
	id := ""
	for _, p := range keys {
		this := strings.TrimSpace(string(p.Value))
		switch {
		case p.ModifyIndex == 0:
			missing = append(missing, p.Key)
			continue
		case !validID(this):
			return "", fmt.Errorf("%w: key %s holds no cluster id: restore it", ErrClusterHold, p.Key)
		case id != "" && id != this:
			return "", fmt.Errorf("%w: key %s names %s, but %s names %s: two clusters were mixed", ErrClusterHold, p.Key, this, have[0], id)
		}
		id = this
		have = append(have, p.Key)
	}
	if id != "" && len(missing) > 0 {
		return "", fmt.Errorf("%w: key %s is missing while %s names %s, so keys of that list may be lost too; when the list is as you want it: consul kv put %s %s",
			ErrClusterHold, strings.Join(missing, ", "), have[0], id, missing[0], id)
	}
	return id, nil
}

// clusterKeys reads the three keys at one moment: one after the other, they would look torn while another node creates
// them. A key that does not exist comes with index 0.
func (c *Client) clusterKeys(ctx context.Context) ([]*api.KVPair, error) {
	var ops []*api.KVTxnOp
	for _, name := range lists {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: c.prefix + name + ClusterKey})
	}
	pairs, err := c.txn(ctx, "that reads the cluster id", ops)
	if err != nil {
		return nil, err
	}
	if len(pairs) != len(ops) {
		// Consul leaves out of a transaction's results what the token may not read.
		return nil, fmt.Errorf("%w: the token may not read %s in every list below %s (consul.token)", ErrClusterHold, ClusterKey, c.prefix)
	}
	return pairs, nil
}

// nobodyKnows makes sure that no present node names a cluster.
func (c *Client) nobodyKnows(ctx context.Context) error {
	found, err := c.List(ctx, presenceKeys)
	if err != nil {
		return err
	}
	if found.Filtered {
		return fmt.Errorf("%w: the token may not read every key below %s%s, where present nodes name their cluster", ErrClusterHold, c.prefix, presenceKeys)
	}
	for _, e := range found.Entries {
		p, err := parsePresence(e)
		if err != nil {
			return fmt.Errorf("%w: the cluster of a present node is not known: %w", ErrClusterHold, err)
		}
		if p.Cluster != "" {
			return fmt.Errorf("%w: no list below %s names one, but node %s (%s) belongs to %s", ErrClusterHold, c.prefix, p.Node, p.Address, p.Cluster)
		}
	}
	return nil
}

func (c *Client) createCluster(ctx context.Context) (string, error) {
	id := newClusterID()
	var ops []*api.KVTxnOp
	for _, name := range lists {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: c.prefix + name + ClusterKey, Value: []byte(id), Index: 0})
	}
	failpoint.Hit(failpoint.ClusterBefore)
	if _, err := c.txn(ctx, "that creates the cluster id", ops); err != nil {
		return "", err
	}
	failpoint.Hit(failpoint.ClusterAfter)
	return id, nil
}

// newClusterID makes an id that fits a label and a person's eye.
func newClusterID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// RestoreCluster puts the cluster id back into the lists that lack it, all at once: from then on the lists are vouched for, so
// it comes last. A key that is older than known, by list, is renewed: as long as it is, the store looks restored from an
// older snapshot. A list that names another id is left alone, and so are all.
func (c *Client) RestoreCluster(ctx context.Context, id string, known map[string]uint64) error {
	if !validID(id) {
		return fmt.Errorf("restore cluster id below %s: %q is none", c.prefix, id)
	}
	keys, err := c.clusterKeys(ctx)
	if err != nil {
		return err
	}
	var ops []*api.KVTxnOp
	for i, p := range keys {
		this := strings.TrimSpace(string(p.Value))
		if p.ModifyIndex > 0 && this != id {
			return fmt.Errorf("%w: key %s names %s, this is of %s", ErrClusterHold, p.Key, this, id)
		}
		switch {
		case p.ModifyIndex == 0:
			ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: p.Key, Value: []byte(id), Index: 0})
		case p.ModifyIndex < known[lists[i]]:
			ops = append(ops, renewal(p.Key, []byte(id), p.ModifyIndex)...)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	_, err = c.txn(ctx, "that restores the cluster id", ops)
	return err
}
