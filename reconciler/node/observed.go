// Package node plans one Pi's containers: [Plan] compares what is desired with what was observed, [Simulate] models what
// each action does to the engine, [Check] judges a plan apart from the planner.
//
// All three are pure: no I/O, no clock, no logging. Time is in [Observed], as durations measured on a monotonic clock.
package node

import (
	"time"

	"github.com/brambled/brambled/reconciler/plan"
)

// Observed is the engine as it was seen, plus what the loop knows of its own doing.
type Observed struct {
	// Containers are all containers on the engine, foreign ones too: their names, ports and networks are in the way.
	Containers []Container
	Networks   []Network
	Volumes    []Volume
	// Images says of each image reference that was asked for whether it is on this engine.
	Images map[ImageRef]Image
	// Pulls are the pulls that run or ended, by reference.
	Pulls map[ImageRef]Pull
	// Files are the digests in the file store, sorted.
	Files []string
	// Unsupported says, by container hash, what this engine lacks to create such a container.
	Unsupported map[string]string
	// Busy are the lanes that still run, by key.
	Busy map[string]bool
	// Failures are lanes whose last attempt failed, by key.
	Failures map[string]Failure
	// Remedies are what was done of late against what comes back. They are lost when the process ends.
	Remedies map[plan.Remedy]plan.Repeats
	// CutOff is for how long the other nodes may not have seen this one; 0 while they see it.
	CutOff time.Duration
	// Permits are what may be disrupted here of services that other nodes run too.
	Permits Permits
}

// ImageRef is an image reference for one platform.
type ImageRef struct{ Ref, Platform string }

// Image is an image on the engine.
type Image struct {
	ID             string
	HasHealthcheck bool
}

// Pull is a pull in the background.
type Pull struct {
	// For are the hashes a pull_policy always pull was made for, as the action gave them: parted by spaces.
	For         string
	Running     bool
	Done, Total int64  // bytes, while running
	Err         string // of the last attempt that ended; "" is success
	// RetryIn is how long until another attempt is due after an error.
	RetryIn time.Duration
}

// Failure is a lane that failed.
type Failure struct {
	Step string // the step, as text
	Err  string
	// Hash is the hash the lane was working toward: a failure under another hash is no reason to wait.
	Hash    string
	Count   int
	RetryIn time.Duration
}

// State is a container's state in the engine's own words.
type State string

// The states.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Removing   State = "removing"
	Exited     State = "exited"
	Dead       State = "dead"
)

// Health is a container's health.
type Health string

// The health states. NoHealth is a container without health check.
const (
	NoHealth  Health = ""
	Starting  Health = "starting"
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
)

// Container is one container on the engine.
type Container struct {
	ID   string
	Name string
	// Owner, Stack, Service, Replica and Hash are from our labels; Owner is "" for a foreign container.
	Owner   string
	Stack   string
	Service string
	Replica int
	Hash    string

	State    State
	Health   Health
	ExitCode int
	// EngineEnded is set on a container that has exited, and ran when the engine was last seen before it went away: it may
	// be the engine's doing, and is no verdict on the container.
	EngineEnded  bool
	RestartCount int    // by the engine, since it was last started by hand
	Policy       string // the engine's restart policy now
	PolicyMax    int
	// WantPolicy is the restart policy it was created with, from our label: a predecessor is kept on disk with policy
	// "no" and gets its own back when it is rolled back to.
	WantPolicy    string
	WantPolicyMax int
	// Up is how long it has been seen running without interruption, on our own monotonic clock.
	Up time.Duration
	// Sick is how long it has been seen unhealthy without interruption, on the same clock.
	Sick time.Duration
	// Seen is how long ago this container was first seen at all, on the same clock.
	Seen    time.Duration
	ImageID string
	// HasCheck is true for a container with a health check, the image's own included.
	HasCheck bool
	// Networks are the Docker names of the networks it is on.
	Networks []string
	// Files are the digests of the files of our store that are bound into it.
	Files []string
	// Volumes are the named volumes it mounts, by Docker name.
	Volumes []string
	// Error is what the engine said when it last failed to start it.
	Error string
}

// Network is one network on the engine.
type Network struct {
	ID    string
	Name  string
	Owner string
	Stack string
	Hash  string
	Scope string // "local" or "swarm"
}

// Volume is one volume on the engine.
type Volume struct {
	Name  string
	Owner string
	Stack string
	Hash  string
}
