package dockertest

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	swarmapi "github.com/moby/moby/api/types/swarm"
)

func serviceName(s *swarmapi.Service) string { return s.Spec.Name }

func (s *Server) service(key string) *swarmapi.Service {
	return object(s.swarm.services, key, serviceName)
}

func (s *Server) listServices(w http.ResponseWriter, r *http.Request) {
	out := []*swarmapi.Service{}
	names := filters(r)["name"]
	for _, svc := range values(s.swarm.services) {
		match := len(names) == 0
		for prefix := range names {
			match = match || strings.HasPrefix(svc.Spec.Name, prefix)
		}
		if match {
			out = append(out, svc)
		}
	}
	reply(w, 200, out)
}

func (s *Server) inspectService(w http.ResponseWriter, r *http.Request) {
	svc := s.service(r.PathValue("id"))
	if svc == nil {
		fail(w, http.StatusNotFound, "service "+r.PathValue("id")+" not found")
		return
	}
	reply(w, 200, svc)
}

func (s *Server) createService(w http.ResponseWriter, r *http.Request) {
	svc := &swarmapi.Service{ID: s.swarmID("service")}
	if !decode(w, r, &svc.Spec) || !s.accept(w, &svc.Spec) {
		return
	}
	if s.service(svc.Spec.Name) != nil {
		rpc(w, http.StatusConflict, "AlreadyExists", "name conflicts with an existing object: service "+svc.Spec.Name+" already exists")
		return
	}
	if svc.Spec.Mode.ReplicatedJob != nil || svc.Spec.Mode.GlobalJob != nil {
		svc.JobStatus = &swarmapi.JobStatus{}
	}
	s.swarm.write(&svc.Meta)
	s.swarm.services[svc.ID] = svc
	s.event(events.ServiceEventType, events.ActionCreate, svc.ID, svc.Spec.Name)
	s.follow(svc)
	reply(w, http.StatusCreated, swarmapi.ServiceCreateResponse{ID: svc.ID})
}

// accept checks a spec and completes it as a manager does.
func (s *Server) accept(w http.ResponseWriter, spec *swarmapi.ServiceSpec) bool {
	c := spec.TaskTemplate.ContainerSpec
	for _, ref := range c.Configs {
		if s.swarm.configs[ref.ConfigID] == nil {
			rpc(w, http.StatusBadRequest, "InvalidArgument", "config not found: "+ref.ConfigName)
			return false
		}
	}
	for _, ref := range c.Secrets {
		if s.swarm.secrets[ref.SecretID] == nil {
			rpc(w, http.StatusBadRequest, "InvalidArgument", "secret not found: "+ref.SecretName)
			return false
		}
	}
	for i, a := range spec.TaskTemplate.Networks {
		n := s.network(a.Target)
		switch {
		case a.Target == network.NetworkHost:
			spec.TaskTemplate.Networks[i].Target = predefined
		case n == nil || n.scope != "swarm":
			fail(w, http.StatusInternalServerError, "network "+a.Target+" not found")
			return false
		default:
			spec.TaskTemplate.Networks[i].Target = n.id
		}
	}
	spec.TaskTemplate.Runtime = swarmapi.RuntimeContainer
	if spec.Mode == (swarmapi.ServiceMode{}) {
		spec.Mode.Replicated = &swarmapi.ReplicatedService{}
	}
	if m := spec.Mode.Replicated; m != nil && m.Replicas == nil {
		m.Replicas = new(uint64(1))
	}
	return true
}

func (s *Server) updateService(w http.ResponseWriter, r *http.Request) {
	var spec swarmapi.ServiceSpec
	svc := s.service(r.PathValue("id"))
	if svc == nil {
		fail(w, http.StatusNotFound, "service "+r.PathValue("id")+" not found")
		return
	}
	if !decode(w, r, &spec) || !s.accept(w, &spec) {
		return
	}
	q := r.URL.Query()
	switch {
	case reflect.TypeOf(modeOf(svc.Spec.Mode)) != reflect.TypeOf(modeOf(spec.Mode)):
		rpc(w, http.StatusNotImplemented, "Unimplemented", "service mode change is not allowed")
	case svc.Spec.Name != spec.Name:
		rpc(w, http.StatusNotImplemented, "Unimplemented", "renaming services is not supported")
	case q.Get("version") != strconv.FormatUint(svc.Version.Index, 10):
		rpc(w, http.StatusInternalServerError, "Unknown", "update out of sequence")
	case q.Get("rollback") == "previous" && svc.PreviousSpec == nil:
		rpc(w, http.StatusBadRequest, "FailedPrecondition", "service "+svc.ID+" does not have a previous spec")
	default:
		s.changeService(svc, spec, q.Get("rollback") == "previous")
		reply(w, 200, swarmapi.ServiceUpdateResponse{})
	}
}

