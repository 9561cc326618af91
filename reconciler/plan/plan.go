// Package plan is what a planner answers: lanes of steps, what it waits for, and when to look again.
//
// A plan is data. It carries every decision, so that applying it decides nothing: a step is one call on the engine, with
// the reason it is made. Steps in a lane are in order and a failed step ends its lane only; lanes run in parallel.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Plan is the outcome of planning once.
type Plan struct {
	Lanes []Lane // sorted by key, each with at least one step
	Waits []Wait // sorted by subject; facts that must change before there is more to do
	// Permits are what is to be said in the store's records of disruptions, sorted by key.
	Permits []Permit
	// WakeAfter asks for another pass after this time even if nothing happens; 0 asks for none.
	WakeAfter time.Duration
}

// Empty reports whether the plan changes nothing, here or in the store.
func (p Plan) Empty() bool {
	return len(p.Lanes) == 0 && !slices.ContainsFunc(p.Permits, func(s Permit) bool { return s.Do != KeepPermit })
}

// Lane is a sequence of steps on one subject ("container web/app/1", "network web_default").
type Lane struct {
	Key string
	// For is the hash the lane works toward, "" where there is none: a failure is remembered under it, so that a new
	// hash is tried at once.
	For   string
	Steps []Step
}

// Step is one action with the reason for it.
type Step struct {
	Action Action
	Reason Reason
}

// String is the step as `plan`, `why` and the log show it.
func (s Step) String() string { return fmt.Sprintf("%s (%s)", s.Action, s.Reason) }

// Remedy is what may have to be done again and again because its cause comes back: the lane of one replica, and the reason.
type Remedy struct {
	Lane   string
	Reason Reason
}

// Repeats is how often a remedy was applied of late. The loop keeps count of the lanes it has run, whatever their end.
type Repeats struct {
	For   string        // what the lane worked toward: under another hash the count begins anew
	Count int           // within the last hour
	Since time.Duration // since the last one ended
}

// Remedy returns the remedy that a lane applies, false for a lane that makes a change of which there is only one.
func (l Lane) Remedy() (Remedy, bool) {
	for _, s := range l.Steps {
		if s.Reason == ReasonExited || s.Reason == ReasonUnhealthy {
			return Remedy{l.Key, s.Reason}, true
		}
	}
	return Remedy{}, false
}

// Wait is something the planner would go on with, and what it waits for.
type Wait struct {
	Subject string // "web/app/1", "network web_default"
	For     WaitFor
	Detail  string // "db is starting", "image nginx:1: 30 of 80 MB"
}

// String is the wait as `plan` and `why` show it.
func (w Wait) String() string {
	if w.Detail == "" {
		return fmt.Sprintf("%s waits for %s", w.Subject, w.For)
	}
	return fmt.Sprintf("%s waits for %s: %s", w.Subject, w.For, w.Detail)
}

