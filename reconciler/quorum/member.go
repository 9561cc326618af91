package quorum

import (
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// again is how long a node waits before it once more leaves and rejoins because its certificate has expired: where the clock is
// wrong, a new one is no better.
const again = time.Hour

// Patience is how long a node may be stranded on its way to a seat before it leaves and joins anew: in that time its engine has
// tried half a dozen times.
const Patience = 15 * time.Second

// PlanMember says what one node does about its own part in the Swarm: it joins as a worker when the store invites, and leaves
// only as a worker, and only a Swarm that is or was ours. Everything else is said, with its cure, and left to a person.
func PlanMember(d spec.Quorum, m Member) plan.Plan {
	p := &planner{d: d, busy: m.Busy, failures: m.Failures, lanes: map[string]plan.Lane{}}
	switch {
	case !d.Manage || d.Cluster == "" || m.Record.SwarmID == "" || m.Record.Cluster != d.Cluster:
		// no sound state, or no Swarm of ours: a node that is in one is there by a person's doing
	case m.State == Inactive:
		p.join(m)
	case m.State == Unknown:
	default:
		p.stay(m)
	}
	return p.finish()
}

// join joins as a worker. A manager is made by promotion only.
func (p *planner) join(m Member) {
	switch {
	case p.d.Node(m.Node).Gone:
		p.wait("swarm", plan.WaitForeign, "a person removed this node from the cluster; brambled node rm --undo "+m.Node+" lets it join again")
	case !m.Record.Token || len(m.Record.Managers) == 0 || m.Address == "":
		p.wait("swarm", plan.WaitInvitation, "")
	default:
		p.add(laneMember, "swarm", "join "+m.Record.SwarmID, plan.Step{
			Action: plan.JoinSwarm{Swarm: m.Record.SwarmID, Node: m.Node, Address: m.Address, Managers: m.Record.Managers}, Reason: plan.ReasonInvited,
		})
	}
}

// stay looks at an engine that is in a Swarm, and leaves where that is ours to do.
func (p *planner) stay(m Member) {
	ours, other := m.Swarm == m.Record.SwarmID, m.Swarm != "" && m.Swarm != m.Record.SwarmID
	former := other && slices.Contains(m.Record.Former, m.Swarm)
	switch {
	case m.State == Locked:
		p.wait("swarm", plan.WaitForeign, "the Swarm is locked, which does not go with a Pi that boots unattended; docker swarm unlock, then docker swarm update --autolock=false")
	case other && former && !m.Manager:
		p.leave(m, plan.ReasonFormerSwarm)
	case other:
		p.wait("swarm", plan.WaitForeign, "this engine is in Swarm "+m.Swarm+" and the cluster's is "+m.Record.SwarmID+"; docker swarm leave has it join that")
	case m.Manager && slices.Contains(m.Record.Removed, m.ID):
		p.wait("swarm", plan.WaitForeign, "the Swarm has removed this node while it was away, and its engine still takes itself for a manager; docker swarm leave --force")
	case p.d.Node(m.Node).Gone && m.Manager:
		p.wait("swarm", plan.WaitNode, "this node was removed by a person and still has its seat; the leader moves it")
	case p.d.Node(m.Node).Gone && ours:
		p.leave(m, plan.ReasonGone)
	case p.d.Node(m.Node).Gone:
		p.wait("swarm", plan.WaitForeign, "this node was removed by a person, and it is not known which Swarm it is in; docker swarm leave")
	case m.State != Active && !m.Manager && m.ID != "" && slices.Contains(m.Record.Removed, m.ID):
		p.leave(m, plan.ReasonOutcast)
	case m.State == Errored:
		p.broken(m)
	case m.State == Pending:
		p.wait("swarm", plan.WaitSwarm, "the engine has not reached a manager yet")
		p.wakeAfter(poll)
	}
}

// broken deals with an engine whose part in the Swarm is an error. A worker whose certificate has expired leaves and joins anew,
// once an hour; one that has a seat keeps it until the others have taken it, which needs their quorum. One that is stranded on its
// way to a seat is a worker yet, and joins anew by managers that are there.
func (p *planner) broken(m Member) {
	switch seat := m.seated(); {
	case m.StrandedFor > 0 && !seat && m.Swarm == m.Record.SwarmID && m.StrandedFor < Patience:
		p.wait("swarm", plan.WaitSwarm, "the engine was to become a manager and reaches none; if that lasts it joins anew")
		p.wakeAfter(Patience - m.StrandedFor)
	case m.StrandedFor > 0 && !seat && m.Swarm == m.Record.SwarmID:
		p.leave(m, plan.ReasonStranded)
	case m.StrandedFor > 0 && seat:
		p.wait("swarm", plan.WaitForeign, "this manager's engine asks only the manager by which it once joined, and that one does not answer; systemctl restart docker has it ask the others")
	case m.Expired && m.Swarm == "":
		p.wait("swarm", plan.WaitForeign, "the certificate has expired, and it is not known of which Swarm; docker swarm leave has it join anew")
	case m.Expired && !seat && m.Left > 0 && m.Left < again:
		p.wait("swarm", plan.WaitBackoff, "the certificate has expired although it is new: is the clock right? tried again in "+about(again-m.Left))
		p.wakeAfter(again - m.Left)
	case m.Expired && !seat:
		p.leave(m, plan.ReasonExpired)
	case m.Expired:
		p.wait("swarm", plan.WaitForeign, "the certificate of this manager has expired. It joins anew once another node has its seat; if the others have no quorum: docs/cluster.md")
	default:
		p.wait("swarm", plan.WaitForeign, "the engine says: "+m.Err)
	}
}

// seated reports whether the store names this node among the managers.
func (m Member) seated() bool {
	return slices.ContainsFunc(m.Record.Managers, func(a string) bool { return host(a) == m.Address })
}

func (p *planner) leave(m Member, why plan.Reason) {
	p.add(laneMember, "swarm", "leave "+m.ID, plan.Step{Action: plan.LeaveSwarm{Swarm: m.Swarm, Node: m.Node, ID: m.ID}, Reason: why})
}

// host is the host of "host:port" and "[host]:port".
func host(address string) string {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' {
			address = address[:i]
			break
		}
	}
	if len(address) > 1 && address[0] == '[' {
		return address[1 : len(address)-1]
	}
	return address
}
