//go:build integration

package consul_test

import (
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/reconciler/catalog"
)

// TestRenewalConsul shows on a real server that a check which is renewed without a change costs the servers nothing, and that one
// with news does: the index of the service's health is that of the last write to it.
func TestRenewalConsul(t *testing.T) {
	server := harness.StartConsul(t)
	c := &contest{T: t, b: backend{address: server.Address}, api: aclClient(t, server.Address, ""), prefix: "renewal/"}
	client := c.client()
	r := registration("brambled-pi1:web:app:web:8084")
	c.ok(client.Register(t.Context(), r))
	c.ok(client.RenewCheck(t.Context(), r.ID, catalog.Passing))
	written := func(status string) (index uint64) {
		c.eventually("the catalog says "+status, func() bool {
			list, meta, err := c.api.Health().Service("web", "", false, &api.QueryOptions{RequireConsistent: true})
			if err != nil || len(list) != 1 {
				return false
			}
			index = meta.LastIndex
			return list[0].Checks.AggregatedStatus() == status
		})
		return index
	}
	before := written(api.HealthPassing)
	for range 50 {
		c.ok(client.RenewCheck(t.Context(), r.ID, catalog.Passing))
	}
	// What the agent tells its servers it tells in rounds: when two later registrations are there, a round is over that would have
	// told of the renewals.
	for _, name := range []string{"barrier-1", "barrier-2"} {
		c.ok(c.api.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: name}))
		c.eventually(name+" is in the catalog", func() bool {
			list, _, err := c.api.Catalog().Service(name, "", &api.QueryOptions{RequireConsistent: true})
			return err == nil && len(list) == 1
		})
	}
	c.is("the index after 50 renewals", written(api.HealthPassing), before)
	c.ok(client.RenewCheck(t.Context(), r.ID, catalog.Critical))
	changed := written(api.HealthCritical)
	c.is("one change is a write", changed > before, true)
}

// TestRegistrationACLConsul shows which rights a registration needs, and that one that lacks them is told so.
func TestRegistrationACLConsul(t *testing.T) {
	server := harness.StartConsul(t)
	server.Kill(t)
	enableACL(t, filepath.Join(server.Dir, "config.json"))
	server.Again(t)
	manager := aclClient(t, server.Address, managerToken)
	c := &contest{T: t, b: backend{address: server.Address}, api: manager, prefix: "acl/"}
	const nothing = `agent_prefix "" { policy = "deny" } node_prefix "" { policy = "deny" } key_prefix "" { policy = "deny" } session_prefix "" { policy = "deny" } `
	as := func(name, rules string) *consul.Client {
		_, token := lesserNamed(c, manager, name, nothing+rules)
		client, err := consul.New(consul.Config{Address: server.Address, Token: token, Prefix: c.prefix})
		c.ok(err)
		return client
	}
	r := registration("brambled-pi1:web:app:web:8085")
	writer, reader := as("writer", `service_prefix "" { policy = "write" }`), as("reader", `service_prefix "" { policy = "read" }`)
	if err := reader.Register(t.Context(), r); consul.CauseOf(err) != consul.Forbidden {
		t.Errorf("registered with the right to read only: %v", err)
	}
	c.ok(writer.Register(t.Context(), r))
	c.ok(writer.RenewCheck(t.Context(), r.ID, catalog.Passing))
	c.eventually("it is in the catalog", func() bool {
		list, _, err := manager.Health().Service("web", "", true, &api.QueryOptions{RequireConsistent: true})
		return err == nil && len(list) == 1
	})
	c.is("what may be read", len(c.registered(reader, r.ID)), 1)
	if err := reader.Deregister(t.Context(), r.ID); consul.CauseOf(err) != consul.Forbidden {
		t.Errorf("taken off with the right to read only: %v", err)
	}
	c.ok(writer.Deregister(t.Context(), r.ID))
	c.is("what is left", len(c.registered(writer, r.ID)), 0)
}
