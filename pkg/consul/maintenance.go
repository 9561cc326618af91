package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// The keys of what a person decides about nodes and about the Swarm as a whole; the last two are below swarm/.
const (
	DrainKeys = "drain/" // one below for each node

	goneKeys = "gone/" // likewise
	adoptKey = "adopt" // the id of a Swarm
)

// Decision is what a person decided about a node or the Swarm, as its key holds it. The key itself is the word, so that it can be put
// by hand: a value that is none of these, and one without an "on", says yes.
type Decision struct {
	On *bool `json:"on,omitempty"` // nil is yes
	// ID is what it is about, where the key does not say it.
	ID      string    `json:"id,omitempty"`
	Cluster string    `json:"cluster,omitempty"` // of another cluster it says nothing; "" is this one
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at,omitzero"`

	// Index is the ModifyIndex of the key, 0 where there is none.
	Index uint64 `json:"-"`
}

// Yes reports whether it was decided so, in this cluster.
func (d Decision) Yes(cluster string) bool {
	return d.Index > 0 && (d.On == nil || *d.On) && (d.Cluster == "" || d.Cluster == cluster)
}

func decision(value []byte, index uint64) Decision {
	var d Decision
	if json.Unmarshal(value, &d) != nil {
		d = Decision{ID: strings.TrimSpace(string(value))}
	}
	d.Index = index
	return d
}

// Drain returns what was decided about one node, and the cluster id at the same moment: without it the answer is no data. That there
// is no key is a decision too, of index 0.
func (c *Client) Drain(ctx context.Context, node string) (d Decision, cluster string, err error) {
	pairs, err := c.txn(ctx, "that reads "+c.prefix+DrainKeys+node, []*api.KVTxnOp{
		{Verb: api.KVGetOrEmpty, Key: c.prefix + Stacks + ClusterKey},
		{Verb: api.KVGetOrEmpty, Key: c.prefix + DrainKeys + node},
	})
	if err != nil {
		return Decision{}, "", err
	}
	if len(pairs) != 2 {
		return Decision{}, "", fmt.Errorf("read key %s%s%s: the token may not read it, or %s%s (consul.token)", c.prefix, DrainKeys, node, c.prefix+Stacks, ClusterKey)
	}
	return decision(pairs[1].Value, pairs[1].ModifyIndex), strings.TrimSpace(string(pairs[0].Value)), nil
}

// Drains returns what was decided about the nodes, by name.
func (c *Client) Drains(ctx context.Context) (map[string]Decision, error) {
	found, err := c.List(ctx, DrainKeys)
	if err != nil {
		return nil, err
	}
	if found.Filtered {
		return nil, fmt.Errorf("read %s%s: the token may not read every key below it (consul.token)", c.prefix, DrainKeys)
	}
	out := map[string]Decision{}
	for _, e := range found.Entries {
		out[e.Key] = decision(e.Value, e.ModifyIndex)
	}
	return out, nil
}

// Decide writes a decision over the one that was read.
func (c *Client) Decide(ctx context.Context, key string, d Decision) error {
	value, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return c.PutCAS(ctx, key, append(value, '\n'), d.Index)
}

// DrainKey is the key that says whether a node is out of service.
func DrainKey(node string) string { return DrainKeys + node }

// GoneKey is the key that says that a node was removed for good.
func GoneKey(node string) string { return swarmKeys + goneKeys + node }

// AdoptKey is the key that says which Swarm is to be taken over.
func AdoptKey() string { return swarmKeys + adoptKey }

// take takes in what a person decided, from what is below swarm/.
func (r *SwarmRecord) take(e Entry) {
	node, isGone := strings.CutPrefix(e.Key, goneKeys)
	switch {
	case isGone && node != "":
		if r.Gone == nil {
			r.Gone = map[string]Decision{}
		}
		r.Gone[node] = decision(e.Value, e.ModifyIndex)
	case e.Key == adoptKey:
		r.Adopt = decision(e.Value, e.ModifyIndex)
	}
}
