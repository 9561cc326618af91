package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// The names of the containers of one replica: the one in charge has the canonical name that Compose gives it.
const (
	// SuffixPrevious is put behind the name of a predecessor while its successor has not passed its gate.
	SuffixPrevious = ".prev"
	// SuffixFailed is put behind the name of a successor that did not pass. It stays, stopped: its log is the evidence and
	// its hash label the memory of the verdict, kept by the engine through any crash. Removing it means: try again.
	SuffixFailed = ".failed"
)

// ContainerName is the canonical name of a replica's container.
func ContainerName(stack string, svc spec.Service, replica int) string {
	if svc.Container.Name != "" {
		return svc.Container.Name
	}
	return fmt.Sprintf("%s-%s-%d", stack, svc.Name, replica)
}

// slot is one desired replica with the containers that are there for it.
type slot struct {
	slotID
	st   spec.Stack
	svc  spec.Service
	name string // canonical

	cur    *Container  // has the canonical name
	prev   *Container  // predecessor that is kept until cur passed
	failed *Container  // successor that did not pass
	spare  []Container // whatever else carries the replica's labels

	// goal is what the slot's lane works toward: the hash, or a roll back from it. They fail and back off apart, so that a
	// successor which cannot be started is rolled back at once.
	goal string
	// held is why the replica is not replaced now though it is stale; nil when it may be.
	held *plan.Wait
	// alone is true while another replica of the service is on its way: this one, sick as it is, may be all that answers.
	alone bool
}

// hash is what the replica should be made from.
func (s *slot) hash() string { return s.svc.Container.Hash }

// classify sorts the replica's containers into their roles by name. A container under a name nobody gave it counts as a
// predecessor (its container_name was changed) if there is no better one.
func (p *planner) classify(st spec.Stack, svc spec.Service, replica int) *slot {
	s := &slot{
		slotID: slotID{st.Owner, st.Name, svc.Name, replica},
		st:     st, svc: svc, name: ContainerName(st.Name, svc, replica),
	}
	var others []Container
	for _, c := range p.slots[s.slotID] {
		switch {
		case c.Name == s.name:
			s.cur = &c
		case strings.HasSuffix(c.Name, SuffixFailed):
			if s.failed == nil || c.Name == s.name+SuffixFailed {
				if s.failed != nil {
					s.spare = append(s.spare, *s.failed)
				}
				s.failed = &c
			} else {
				s.spare = append(s.spare, c)
			}
		default:
			others = append(others, c)
		}
	}
	for _, c := range others {
		if s.prev == nil || better(c, *s.prev, s.name+SuffixPrevious) {
			if s.prev != nil {
				s.spare = append(s.spare, *s.prev)
			}
			s.prev = &c
		} else {
			s.spare = append(s.spare, c)
		}
	}
	return s
}

// better reports whether a is the better predecessor: the one that runs, then the one with the name we gave.
func better(a, b Container, name string) bool {
	if (a.State == Running) != (b.State == Running) {
		return a.State == Running
	}
	return a.Name == name && b.Name != name
}

// planService plans each replica. Replicas of one service are replaced in turn, as many at a time as the update policy
// says: together they are what keeps the service answering.
func (p *planner) planService(st spec.Stack, svc spec.Service) {
	slots := make([]*slot, 0, svc.Replicas)
	bad := ""
	for n := 1; n <= svc.Replicas; n++ {
		s := p.classify(st, svc, n)
		slots = append(slots, s)
		if p.condemned(s) {
			bad = s.subject()
		}
	}
	elsewhere := p.elsewhere(st, svc, slots)
	moving, rising := p.underWay(slots)
	limit := svc.Update.Parallelism
	if limit <= 0 {
		limit = svc.Replicas
	}
	for _, s := range slots {
		switch running := s.cur != nil && s.cur.State == Running && s.prev == nil; {
		case bad != "" && bad != s.subject():
			s.held = &plan.Wait{For: plan.WaitFailed, Detail: bad + " failed with this revision"}
		case elsewhere != nil:
			s.held = elsewhere
		case running && s.stale() && moving >= limit:
			s.held = &plan.Wait{For: plan.WaitGate, Detail: "another replica is being replaced"}
		}
		fresh := s.stale() && s.prev == nil && s.held == nil
		s.alone = rising > 0
		planned := p.planSlot(s)
		if planned && fresh {
			moving++
		}
		if planned {
			rising++
		}
	}
}

