package lease

import (
	"crypto/rand"
	"encoding/json"
)

// Identity says which daemon a candidate is. Boot and Instance are what lets a restarted one resume the session of its dead
// predecessor; without them it waits until that session has ended.
type Identity struct {
	Node string `json:"node"`
	Boot string `json:"boot_id,omitempty"` // of the kernel
	// Instance names the state folder. The lock on that folder is the proof that a predecessor is dead.
	Instance string `json:"instance,omitempty"`
}

// claim is the value of the leader key.
type claim struct {
	Identity
	// Run is one process. It makes the value of a successor differ: Consul leaves the index of a key alone that is acquired
	// again with the value it has.
	Run string `json:"run"`
	// Term is the number of the term, once it became valid.
	Term     uint64 `json:"term,omitempty"`
	Released bool   `json:"released,omitempty"` // its term ended in order
}

func newRun() string { return rand.Text() }

func (c claim) encode() []byte {
	out, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, a number and a bool
	}
	return out
}

// claimOf reads a record's value. What is no claim is an empty one: it tells of no term and nobody is its successor.
func claimOf(r Record) claim {
	var c claim
	if json.Unmarshal(r.Value, &c) != nil {
		return claim{}
	}
	return c
}

// Holder is the node that holds the leader key, of which the session and the value were read; "" where nobody does.
func Holder(session string, value []byte) string {
	if c := claimOf(Record{Value: value}); session != "" && !c.Released {
		return c.Node
	}
	return ""
}

// succeeds tells whether the holder can only be a dead predecessor on the same boot. A reboot breaks the chain: a copy of the
// machine would look alike, and the session ends by itself while a Pi boots.
func (c claim) succeeds(holder claim) bool {
	return c.Boot != "" && c.Instance != "" && c.Identity == holder.Identity
}
