package node

import (
	"fmt"

	"github.com/brambled/brambled/reconciler/plan"
)

// cutOff plans a replica that may run only while the other nodes see this one, and reports whether it is such a time now.
// Without it a node that is cut off goes on writing while somebody else has taken its place.
//
// Nothing of it is started, replaced or repaired until this node is seen again; what runs is stopped when that lasts. A
// successor that has yet to pass its gate is dropped: stopped, it would count as failed, and it has not had its chance.
func (p *planner) cutOff(s *slot) bool {
	limit := s.svc.StopWhenCutOff
	switch {
	case limit <= 0 || p.o.CutOff <= 0:
		return false
	case p.o.CutOff < limit:
		p.wait(s.subject(), plan.WaitContact, fmt.Sprintf("stopped if that lasts %s (x-brambled.stop_when_cut_off)", limit))
		p.wakeAfter(limit - p.o.CutOff)
		return true
	}
	var steps []plan.Step
	for _, c := range p.slots[s.slotID] {
		switch remembered := p.d.Remembered(s.owner); {
		case remembered && c.Hash != s.hash(): // perhaps newer than what is remembered, and nobody knows whether it may run
		case s.prev != nil && s.cur != nil && c.ID == s.cur.ID && !remembered:
			steps = append(steps, discardKeeping(c, plan.ReasonContact)...)
		default:
			steps = append(steps, retire(c, plan.ReasonContact)...)
		}
	}
	p.wait(s.subject(), plan.WaitContact, fmt.Sprintf("stopped after %s without; it starts when Consul can be reached again (x-brambled.stop_when_cut_off)", limit))
	p.add(s.lane(), s.subject(), s.goal, steps...)
	return true
}
