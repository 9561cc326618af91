package consultest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Service is a service as its agent has it.
type Service struct {
	ID, Service, Address string
	Port                 int
	Tags                 []string
	Meta                 map[string]string
	// Status is that of its check, "" without one.
	Status string `json:"-"`

	ttl   time.Duration
	timer *time.Timer
}

// check is a check as its agent lists it.
type check struct {
	CheckID, ServiceID, Status, Type string
}

// agent handles what is under /v1/agent/: services with one check that has a time to live. The agent keeps them over a restart.
func (s *Server) agent(w http.ResponseWriter, r *http.Request, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	verb, id := path, ""
	for _, prefix := range []string{"service/deregister/", "check/update/service:"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			verb, id = prefix, rest
		}
	}
	switch verb {
	case "services":
		reply(w, http.StatusOK, s.services)
	case "checks":
		out := map[string]check{}
		for id, svc := range s.services {
			if svc.Status != "" {
				out["service:"+id] = check{"service:" + id, id, svc.Status, "ttl"}
			}
		}
		reply(w, http.StatusOK, out)
	case "service/register":
		s.register(w, r)
	case "service/deregister/":
		if s.services[id] == nil {
			http.Error(w, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id), http.StatusNotFound)
			return
		}
		s.deregister(id)
	case "check/update/service:":
		s.update(w, r, id)
	default:
		http.Error(w, "consultest does not model "+r.URL.Path, http.StatusNotFound)
	}
}

// register takes a service in, or puts it in the place of one with its id.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID, Name, Address string
		Port              int
		Tags              []string
		Meta              map[string]string
		Check             *struct{ TTL, Status string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Name == "" {
		http.Error(w, "Missing service name", http.StatusBadRequest)
		return
	}
	svc := &Service{ID: cmp.Or(in.ID, in.Name), Service: in.Name, Address: in.Address, Port: in.Port, Tags: in.Tags, Meta: in.Meta}
	if in.Check != nil {
		ttl, err := time.ParseDuration(in.Check.TTL)
		if err != nil || ttl <= 0 {
			http.Error(w, "Invalid check: TTL must be > 0 for TTL checks", http.StatusBadRequest)
			return
		}
		svc.ttl, svc.Status = ttl, cmp.Or(in.Check.Status, "critical")
	}
	s.deregister(svc.ID)
	s.services[svc.ID] = svc
	svc.arm(s)
}

// update tells the status of a check.
func (s *Server) update(w http.ResponseWriter, r *http.Request, id string) {
	var in struct{ Status string }
	svc := s.services[id]
	if svc == nil || svc.Status == "" {
		http.Error(w, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", "service:"+id), http.StatusNotFound)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	svc.Status = in.Status
	svc.arm(s)
}

// arm starts the time to live anew. A check that nobody renews turns critical.
func (v *Service) arm(s *Server) {
	if v.ttl == 0 {
		return
	}
	if v.timer != nil {
		v.timer.Stop()
	}
	v.timer = time.AfterFunc(v.ttl, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		v.Status = "critical"
	})
}

// deregister drops a service. The caller holds the lock.
func (s *Server) deregister(id string) {
	if svc := s.services[id]; svc != nil && svc.timer != nil {
		svc.timer.Stop()
	}
	delete(s.services, id)
}

// Services are the services that the agent has, by id.
func (s *Server) Services() map[string]Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]Service{}
	for id, svc := range s.services {
		out[id] = *svc
	}
	return out
}

// AddService registers a service from outside, without a check.
func (s *Server) AddService(svc Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[svc.ID] = &svc
}

// WipeAgent is an agent that lost its data folder, while the servers have theirs.
func (s *Server) WipeAgent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.services {
		s.deregister(id)
	}
}
