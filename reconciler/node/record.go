package node

import (
	"cmp"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
)

// Record is what the store has of one permit: who holds it, and which version failed. It is changed by check-and-set only, by
// what the methods return. An empty one is no record.
type Record struct {
	Holders []Holder       `json:"holders,omitempty"` // sorted by node
	Failed  *FailedRollout `json:"failed,omitempty"`
	// Damaged says why the record cannot be read, "" when it can.
	Damaged string `json:"-"`
}

// Holder is a node that may disrupt the service. It stays one until it says so itself: a node that is away may have got stuck
// in the middle.
type Holder struct {
	Node string `json:"node"`
	Hash string `json:"hash"` // the version it is for
	// Since is when it was given, for persons.
	Since string `json:"since,omitempty"`
}

// FailedRollout is a version that did not pass its gate on a node: no other node tries it.
type FailedRollout struct {
	Hash  string `json:"hash"`
	Node  string `json:"node"`
	Error string `json:"error"`
}

// Empty reports whether there is nothing to remember.
func (r Record) Empty() bool { return len(r.Holders) == 0 && r.Failed == nil }

// Held returns what a node holds, and false where it holds nothing.
func (r Record) Held(node string) (Holder, bool) {
	i := slices.IndexFunc(r.Holders, func(h Holder) bool { return h.Node == node })
	if i < 0 {
		return Holder{}, false
	}
	return r.Holders[i], true
}

// others are the holders besides a node.
func (r Record) others(node string) []Holder {
	return slices.DeleteFunc(slices.Clone(r.Holders), func(h Holder) bool { return h.Node == node })
}

// Ask returns the record with a node as a holder, and false where it cannot be one now: the version failed on another node, or
// as many as may hold the permit already. What the node held for another version it gives up by that, and where it asks for
// what failed on it, it has been told to try again.
func (r Record) Ask(h Holder, limit int) (Record, bool) {
	if f := r.Failed; r.Damaged != "" || f != nil && f.Hash == h.Hash && f.Node != h.Node {
		return r, false
	}
	others := r.others(h.Node)
	if limit > 0 && len(others) >= limit {
		return r, false
	}
	if had, ok := r.Held(h.Node); ok && had.Hash == h.Hash {
		h = had
	}
	if f := r.Failed; f != nil && f.Hash == h.Hash {
		r.Failed = nil
	}
	r.Holders = append(others, h)
	slices.SortFunc(r.Holders, func(a, b Holder) int { return cmp.Compare(a.Node, b.Node) })
	return r, true
}

// Return returns the record without what a node holds for a version.
func (r Record) Return(node, hash string) Record {
	if h, ok := r.Held(node); ok && h.Hash == hash {
		r.Holders = r.others(node)
	}
	return r
}

// Fail returns the record with a failure, and without what the node that failed held for the version. An older failure is
// replaced only by the node that was allowed to try: else two nodes that want different versions would write in turn for ever.
func (r Record) Fail(f FailedRollout) Record {
	h, held := r.Held(f.Node)
	held = held && h.Hash == f.Hash
	r = r.Return(f.Node, f.Hash)
	if r.Failed == nil || held {
		r.Failed = &f
	}
	return r
}

// Forget returns the record without the failure that a node recorded of a version. Only that node can tell: another one may not
// have seen yet what failed here.
func (r Record) Forget(node, hash string) Record {
	if f := r.Failed; f != nil && f.Node == node && f.Hash == hash {
		r.Failed = nil
	}
	return r
}

// Carry returns the record as a statement of a node's has it, and false where that cannot be.
func (r Record) Carry(s plan.Permit, node, since string) (Record, bool) {
	switch s.Do {
	case plan.AskPermit:
		return r.Ask(Holder{Node: node, Hash: s.For, Since: since}, s.Limit)
	case plan.ReturnPermit:
		return r.Return(node, s.For), true
	case plan.FailPermit:
		return r.Fail(FailedRollout{Hash: s.For, Node: node, Error: s.Err}), true
	case plan.ForgetFailure:
		return r.Forget(node, s.For), true
	case plan.KeepPermit:
	}
	return r, true
}

// Retry returns the record without its failure and without the holders that are not there: a person has decided to go on.
func (r Record) Retry(present func(node string) bool) Record {
	r.Failed = nil
	r.Holders = slices.DeleteFunc(slices.Clone(r.Holders), func(h Holder) bool { return !present(h.Node) })
	return r
}
