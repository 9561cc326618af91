package consul_test

import (
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/reconciler/catalog"
)

func registration(id string) catalog.Registration {
	return catalog.Registration{
		ID: id, Name: "web", Address: "192.0.2.1", Port: 8080, Tags: []string{"b", "a"}, Status: catalog.Passing,
		Meta: map[string]string{catalog.MetaOwner: "static:/etc/brambled/manifests", catalog.MetaNode: "pi1"},
	}
}

// registered is what the agent has under these ids. A server has a registration of its own too.
func (c *contest) registered(client *consul.Client, ids ...string) []catalog.Registration {
	c.Helper()
	list, err := client.Registrations(c.Context())
	c.ok(err)
	return slices.DeleteFunc(list, func(r catalog.Registration) bool { return !slices.Contains(ids, r.ID) })
}

func caseRegistrations(c *contest) {
	client := c.client()
	one, two := registration("brambled-pi1:web:app:web:8080"), registration("brambled-pi1:web:app:web:8081")
	two.Port, two.Status = 8081, catalog.Critical
	all := func() []catalog.Registration { return c.registered(client, one.ID, two.ID) }
	is := func(what string, want ...catalog.Registration) {
		c.Helper()
		if diff := cmp.Diff(want, all()); diff != "" {
			c.Errorf("%s: -want +got:\n%s", what, diff)
		}
	}
	c.ok(client.Register(c.Context(), one))
	c.ok(client.Register(c.Context(), two))
	is("two are registered", one, two)
	c.ok(client.RenewCheck(c.Context(), one.ID, catalog.Critical))
	c.ok(client.RenewCheck(c.Context(), two.ID, catalog.Passing))
	one.Status, two.Status = catalog.Critical, catalog.Passing
	is("their checks were told", one, two)
	one.Tags, one.Address = []string{"c"}, "192.0.2.2"
	c.ok(client.Register(c.Context(), one))
	c.ok(client.RenewCheck(c.Context(), one.ID, one.Status))
	is("one was changed", one, two)
	c.ok(client.Deregister(c.Context(), one.ID))
	is("one is left", two)
	if err := client.RenewCheck(c.Context(), one.ID, catalog.Passing); err == nil {
		c.Error("the check of a service that is gone was renewed")
	}
	c.ok(client.Deregister(c.Context(), one.ID))
	c.ok(client.Deregister(c.Context(), two.ID))
	c.is("registrations left", len(all()), 0)
}

func caseCheckExpiry(c *contest) {
	client := c.client()
	id := "brambled-pi1:web:app:web:8082"
	c.ok(c.api.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: "web", Check: &api.AgentServiceCheck{TTL: "1s", Status: api.HealthPassing}}))
	c.is("at first", c.registered(client, id)[0].Status, catalog.Passing)
	c.eventually("a check that nobody renews is critical", func() bool { return c.registered(client, id)[0].Status == catalog.Critical })
	c.ok(client.RenewCheck(c.Context(), id, catalog.Passing))
	c.is("when it is renewed", c.registered(client, id)[0].Status, catalog.Passing)
	c.ok(client.Deregister(c.Context(), id))

	c.ok(c.api.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: "web"}))
	c.is("without a check", c.registered(client, id)[0].Status, catalog.Unchecked)
	c.ok(client.Deregister(c.Context(), id))
}

func caseAgentRestart(c *contest) {
	client := c.client()
	one := registration("brambled-pi1:web:app:web:8083")
	c.ok(client.Register(c.Context(), one))
	c.ok(client.RenewCheck(c.Context(), one.ID, catalog.Passing))
	c.b.restart(c)
	var got []catalog.Registration
	c.eventually("the agent has its registrations again", func() bool {
		list, err := client.Registrations(c.Context())
		got = slices.DeleteFunc(list, func(r catalog.Registration) bool { return r.ID != one.ID })
		return err == nil && len(got) == 1
	})
	if diff := cmp.Diff([]catalog.Registration{one}, got); diff != "" {
		c.Errorf("-want +got:\n%s", diff)
	}
	c.ok(client.Deregister(c.Context(), one.ID))
	c.b.restart(c)
	c.eventually("the agent answers again, and what was taken off stays off", func() bool {
		list, err := client.Registrations(c.Context())
		return err == nil && !slices.ContainsFunc(list, func(r catalog.Registration) bool { return r.ID == one.ID })
	})
}
