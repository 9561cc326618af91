package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lastgood"
)

// Snapshot is what a file or last-known-good holds of the store: its contents are the user's files, variables and secrets.
type Snapshot struct {
	state lastgood.State
	// known is the index from which on a key counts: only last-known-good knows one, those in a file are of another time.
	known func(lastgood.Entry) uint64
	// vouched are the same for the keys with the cluster's id, by list.
	vouched map[string]uint64
}

func ofNoTime(lastgood.Entry) uint64 { return 0 }

// Contents says what is in a snapshot, without a value of a variable or secret.
type Contents struct {
	Cluster string   `json:"cluster"`
	Stacks  []string `json:"stacks"`
	Vars    []string `json:"vars"`
	Secrets []string `json:"secrets"`
	// Healthy are the services that are known to have worked, as "stack/service": in last-known-good only.
	Healthy []string `json:"healthy,omitempty"`
}

// Contents lists the keys.
func (s Snapshot) Contents() Contents {
	keys := func(list []lastgood.Entry) []string {
		out := make([]string, 0, len(list))
		for _, e := range list {
			out = append(out, e.Key)
		}
		return out
	}
	c := Contents{Cluster: s.state.Cluster, Stacks: keys(s.state.Stacks), Vars: keys(s.state.Vars), Secrets: keys(s.state.Secrets)}
	for _, h := range s.state.Healthy {
		c.Healthy = append(c.Healthy, h.Stack+"/"+h.Service.Name)
	}
	return c
}

// SaveSnapshot writes the store's stacks, variables and secrets to a file that only its owner can read.
func (o *Operator) SaveSnapshot(ctx context.Context, path string) (Snapshot, error) {
	s := Snapshot{known: ofNoTime}
	snap, err := o.snapshot(ctx)
	if err != nil {
		return s, err
	}
	if snap.Cluster == "" {
		return s, fmt.Errorf("save snapshot: %sstacks/%s is missing: the store is not set up, was wiped, or is hidden from this token", o.cfg.Prefix, consul.ClusterKey)
	}
	rememberSnapshot(&s.state, snap)
	data, err := lastgood.Encode(s.state)
	if err != nil {
		return s, err
	}
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return s, fmt.Errorf("save snapshot: %w", err)
	}
	return s, nil
}

// ReadSnapshot reads a file that SaveSnapshot wrote.
func ReadSnapshot(path string) (Snapshot, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	state, err := lastgood.Decode(data)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot %s: %w", path, err)
	}
	return Snapshot{state: state, known: ofNoTime}, nil
}

// LastGood reads what the daemon of this machine remembers of the store. The daemon may be running.
func (o *Operator) LastGood() (Snapshot, error) {
	_, state, problems := lastgood.Open(o.cfg.StateDir, o.log, prometheus.NewRegistry())
	if state.Cluster == "" {
		return Snapshot{}, errors.Join(append(problems, fmt.Errorf("%s holds no last-known-good of a cluster; try it on another node, or give --state-dir", o.cfg.StateDir))...)
	}
	return Snapshot{state: state, known: func(e lastgood.Entry) uint64 { return e.ModifyIndex }, vouched: state.Vouched}, nil
}

// Restored says what restoring a snapshot did, by key below the prefix.
type Restored struct {
	Written []string `json:"written"`
	Kept    []string `json:"kept"`    // were there with the same value
	Differ  []string `json:"differ"`  // were there with another value, and were left alone
	Cluster string   `json:"cluster"` // whose id vouches for the lists now
}

// Restore puts back what the store lacks. What is there with another value is never overwritten, unless force is set; what is
// older than last-known-good is renewed, or the store would look restored for ever. The cluster id comes last:
// until then every node holds, and a restore that was cut short is simply done again.
func (o *Operator) Restore(ctx context.Context, s Snapshot, force bool) (Restored, error) {
	out := Restored{Cluster: s.state.Cluster}
	now, err := o.snapshot(ctx)
	if err != nil {
		return out, err
	}
	if now.Cluster != "" && now.Cluster != s.state.Cluster {
		return out, fmt.Errorf("restore: the store below %s belongs to cluster %s, the snapshot to %s; give another --prefix, or delete that cluster's keys first", o.cfg.Prefix, now.Cluster, s.state.Cluster)
	}
	for _, part := range []struct {
		prefix string
		want   []lastgood.Entry
		have   []consul.Entry
	}{{consul.Vars, s.state.Vars, now.Vars}, {consul.Secrets, s.state.Secrets, now.Secrets}, {consul.Stacks, s.state.Stacks, now.Stacks}} {
		for _, e := range part.want {
			if err := o.restoreKey(ctx, part.prefix, e, s.known(e), part.have, force, &out); err != nil {
				return out, err
			}
		}
	}
	if len(out.Differ) > 0 && now.Cluster == "" {
		return out, fmt.Errorf("restore: %s differ from the snapshot, and nothing says which of them counts; correct or delete them, or use --force to overwrite them", strings.Join(out.Differ, ", "))
	}
	return out, o.store.RestoreCluster(ctx, s.state.Cluster, s.vouched)
}

func (o *Operator) restoreKey(ctx context.Context, prefix string, want lastgood.Entry, known uint64, have []consul.Entry, force bool, out *Restored) error {
	key := prefix + want.Key
	i := slices.IndexFunc(have, func(e consul.Entry) bool { return e.Key == want.Key })
	same := i >= 0 && string(have[i].Value) == string(want.Value)
	switch {
	case same && have[i].ModifyIndex >= known:
		out.Kept = append(out.Kept, key)
		return nil
	case same:
		out.Written = append(out.Written, key)
		return o.store.Renew(ctx, key, want.Value, have[i].ModifyIndex)
	case i >= 0 && !force:
		out.Differ = append(out.Differ, key)
		return nil
	}
	index := uint64(0)
	if i >= 0 {
		index = have[i].ModifyIndex
	}
	if err := o.store.PutCAS(ctx, key, want.Value, index); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	out.Written = append(out.Written, key)
	return nil
}