func modeOf(m swarmapi.ServiceMode) any {
	switch {
	case m.Global != nil:
		return *m.Global
	case m.GlobalJob != nil:
		return *m.GlobalJob
	case m.ReplicatedJob != nil:
		return *m.ReplicatedJob
	}
	return swarmapi.ReplicatedService{}
}

// changeService keeps the former version, as a person's rollback does; Swarm's own forgets the failed one, see rollBack.
func (s *Server) changeService(svc *swarmapi.Service, spec swarmapi.ServiceSpec, rollback bool) {
	former := svc.Spec
	if rollback {
		spec = *svc.PreviousSpec
	}
	svc.Spec, svc.PreviousSpec, svc.UpdateStatus = spec, &former, nil
	if rollback {
		svc.UpdateStatus = &swarmapi.UpdateStatus{State: swarmapi.UpdateStateRollbackStarted, Message: "manually requested rollback"}
	}
	if svc.JobStatus != nil {
		svc.JobStatus.JobIteration.Index++
	}
	s.swarm.write(&svc.Meta)
	s.event(events.ServiceEventType, events.ActionUpdate, svc.ID, svc.Spec.Name)
	s.follow(svc)
}

func (s *Server) removeService(w http.ResponseWriter, r *http.Request) {
	svc := s.service(r.PathValue("id"))
	if svc == nil {
		fail(w, http.StatusNotFound, "service "+r.PathValue("id")+" not found")
		return
	}
	delete(s.swarm.services, svc.ID)
	for _, t := range s.swarm.tasks {
		if t.ServiceID == svc.ID {
			t.DesiredState = swarmapi.TaskStateRemove
		}
	}
	s.tidy()
	s.event(events.ServiceEventType, events.ActionRemove, svc.ID, svc.Spec.Name)
	w.WriteHeader(http.StatusOK)
}

// tidy drops the tasks of services that are gone, unless they take their time.
func (s *Server) tidy() {
	if !s.swarm.held {
		s.dropTasks(func(t *swarmapi.Task) bool { return t.DesiredState == swarmapi.TaskStateRemove })
	}
}

// HoldUpdates keeps updates and the ends of removed services' tasks from making progress, or lets them go on.
func (s *Server) HoldUpdates(hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swarm.held = hold
	if hold {
		return
	}
	s.tidy()
	for _, svc := range values(s.swarm.services) {
		s.follow(svc)
	}
}

// SetService changes a service as another client, or Swarm, would: its version goes up.
func (s *Server) SetService(name string, change func(*swarmapi.Service)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	svc := s.service(name)
	if svc == nil {
		s.t.Fatalf("fake Swarm: no service %s", name)
	}
	change(svc)
	s.swarm.write(&svc.Meta)
	s.event(events.ServiceEventType, events.ActionUpdate, svc.ID, name)
}

// status sets how far an update is.
func (s *Server) status(svc *swarmapi.Service, state swarmapi.UpdateState, message string) {
	svc.UpdateStatus = &swarmapi.UpdateStatus{State: state, Message: message}
	s.swarm.write(&svc.Meta)
	s.event(events.ServiceEventType, events.ActionUpdate, svc.ID, svc.Spec.Name)
}

// rollBack puts the former version back and drops the failed one, as swarmkit's updater does.
func (s *Server) rollBack(svc *swarmapi.Service, failed *swarmapi.Task) {
	svc.Spec, svc.PreviousSpec = *svc.PreviousSpec, nil
	s.status(svc, swarmapi.UpdateStateRollbackStarted, fmt.Sprintf("update rolled back due to failure or early termination of task %s", failed.ID))
	s.follow(svc)
}
