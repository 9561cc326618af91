package spec

import (
	"slices"
	"time"
)

// The labels that brambled writes on a Swarm and on its nodes. The Swarm itself remembers what brambled did there: it outlives
// any leader, and any loss of the store. The Swarm that is ours carries [LabelCluster] with the id of this cluster.
const (
	LabelNode     = "brambled.node"    // brambled's name of the node
	LabelNodeKeys = "brambled.labels"  // the keys of the node labels that come from a config file, sorted, parted by commas
	LabelDrained  = "brambled.drained" // "true" where brambled drained the node: what a person drained is left drained
)

// Quorum is how the Swarm itself should be: whether there is one, who its managers are, what its nodes carry. Package quorum plans
// it: for the leader, and for each node its own part.
type Quorum struct {
	// Cluster is the id of this cluster, "" while the store could not be read soundly: then nothing is formed, changed, joined
	// or left.
	Cluster string
	// Manage is swarm.manage. Without it a Swarm is only used.
	Manage bool
	// Wanted is true while any stack has a service for a Swarm. It decides whether one is formed; one that is there is kept.
	Wanted bool
	// Adopt is the id of a Swarm that a person had brambled take over, "" for none.
	Adopt string
	// Managers is how many managers there should be, an odd number: swarm.managers.
	Managers int
	// HoldDown is how long a node must be seen away before it counts as dead: swarm.hold_down.
	HoldDown time.Duration
	// ReadyFor is how long a node must be seen Ready before it may become a manager.
	ReadyFor time.Duration
	Settings SwarmSettings
	// Pools and PoolMask are where the subnets of overlay networks come from ("10.20.0.0/16"), and how large each is. Swarm takes
	// them when it is formed and never after; none leaves Swarm's own.
	Pools    []string
	PoolMask int
	// Nodes, sorted by name, are the nodes of which there is something to say.
	Nodes []QuorumNode
}

// SwarmSettings are settings of a Swarm that can be changed at any time; one that is 0 stays as it is.
type SwarmSettings struct {
	CertExpiry  time.Duration // how long the certificate of a node is valid
	Heartbeat   time.Duration // between the dispatcher and each node
	TaskHistory int           // how many old tasks are kept for each slot
}

// QuorumNode is what is wanted of one node.
type QuorumNode struct {
	Name string // brambled's
	// Labels are those of its config file, which placement constraints see; nil where they are not known, and then what is there
	// stays.
	Labels map[string]string
	// Drain is a node under maintenance: no task of Swarm runs on it, and its seat among the managers is moved.
	Drain bool
	// Gone is a node that a person has removed for good (`node rm`).
	Gone bool
}

// Node returns what is wanted of a node, the zero value where nothing is said.
func (q Quorum) Node(name string) QuorumNode {
	i := slices.IndexFunc(q.Nodes, func(n QuorumNode) bool { return n.Name == name })
	if i < 0 {
		return QuorumNode{Name: name}
	}
	return q.Nodes[i]
}
