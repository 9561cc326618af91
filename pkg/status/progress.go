package status

import (
	"fmt"
	"slices"
)

// Worst is the worst state of a stack over all reports, and whether any report has it. Where the stack is "" it is that of all
// stacks and of the Swarm itself.
func Worst(nodes []Node, stack string) (State, bool) {
	worst, found := Converged, false
	for _, n := range nodes {
		if n.Quorum != nil && stack == "" {
			worst = worse(worst, n.Quorum.State)
		}
		for _, st := range n.Stacks {
			if st.Name == stack || stack == "" {
				worst, found = worse(worst, st.State), true
			}
		}
	}
	return worst, found
}

// Progress says how a stack fares on its way to the version written at an index, and whether that is its end: converged,
// held or failed. A Pi that has not taken in that version yet keeps it going, whatever it says of an older one.
func Progress(nodes []Node, stack string, index uint64) (State, bool) {
	worst, seen := Converged, false
	inSwarm, reported := false, false
	for _, n := range nodes {
		st, ok := n.Stack(stack)
		if n.Node == SwarmNode && n.Leader != "" {
			if reported = ok && st.Index >= index; reported {
				worst = worse(worst, st.State)
			}
			continue
		}
		if !ok || st.Index < index {
			return Converging, false
		}
		inSwarm = inSwarm || slices.ContainsFunc(st.Services, func(s Service) bool { return s.Swarm })
		worst, seen = worse(worst, st.State), true
	}
	if inSwarm && !reported { // the leader has not taken it in, or there is none
		return Converging, false
	}
	return worst, seen && (worst == Converged || worst == Held || worst == Failed)
}

// Summary is a stack on one line: how many containers run, and the first thing that is waited for.
func Summary(nodes []Node, stack string) string {
	desired, running := 0, 0
	why := ""
	for _, r := range rows(nodes, stack, "") {
		if r.svc.State == Elsewhere {
			continue
		}
		if r.svc.State != Done && r.svc.State != Drained { // neither is a container that is missing
			desired, running = desired+r.svc.Desired, running+r.svc.Running
		}
		if why == "" && !r.svc.State.ok() {
			why = FirstLine(r.sentence())
		}
	}
	state, found := Worst(nodes, stack)
	if !found {
		return stack + ": no node has taken it in yet"
	}
	out := fmt.Sprintf("%s: %s, %d of %d running", stack, state, running, desired)
	if why != "" {
		out += ": " + why
	}
	return Clean(out)
}