// String is the plan as text, the form that tests and `brambled plan` compare and show.
func (p Plan) String() string {
	var b strings.Builder
	for _, l := range p.Lanes {
		fmt.Fprintf(&b, "%s\n", l.Key)
		for _, s := range l.Steps {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	for _, w := range p.Waits {
		fmt.Fprintf(&b, "%s\n", w)
	}
	for _, s := range p.Permits {
		fmt.Fprintf(&b, "%s\n", s)
	}
	if p.WakeAfter > 0 {
		fmt.Fprintf(&b, "wake after %s\n", p.WakeAfter)
	}
	return b.String()
}

// Reason is why a step is taken; a fixed vocabulary.
type Reason string

// The reasons.
const (
	ReasonMissing      Reason = "missing"                // desired, and not there
	ReasonChanged      Reason = "changed"                // there under another hash
	ReasonExited       Reason = "exited"                 // should run and does not
	ReasonUnhealthy    Reason = "unhealthy"              // runs, and its health check has failed for a while
	ReasonUndesired    Reason = "no longer desired"      // its service or stack is gone
	ReasonScaledDown   Reason = "scaled down"            // its replica number is above the desired count
	ReasonCutOff       Reason = "cut from its network"   // lost a network it should be on
	ReasonDead         Reason = "dead"                   // half removed by the engine
	ReasonDuplicate    Reason = "duplicate"              // a second container for one replica
	ReasonSuperseded   Reason = "superseded"             // its successor passed the gate
	ReasonFailed       Reason = "failed its gate"        // a successor that did not pass
	ReasonRollback     Reason = "rolled back"            // its successor failed
	ReasonImage        Reason = "image missing"          // to be pulled before anything is stopped
	ReasonPullAlways   Reason = "pull_policy always"     // to be pulled once for this hash
	ReasonPrepull      Reason = "before Swarm runs it"   // the leader's update waits for it
	ReasonUnreferenced Reason = "unreferenced"           // nothing uses it any more
	ReasonDependency   Reason = "dependency replaced"    // depends_on with restart: true
	ReasonPolicy       Reason = "restart policy differs" // engine's policy is not the desired one
	ReasonFallback     Reason = "last good version"      // lost, and the desired version cannot take its place
	ReasonContact      Reason = "cut off"                // this node is not seen by the others, and what may not run then
	ReasonRetry        Reason = "retry"                  // it failed, and a person asked for another try

	ReasonForm        Reason = "a stack wants a Swarm"     // and there is none
	ReasonCutShort    Reason = "its forming was cut short" // a Swarm of ours that does not say so yet
	ReasonAdopted     Reason = "adopted"                   // a person had brambled take it over
	ReasonSettings    Reason = "settings differ"           // of the Swarm
	ReasonInvite      Reason = "so that nodes can join"    // what the store says of the Swarm is not what it is
	ReasonTooFew      Reason = "too few managers"
	ReasonTooMany     Reason = "too many managers"
	ReasonAlone       Reason = "nobody takes the next seat" // an even number of managers, and no node to make it odd
	ReasonDeadSeat    Reason = "away longer than the hold-down"
	ReasonReimaged    Reason = "its Pi has another identity now" // re-imaged, or it left and joined again
	ReasonGone        Reason = "removed by a person"             // node rm
	ReasonDrain       Reason = "drained by a person"
	ReasonUndrain     Reason = "no longer drained"
	ReasonSeat        Reason = "to take over a seat"           // of a manager that is drained or removed
	ReasonKeep        Reason = "its seat is needed after all"  // Swarm cannot apply a demotion any more
	ReasonLabels      Reason = "labels differ"                 // of a node
	ReasonInvited     Reason = "the cluster has a Swarm"       // and this engine is in none
	ReasonOutcast     Reason = "the Swarm has removed it"      // this node, while it was away
	ReasonFormerSwarm Reason = "the cluster has another Swarm" // than the one of ours this engine is in
	ReasonExpired     Reason = "its certificate has expired"
	ReasonStranded    Reason = "it reaches none of the managers it knows" // an engine on its way to a seat
)

// WaitFor is what a wait is for; a fixed vocabulary.
type WaitFor string

// The things waited for.
const (
	WaitLane        WaitFor = "a running step"
	WaitPull        WaitFor = "an image"
	WaitNetwork     WaitFor = "a network"
	WaitVolume      WaitFor = "a volume"
	WaitObject      WaitFor = "a config or secret"
	WaitDependency  WaitFor = "a dependency"
	WaitGate        WaitFor = "its gate"                // the successor is starting or being monitored
	WaitBackoff     WaitFor = "a retry"                 // the last attempt failed, or did not last
	WaitHealth      WaitFor = "its health"              // unhealthy, and restarted if that lasts
	WaitName        WaitFor = "a name"                  // taken by a foreign container
	WaitRemoval     WaitFor = "a removal"               // the engine is removing it
	WaitEngine      WaitFor = "the engine"              // a restart by the engine's own policy
	WaitForeign     WaitFor = "a person"                // something foreign is in the way
	WaitNewer       WaitFor = "a newer brambled"        // the object was made under a newer schema
	WaitFailed      WaitFor = "a new revision or retry" // this hash failed and is not tried again
	WaitUnsupported WaitFor = "another engine"          // this engine lacks what the service needs
	WaitTasks       WaitFor = "its tasks"               // Swarm does not run all of them yet, or a job has not ended
	WaitPermit      WaitFor = "a permit"                // other nodes run it too, and one is updated at a time
	WaitContact     WaitFor = "contact with Consul"     // the others do not see this node
	WaitUndrain     WaitFor = "the end of maintenance"  // a person drained this node
	WaitStore       WaitFor = "the store"               // only remembered: nothing is removed or replaced before a sound read
	WaitQuorum      WaitFor = "the quorum"              // most managers of the Swarm are away
	WaitManager     WaitFor = "a manager"               // this engine cannot change the Swarm
	WaitSwarm       WaitFor = "Swarm"                   // it is still carrying out the last change
	WaitHoldDown    WaitFor = "the hold-down"           // a node that is away may come back
	WaitCandidate   WaitFor = "a candidate"             // no node may become a manager yet
	WaitInvitation  WaitFor = "an invitation"           // the store does not say yet how to join
	WaitNode        WaitFor = "a node"                  // one has to say, or do, something first
)
