package spec

import (
	"slices"
	"time"
)

// Cluster is everything the cluster should run as Swarm services. One node, the leader, acts on it, and only on a state
// that was read soundly: there is no remembered form of it.
type Cluster struct {
	// Owners are the values of [LabelCluster] that this state speaks for. An object of any other owner is foreign.
	Owners []string
	Stacks []SwarmStack // sorted by name
	// Retry are the hashes of services whose failure a person has forgiven. One leaves the list once its lane was started: as
	// long as it is there, it is tried again each time it fails.
	Retry []string
}

// Owned reports whether an object carrying this owner label may be changed or removed under this desired state.
func (c Cluster) Owned(owner string) bool { return owner != "" && slices.Contains(c.Owners, owner) }

// Stack returns the stack of this name.
func (c Cluster) Stack(name string) (SwarmStack, bool) {
	for _, st := range c.Stacks {
		if st.Name == name {
			return st, true
		}
	}
	return SwarmStack{}, false
}

// SwarmStack is the part of a stack that Swarm runs.
type SwarmStack struct {
	Name  string
	Owner string
	// Revision, Held and Opaque are as in [Stack].
	Revision string
	Held     string
	Opaque   bool
	Services []SwarmService // sorted by name
	Networks []Network      // sorted by name; of Swarm's scope
	Objects  []SwarmObject  // configs and secrets, sorted by kind, then name
}

// Service returns the stack's Swarm service of this name in the file.
func (s SwarmStack) Service(name string) (SwarmService, bool) {
	for _, svc := range s.Services {
		if svc.Name == name {
			return svc, true
		}
	}
	return SwarmService{}, false
}

// Mode is how Swarm places the tasks of a service. It cannot be changed: another mode is another service.
type Mode string

// The modes of Compose's deploy.mode.
const (
	Replicated    Mode = "replicated"
	Global        Mode = "global"
	ReplicatedJob Mode = "replicated-job"
	GlobalJob     Mode = "global-job"
)

// Job reports whether the tasks of this mode end by themselves.
func (m Mode) Job() bool { return m == ReplicatedJob || m == GlobalJob }

// Prepull says which nodes must have a new image before the leader updates a service.
type Prepull string

// The values of x-brambled.prepull: the present nodes that run the service now (the default), or all present nodes.
const (
	PrepullRunning Prepull = "running"
	PrepullAll     Prepull = "all"
)

// SwarmService is one service that Swarm runs.
type SwarmService struct {
	Name string // in the Compose file
	Full string // in Swarm: <stack>_<name>
	// Hash identifies the whole service, replicas and policies too: see [HashSwarmService]. The digest an image was pinned to
	// takes no part.
	Hash string
	Mode Mode
	// Image is the reference as the user wrote it.
	Image      string
	Platform   string
	PullPolicy PullPolicy
	Prepull    Prepull
	DependsOn  []Dependency // sorted by service
	// Networks are the attachments, sorted by name; Network is the Docker name, "host" and "none" included.
	Networks []Attachment
	Files    []SwarmFile // sorted by kind, then target
	Volumes  []SwarmMount
	Body     Body   // what runs in each task
	Deploy   Deploy // how Swarm runs it
	// Register is how the service is known in the catalog, sorted by name, then port. It is no part of the hash.
	Register []Registration `json:",omitempty"`
}

// Deploy is everything of a Swarm service beside its container that planning, but for Update.FailureAction and
// Update.Monitor, does not look at.
type Deploy struct {
	// Replicas is the count of a replicated service; of a job the completions wanted. Unset is 1, as in Compose.
	Replicas      *uint64           `json:"replicas,omitempty"`
	MaxConcurrent *uint64           `json:"max_concurrent,omitempty"` // of a replicated job
	EndpointMode  string            `json:"endpoint_mode,omitempty"`  // "", "vip" or "dnsrr"
	Ports         []SwarmPort       `json:"ports,omitempty"`          // sorted
	Labels        map[string]string `json:"labels,omitempty"`         // of the service, the user's
	Constraints   []string          `json:"constraints,omitempty"`    // sorted
	// Preferences are the spread descriptors in order of weight.
	Preferences        []string          `json:"preferences,omitempty"`
	MaxReplicasPerNode uint64            `json:"max_replicas_per_node,omitempty"`
	Limits             *Resources        `json:"limits,omitempty"`
	Reservations       *Resources        `json:"reservations,omitempty"`
	Restart            SwarmRestart      `json:"restart"`
	Update             SwarmUpdate       `json:"update"`
	Rollback           *SwarmUpdate      `json:"rollback,omitempty"`
	CredentialSpec     *SwarmCredentials `json:"credential_spec,omitempty"`
}

// SwarmCredentials is a Windows credential spec; carried so that the form is whole.
type SwarmCredentials struct {
	Config, File, Registry string
}

