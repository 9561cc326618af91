package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// The keys below swarm/. The token has one of its own, so that no list of the record shows it.
const (
	swarmKeys      = "swarm/"
	swarmRecordKey = swarmKeys + "record"
	swarmTokenKey  = swarmKeys + "token"
)

// SwarmRecord is what the store says of the cluster's Swarm: which one it is and how a node joins it. Only a leader writes it,
// fenced, and only over what it has read.
type SwarmRecord struct {
	ID      string `json:"id,omitempty"`      // of the Swarm, "" while the cluster has none
	Cluster string `json:"cluster,omitempty"` // the cluster id under which it was formed or adopted
	// Forming is the node that was about to form the Swarm, "" once there is one.
	Forming  string   `json:"forming,omitempty"`
	Managers []string `json:"managers,omitempty"` // host:port, sorted
	// Removed are the ids of the nodes that a leader was about to remove from the Swarm, or has removed.
	Removed []string `json:"removed,omitempty"`
	// Former are the ids of the Swarms that this cluster had before, sorted.
	Former []string `json:"former,omitempty"`
	// Token is what workers join by. It is a secret.
	Token string `json:"-"`

	// Gone are the nodes that a person removed for good, by name, and Adopt is the Swarm that is to be taken over. They are keys of
	// their own.
	Gone  map[string]Decision `json:"-"`
	Adopt Decision            `json:"-"`

	record, token uint64 // the indexes of the keys as they were read; 0 where there is none
}

// SwarmRecord reads the record and the token at one moment.
func (c *Client) SwarmRecord(ctx context.Context) (SwarmRecord, error) {
	found, err := c.List(ctx, swarmKeys)
	if err != nil {
		return SwarmRecord{}, err
	}
	if found.Filtered {
		return SwarmRecord{}, fmt.Errorf("read the record of the Swarm: the token may not read every key below %s%s (consul.token)", c.prefix, swarmKeys)
	}
	var r SwarmRecord
	for _, e := range found.Entries {
		switch swarmKeys + e.Key {
		case swarmRecordKey:
			if err := json.Unmarshal(e.Value, &r); err != nil {
				return SwarmRecord{}, fmt.Errorf("read key %s%s, which brambled writes: %w; consul kv delete %s%s has the leader write it anew",
					c.prefix, swarmRecordKey, err, c.prefix, swarmRecordKey)
			}
			r.record = e.ModifyIndex
		case swarmTokenKey:
			r.Token, r.token = string(e.Value), e.ModifyIndex
		default:
			r.take(e)
		}
	}
	return r, nil
}

// Claim notes the node that is about to form the Swarm.
func (r SwarmRecord) Claim(node string) []Write {
	r.Forming = node
	return []Write{r.write()}
}

// Publish writes how a node joins a Swarm. Another Swarm that the record named until now is a former one from then on. What was
// claimed is done.
func (r SwarmRecord) Publish(id, cluster string, managers, removed []string, token string) []Write {
	former := slices.Clone(r.Former)
	if r.ID != "" {
		former = append(former, r.ID)
	}
	slices.Sort(former)
	r.Former = slices.DeleteFunc(slices.Compact(former), func(f string) bool { return f == id })
	r.ID, r.Cluster, r.Managers, r.Removed, r.Forming = id, cluster, managers, removed, ""
	writes := []Write{r.write()}
	if r.Token != token {
		writes = append(writes, Write{Key: swarmTokenKey, Value: []byte(token), Index: r.token, CAS: true})
	}
	return writes
}

// Remove notes a node of the Swarm whose record is about to be removed: it may come back and must know.
func (r SwarmRecord) Remove(id string) []Write {
	if slices.Contains(r.Removed, id) {
		return nil
	}
	r.Removed = append(slices.Clone(r.Removed), id)
	return []Write{r.write()}
}

func (r SwarmRecord) write() Write {
	value, _ := json.Marshal(r) // strings, which always can be
	return Write{Key: swarmRecordKey, Value: value, Index: r.record, CAS: true}
}
