// Package spec is the desired state: what one Pi is asked to run, in terms of our own that neither Compose nor the
// Docker Engine can change under us.
//
// Everything here is plain data. What planning needs (identity, hash, image, order, update policy, what is exclusive)
// has fields of its own; the rest of a container is a [Body], rendered once by pkg/compose, hashed here, and fitted to
// the engine by pkg/docker. The planner never looks into it.
package spec

import (
	"slices"
	"strings"
	"time"
)

// Desired is everything one node should run, from every source that could be read soundly. A source that could not be
// read is absent as a whole: its owner is then not in [Desired.Owners], and nothing that carries its label is touched.
type Desired struct {
	// Node is the name of the Pi this state is for.
	Node string
	// Owners are the values of [LabelCluster] that this state speaks for: the cluster id once the store's lists were
	// read soundly, and the static tier's own. An object of any other owner is foreign.
	Owners []string
	// Recalled are those of Owners whose state is only remembered: it was read in an earlier life of the daemon, and nobody
	// vouches that it is still the newest. What is missing is started from it; what it does not know is left alone.
	Recalled []string
	// Drained are those of Owners whose services a person took out of service on this node (`brambled drain`). They are stopped and
	// kept; nothing of them is made, changed or started, and what is no longer desired goes all the same.
	Drained []string
	// Stacks, sorted by name. No two stacks have one name.
	Stacks []Stack
	// Retry are the engine ids of containers whose failure a person has forgiven: evidence, a successor that is kept, a job.
	Retry []string
	// Healing bounds how unhealthy containers are restarted on this node.
	Healing Healing
	// Prepull are images, sorted, that Swarm is about to run here: they are pulled before the leader lets it.
	Prepull []string
}

// Healing bounds the restarts of unhealthy containers. The zero value restarts none.
type Healing struct {
	// After is how long a container must be seen unhealthy first, and ten times as long must it have run: a slow start looks
	// like a hang. The time between two restarts doubles from there.
	After time.Duration
	// Budget is how often a replica is restarted within an hour; more than that does not help it.
	Budget int
}

// Owned reports whether an object carrying this owner label may be changed or removed under this desired state.
func (d Desired) Owned(owner string) bool {
	return owner != "" && slices.Contains(d.Owners, owner)
}

// Remembered reports whether what this state says of an owner is only remembered, see [Desired.Recalled].
func (d Desired) Remembered(owner string) bool { return slices.Contains(d.Recalled, owner) }

// Drains reports whether the services of an owner are out of service on this node, see [Desired.Drained].
func (d Desired) Drains(owner string) bool { return slices.Contains(d.Drained, owner) }

// Stack returns the stack of this name.
func (d Desired) Stack(name string) (Stack, bool) {
	i, ok := slices.BinarySearchFunc(d.Stacks, name, func(s Stack, n string) int { return strings.Compare(s.Name, n) })
	if !ok {
		return Stack{}, false
	}
	return d.Stacks[i], true
}

// Stack is one Compose file as it applies to one node.
type Stack struct {
	Name  string
	Owner string // the label value its objects carry, one of Desired.Owners
	// Revision is the hash of the file, the vars and the secrets it uses, as the user reads it in status and history.
	Revision string
	// Held says why the stack's newest file is not enforced ("" when it is). The services are then those of the last
	// file that could be read, unless Opaque.
	Held string
	// Opaque is a held stack of which no readable version is known: nothing of it is created, changed or removed
	// (safety rule 2: unreadable is not absent).
	Opaque   bool
	Services []Service // sorted by name; only those that belong on this node
	Networks []Network // sorted by name
	Volumes  []Volume  // sorted by name
}

// Service returns the stack's service of this name.
func (s Stack) Service(name string) (Service, bool) {
	for _, svc := range s.Services {
		if svc.Name == name {
			return svc, true
		}
	}
	return Service{}, false
}

// Restart is how a service ends.
type Restart string

// The restart classes. What the engine does by itself (its restart policy) is in [Body.RestartPolicy]; the class is
// what it means for planning.
const (
	// Always is a service that should run: one that exited is started again.
	Always Restart = "always"
	// Once is a job that is run once per hash and done however it ends (`restart: no`): exit 0 is done, else failed.
	Once Restart = "once"
	// OnFailure is a job that the engine retries; done at exit 0.
	OnFailure Restart = "on-failure"
)

