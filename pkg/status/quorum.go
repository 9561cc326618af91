package status

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

// Quorum is the Swarm itself: who its managers are, what it can bear, and what is wrong or waited for. The leader reports it; a node
// only what is wrong with its own part.
type Quorum struct {
	ID string `json:"id,omitempty"` // of the Swarm
	// State is [Converged], [Converging], [Failed] where a person is needed, or [Held] where most managers are away.
	State State  `json:"state"`
	Why   string `json:"why"` // one sentence
	// Managed is false of a Swarm that brambled did not form, and only uses.
	Managed  bool      `json:"managed"`
	Managers []Manager `json:"managers,omitempty"` // sorted by name
	Target   int       `json:"target,omitempty"`   // how many managers there should be
	Needed   int       `json:"needed,omitempty"`   // how many must reach each other
	// Spare is how many of the managers may be lost before nothing can be changed any more; below 0 that is so already.
	Spare int      `json:"spare"`
	Waits []string `json:"waits,omitempty"` // what is waited for, and how long at most
}

// Manager is one manager of the Swarm.
type Manager struct {
	Name      string `json:"name"`
	Reachable bool   `json:"reachable"`
	Leader    bool   `json:"leader,omitempty"` // of Swarm
}

// QuorumInput is what the leader's part of a report about the Swarm itself is built from: one pass of its loop.
type QuorumInput struct {
	Desired  spec.Quorum
	Observed quorum.Observed
	Plan     plan.Plan
}

// BuildQuorum says how the Swarm itself is, nil where there is none and nobody wants one. It is pure.
func BuildQuorum(in QuorumInput) *Quorum {
	o := in.Observed
	out := &Quorum{State: Converged, Managed: o.Control && o.Swarm.Cluster == in.Desired.Cluster && in.Desired.Manage, Waits: texts(in.Plan.Waits)}
	if o.Control {
		out.ID = o.Swarm.ID
		out.count(in)
	}
	person := slices.IndexFunc(in.Plan.Waits, func(w plan.Wait) bool { return needsPerson(w.For) })
	lost := slices.IndexFunc(in.Plan.Waits, func(w plan.Wait) bool { return w.For == plan.WaitQuorum })
	switch {
	case !o.Control && lost >= 0:
		out.State, out.Why = Held, in.Plan.Waits[lost].String()
	case o.Control && !out.Managed:
		out.Why = "brambled did not form this Swarm and only uses it"
	case person >= 0:
		out.State, out.Why = Failed, in.Plan.Waits[person].String()
	case len(in.Plan.Lanes) > 0:
		out.State, out.Why = Converging, in.Plan.Lanes[0].Steps[0].String()
	case len(in.Plan.Waits) > 0:
		out.State, out.Why = Converging, out.Waits[0]
	case o.Control:
		out.Why = out.bears()
	default:
		return nil
	}
	return out
}

// count adds the managers, and what they bear.
func (q *Quorum) count(in QuorumInput) {
	reachable := 0
	for _, n := range in.Observed.Nodes {
		if !n.Seat {
			continue
		}
		q.Managers = append(q.Managers, Manager{Name: in.Observed.Name(n), Reachable: n.Reachable, Leader: n.Leader})
		if n.Reachable {
			reachable++
		}
	}
	slices.SortFunc(q.Managers, func(a, b Manager) int { return cmp.Compare(a.Name, b.Name) })
	q.Needed = len(q.Managers)/2 + 1
	q.Spare = reachable - q.Needed
	if q.Managed {
		q.Target = quorum.Target(in.Desired, in.Observed)
	}
}

// bears says how many more managers may be lost.
func (q *Quorum) bears() string {
	switch {
	case q.Spare < 0:
		return "most of the managers cannot be reached: nothing can be changed"
	case q.Spare == 0:
		return "if one more manager is lost, nothing can be changed until it is back"
	case q.Spare == 1:
		return "one manager may be lost"
	}
	return fmt.Sprintf("%d managers may be lost", q.Spare)
}

// MemberQuorum says what is wrong with a node's own part in the Swarm, nil where nothing is. Leaderless is true where its engine is a
// manager that reaches no quorum: a node knows that without the store.
func MemberQuorum(leaderless bool, waits []plan.Wait) *Quorum {
	if !leaderless && len(waits) == 0 {
		return nil
	}
	out := &Quorum{State: Converging, Managed: true, Waits: texts(waits)}
	if leaderless {
		out.State = Held
		out.Why = "the Swarm has no quorum: most of its managers are away. What runs goes on running, nothing is changed. It heals when they return; if they are gone for good: brambled swarm recover (docs/cluster.md)"
		return out
	}
	out.Why = out.Waits[0]
	if i := slices.IndexFunc(waits, func(w plan.Wait) bool { return needsPerson(w.For) }); i >= 0 {
		out.State, out.Why = Failed, out.Waits[i]
	}
	return out
}

// print writes the lines about the Swarm itself: the managers and what they bear, and each wait.
func (q *Quorum) print(w io.Writer, node string) {
	if len(q.Managers) > 0 {
		fmt.Fprintf(w, "SWARM: %s\n", q.line())
	} else {
		fmt.Fprintf(w, "SWARM on %s: %s: %s\n", node, q.State, Clean(q.Why))
	}
	for _, wait := range q.Waits {
		if len(q.Managers) > 0 || wait != q.Why {
			fmt.Fprintf(w, "  %s\n", Clean(wait))
		}
	}
}

// line is the managers on one line: "managers pi1 (leads), pi2, pi3 (away); 2 needed: …".
func (q *Quorum) line() string {
	var names []string
	for _, m := range q.Managers {
		name := Clean(m.Name)
		switch {
		case !m.Reachable:
			name += " (away)"
		case m.Leader:
			name += " (leads)"
		}
		names = append(names, name)
	}
	text := fmt.Sprintf("managers %s; %d of %d needed: %s", strings.Join(names, ", "), q.Needed, len(names), q.bears())
	if !q.Managed {
		text += " (not managed: brambled did not form it)"
	}
	return text
}
