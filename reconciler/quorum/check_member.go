package quorum

import (
	"errors"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// CheckMember is [Check] for the plan of one node about its own part.
func CheckMember(d spec.Quorum, m Member, p plan.Plan) error {
	c := checker{d: d}
	for _, l := range p.Lanes {
		if m.Busy[l.Key] {
			c.fault(l.Key, "", "lane still runs")
		}
		if len(l.Steps) != 1 || len(p.Lanes) != 1 {
			c.fault(l.Key, "", "more or less than one step")
		}
		for _, s := range l.Steps {
			if problem := mayMember(d, m, s.Action); problem != "" {
				c.fault(l.Key, s.Action.String(), problem)
			}
		}
	}
	return errors.Join(c.errs...)
}

func mayMember(d spec.Quorum, m Member, a plan.Action) string {
	if !d.Manage || d.Cluster == "" || m.Record.Cluster != d.Cluster || m.Record.SwarmID == "" {
		return "there is no Swarm of ours (rules 1 and 3)"
	}
	switch a := a.(type) {
	case plan.JoinSwarm:
		switch {
		case m.State != Inactive:
			return "the engine is in a Swarm"
		case a.Swarm != m.Record.SwarmID || !m.Record.Token || a.Node != m.Node || d.Node(m.Node).Gone:
			return "it was not invited"
		}
		return ""
	case plan.LeaveSwarm:
		return mayLeave(d, m, a)
	default:
		return "no action of a node on its own part"
	}
}

// mayLeave holds that a node leaves as a worker, and a Swarm that is or was ours.
func mayLeave(d spec.Quorum, m Member, a plan.LeaveSwarm) string {
	ours := m.Swarm == m.Record.SwarmID
	switch {
	case m.Manager:
		return "it is a manager (rule 8: never by force)"
	case a.ID != m.ID || a.Swarm != m.Swarm || m.State == Inactive:
		return "not the Swarm that was observed"
	case slices.Contains(m.Record.Former, m.Swarm), ours && d.Node(m.Node).Gone, ours && m.Expired && (m.Left == 0 || m.Left >= again):
		return ""
	case ours && m.State == Errored && m.StrandedFor >= Patience && !m.seated():
		return ""
	case m.State != Active && (ours || m.Swarm == "") && slices.Contains(m.Record.Removed, m.ID):
		return ""
	}
	return "it has a place there, or the Swarm is not ours (rule 3: ownership)"
}
