package lastgood

import (
	"cmp"
	"slices"

	"github.com/brambled/brambled/reconciler/spec"
)

// State is what is remembered. Its lists are sorted, and shared with whoever reads them: they are replaced, never changed.
type State struct {
	// Node, Address and Labels are who this node is, fixed at its first start.
	Node    string            `json:"node,omitempty"`
	Address string            `json:"address,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Cluster is the id of the cluster; "" while the node has never joined one.
	Cluster string `json:"cluster,omitempty"`
	// Vouched are the ModifyIndexes of the keys with that id, by list.
	Vouched map[string]uint64 `json:"vouched,omitempty"`
	// Stacks, Vars and Secrets are the store's lists as they were last read soundly and are in force, raw.
	Stacks  []Entry `json:"stacks,omitempty"`
	Vars    []Entry `json:"vars,omitempty"`
	Secrets []Entry `json:"secrets,omitempty"`
	// ReportIndex is a ModifyIndex that this node's own report had: a store where it is lower went back.
	ReportIndex uint64 `json:"report_index,omitempty"`
	// WentBack says how it was seen that the store went back, until what it lacks was put back or a person let it go.
	WentBack string `json:"went_back,omitempty"`
	// Readable are the last readable versions of stacks whose newest file cannot be read.
	Readable []Readable `json:"readable,omitempty"`
	// Healthy are the versions of services that last passed their gate here, by owner, stack and name.
	Healthy []Healthy `json:"healthy,omitempty"`
	// Done are the replicas of jobs that ended with success, by owner, stack, service and number.
	Done []Done `json:"done,omitempty"`
	// Drain is what was last decided about taking this node out of service.
	Drain Drain `json:"drain,omitzero"`
	// Approved are decisions of a person that were carried out once and must not be asked for, or carried out, again.
	Approved []string `json:"approved,omitempty"`
}

// Drain is a decision about this node, and the ModifyIndex that its key had.
type Drain struct {
	Drained bool   `json:"drained,omitempty"`
	Index   uint64 `json:"index,omitempty"`
}

// Entry is one key of a list.
type Entry struct {
	Key         string `json:"key"` // below the list's prefix
	Value       []byte `json:"value"`
	ModifyIndex uint64 `json:"index"`
}

// Readable is a version of a stack together with all it was read with.
type Readable struct {
	Owner   string            `json:"owner"`
	Stack   string            `json:"stack"`
	Index   uint64            `json:"index,omitempty"`
	File    []byte            `json:"file"`
	Vars    map[string]string `json:"vars,omitempty"`
	PerNode map[string]bool   `json:"per_node,omitempty"`
	Secrets map[string][]byte `json:"secrets,omitempty"`
}

// Healthy is a version of a service that passed its gate, with what it takes to make its containers again.
type Healthy struct {
	Owner    string         `json:"owner"`
	Stack    string         `json:"stack"`
	Service  spec.Service   `json:"service"`
	Networks []spec.Network `json:"networks,omitempty"`
	Volumes  []spec.Volume  `json:"volumes,omitempty"`
	ImageID  string         `json:"image_id,omitempty"`
	// Files are the contents of the configs and secrets, by digest: the folder that they are bound from may be what the
	// card has lost.
	Files map[string][]byte `json:"files,omitempty"`
}

// Done is a replica of a job that ended with success.
type Done struct {
	Owner   string `json:"owner"`
	Stack   string `json:"stack"`
	Service string `json:"service"`
	Replica int    `json:"replica"`
	Hash    string `json:"hash"`
}

// CompareHealthy orders by owner, stack and service.
func CompareHealthy(a, b Healthy) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.Service.Name, b.Service.Name))
}

// CompareDone orders by owner, stack, service and replica.
func CompareDone(a, b Done) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Replica, b.Replica))
}

// sort puts the lists into the order that is promised: a snapshot may have been made by another program.
func (s *State) sort() {
	for _, list := range [][]Entry{s.Stacks, s.Vars, s.Secrets} {
		slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	}
	slices.SortStableFunc(s.Healthy, CompareHealthy)
	slices.SortStableFunc(s.Done, CompareDone)
	slices.Sort(s.Approved)
}
