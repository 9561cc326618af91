// Package swarm plans the cluster's Swarm services: [Plan] compares what is desired with what was observed, [Simulate]
// models what each action does, [Check] judges a plan apart from the planner. Only the leader applies it, on an engine that
// is a manager.
//
// All three are pure: no I/O, no clock, no logging. Time is in [Observed], as durations measured on a monotonic clock.
package swarm

import (
	"time"

	"github.com/brambled/brambled/reconciler/spec"
)

// Observed is the Swarm as a manager sees it, plus what the loop and the other nodes know.
type Observed struct {
	// Control is true where this engine is a manager that can change the Swarm. Without it nothing below is known.
	Control  bool
	SwarmID  string
	Services []Service
	Tasks    []Task
	Nodes    []Node
	Networks []Network // of Swarm's scope, predefined ones too
	Objects  []Object
	// Pins are the digests that image references were resolved to, by reference; a reference that was asked for and has no
	// answer has an Err. One that is absent was not asked for.
	Pins map[string]Pin
	// Prepulls say of a reference, pinned where it is, which nodes have it, by Swarm's host name of the node. Which are needed
	// is said by [Prepulling].
	Prepulls map[string]map[string]Prepull
	// Present are the host names of the nodes that run brambled and are there now.
	Present map[string]bool
	// Elsewhere says of the services of a stack that run as containers ("stack/service") how they are, over all nodes. Of one
	// that is absent nothing is known, and unknown counts as satisfied.
	Elsewhere map[string]Elsewhere
	// Busy are the lanes that still run, by key.
	Busy map[string]bool
	// Failures are lanes whose last attempt failed, by key.
	Failures map[string]Failure
}

// Failure is a lane that failed.
type Failure struct {
	Step    string
	Err     string
	Hash    string // what the lane was working toward
	Count   int
	RetryIn time.Duration
}

// UpdateState is how far Swarm has come with an update of a service, in its own words.
type UpdateState string

// The states.
const (
	NotUpdated        UpdateState = ""
	Updating          UpdateState = "updating"
	Paused            UpdateState = "paused"
	Completed         UpdateState = "completed"
	RollbackStarted   UpdateState = "rollback_started"
	RollbackPaused    UpdateState = "rollback_paused"
	RollbackCompleted UpdateState = "rollback_completed"
)

// Service is one service in the Swarm.
type Service struct {
	ID      string
	Name    string
	Version uint64 // what an update must carry: Swarm refuses one that has seen an older
	// Owner, Stack, Key and Hash are from our labels; Owner is "" for a foreign service.
	Owner string
	Stack string
	Key   string // the service's name in the file
	Hash  string
	// Tried is the hash of the version an update was last made to; after a roll back that is the one that failed, while Hash
	// names the one rolled back to. It is [spec.LabelTried], which a step of its own ([plan.MarkService]) writes to the running
	// version before the update, and create and update write with the service's own hash.
	//
	// It cannot be had from Swarm: when Swarm rolls back by itself it puts the previous spec in place and forgets the one
	// that failed (swarmkit manager/orchestrator/update/updater.go, rollbackUpdate). A roll back that a person asks for
	// swaps the two (manager/controlapi/service.go, UpdateService): where a service that is being or was rolled back has a
	// previous spec, Tried is that spec's hash label.
	Tried string
	Mode  spec.Mode
	// Asked is the image reference as the user wrote it, Image what Swarm was given: pinned to a digest or not.
	Asked string
	Image string
	// Replicas wanted; of a global service the count of its tasks that should run.
	Replicas int
	Update   UpdateState
	Message  string // of the update
	// Objects and Networks are the names the service refers to, Before and NetworksBefore those of the version a rollback
	// would bring back: Swarm itself does not keep those.
	Objects        []ObjectName
	Networks       []string
	Before         []ObjectName
	NetworksBefore []string
}

// ObjectName names a config or a secret.
type ObjectName struct {
	Kind spec.ObjectKind
	Name string
}

// Task is one task of a service.
type Task struct {
	ID      string
	Service string // the service's id
	// Stack and Key are from our labels on the task's container, the same in every version; "" for a foreign task. They
	// say whose it was when the service is gone and its tasks are still being stopped.
	Stack, Key string
	Node       string // the node's id, "" before it is placed
	Slot       int
	State      string // Swarm's words: new, pending, assigned, preparing, starting, running, complete, failed, …
	Desired    string // running, shutdown, …
	Err        string
	Image      string
	Container  string // engine id on its node
	// Current is true for a task of the service's present version.
	Current bool
	// Since is how long the task has been seen in this state, on our own monotonic clock.
	Since time.Duration
}

// Node is one node of the Swarm.
type Node struct {
	ID      string
	Name    string // host name
	Ready   bool
	Active  bool // availability
	Manager bool
}

// Network is a network of Swarm's scope.
type Network struct {
	ID         string
	Name       string
	Owner      string
	Stack      string
	Hash       string
	Attachable bool
}

// Object is a config or a secret in the Swarm.
type Object struct {
	ID    string
	Kind  spec.ObjectKind
	Name  string
	Owner string
	Stack string
	Hash  string
}

// Pin is the digest a reference was resolved to. While the registry is asked for the first time it has neither Image nor Err,
// and RetryIn is how long that may take.
type Pin struct {
	Image string // "repo:tag@sha256:…"
	Err   string // why there is none: the registry cannot be reached, does not know it
	// RetryIn is how long until it is asked again.
	RetryIn time.Duration
}

// Prepull is how far one node has come with an image.
type Prepull struct {
	Here        bool
	Done, Total int64  // bytes, while it is pulled
	Err         string // why it cannot be pulled there
}

// Elsewhere is how a service that runs as containers is, over all nodes that reported.
type Elsewhere struct {
	Running, Healthy, Completed int
}