// Job reports whether a service of this class ends by itself.
func (r Restart) Job() bool { return r == Once || r == OnFailure }

// Heal is what a file says about restarting a service that is unhealthy.
type Heal string

// The values. HealDefault restarts it unless it writes a named volume: a database that is slow to answer is often one that
// repairs itself, and killing it then makes it start over.
const (
	HealDefault Heal = ""
	HealOn      Heal = "on"
	HealOff     Heal = "off"
)

// Service is one service of a stack that runs as containers on this node.
type Service struct {
	Name      string
	Replicas  int // containers on this node, named <stack>-<service>-<n> with n from 1
	Container Container
	DependsOn []Dependency // sorted by service
	Update    Update
	Restart   Restart
	// Heal is no part of the hash: it changes without a new container.
	Heal Heal `json:",omitempty"`
	// StopWhenCutOff is for how long the service may run on a node that the others do not see; 0 for ever. Such a service has
	// no restart policy of the engine's: an engine that boots knows nothing of the others.
	StopWhenCutOff time.Duration `json:",omitempty"`
	// Register is how the service is known in the catalog, sorted by name, then port. It is no part of the hash.
	Register []Registration `json:",omitempty"`
	// Rollout names this version of the service on all nodes that run it, though their containers may differ in what is each
	// node's own; "" for a service of this node alone and for a job, whose disruptions need no permit. It is no part of the hash.
	Rollout string `json:",omitempty"`
	// Voter is set where the service is a member of a quorum: of all voters of the cluster, one is disrupted at a time. It is no
	// part of the hash.
	Voter bool `json:",omitempty"`
	// Done are the replicas, sorted, whose job has ended with success under this hash: it stays done when the container that
	// shows it is lost.
	Done []int `json:",omitempty"`
	// Fallback is the last version that passed its gate on this node; nil when none did. It takes the place of a container
	// that is lost while Container cannot be had or is known to fail.
	Fallback *Fallback `json:",omitempty"`
	// Node selector as written, for status only: the service is already known to belong here.
	Nodes string
}

// Fallback is an earlier version of a service with what it takes to make its container again.
type Fallback struct {
	Container Container
	Networks  []Network // those of Container.Networks that its stack defined, sorted by name
	// ImageID is the image it ran, whatever its reference names by now; "" when that is not known.
	ImageID string
}

// Condition is what a dependency waits for.
type Condition string

// The conditions of Compose's depends_on.
const (
	Started   Condition = "started"
	Healthy   Condition = "healthy"
	Completed Condition = "completed"
)

// Dependency gates the first start of a service on another one of its stack.
type Dependency struct {
	Service   string
	Condition Condition
	// Required is false where a missing dependency is to be ignored (Compose `required: false`).
	Required bool
	// Restart asks that the service be restarted when the dependency's container was replaced.
	Restart bool
}

// Order is how a container is replaced by its successor.
type Order string

// The two orders. Stop-first is forced where both cannot exist running side by side, see [Container.Exclusive].
const (
	StartFirst Order = "start-first"
	StopFirst  Order = "stop-first"
)

// FailureAction is what follows when a successor does not pass its gate.
type FailureAction string

// The failure actions of Compose's update_config.
const (
	Rollback FailureAction = "rollback"
	Pause    FailureAction = "pause"
	Continue FailureAction = "continue"
)

// Update is the policy of replacing a running container.
type Update struct {
	Order         Order
	FailureAction FailureAction
	// Monitor is how long a successor without health check must stay up to have passed. One with a health check has
	// passed when it is healthy.
	Monitor time.Duration
	// Parallelism is how many replicas on one node are replaced at a time, and on how many nodes; 0 means all at once.
	Parallelism int
}

