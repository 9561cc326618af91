package dockertest

import (
	"cmp"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	swarmapi "github.com/moby/moby/api/types/swarm"
)

// follow makes the tasks what the service says, at once: those of another template are replaced, those that are missing made,
// those that are too many shut down. A version whose tasks fail is paused or rolled back as the service has it.
func (s *Server) follow(svc *swarmapi.Service) {
	places := s.places(svc)
	replaced, failed := false, (*swarmapi.Task)(nil)
	for _, t := range s.tasksOf(svc) {
		if !slices.Contains(places, placeOf(t)) {
			s.shut(t)
		}
	}
	for _, p := range places {
		old := s.runningAt(svc, p)
		if old != nil && !dirty(svc, old) {
			continue
		}
		if old != nil {
			if s.swarm.held {
				s.status(svc, swarmapi.UpdateStateUpdating, "update in progress")
				return
			}
			replaced = true
			s.shut(old)
		}
		if t := s.addTask(svc, p); t.Status.State == swarmapi.TaskStateFailed {
			failed = t
		}
	}
	s.settle(svc, replaced, failed)
}

// settle ends an update as its tasks went.
func (s *Server) settle(svc *swarmapi.Service, replaced bool, failed *swarmapi.Task) {
	back := svc.UpdateStatus != nil && svc.UpdateStatus.State == swarmapi.UpdateStateRollbackStarted
	action := swarmapi.UpdateFailureActionPause // Swarm's default
	if svc.Spec.UpdateConfig != nil {
		action = cmp.Or(svc.Spec.UpdateConfig.FailureAction, action)
	}
	switch {
	case back && failed != nil:
		s.status(svc, swarmapi.UpdateStateRollbackPaused, "update paused due to failure or early termination of task "+failed.ID)
	case back:
		s.status(svc, swarmapi.UpdateStateRollbackCompleted, "rollback completed")
	case !replaced:
	case failed != nil && action == swarmapi.UpdateFailureActionRollback:
		s.rollBack(svc, failed)
	case failed != nil && action == swarmapi.UpdateFailureActionPause:
		s.status(svc, swarmapi.UpdateStatePaused, "update paused due to failure or early termination of task "+failed.ID)
	default:
		s.status(svc, swarmapi.UpdateStateCompleted, "update completed")
	}
}

// place is where a task belongs: a slot, or a node for a global service.
type place struct {
	slot int
	node string
}

func placeOf(t *swarmapi.Task) place {
	if t.Slot > 0 {
		return place{slot: t.Slot}
	}
	return place{node: t.NodeID}
}

func (s *Server) places(svc *swarmapi.Service) []place {
	var out []place
	count := uint64(1)
	switch m := svc.Spec.Mode; {
	case m.Global != nil || m.GlobalJob != nil:
		for _, n := range s.eligible() {
			out = append(out, place{node: n.ID})
		}
		return out
	case m.ReplicatedJob != nil:
		count = *cmp.Or(m.ReplicatedJob.TotalCompletions, m.ReplicatedJob.MaxConcurrent, &count)
	default:
		count = *m.Replicated.Replicas
	}
	for i := range int(count) { //nolint:gosec // a test's count
		out = append(out, place{slot: i + 1})
	}
	return out
}

// eligible are the nodes that take tasks.
func (s *Server) eligible() []*swarmapi.Node {
	return slices.DeleteFunc(values(s.swarm.nodes), func(n *swarmapi.Node) bool {
		return n.Status.State != swarmapi.NodeStateReady || n.Spec.Availability != swarmapi.NodeAvailabilityActive
	})
}

// tasksOf are the tasks of a service that are not shut down.
func (s *Server) tasksOf(svc *swarmapi.Service) []*swarmapi.Task {
	var out []*swarmapi.Task
	for _, t := range s.swarm.tasks {
		if t.ServiceID == svc.ID && t.DesiredState != swarmapi.TaskStateShutdown {
			out = append(out, t)
		}
	}
	return out
}

func (s *Server) runningAt(svc *swarmapi.Service, p place) *swarmapi.Task {
	for _, t := range s.tasksOf(svc) {
		if placeOf(t) == p {
			return t
		}
	}
	return nil
}

// dirty reports whether a task is of another template than its service's.
func dirty(svc *swarmapi.Service, t *swarmapi.Task) bool {
	want := svc.Spec.TaskTemplate
	want.Runtime = ""
	iteration := t.JobIteration != nil && *t.JobIteration != svc.JobStatus.JobIteration
	return iteration || !reflect.DeepEqual(want, t.Spec)
}

