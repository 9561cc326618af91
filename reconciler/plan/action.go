package plan

import (
	"fmt"

	"github.com/brambled/brambled/reconciler/spec"
)

// Action is one change on the engine: a closed set, so that a switch over it can be checked for completeness.
//
//sumtype:decl
type Action interface {
	fmt.Stringer
	action()
}

// Pull starts fetching an image in the background. It returns at once: a running pull is a fact that is observed.
type Pull struct {
	Image    string
	Platform string
	// For are the hashes a `pull_policy: always` pull is made for, parted by spaces; "" for a missing image.
	For string
}

// CreateNetwork creates a network of a stack.
type CreateNetwork struct {
	Owner, Stack string
	Network      spec.Network
}

// RemoveNetwork removes a network by its engine id.
type RemoveNetwork struct{ ID, Name string }

// Connect joins a container to a network.
type Connect struct {
	Container  string // engine id
	Name       string
	Attachment spec.Attachment
}

// Disconnect cuts a container from a network.
type Disconnect struct {
	Container string // engine id
	Name      string
	Network   string // Docker name
}

// CreateVolume creates a named volume.
type CreateVolume struct {
	Owner, Stack string
	Volume       spec.Volume
}

// Create creates, but does not start, the container of one replica, with its files in place. It adopts a container of
// that name, owner and hash that is there already, so that a lost reply does no harm.
type Create struct {
	Name    string
	Owner   string
	Stack   string
	Service string
	Replica int
	Spec    spec.Container
	// DependsOn is shown to `docker compose` in its label.
	DependsOn []spec.Dependency
	// Inherit is the engine id of a predecessor whose anonymous volumes are passed on; "" for none.
	Inherit string
}

// Start starts a container. In a lane that created it, ID is "" and Name is used.
type Start struct{ ID, Name string }

// Stop stops a container, with its own grace period.
type Stop struct{ ID, Name string }

// Remove removes a stopped container and its anonymous volumes, unless KeepVolumes: a successor uses them.
type Remove struct {
	ID, Name    string
	KeepVolumes bool
}

// Rename gives a container another name.
type Rename struct{ ID, From, To string }

// SetRestart changes the engine's restart policy of a container.
type SetRestart struct {
	ID, Name string
	Policy   string // "no", "always", "unless-stopped", "on-failure"
	Max      int
}

// RemoveFile removes a config or secret that nothing refers to from the file store.
type RemoveFile struct{ Digest string }

func (Pull) action()          {}
func (CreateNetwork) action() {}
func (RemoveNetwork) action() {}
func (Connect) action()       {}
func (Disconnect) action()    {}
func (CreateVolume) action()  {}
func (Create) action()        {}
func (Start) action()         {}
func (Stop) action()          {}
func (Remove) action()        {}
func (Rename) action()        {}
func (SetRestart) action()    {}
func (RemoveFile) action()    {}

func (a Pull) String() string          { return "pull " + a.Image }
func (a CreateNetwork) String() string { return "create network " + a.Network.Name }
func (a RemoveNetwork) String() string { return "remove network " + a.Name }
func (a Connect) String() string {
	return fmt.Sprintf("connect %s to %s", a.Name, a.Attachment.Network)
}
func (a Disconnect) String() string   { return fmt.Sprintf("disconnect %s from %s", a.Name, a.Network) }
func (a CreateVolume) String() string { return "create volume " + a.Volume.Name }
func (a Create) String() string       { return "create " + a.Name }
func (a Start) String() string        { return "start " + a.Name }
func (a Stop) String() string         { return "stop " + a.Name }
func (a Remove) String() string       { return "remove " + a.Name }
func (a Rename) String() string       { return fmt.Sprintf("rename %s to %s", a.From, a.To) }
func (a RemoveFile) String() string   { return "remove file " + a.Digest }

// String shows the policy as Compose writes it.
func (a SetRestart) String() string {
	return fmt.Sprintf("set restart policy of %s to %s", a.Name, a.Policy)
}
