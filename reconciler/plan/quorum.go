package plan

import (
	"fmt"
	"strings"

	"github.com/brambled/brambled/reconciler/spec"
)

// ClaimSwarm writes to the store that this node is about to form the cluster's Swarm, so that no later leader forms a second one
// beside it, and so that a Swarm whose forming was cut short is known for ours.
type ClaimSwarm struct{ Node string }

// InitSwarm forms a Swarm on this engine, labelled with the cluster's id.
type InitSwarm struct {
	Node     string
	Cluster  string
	Address  string // that the others reach this node at; it is stored and must not change
	Settings spec.SwarmSettings
	Pools    []string
	PoolMask int
}

// ConfigureSwarm writes the settings of a Swarm, and the cluster's id as its label, which is what makes it ours. A setting that
// is 0, and any other label, stays. It carries the version that was observed.
type ConfigureSwarm struct {
	ID       string
	Version  uint64
	Cluster  string
	Settings spec.SwarmSettings
}

// PublishSwarm writes to the store how a node joins: the Swarm's id, the addresses of its managers, and the token for workers,
// which is read from the Swarm when this is applied and is in no plan.
type PublishSwarm struct {
	ID       string
	Cluster  string
	Managers []string // host:port, sorted
	// Removed are the ids that [DropNode] has written down, less those that the Swarm has after all.
	Removed []string
}

// PromoteNode has a node become a manager. Swarm takes it at once and checks nothing; the node has its seat when it gets there.
type PromoteNode struct {
	ID, Name string
	Version  uint64
}

// DemoteNode takes a manager's seat from it. Swarm refuses it where that would cost the quorum.
type DemoteNode struct {
	ID, Name string
	Version  uint64
}

// DropNode removes the record of a node from the Swarm, never by force: Swarm refuses it for a node that is Ready and for a
// manager. The id is written to the store first, as one that was removed: the node may come back and must know.
type DropNode struct{ ID, Name string }

// The availability of a node, in Swarm's words.
const (
	Active  = "active"
	Paused  = "pause"
	Drained = "drain"
)

// SetNode writes the labels of a node, all of them, and its availability. The role stays.
type SetNode struct {
	ID, Name     string
	Version      uint64
	Labels       map[string]string
	Availability string
}

// JoinSwarm has this engine join a Swarm as a worker, with the token that is in the store. It may go on in the background.
type JoinSwarm struct {
	Swarm    string
	Node     string
	Address  string   // of this node
	Managers []string // host:port
}

// LeaveSwarm has this engine leave its Swarm, never by force: a manager refuses it.
type LeaveSwarm struct {
	Swarm string // that it leaves, "" where that is not known
	Node  string
	ID    string // of the node in the Swarm
}

func (ClaimSwarm) action()     {}
func (InitSwarm) action()      {}
func (ConfigureSwarm) action() {}
func (PublishSwarm) action()   {}
func (PromoteNode) action()    {}
func (DemoteNode) action()     {}
func (DropNode) action()       {}
func (SetNode) action()        {}
func (JoinSwarm) action()      {}
func (LeaveSwarm) action()     {}

func (a ClaimSwarm) String() string { return "claim the forming of the Swarm for " + a.Node }
func (a InitSwarm) String() string  { return fmt.Sprintf("form a Swarm on %s at %s", a.Node, a.Address) }
func (a ConfigureSwarm) String() string {
	return fmt.Sprintf("configure Swarm %s at version %d", a.ID, a.Version)
}
func (a PublishSwarm) String() string {
	return fmt.Sprintf("publish Swarm %s with managers %s", a.ID, strings.Join(a.Managers, " "))
}
func (a PromoteNode) String() string {
	return fmt.Sprintf("promote %s (%s) at version %d", a.Name, a.ID, a.Version)
}
func (a DemoteNode) String() string {
	return fmt.Sprintf("demote %s (%s) at version %d", a.Name, a.ID, a.Version)
}
func (a DropNode) String() string { return fmt.Sprintf("remove node %s (%s)", a.Name, a.ID) }
func (a SetNode) String() string {
	return fmt.Sprintf("set labels of %s (%s) at version %d, availability %s", a.Name, a.ID, a.Version, a.Availability)
}
func (a JoinSwarm) String() string {
	return fmt.Sprintf("join Swarm %s as a worker by %s", a.Swarm, strings.Join(a.Managers, " "))
}
func (a LeaveSwarm) String() string {
	return strings.TrimSpace(fmt.Sprintf("leave the Swarm, as node %s", a.ID))
}
