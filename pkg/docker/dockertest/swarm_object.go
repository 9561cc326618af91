package dockertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
	swarmapi "github.com/moby/moby/api/types/swarm"
)

func configName(c *swarmapi.Config) string { return c.Spec.Name }
func secretName(c *swarmapi.Secret) string { return c.Spec.Name }

func (s *Server) listConfigs(w http.ResponseWriter, _ *http.Request) {
	reply(w, 200, values(s.swarm.configs))
}

// listSecrets shows no content: Swarm never does.
func (s *Server) listSecrets(w http.ResponseWriter, _ *http.Request) {
	out := []swarmapi.Secret{}
	for _, c := range values(s.swarm.secrets) {
		shown := *c
		shown.Spec.Data = nil
		out = append(out, shown)
	}
	reply(w, 200, out)
}

func (s *Server) createConfig(w http.ResponseWriter, r *http.Request) {
	c := &swarmapi.Config{ID: s.swarmID("config")}
	if !decode(w, r, &c.Spec) || taken(w, "config", c.Spec.Name, object(s.swarm.configs, c.Spec.Name, configName) != nil) {
		return
	}
	s.swarm.write(&c.Meta)
	s.swarm.configs[c.ID] = c
	s.event(events.ConfigEventType, events.ActionCreate, c.ID, c.Spec.Name)
	reply(w, http.StatusCreated, swarmapi.ConfigCreateResponse{ID: c.ID})
}

func (s *Server) createSecret(w http.ResponseWriter, r *http.Request) {
	c := &swarmapi.Secret{ID: s.swarmID("secret")}
	if !decode(w, r, &c.Spec) || taken(w, "secret", c.Spec.Name, object(s.swarm.secrets, c.Spec.Name, secretName) != nil) {
		return
	}
	s.swarm.write(&c.Meta)
	s.swarm.secrets[c.ID] = c
	s.event(events.SecretEventType, events.ActionCreate, c.ID, c.Spec.Name)
	reply(w, http.StatusCreated, swarmapi.SecretCreateResponse{ID: c.ID})
}

func taken(w http.ResponseWriter, kind, name string, there bool) bool {
	if there {
		rpc(w, http.StatusConflict, "AlreadyExists", kind+" "+name+" already exists")
	}
	return there
}

func (s *Server) removeConfig(w http.ResponseWriter, r *http.Request) {
	key := r.PathValue("id")
	c := object(s.swarm.configs, key, configName)
	switch {
	case c == nil:
		fail(w, http.StatusNotFound, "config "+key+" not found")
	case !s.inUse(w, "config", c.Spec.Name, func(t *swarmapi.ContainerSpec) bool {
		return slices.ContainsFunc(t.Configs, func(ref *swarmapi.ConfigReference) bool { return ref.ConfigID == c.ID })
	}):
		delete(s.swarm.configs, c.ID)
		s.event(events.ConfigEventType, events.ActionRemove, c.ID, c.Spec.Name)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) removeSecret(w http.ResponseWriter, r *http.Request) {
	key := r.PathValue("id")
	c := object(s.swarm.secrets, key, secretName)
	switch {
	case c == nil:
		fail(w, http.StatusNotFound, "secret "+key+" not found")
	case !s.inUse(w, "secret", c.Spec.Name, func(t *swarmapi.ContainerSpec) bool {
		return slices.ContainsFunc(t.Secrets, func(ref *swarmapi.SecretReference) bool { return ref.SecretID == c.ID })
	}):
		delete(s.swarm.secrets, c.ID)
		s.event(events.SecretEventType, events.ActionRemove, c.ID, c.Spec.Name)
		w.WriteHeader(http.StatusNoContent)
	}
}

// inUse refuses the removal of what the present version of a service refers to; a former version does not count.
func (s *Server) inUse(w http.ResponseWriter, kind, name string, refers func(*swarmapi.ContainerSpec) bool) bool {
	var users []string
	for _, svc := range values(s.swarm.services) {
		if c := svc.Spec.TaskTemplate.ContainerSpec; c != nil && refers(c) {
			users = append(users, svc.Spec.Name)
		}
	}
	if len(users) > 0 {
		rpc(w, http.StatusBadRequest, "InvalidArgument", fmt.Sprintf("%s '%s' is in use by the following service: %s", kind, name, strings.Join(users, ", ")))
	}
	return len(users) > 0
}
