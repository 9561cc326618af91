package quorum

import (
	"time"

	"github.com/brambled/brambled/reconciler/plan"
)

// State is an engine's part in a Swarm, in Docker's words.
type State string

// The states. An engine that did not answer has none.
const (
	Unknown  State = ""
	Inactive State = "inactive"
	Pending  State = "pending" // it is joining, or has not reached a manager since it started
	Active   State = "active"
	Errored  State = "error"
	Locked   State = "locked"
)

// Observed is the Swarm as the leader sees it, plus what the loop, the store and the other nodes know.
type Observed struct {
	// Node is brambled's name of this node, State its engine's part in a Swarm. Manager is true where the engine is a manager, with
	// or without quorum, and Err is what the engine says of its part.
	Node    string
	State   State
	Manager bool
	Err     string
	// Control is true where this engine can change the Swarm: it is a manager, and the Swarm has a leader. Without it Swarm and
	// Nodes are not known.
	Control bool
	Swarm   Swarm
	Nodes   []Node
	// SameFor is for how long the leader has seen the same nodes in the same roles.
	SameFor time.Duration
	Record  Record
	Present []Presence
	// Busy are the lanes that still run, by key.
	Busy map[string]bool
	// Failures are lanes whose last attempt failed, by key.
	Failures map[string]Failure
}

// Failure is a lane that failed.
type Failure struct {
	Step    string
	Err     string
	For     string // what the lane was working toward
	Count   int
	RetryIn time.Duration
}

// Swarm is what the Swarm says of itself.
type Swarm struct {
	ID      string
	Version uint64
	// Cluster is its label [spec.LabelCluster]: the cluster that formed or adopted it, "" for neither.
	Cluster     string
	CertExpiry  time.Duration
	Heartbeat   time.Duration
	TaskHistory int
}

// Record is what the store says of the cluster's Swarm.
type Record struct {
	SwarmID string // "" while the cluster has none
	Cluster string // the cluster id under which it was formed or adopted
	// Forming is the node that was about to form the Swarm, "" once there is one; FormingFor is for how long the leader has seen
	// that, on its own clock.
	Forming    string
	FormingFor time.Duration
	Managers   []string // host:port, sorted
	// Token is true where the store has a token for workers; TokenCurrent where that is the Swarm's own (only the leader knows).
	Token, TokenCurrent bool
	// Removed are the ids of nodes that a leader was about to remove from the Swarm, or has removed.
	Removed []string
	// Former are the ids of Swarms that this cluster had before, sorted.
	Former []string
}

// Node is one node of the Swarm. The durations are on the leader's own monotonic clock: they begin anew with each leader.
type Node struct {
	ID           string
	Host         string // host name
	Version      uint64 // what an update must carry; it changes with the state too
	Labels       map[string]string
	Availability string // [plan.Active], [plan.Paused] or [plan.Drained]
	Ready        bool
	// Manager is the role that was asked for. Seat is the role it has: it is a member of the raft and counts for the quorum. They
	// differ while Swarm carries a change out, for PendingFor so far.
	Manager, Seat bool
	PendingFor    time.Duration
	Reachable     bool   // as a manager
	Leader        bool   // it leads the Swarm
	Address       string // as a manager, host:port
	// ReadyFor is for how long it has been seen well without a break since it has its role: Ready, and with a seat reachable.
	// AwayFor is for how long it has been seen otherwise. One of them is 0.
	ReadyFor, AwayFor time.Duration
}

// well reports whether a node is there in the role it has.
func (n Node) well() bool { return n.Ready && (!n.Seat || n.Reachable) }

// Presence is a node that runs brambled and is there now.
type Presence struct {
	Name    string
	Address string
	ID      string // its engine's as a node of a Swarm, "" where it is in none or does not know
	State   State
	Swarm   string // the id of the Swarm it is in, "" where it does not know
	// Knows are the managers its engine knows, host:port, sorted; none where it does not say. On its way to a seat it asks one of
	// them, whichever.
	Knows []string
}

// Member is one node's view of its own part.
type Member struct {
	Node    string // brambled's name of it
	Address string
	State   State
	ID      string // of the node in its Swarm
	// Swarm is the id of the Swarm the engine is in: a manager knows it, a worker as it was noted when it joined, else "".
	Swarm   string
	Manager bool
	Err     string
	// Expired is true where Err says that the node's certificate has expired.
	Expired bool
	// StrandedFor is for how long the engine has been stuck on its way to a seat, on this node's own clock: the one manager it asks
	// does not answer. 0 where it is not.
	StrandedFor time.Duration
	// Left is how long ago this node last left a Swarm because of that, 0 for never; it outlives the daemon.
	Left     time.Duration
	Record   Record
	Busy     map[string]bool
	Failures map[string]Failure
}

// quorum is how many of n managers must reach each other for the Swarm to be changed.
func quorum(n int) int { return n/2 + 1 }

// seats are the nodes that are members of the raft.
func (o Observed) seats() []Node {
	var out []Node
	for _, n := range o.Nodes {
		if n.Seat {
			out = append(out, n)
		}
	}
	return out
}

// reachable is how many seats can be reached.
func (o Observed) reachable() int {
	count := 0
	for _, n := range o.seats() {
		if n.Reachable {
			count++
		}
	}
	return count
}

// removable is Swarm's own test, made when a demotion is asked for and again when it is carried out: the seats that can be
// reached are a quorum of those that are left.
func (o Observed) removable(id string) bool {
	rest, reachable := 0, 0
	for _, n := range o.seats() {
		if n.ID == id {
			continue
		}
		rest++
		if n.Reachable {
			reachable++
		}
	}
	return rest > 0 && reachable >= quorum(rest)
}

// Lanes.
const (
	laneSwarm    = "swarm"
	laneRecord   = "swarm invitation"
	laneManagers = "swarm managers" // one change of the members at a time
	laneMember   = "swarm membership"
)

func laneNode(name string) string { return "swarm node " + name }

// membership reports whether an action changes who is in the Swarm or who has a seat.
func membership(a plan.Action) bool {
	switch a.(type) {
	case plan.PromoteNode, plan.DemoteNode, plan.DropNode:
		return true
	default:
		return false
	}
}
