package consultest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// firstIndex is where a fresh Consul's raft log stands when its agent has registered itself.
const firstIndex = 20

// Pair is one key as Consul's HTTP API shows it.
type Pair struct {
	LockIndex   uint64
	Key         string
	Flags       uint64
	Value       []byte
	Session     string `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

func (p *Pair) clone() *Pair {
	c := *p
	c.Value = bytes.Clone(p.Value)
	return &c
}

// world is everything raft keeps. A changed world is a copy: readers that hold the old one see it whole.
type world struct {
	index      uint64            // of the last log entry
	tableIndex uint64            // of the last change of any key
	pairs      map[string]*Pair  // never changed in place
	tombstones map[string]uint64 // deleted key → index
	sessions   map[string]*session
	delays     map[string]time.Time // key → end of its lock-delay
	era        int                  // goes up when a snapshot is restored: readers parked before are answered
}

func newWorld(index uint64) *world {
	return &world{
		index: index, pairs: map[string]*Pair{}, tombstones: map[string]uint64{},
		sessions: map[string]*session{}, delays: map[string]time.Time{},
	}
}

// begin returns a copy whose next log entry is under way.
func (w *world) begin() *world {
	return &world{
		index: w.index + 1, tableIndex: w.tableIndex, pairs: maps.Clone(w.pairs), tombstones: maps.Clone(w.tombstones),
		sessions: maps.Clone(w.sessions), delays: maps.Clone(w.delays), era: w.era,
	}
}

// list returns what is under a prefix and its index, as kvsListTxn computes it: the highest of its keys and tombstones, and
// the whole table's where there is neither.
func (w *world) list(prefix string) (uint64, []*Pair) {
	var index uint64
	var entries []*Pair
	for _, key := range slices.Sorted(maps.Keys(w.pairs)) {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, w.pairs[key].clone())
			index = max(index, w.pairs[key].ModifyIndex)
		}
	}
	for key, at := range w.tombstones {
		if strings.HasPrefix(key, prefix) {
			index = max(index, at)
		}
	}
	if index == 0 || prefix == "" {
		index = w.tableIndex
	}
	return max(index, 1), entries
}

// refusal is an operation that did not take place, for a reason that is an answer and no error.
type refusal string

func (r refusal) Error() string { return string(r) }

// apply does one KV operation, named as in a transaction.
func (w *world) apply(op txnKV) ([]*Pair, error) {
	have := w.pairs[op.Key]
	switch op.Verb {
	case "set":
		// A plain write keeps the holder and, oddly, not the lock index.
		return w.set(op, have, session0(have), 0), nil
	case "cas":
		if (op.Index == 0) != (have == nil) || have != nil && have.ModifyIndex != op.Index {
			return nil, refusal(fmt.Sprintf("failed to set key %q, index is stale", op.Key))
		}
		return w.set(op, have, session0(have), 0), nil
	case "lock":
		return w.lock(op, have)
	case "unlock":
		if have == nil || have.Session != op.Session {
			return nil, refusal(fmt.Sprintf("failed to unlock key %q, lock isn't held, or is held by another session", op.Key))
		}
		return w.set(op, have, "", have.LockIndex), nil
	case "delete":
		w.remove(op.Key)
		return nil, nil
	case "delete-cas":
		if have != nil && have.ModifyIndex != op.Index {
			return nil, refusal(fmt.Sprintf("failed to delete key %q, index is stale", op.Key))
		}
		w.remove(op.Key)
		return nil, nil
	case "delete-tree":
		for key := range maps.Clone(w.pairs) {
			if strings.HasPrefix(key, op.Key) {
				w.remove(key)
			}
		}
		return nil, nil
	}
	return w.check(op, have)
}

// check does the operations that write nothing.
func (w *world) check(op txnKV, have *Pair) ([]*Pair, error) {
	switch op.Verb {
	case "get":
		if have == nil {
			return nil, refusal(fmt.Sprintf("key %q doesn't exist", op.Key))
		}
	case "get-or-empty":
		if have == nil {
			return []*Pair{{Key: op.Key}}, nil
		}
	case "get-tree":
		_, entries := w.list(op.Key)
		return entries, nil
	case "check-not-exists":
		if have != nil {
			return nil, refusal(fmt.Sprintf("key %q exists", op.Key))
		}
		return nil, nil
	case "check-index":
		if have == nil || have.ModifyIndex != op.Index {
			return nil, refusal(fmt.Sprintf("failed index check for key %q, it was modified or does not exist", op.Key))
		}
	case "check-session":
		if have == nil {
			return nil, refusal(fmt.Sprintf("failed to check session, key %q doesn't exist", op.Key))
		}
		if have.Session != op.Session {
			return nil, refusal(fmt.Sprintf("failed session check for key %q, current session %q != %q", op.Key, have.Session, op.Session))
		}
	default:
		return nil, fmt.Errorf("unknown KV verb %q", op.Verb)
	}
	return []*Pair{have.clone()}, nil
}

func session0(p *Pair) string {
	if p == nil {
		return ""
	}
	return p.Session
}

// set writes a pair. One that would not change is left alone: Consul does not move its index then.
func (w *world) set(op txnKV, have *Pair, session string, lockIndex uint64) []*Pair {
	p := &Pair{
		Key: op.Key, Value: op.Value, Flags: op.Flags, Session: session, LockIndex: lockIndex,
		CreateIndex: w.index, ModifyIndex: w.index,
	}
	if have != nil {
		p.CreateIndex = have.CreateIndex
		if bytes.Equal(have.Value, p.Value) && have.Flags == p.Flags && have.Session == p.Session && have.LockIndex == p.LockIndex {
			return []*Pair{have.clone()}
		}
	}
	w.pairs[op.Key] = p
	w.tableIndex = w.index
	return []*Pair{p.clone()}
}

func (w *world) lock(op txnKV, have *Pair) ([]*Pair, error) {
	if _, ok := w.sessions[op.Session]; !ok {
		return nil, fmt.Errorf("invalid session %q", op.Session)
	}
	held := session0(have)
	if held != "" && held != op.Session || w.delays[op.Key].After(time.Now()) {
		return nil, refusal(fmt.Sprintf("failed to lock key %q, lock is already held", op.Key))
	}
	lockIndex := uint64(1)
	if have != nil {
		lockIndex = have.LockIndex
		if held == "" {
			lockIndex++
		}
	}
	return w.set(op, have, op.Session, lockIndex), nil
}

func (w *world) remove(key string) {
	if _, ok := w.pairs[key]; !ok {
		return
	}
	delete(w.pairs, key)
	w.tombstones[key], w.tableIndex = w.index, w.index
}