// Container is the template of each replica.
type Container struct {
	// Hash identifies what the container is made from: see [Hash]. It does not cover what can change without a new
	// container (replicas, order, depends_on, update policy).
	Hash string
	// Name overrides <stack>-<service>-<n> (Compose container_name; only with one replica).
	Name string
	// Image is the reference as the user wrote it, normalised ("docker.io/library/nginx:1" is kept as "nginx:1").
	Image      string
	Platform   string // "linux/arm64", "" for the engine's own
	PullPolicy PullPolicy
	Body       Body
	Networks   []Attachment // sorted by priority, then name; the first is the one at create
	Volumes    []VolumeMount
	Files      []File // configs and secrets, sorted by target
	// Exclusive says why two containers of one replica cannot run side by side, "" when they can: "host port 80/tcp",
	// "host network", "fixed address 10.0.0.9", "writable volume data".
	Exclusive string
	// HostPorts are the fixed host ports, for clash detection, sorted: "0.0.0.0:80/tcp".
	HostPorts []string
	// HasHealthcheck is true where the file defines a health check that is not disabled. An image may bring its own;
	// that is known only once a container exists.
	HasHealthcheck bool
	// StopTimeout is the stop grace period.
	StopTimeout time.Duration
}

// Writes returns a named volume that the container writes, "" when there is none.
func (c Container) Writes() string {
	for _, v := range c.Volumes {
		if v.Volume != "" && !v.ReadOnly {
			return v.Volume
		}
	}
	return ""
}

// PullPolicy is when an image is fetched.
type PullPolicy string

// The pull policies. Missing is the default: a local image of that reference is used as it is.
const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always" // once per hash, before the container is created
	PullNever   PullPolicy = "never"
)

// Attachment joins a container to a network.
type Attachment struct {
	// Network is the Docker name of the network ("web_default").
	Network         string            `json:"network"`
	Aliases         []string          `json:"aliases,omitempty"` // sorted
	IPv4            string            `json:"ipv4,omitempty"`
	IPv6            string            `json:"ipv6,omitempty"`
	LinkLocal       []string          `json:"link_local,omitempty"`
	MAC             string            `json:"mac,omitempty"`
	DriverOpts      map[string]string `json:"driver_opts,omitempty"`
	Priority        int               `json:"priority,omitempty"`
	GatewayPriority int               `json:"gw_priority,omitempty"`
}

// VolumeMount mounts a named or an anonymous volume.
type VolumeMount struct {
	// Volume is the Docker name of a named volume, "" for an anonymous one, which is passed on to the successor.
	Volume   string `json:"volume,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	NoCopy   bool   `json:"nocopy,omitempty"`
	Subpath  string `json:"subpath,omitempty"`
}

// File is a config or secret: content bound read-only into the container at Target.
type File struct {
	Target string `json:"target"`
	// Digest is the content's address in the file store: see [FileDigest].
	Digest string `json:"digest"`
	Mode   uint32 `json:"mode"`
	UID    int    `json:"uid,omitempty"`
	GID    int    `json:"gid,omitempty"`
	Secret bool   `json:"secret,omitempty"`
	// Content is what is written; it takes part in the hash through Digest only and is never shown.
	Content []byte `json:"-"`
}

// Network is a network of a stack. Fields added later are omitted when unset, so that no existing hash changes.
type Network struct {
	Name       string            `json:"name"`               // Docker name ("web_default")
	Key        string            `json:"key,omitempty"`      // name in the Compose file
	External   bool              `json:"external,omitempty"` // must exist; never created, changed or removed
	Hash       string            `json:"hash,omitempty"`     // "" when External
	Driver     string            `json:"driver,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
	Attachable bool              `json:"attachable,omitempty"`
	EnableIPv4 *bool             `json:"enable_ipv4,omitempty"`
	EnableIPv6 *bool             `json:"enable_ipv6,omitempty"`
	IPAM       *IPAM             `json:"ipam,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"` // the user's
}

// IPAM is a network's address management.
type IPAM struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	Pools   []Pool            `json:"pools,omitempty"`
}

// Pool is one address pool of a network.
type Pool struct {
	Subnet  string            `json:"subnet,omitempty"`
	Range   string            `json:"range,omitempty"`
	Gateway string            `json:"gateway,omitempty"`
	Aux     map[string]string `json:"aux,omitempty"`
}

// Volume is a named volume of a stack. It is created when missing and never removed or changed.
type Volume struct {
	Name     string            `json:"name"`          // Docker name ("web_data")
	Key      string            `json:"key,omitempty"` // name in the Compose file
	External bool              `json:"external,omitempty"`
	Hash     string            `json:"hash,omitempty"` // "" when External
	Driver   string            `json:"driver,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"` // the user's
}
