package consul

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ClusterKey is the key in each list that vouches for it: the cluster id arrives in the same answer as the data.
const ClusterKey = ".cluster"

// The lists that make up the desired state.
const (
	Stacks  = "stacks/"
	Vars    = "vars/"
	Secrets = "secrets/"
)

// lists are watched side by side.
var lists = [...]string{Stacks, Vars, Secrets}

// Snapshot is the three lists, read soundly: each vouched for by one and the same cluster id. It is never changed once made.
type Snapshot struct {
	Cluster               string
	Stacks, Vars, Secrets []Entry // sorted by key, without ClusterKey
	// Vouched is the ModifyIndex of each list's ClusterKey, by list. A store that was rebuilt with the old id shows there
	// even if every other key is gone.
	Vouched map[string]uint64
	// Deleted is the index of a deletion among the stacks that is newer than every stack there is; 0 where the newest change
	// was none. Consul keeps it for a quarter of an hour. A store that was restored has none of what it lacks.
	Deleted uint64
}

// list returns the entries of one list.
func (s *Snapshot) list(name string) []Entry {
	switch name {
	case Stacks:
		return s.Stacks
	case Vars:
		return s.Vars
	}
	return s.Secrets
}

// vouched is one answer, judged by itself.
type vouched struct {
	cluster string
	index   uint64 // ModifyIndex of its ClusterKey
	deleted uint64 // index of a deletion that is newer than every key
	entries []Entry
}

// vouch takes an answer apart and finds what is wrong with it by itself. A list that does not carry a cluster id is never
// data, an empty one least of all: a token that lost its rights sees just that.
func vouch(name string, l List) (vouched, *Fault) {
	v := vouched{deleted: l.deletion()}
	for _, e := range l.Entries {
		switch {
		case e.Key == ClusterKey:
			v.cluster, v.index = strings.TrimSpace(string(e.Value)), e.ModifyIndex
		case e.Key == "" || strings.HasSuffix(e.Key, "/"):
			// A folder made in Consul's UI is a key that ends so. It holds nothing.
		default:
			v.entries = append(v.entries, e)
		}
	}
	switch {
	case l.Filtered:
		return v, newFault(Filtered, name, name, "the token may not read every key of this list: give it key_prefix read on all of them (consul.token)")
	case v.cluster == "":
		return v, newFault(Unvouched, name, name, fmt.Sprintf(
			"the list has no %s key (%d other keys): it is not set up yet, was wiped, or is hidden from this token", ClusterKey, len(v.entries)))
	case !validID(v.cluster):
		return v, newFault(Unvouched, name, name, fmt.Sprintf("the %s key of this list holds no cluster id", ClusterKey))
	}
	return v, nil
}

// validID keeps out what cannot be a label: an error page, a file put under the wrong key.
func validID(id string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool { return !ok(r) })
}

// judge puts three answers together. The result is a snapshot, or the fault that forbids it. expected is the id this node
// belongs to, empty while any will do; base is what was accepted last, nil before the first.
func judge(answers [len(lists)]List, expected string, base *Snapshot) (*Snapshot, *Fault) {
	var parts [len(lists)]vouched
	var faults []*Fault
	for i, name := range lists {
		v, fault := vouch(name, answers[i])
		if fault == nil && expected != "" && v.cluster != expected {
			fault = newFault(Foreign, name, v.cluster, fmt.Sprintf("the list carries the cluster id %s, this node belongs to %s", v.cluster, expected))
		}
		if fault != nil {
			faults = append(faults, fault)
		}
		parts[i] = v
	}
	if len(faults) > 0 {
		return nil, worst(faults)
	}
	s := &Snapshot{Cluster: parts[0].cluster, Stacks: parts[0].entries, Vars: parts[1].entries, Secrets: parts[2].entries, Vouched: map[string]uint64{}, Deleted: parts[0].deleted}
	for i, name := range lists {
		if parts[i].cluster != s.Cluster {
			return nil, newFault(Foreign, name, parts[i].cluster, fmt.Sprintf(
				"the list carries the cluster id %s, but %s carries %s: two clusters were mixed", parts[i].cluster, lists[0], s.Cluster))
		}
		s.Vouched[name] = parts[i].index
	}
	if fault := regressed(base, s); fault != nil {
		return nil, fault
	}
	return s, nil
}

// regressed finds keys that are older than they were: the store was restored from a snapshot, or rebuilt. A key that is
// gone was deleted by somebody, which is a command. A store that was rebuilt to say the very same is sound.
func regressed(base, now *Snapshot) *Fault {
	if base == nil || sameContents(base, now) {
		return nil
	}
	var evidence []string
	list := ""
	for _, name := range lists {
		before := map[string]uint64{ClusterKey: base.Vouched[name]}
		for _, e := range base.list(name) {
			before[e.Key] = e.ModifyIndex
		}
		for _, e := range append([]Entry{{Key: ClusterKey, ModifyIndex: now.Vouched[name]}}, now.list(name)...) {
			if e.ModifyIndex < before[e.Key] {
				evidence = append(evidence, fmt.Sprintf("%s%s is at index %d, was at %d", name, e.Key, e.ModifyIndex, before[e.Key]))
				list = firstOf(list, name)
			}
		}
	}
	if len(evidence) == 0 {
		return nil
	}
	shown := strings.Join(evidence[:min(3, len(evidence))], ", ")
	if more := len(evidence) - 3; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return newFault(Regressed, list, strings.Join(evidence, "\n"), shown+": the KV store was restored from an older snapshot, or rebuilt")
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// worst picks the fault to show: the one that says most about what to do, and of equals the first.
func worst(faults []*Fault) *Fault {
	return slices.MinFunc(faults, func(a, b *Fault) int {
		return slices.Index(causes, a.Cause) - slices.Index(causes, b.Cause)
	})
}

// sameContents tells whether a reader would see a difference. Indexes are none: they move without a change.
func sameContents(a, b *Snapshot) bool {
	if a == nil || b == nil {
		return a == b
	}
	for _, name := range lists {
		if !slices.EqualFunc(a.list(name), b.list(name), func(x, y Entry) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) }) {
			return false
		}
	}
	return a.Cluster == b.Cluster
}

// sameIndexes tells whether every key is at the index it was at.
func sameIndexes(a, b *Snapshot) bool {
	if a == nil || b == nil {
		return a == b
	}
	for _, name := range lists {
		if !slices.EqualFunc(a.list(name), b.list(name), func(x, y Entry) bool { return x.Key == y.Key && x.ModifyIndex == y.ModifyIndex }) {
			return false
		}
	}
	return maps.Equal(a.Vouched, b.Vouched)
}

// sameAnswer tells whether two answers say the very same.
func sameAnswer(a, b List) bool {
	return a.Filtered == b.Filtered && slices.EqualFunc(a.Entries, b.Entries, func(x, y Entry) bool {
		return x.Key == y.Key && x.ModifyIndex == y.ModifyIndex && bytes.Equal(x.Value, y.Value)
	})
}

// Clone returns a copy whose maps and slices are its own; values are shared.
func (s *Snapshot) Clone() *Snapshot {
	if s == nil {
		return nil
	}
	c := *s
	c.Stacks, c.Vars, c.Secrets = slices.Clone(s.Stacks), slices.Clone(s.Vars), slices.Clone(s.Secrets)
	c.Vouched = maps.Clone(s.Vouched)
	return &c
}