// elsewhere is the wait of a service whose desired version failed on another node; nil when it did not.
func (p *planner) elsewhere(st spec.Stack, svc spec.Service, slots []*slot) *plan.Wait {
	t := p.permit(st, svc)
	if t == nil {
		return nil
	}
	if t.slots = slots; t.failed == nil {
		return nil
	}
	w := p.without(t)
	return &w
}

// underWay counts the replicas that are being replaced, and those that have not become healthy since their start.
func (p *planner) underWay(slots []*slot) (moving, rising int) {
	for _, s := range slots {
		busy := p.o.Busy[s.lane()]
		if s.prev != nil || busy {
			moving++
		}
		if busy || s.cur != nil && s.cur.State == Running && s.cur.Health == Starting {
			rising++
		}
	}
	return moving, rising
}

// condemned reports whether the desired hash is known to fail in this replica.
func (p *planner) condemned(s *slot) bool {
	if s.failed != nil && p.forgiven(*s.failed) || s.cur != nil && p.forgiven(*s.cur) {
		return false
	}
	if s.failed != nil && s.failed.Hash == s.hash() {
		return true
	}
	if s.cur == nil || s.prev == nil || s.stale() || s.svc.Restart.Job() || s.svc.Update.FailureAction == spec.Continue {
		return false
	}
	v, _ := s.judge(*s.cur)
	return v == failed
}

// stale reports whether the replica runs something else than what is desired.
func (s *slot) stale() bool { return s.cur != nil && s.cur.Hash != s.hash() }

// planSlot plans one replica and reports whether it got a lane.
func (p *planner) planSlot(s *slot) bool {
	key := s.lane()
	if p.o.Busy[key] {
		p.wait(s.subject(), plan.WaitLane, "")
		return false
	}
	if p.newer(s) {
		return false
	}
	s.goal = s.hash()
	if p.drained(s) || p.cutOff(s) {
		return p.lanes[key].Key != ""
	}
	steps := p.slotSteps(s)
	p.add(key, s.subject(), s.goal, steps...)
	return p.lanes[key].Key != ""
}

// newer notes a container made under a newer schema, which only a newer brambled understands.
func (p *planner) newer(s *slot) bool {
	for _, c := range p.slots[s.slotID] {
		if spec.HashSchema(c.Hash) > spec.Schema {
			p.wait(s.subject(), plan.WaitNewer, c.Name+" was made under schema "+strings.SplitN(c.Hash, ":", 2)[0])
			return true
		}
	}
	return false
}

// slotSteps is the decision table of a replica. Left-overs are cleared only along with other work or when all is settled,
// never in place of it.
func (p *planner) slotSteps(s *slot) []plan.Step {
	var steps []plan.Step
	for _, c := range s.spare {
		if !p.d.Remembered(s.owner) {
			steps = append(steps, discard(c, plan.ReasonDuplicate)...)
		}
	}
	switch {
	case s.failed != nil && p.forgiven(*s.failed):
		steps = append(steps, discard(*s.failed, plan.ReasonRetry)...)
	case s.failed != nil && s.failed.Hash == s.hash() && !(s.cur != nil && s.cur.Hash == s.hash()):
		return append(steps, p.afterFailure(s)...)
	case p.d.Remembered(s.owner) && s.unknown():
		return p.recalled(s)
	case s.failed != nil:
		steps = append(steps, discard(*s.failed, plan.ReasonSuperseded)...)
	}
	switch {
	case s.cur == nil && s.prev == nil:
		return append(steps, p.create(s)...)
	case s.cur == nil && s.prev.Hash == s.hash():
		return append(steps, p.reinstate(s, *s.prev, plan.ReasonChanged)...)
	case s.cur == nil && s.held != nil:
		p.wait(s.subject(), s.held.For, s.held.Detail)
		return append(steps, p.reinstate(s, *s.prev, plan.ReasonRollback)...)
	case s.cur == nil:
		return append(steps, p.succeed(s, *s.prev)...)
	case s.stale() && s.prev != nil:
		return append(steps, p.abandon(s)...)
	case s.stale() && s.held != nil:
		p.wait(s.subject(), s.held.For, s.held.Detail)
		return append(steps, p.keepRunning(s, *s.cur)...)
	case s.stale():
		return append(steps, p.replace(s)...)
	case s.prev != nil:
		return append(steps, p.gate(s)...)
	}
	return append(steps, p.settle(s)...)
}