// SwarmPort publishes a port of a service.
type SwarmPort struct {
	Target    uint32 `json:"target"`
	Published uint32 `json:"published,omitempty"` // 0 lets Swarm choose
	Protocol  string `json:"protocol"`
	Mode      string `json:"mode"` // "ingress" or "host"
}

// Resources are the limits or the reservations of each task.
type Resources struct {
	NanoCPUs    int64             `json:"nano_cpus,omitempty"`
	MemoryBytes int64             `json:"memory_bytes,omitempty"`
	Pids        int64             `json:"pids,omitempty"` // limits only
	Generic     []GenericResource `json:"generic,omitempty"`
}

// GenericResource is a count of something a node declares.
type GenericResource struct {
	Kind  string `json:"kind"`
	Value int64  `json:"value"`
}

// SwarmRestart is what Swarm does with a task that ended. Nil fields are left to Swarm.
type SwarmRestart struct {
	Condition   string         `json:"condition,omitempty"` // "none", "on-failure", "any"
	Delay       *time.Duration `json:"delay,omitempty"`
	MaxAttempts *uint64        `json:"max_attempts,omitempty"`
	Window      *time.Duration `json:"window,omitempty"`
}

// SwarmUpdate is how Swarm updates, or rolls back, a service.
type SwarmUpdate struct {
	Parallelism     uint64        `json:"parallelism"`
	Delay           time.Duration `json:"delay,omitempty"`
	FailureAction   FailureAction `json:"failure_action,omitempty"`
	Monitor         time.Duration `json:"monitor,omitempty"`
	MaxFailureRatio float32       `json:"max_failure_ratio,omitempty"`
	Order           Order         `json:"order,omitempty"`
}

// SwarmMount is a volume in the tasks of a service. Swarm has no volumes of its own: each engine makes the one it needs.
type SwarmMount struct {
	Volume   string            `json:"volume,omitempty"` // Docker name, "" for an anonymous one
	Target   string            `json:"target"`
	ReadOnly bool              `json:"read_only,omitempty"`
	NoCopy   bool              `json:"nocopy,omitempty"`
	Subpath  string            `json:"subpath,omitempty"`
	External bool              `json:"external,omitempty"`
	Driver   string            `json:"driver,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// ObjectKind is a kind of content Swarm keeps.
type ObjectKind string

// The kinds.
const (
	ConfigObject ObjectKind = "config"
	SecretObject ObjectKind = "secret"
)

// SwarmObject is a config or a secret in Swarm. Swarm cannot change the content of one, so its name carries the content's
// hash, and new content is a new object.
type SwarmObject struct {
	Kind     ObjectKind
	Key      string // in the Compose file
	Name     string // in Swarm: <stack>_<key>_<hash of the content>; the name as written for one that must exist there
	Hash     string
	External bool // must exist in Swarm; never created or removed
	Template string
	Labels   map[string]string // the user's
	// Content is what is stored; it takes part in the hash through Name only and is never shown.
	Content []byte `json:"-"`
}

// SwarmFile shows a config or a secret to the tasks of a service.
type SwarmFile struct {
	Kind   ObjectKind `json:"kind"`
	Object string     `json:"object"` // SwarmObject.Name
	Target string     `json:"target"`
	UID    string     `json:"uid,omitempty"`
	GID    string     `json:"gid,omitempty"`
	Mode   uint32     `json:"mode"`
}

// HashObject returns the versioned hash of a config or secret of a stack: of all that it is in Swarm but its name, which is
// made from the hash.
func HashObject(stack string, o SwarmObject) string {
	return digest(struct {
		Stack    string            `json:"stack"`
		Kind     ObjectKind        `json:"kind"`
		Key      string            `json:"key"`
		Template string            `json:"template,omitempty"`
		Labels   map[string]string `json:"labels,omitempty"`
		Content  []byte            `json:"content"`
	}{stack, o.Kind, o.Key, o.Template, o.Labels, o.Content})
}

// hashedService is the canonical form of a Swarm service.
type hashedService struct {
	Full     string       `json:"full"`
	Mode     Mode         `json:"mode"`
	Image    string       `json:"image"`
	Platform string       `json:"platform,omitempty"`
	Networks []Attachment `json:"networks,omitempty"`
	Files    []SwarmFile  `json:"files,omitempty"`
	Volumes  []SwarmMount `json:"volumes,omitempty"`
	Body     Body         `json:"body"`
	Deploy   Deploy       `json:"deploy"`
}

// HashSwarmService returns the versioned hash of all that an update would change. A service whose hash label equals it is
// never updated: an update without a difference costs the rollback target and a raft write.
func HashSwarmService(s SwarmService) string {
	return digest(hashedService{s.Full, s.Mode, s.Image, s.Platform, s.Networks, s.Files, s.Volumes, s.Body, s.Deploy})
}
