package plan

import (
	"fmt"

	"github.com/brambled/brambled/reconciler/spec"
)

// CreateService creates a service in the Swarm. One of that name, owner and hash that is there already is adopted, so that
// a lost reply does no harm.
type CreateService struct {
	Owner, Stack string
	Service      spec.SwarmService
	Image        string // as pinned, else as written
}

// UpdateService brings a service to another version. It carries the version that was observed: Swarm refuses it when
// somebody else was faster.
type UpdateService struct {
	ID           string
	Version      uint64
	Owner, Stack string
	Service      spec.SwarmService
	Image        string
	// Force has Swarm replace the tasks although they run this version, as `docker service update --force` does. Without it an
	// update to the version that is there is over at once, however ill its tasks are.
	Force bool
}

// MarkService writes the hash an update is about to be made to into [spec.LabelTried] of the version that runs, and changes
// nothing else, as `docker service update --label-add` does: no task is restarted. Swarm forgets the version it rolled
// back from, so that this label of the version it rolled back to is the only thing left that names the one which failed.
//
// To Swarm it is an update without a difference: the state of the update before is forgotten, and one that was paused goes
// on until the update which follows in the next pass.
type MarkService struct {
	ID, Name string
	Version  uint64
	Tried    string
}

// RemoveService removes a service from the Swarm.
type RemoveService struct{ ID, Name string }

// CreateObject creates a config or a secret in the Swarm.
type CreateObject struct {
	Owner, Stack string
	Object       spec.SwarmObject
}

// RemoveObject removes a config or a secret to which no service refers.
type RemoveObject struct {
	ID   string
	Kind spec.ObjectKind
	Name string
}

// Pin resolves an image reference to its digest in the background. It returns at once: the answer is a fact that is observed.
type Pin struct{ Image string }

func (CreateService) action() {}
func (UpdateService) action() {}
func (MarkService) action()   {}
func (RemoveService) action() {}
func (CreateObject) action()  {}
func (RemoveObject) action()  {}
func (Pin) action()           {}

func (a CreateService) String() string { return "create service " + a.Service.Full }
func (a UpdateService) String() string {
	if a.Force {
		return fmt.Sprintf("update service %s at version %d to what it is, with new tasks", a.Service.Full, a.Version)
	}
	return fmt.Sprintf("update service %s at version %d", a.Service.Full, a.Version)
}
func (a MarkService) String() string {
	return fmt.Sprintf("mark service %s at version %d as tried with %s", a.Name, a.Version, a.Tried)
}
func (a RemoveService) String() string { return "remove service " + a.Name }
func (a CreateObject) String() string {
	return fmt.Sprintf("create %s %s", a.Object.Kind, a.Object.Name)
}
func (a RemoveObject) String() string { return fmt.Sprintf("remove %s %s", a.Kind, a.Name) }
func (a Pin) String() string          { return "pin " + a.Image }
