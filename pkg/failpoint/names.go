package failpoint

import (
	"reflect"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
)

// Name is a point in the daemon.
type Name string

// The points besides those before and after each action on the engine.
const (
	// PassObserved is after the engine was looked at, before anything is planned from that.
	PassObserved Name = "pass-observed"
	// PassPlanned is between a plan that changes something and its first step.
	PassPlanned Name = "pass-planned"
	// PassStep is between two steps of a lane, and after its last.
	PassStep Name = "pass-step"
	// PassReported is after a pass was reported.
	PassReported Name = "pass-reported"

	// CreateCalled is after the engine made a container, before it is on its other networks.
	CreateCalled Name = "docker-create-called"
	// RemoveCalled is after the engine removed a container, before the volumes it had taken over are gone.
	RemoveCalled Name = "docker-remove-called"
	// PullRunning is while the engine fetches an image, PullEnded when it has, and nobody knows yet.
	PullRunning Name = "docker-pull-running"
	PullEnded   Name = "docker-pull-ended"

	// FileTemp is in the middle of writing a config or secret, FileRenamed when it is in place and its folder not synced.
	FileTemp    Name = "file-temp"
	FileRenamed Name = "file-renamed"

	// LastGoodBefore to LastGoodAfter are the steps of a write of last-known-good: nothing is done; the new file is empty, is
	// whole, has its name; all is done.
	LastGoodBefore  Name = "lastgood-before"
	LastGoodTemp    Name = "lastgood-temp"
	LastGoodWritten Name = "lastgood-written"
	LastGoodRenamed Name = "lastgood-renamed"
	LastGoodAfter   Name = "lastgood-after"

	// EngineBefore and EngineAfter are around the write of what is known of the engine's store.
	EngineBefore Name = "engine-before"
	EngineAfter  Name = "engine-after"

	// ReportBefore and ReportAfter are around the write of this node's report to the KV.
	ReportBefore Name = "kv-report-before"
	ReportAfter  Name = "kv-report-after"
	// ClusterBefore and ClusterAfter are around the creation of the cluster id.
	ClusterBefore Name = "kv-cluster-before"
	ClusterAfter  Name = "kv-cluster-after"
	// PresenceBefore and PresenceAfter are around taking this node's name.
	PresenceBefore Name = "kv-presence-before"
	PresenceAfter  Name = "kv-presence-after"

	// StoreRead is when the store was read soundly, StoreRemembered when what it says is on disk, and StoreInForce when it is
	// what is desired.
	StoreRead       Name = "store-read"
	StoreRemembered Name = "store-remembered"
	StoreInForce    Name = "store-in-force"
)

// actions, swarmActions and quorumActions are all there are: the tests compare them with package plan.
func actions() []plan.Action {
	return []plan.Action{
		plan.Pull{}, plan.CreateNetwork{}, plan.RemoveNetwork{}, plan.Connect{}, plan.Disconnect{}, plan.CreateVolume{}, plan.Create{},
		plan.Start{}, plan.Stop{}, plan.Remove{}, plan.Rename{}, plan.SetRestart{}, plan.RemoveFile{},
	}
}

func swarmActions() []plan.Action {
	return []plan.Action{
		plan.CreateService{}, plan.UpdateService{}, plan.MarkService{}, plan.RemoveService{}, plan.CreateObject{}, plan.RemoveObject{}, plan.Pin{},
	}
}

func quorumActions() []plan.Action {
	return []plan.Action{
		plan.ClaimSwarm{}, plan.InitSwarm{}, plan.ConfigureSwarm{}, plan.PublishSwarm{}, plan.PromoteNode{}, plan.DemoteNode{},
		plan.DropNode{}, plan.SetNode{}, plan.JoinSwarm{}, plan.LeaveSwarm{},
	}
}

// Names are all points.
func Names() []Name {
	list := []Name{
		PassObserved, PassPlanned, PassStep, PassReported,
		CreateCalled, RemoveCalled, PullRunning, PullEnded, FileTemp, FileRenamed,
		LastGoodBefore, LastGoodTemp, LastGoodWritten, LastGoodRenamed, LastGoodAfter, EngineBefore, EngineAfter,
		ReportBefore, ReportAfter, ClusterBefore, ClusterAfter, PresenceBefore, PresenceAfter,
		StoreRead, StoreRemembered, StoreInForce,
	}
	return slices.Concat(list, around(actions()), SwarmNames(), QuorumNames())
}

// SwarmNames are the points to which only a node comes that changes a Swarm.
func SwarmNames() []Name { return around(swarmActions()) }

// QuorumNames are the points to which only a node comes that forms a Swarm, changes its nodes, joins or leaves it.
func QuorumNames() []Name { return around(quorumActions()) }

func around(actions []plan.Action) []Name {
	var list []Name
	for _, a := range actions {
		list = append(list, BeforeAction(a), AfterAction(a))
	}
	return list
}

// BeforeAction and AfterAction name the points around an action on the engine: "docker-set-restart-before".
func BeforeAction(a plan.Action) Name { return named(a, "before") }

// AfterAction is the point after an action.
func AfterAction(a plan.Action) Name { return named(a, "after") }

func named(a plan.Action, when string) Name {
	var words strings.Builder
	for i, r := range reflect.TypeOf(a).Name() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			words.WriteByte('-')
		}
		words.WriteRune(r)
	}
	return Name("docker-" + strings.ToLower(words.String()) + "-" + when)
}