// settle keeps a container that is the desired one as it should be: running, on its networks, with its restart policy.
func (p *planner) settle(s *slot) []plan.Step {
	c := *s.cur
	switch c.State {
	case Removing:
		p.wait(s.subject(), plan.WaitRemoval, c.Name)
		return nil
	case Dead:
		if !p.ready(s, false) {
			return nil
		}
		return append([]plan.Step{step(plan.Remove{ID: c.ID, Name: c.Name, KeepVolumes: true}, plan.ReasonDead)}, p.createSteps(s, plan.ReasonDead, c.ID)...)
	case Restarting:
		p.wait(s.subject(), plan.WaitEngine, fmt.Sprintf("exited with %d, restarted %d times", c.ExitCode, c.RestartCount))
		return nil
	case Paused:
		p.wait(s.subject(), plan.WaitForeign, c.Name+" is paused; docker unpause "+c.Name)
		return nil
	case Created:
		if !p.dependencies(s) {
			return nil
		}
		return append(p.repair(s, c), step(plan.Start{ID: c.ID, Name: c.Name}, plan.ReasonMissing))
	case Exited:
		return p.exited(s, c)
	case Running:
		return p.running(s, c)
	}
	return nil
}

// running repairs a container that runs; one that lacks nothing is restarted where its dependency or its health asks for it.
func (p *planner) running(s *slot, c Container) []plan.Step {
	if steps := p.repair(s, c); len(steps) > 0 {
		return steps
	}
	if p.dependencyReplaced(s, c) && p.mayDisrupt(s, c) {
		return restart(c, plan.ReasonDependency)
	}
	return p.heal(s, c)
}

// restart stops and starts a container, which stays the container it is.
func restart(c Container, why plan.Reason) []plan.Step {
	return []plan.Step{step(plan.Stop{ID: c.ID, Name: c.Name}, why), step(plan.Start{ID: c.ID, Name: c.Name}, why)}
}

// exited starts a service that should run; a job is done or failed.
func (p *planner) exited(s *slot, c Container) []plan.Step {
	if p.wakes(s, c) {
		return p.comeBack(s, c)
	}
	if s.svc.Restart.Job() {
		if c.ExitCode != 0 && p.forgiven(c) && p.ready(s, false) {
			return append(discardKeeping(c, plan.ReasonRetry), p.createSteps(s, plan.ReasonRetry, c.ID)...)
		}
		if c.ExitCode != 0 {
			p.wait(s.subject(), plan.WaitFailed, fmt.Sprintf("job exited with %d", c.ExitCode))
		}
		return nil
	}
	return append(p.repair(s, c), p.startAgain(s, c)...)
}

// repair puts a container back on the networks it lost and gives it its restart policy back.
func (p *planner) repair(s *slot, c Container) []plan.Step {
	var steps []plan.Step
	for _, at := range s.svc.Container.Networks {
		if contains(c.Networks, at.Network) {
			continue
		}
		if !p.haveNetwork(at.Network) {
			p.wait(s.subject(), plan.WaitNetwork, at.Network)
			continue
		}
		steps = append(steps, step(plan.Connect{Container: c.ID, Name: c.Name, Attachment: at}, plan.ReasonCutOff))
	}
	return append(steps, restorePolicy(c)...)
}

// restorePolicy sets the engine's restart policy back to the one the container was created with.
func restorePolicy(c Container) []plan.Step {
	if c.WantPolicy == "" || (c.Policy == c.WantPolicy && c.PolicyMax == c.WantPolicyMax) {
		return nil
	}
	return []plan.Step{step(plan.SetRestart{ID: c.ID, Name: c.Name, Policy: c.WantPolicy, Max: c.WantPolicyMax}, plan.ReasonPolicy)}
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}
