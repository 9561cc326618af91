// Package status is what a Pi tells of itself: a report built from one pass, why each service is as it is, the report's
// way into the KV store, and its rendering for people and for Prometheus.
//
// A report has two forms. The live one is for who looks right now, and has figures that change by themselves (the progress
// of a pull, how often a container was restarted). [Node.Stable] is the form that is written to <prefix>status/nodes/<node>:
// it changes only when something happened, so that a Pi on which nothing happens writes nothing.
//
// No report holds the value of a variable, of an environment or of a secret.
package status

import (
	"encoding/json"
	"slices"
)

// Schema is the version of the report's JSON. Fields are added under the same version and are never given another meaning.
const Schema = 1

// Node is the report of one Pi.
type Node struct {
	Schema  int    `json:"schema"`
	Node    string `json:"node"`
	Address string `json:"address,omitempty"`
	Version string `json:"version,omitempty"` // of brambled
	Cluster string `json:"cluster,omitempty"` // the cluster's id, "" while it is not known
	// Counter goes up by one with every report written to the store.
	Counter uint64 `json:"counter"`
	// Ready is true when the engine was looked at and a plan was made.
	Ready bool `json:"ready"`
	// Error is why the last pass ended early, "" when it did not.
	Error string `json:"error,omitempty"`
	// Drain is how far a drain of this Pi is, "" where it is in service.
	Drain Drain `json:"drain,omitempty"`
	// Leader and Term are set in the report of what Swarm runs: who writes it, and in which term.
	Leader string  `json:"leader,omitempty"`
	Term   uint64  `json:"term,omitempty"`
	Holds  []Hold  `json:"holds"`  // sorted by scope and cause
	Stacks []Stack `json:"stacks"` // sorted by name
	// Quorum is the Swarm itself: from the leader, and from a node where something is wrong with its own part.
	Quorum *Quorum `json:"quorum,omitempty"`
	// Images are those that the leader asked this Pi to pull before Swarm runs them, sorted.
	Images []Image `json:"images,omitempty"`
}

// Drain is how far the drain of a Pi is.
type Drain string

// The two. A Pi is drained when no container of its services runs; the static tier does.
const (
	DrainUnderWay Drain = "draining"
	DrainDone     Drain = "drained"
)

// Image is one image that was asked for.
type Image struct {
	Ref   string `json:"ref"`
	Here  bool   `json:"here"`
	Error string `json:"error,omitempty"` // of the last attempt to pull it
}

// State is how a stack or a service is.
type State string

// The states. A stack is converged, converging, held, failed, removing or unknown; a service any but converged.
const (
	Converged  State = "converged"  // all is as desired, and there is nothing left to do
	Converging State = "converging" // something is under way or waited for; no person is needed
	Held       State = "held"       // the newest file is not enforced; what ran before goes on
	Failed     State = "failed"     // it does not get on without a person
	Removing   State = "removing"   // no longer desired and not gone yet
	Unknown    State = "unknown"    // the engine does not answer

	Running   State = "running"   // a service that runs, healthy where it has a check
	Done      State = "done"      // a job that ended with exit 0
	Unhealthy State = "unhealthy" // a service that runs, and its health check fails
	Elsewhere State = "elsewhere" // a service that is for other Pis
	Drained   State = "drained"   // a service that is out of service with all of its Pi
)

// States are all states, the worst first.
func States() []State {
	return []State{Held, Failed, Unknown, Unhealthy, Removing, Converging, Converged, Running, Done, Drained, Elsewhere}
}

// rank orders states, the worst first.
func (s State) rank() int {
	if i := slices.Index(States(), s); i >= 0 {
		return i
	}
	return 0 // of a newer brambled: better shown too high than overlooked
}

// ok reports whether there is nothing left to do about a stack or service in this state.
func (s State) ok() bool {
	return s == Converged || s == Running || s == Done || s == Elsewhere || s == Drained
}

