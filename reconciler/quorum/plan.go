package quorum

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// Settle is how long a new manager must be seen reachable before the next change: one that joins and fails at once must not be
// followed by another.
const Settle = 10 * time.Second

// DefaultReadyFor is how long a node is Ready before it may become a manager, where nothing else is said.
const DefaultReadyFor = time.Minute

// poll is when to look again at what Swarm carries out in the background; it retries every five seconds.
const poll = 5 * time.Second

// Plan says what the leader does next about the Swarm itself, why, and what is waited for. It is level-based: it looks at how
// things are, never at what happened, so any interrupted change is taken up where it stands.
//
// Without a sound state it does nothing, without quorum and in a Swarm that is not ours it does nothing and says so.
func Plan(d spec.Quorum, o Observed) plan.Plan {
	p := newPlanner(d, o)
	switch {
	case !d.Manage:
	case d.Cluster == "":
		if p.concerns() {
			p.wait("swarm", plan.WaitStore, "nothing about the Swarm is changed before a sound read")
		}
	case o.State == Inactive:
		p.form()
	case !o.Control:
		p.powerless()
	case p.ours():
		p.configure()
		p.publish()
		p.planNodes()
		p.planManagers()
	}
	return p.finish()
}

// concerns reports whether anybody wants to hear of the Swarm: the cluster has one of its own, or a stack wants one.
func (p *planner) concerns() bool { return p.d.Wanted || p.o.Record.SwarmID != "" }

// planner gathers one plan. It lives for one call of [Plan] or [PlanMember].
type planner struct {
	d        spec.Quorum
	o        Observed
	busy     map[string]bool
	failures map[string]Failure
	lanes    map[string]plan.Lane
	waits    []plan.Wait
	wake     time.Duration
}

func newPlanner(d spec.Quorum, o Observed) *planner {
	p := &planner{d: d, o: o, busy: o.Busy, failures: o.Failures, lanes: map[string]plan.Lane{}}
	p.o.Nodes = slices.Clone(o.Nodes)
	slices.SortFunc(p.o.Nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(p.o.Name(a), p.o.Name(b)), cmp.Compare(a.ID, b.ID))
	})
	p.o.Present = slices.Clone(o.Present)
	slices.SortFunc(p.o.Present, func(a, b Presence) int { return cmp.Compare(a.Name, b.Name) })
	return p
}

// add puts a lane into the plan unless it still runs or its last attempt toward the same goal is backing off; it then waits for
// that instead.
func (p *planner) add(key, subject, goal string, steps ...plan.Step) {
	if p.busy[key] {
		p.wait(subject, plan.WaitLane, "")
		return
	}
	if f, ok := p.failures[key]; ok && f.For == goal && f.RetryIn > 0 {
		p.wait(subject, plan.WaitBackoff, fmt.Sprintf("%s: %s", f.Step, f.Err))
		p.wakeAfter(f.RetryIn)
		return
	}
	if p.lanes[key].Key == "" {
		p.lanes[key] = plan.Lane{Key: key, For: goal, Steps: steps}
	}
}

// moving reports whether a lane runs or is about to.
func (p *planner) moving(key string) bool { return p.busy[key] || p.lanes[key].Key != "" }

func (p *planner) wait(subject string, what plan.WaitFor, detail string) {
	p.waits = append(p.waits, plan.Wait{Subject: subject, For: what, Detail: detail})
}

func (p *planner) wakeAfter(d time.Duration) {
	if d > 0 && (p.wake == 0 || d < p.wake) {
		p.wake = d
	}
}

func (p *planner) finish() plan.Plan {
	out := plan.Plan{WakeAfter: p.wake, Waits: p.waits}
	for _, l := range p.lanes {
		out.Lanes = append(out.Lanes, l)
	}
	slices.SortFunc(out.Lanes, func(a, b plan.Lane) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(out.Waits, func(a, b plan.Wait) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.For, b.For), cmp.Compare(a.Detail, b.Detail))
	})
	out.Waits = slices.Compact(out.Waits)
	return out
}

// about is a time as a person is told it: a wait that is reported must not change with every look.
func about(d time.Duration) string {
	unit := 10 * time.Second
	if d > 2*time.Minute {
		unit = time.Minute
	}
	return ((d + unit - 1) / unit * unit).String()
}
