package consul

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/reconciler/catalog"
)

// checkOf is the id that Consul gives to the one check of a service.
func checkOf(service string) string { return "service:" + service }

// Registrations lists what is registered at this agent, by id, whoever registered it. It is an answer of the agent alone, which
// needs no server for it. Without the right to read a service the agent leaves it out.
func (c *Client) Registrations(ctx context.Context) ([]catalog.Registration, error) {
	var services map[string]*api.AgentService
	var checks map[string]*api.AgentCheck
	err := c.call(ctx, opAgent, "the agent's services", answerTimeout, func(ctx context.Context) (err error) {
		q := (&api.QueryOptions{}).WithContext(ctx)
		if services, err = c.api.Agent().ServicesWithFilterOpts("", q); err != nil {
			return err
		}
		checks, err = c.api.Agent().ChecksWithFilterOpts("", q)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []catalog.Registration
	for id, s := range services {
		r := catalog.Registration{ID: id, Name: s.Service, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: s.Meta}
		if check := checks[checkOf(id)]; check != nil {
			r.Status = catalog.Status(check.Status)
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b catalog.Registration) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Register registers a service at this agent, or changes it, with one check that has the time to live of package catalog. The
// agent keeps it on its disk and tells Consul's servers by itself.
func (c *Client) Register(ctx context.Context, r catalog.Registration) error {
	service := &api.AgentServiceRegistration{
		ID: r.ID, Name: r.Name, Address: r.Address, Port: r.Port, Tags: r.Tags, Meta: r.Meta,
		Check: &api.AgentServiceCheck{
			CheckID: checkOf(r.ID), TTL: catalog.TTL.String(), Status: string(r.Status), DeregisterCriticalServiceAfter: catalog.Gone.String(),
		},
	}
	return c.call(ctx, opAgent, r.ID, answerTimeout, func(ctx context.Context) error {
		return c.api.Agent().ServiceRegisterOpts(service, api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx))
	})
}

// Deregister takes a service off this agent; that there is none is no error.
func (c *Client) Deregister(ctx context.Context, id string) error {
	return c.call(ctx, opAgent, id, answerTimeout, func(ctx context.Context) error {
		err := c.api.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
		if status, ok := errors.AsType[api.StatusError](err); ok && status.Code == http.StatusNotFound {
			return nil
		}
		return err
	})
}

// RenewCheck tells this agent how a service is, and starts the time to live of its check anew. The text beside it is always the same:
// another one would be a write to Consul's servers.
func (c *Client) RenewCheck(ctx context.Context, id string, status catalog.Status) error {
	return c.call(ctx, opAgent, id, answerTimeout, func(ctx context.Context) error {
		return c.api.Agent().UpdateTTLOpts(checkOf(id), "", string(status), (&api.QueryOptions{}).WithContext(ctx))
	})
}