// Stack is one stack as it is on this Pi.
type Stack struct {
	Name     string `json:"name"`
	Revision string `json:"revision,omitempty"` // that is enforced
	Source   string `json:"source,omitempty"`   // the key or file it comes from
	// Index is the ModifyIndex of the key this report has taken in: a state of [Converged] with an index below that of
	// a write says nothing about the write yet. 0 in the static tier.
	Index uint64 `json:"index,omitempty"`
	State State  `json:"state"`
	// Error is why the newest file is not enforced, in full: it may have several lines.
	Error    string    `json:"error,omitempty"`
	Why      string    `json:"why"`             // one sentence
	Waits    []string  `json:"waits,omitempty"` // of its networks and volumes
	Services []Service `json:"services"`        // sorted by name
}

// Service is one service of a stack as it is on this Pi.
type Service struct {
	Name    string `json:"name"`
	State   State  `json:"state"`
	Nodes   string `json:"nodes,omitempty"` // the selector as written
	Swarm   bool   `json:"swarm,omitempty"` // Swarm places it
	Desired int    `json:"desired"`         // containers wanted on this Pi
	Running int    `json:"running"`         // of these, how many run, whatever their revision
	Healthy int    `json:"healthy"`         // of these, how many are healthy or have no check
	Updated int    `json:"updated"`         // of the desired ones, how many exist in the desired revision
	Hash    string `json:"hash,omitempty"`
	Image   string `json:"image,omitempty"`
	// Why is one sentence, from the cause to the symptom.
	Why string `json:"why"`
	// Progress goes with Why and changes by itself ("30 of 80 MB"): only in the live form.
	Progress   string      `json:"progress,omitempty"`
	Waits      []string    `json:"waits,omitempty"`
	LastError  string      `json:"last_error,omitempty"`
	Containers []Container `json:"containers,omitempty"` // sorted by name
	// Tasks are those of a service that Swarm runs which are not over, sorted by slot and node.
	Tasks []Task `json:"tasks,omitempty"`
}

// Task is one task of a service that Swarm runs.
type Task struct {
	Node  string `json:"node,omitempty"` // host name; "" before it is placed
	Slot  int    `json:"slot,omitempty"`
	State string `json:"state"` // in Swarm's words
	Error string `json:"error,omitempty"`
}

// Container is one container of a service.
type Container struct {
	Name     string `json:"name"`
	ID       string `json:"id"` // the first 12 digits
	State    string `json:"state"`
	Health   string `json:"health,omitempty"`
	ExitCode int    `json:"exit_code,omitempty"`
	Hash     string `json:"hash,omitempty"`
	// Restarts by the engine: only in the live form.
	Restarts int `json:"restarts,omitempty"`
	// Looping is a container that the engine restarts again and again.
	Looping bool `json:"looping,omitempty"`
}

// Hold is something that is not done, because doing nothing is safer.
type Hold struct {
	ID     string `json:"id,omitempty"` // for `brambled approve`, where that lifts it
	Scope  string `json:"scope"`        // "store", "stack web", "static tier"
	Cause  string `json:"cause"`        // a few words of a fixed vocabulary
	Detail string `json:"detail"`
	Lifts  string `json:"lifts"` // "by itself when …", "brambled approve ID"
}

// Stable returns the report without what changes by itself, and without the counter. The original is not touched.
func (n Node) Stable() Node {
	n.Counter = 0
	n.Holds = slices.Clone(n.Holds)
	n.Stacks = slices.Clone(n.Stacks)
	for i := range n.Stacks {
		services := slices.Clone(n.Stacks[i].Services)
		for j := range services {
			services[j].Progress = ""
			services[j].Containers = slices.Clone(services[j].Containers)
			for k := range services[j].Containers {
				services[j].Containers[k].steady()
			}
		}
		n.Stacks[i].Services = services
	}
	return n
}

// steady drops what changes by itself. A container in a crash loop is running one second and restarting the next, for ever.
func (c *Container) steady() {
	c.Restarts = 0
	if c.Looping {
		c.State, c.Health, c.ExitCode = "restarting", "", 0
	}
}

// Same reports whether two reports say the same but for what changes by itself.
func Same(a, b Node) bool {
	x, errX := json.Marshal(a.Stable())
	y, errY := json.Marshal(b.Stable())
	return errX == nil && errY == nil && string(x) == string(y)
}

// Stack returns the report's stack of this name.
func (n Node) Stack(name string) (Stack, bool) {
	for _, st := range n.Stacks {
		if st.Name == name {
			return st, true
		}
	}
	return Stack{}, false
}