// addTask makes a task, which runs at once where it can.
func (s *Server) addTask(svc *swarmapi.Service, p place) *swarmapi.Task {
	s.ticks++
	t := &swarmapi.Task{
		ID: s.swarmID("task"), ServiceID: svc.ID, Slot: p.slot, NodeID: p.node, Spec: svc.Spec.TaskTemplate,
		DesiredState: swarmapi.TaskStateRunning, Status: swarmapi.TaskStatus{State: swarmapi.TaskStatePending},
	}
	t.CreatedAt = time.Time{}.Add(time.Duration(s.ticks) * time.Second)
	t.Spec.Runtime = ""
	t.NetworksAttachments = s.attachments(t.Spec.Networks)
	if svc.JobStatus != nil {
		t.DesiredState, t.JobIteration = swarmapi.TaskStateComplete, new(svc.JobStatus.JobIteration)
	}
	s.swarm.tasks = append(s.swarm.tasks, t)
	if nodes := s.eligible(); p.node == "" && len(nodes) > 0 {
		t.NodeID = nodes[(p.slot-1)%len(nodes)].ID
	}
	if t.NodeID != "" {
		s.runTask(svc, t)
	}
	s.swarm.write(&t.Meta)
	return t
}

// runTask runs a task to where its command leads: the hello image ends with "-exit N", else stays.
func (s *Server) runTask(svc *swarmapi.Service, t *swarmapi.Task) {
	t.Status.State = swarmapi.TaskStateRunning
	c := &ctr{
		id: s.id("container"), name: taskName(svc, t), number: s.ticks, state: container.StateRunning,
		ends: map[string]*network.EndpointSettings{}, started: "2026-01-01T00:00:00Z",
	}
	c.config = container.Config{Image: t.Spec.ContainerSpec.Image, Cmd: t.Spec.ContainerSpec.Args, Labels: taskLabels(svc, t)}
	t.Status.ContainerStatus = &swarmapi.ContainerStatus{ContainerID: c.id, PID: 1}
	code, ends := c.exitFlag()
	if ends {
		c.state, c.exit = container.StateExited, code
		t.Status.State = swarmapi.TaskStateComplete
		t.Status.ContainerStatus.ExitCode = code
	}
	if ends && code != 0 {
		t.Status.State, t.Status.Err = swarmapi.TaskStateFailed, "task: non-zero exit ("+strconv.Itoa(code)+")"
	}
	if t.NodeID == s.swarm.self {
		s.containers[c.id] = c
		s.event(events.ContainerEventType, events.ActionStart, c.id, c.name)
	}
}

// shut ends a task and keeps it as history.
func (s *Server) shut(t *swarmapi.Task) {
	t.DesiredState = swarmapi.TaskStateShutdown
	if t.Status.State == swarmapi.TaskStateRunning || t.Status.State == swarmapi.TaskStatePending {
		t.Status.State = swarmapi.TaskStateShutdown
	}
	s.swarm.write(&t.Meta)
	if c := s.taskContainer(t); c != nil && c.state == container.StateRunning {
		s.exited(c, 0)
	}
}

func (s *Server) taskContainer(t *swarmapi.Task) *ctr {
	if t.Status.ContainerStatus == nil {
		return nil
	}
	return s.containers[t.Status.ContainerStatus.ContainerID]
}

func (s *Server) removeTaskContainer(t *swarmapi.Task) {
	if c := s.taskContainer(t); c != nil {
		delete(s.containers, c.id)
		s.event(events.ContainerEventType, events.ActionDestroy, c.id, c.name)
	}
}

// dropTasks takes tasks out of the Swarm with their containers.
func (s *Server) dropTasks(which func(*swarmapi.Task) bool) {
	s.swarm.tasks = slices.DeleteFunc(s.swarm.tasks, func(t *swarmapi.Task) bool {
		if !which(t) {
			return false
		}
		s.removeTaskContainer(t)
		return true
	})
}

// ForgetTasks drops the history, as Swarm does after so many tasks of a slot.
func (s *Server) ForgetTasks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropTasks(func(t *swarmapi.Task) bool { return t.DesiredState == swarmapi.TaskStateShutdown })
}

// SetTasks changes the tasks of a service that are not shut down, as Swarm would.
func (s *Server) SetTasks(service string, change func(*swarmapi.Task)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	svc := s.service(service)
	if svc == nil {
		s.t.Fatalf("fake Swarm: no service %s", service)
	}
	for _, t := range s.tasksOf(svc) {
		change(t)
		s.swarm.write(&t.Meta)
	}
}

func (s *Server) listTasks(w http.ResponseWriter, _ *http.Request) {
	out := []swarmapi.Task{}
	for _, t := range s.swarm.tasks {
		out = append(out, *t)
	}
	reply(w, 200, out)
}
