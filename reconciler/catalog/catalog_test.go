package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brambled/brambled/reconciler/catalog"
	"github.com/brambled/brambled/reconciler/spec"
)

// web is a world with one service, web/app of owner c1, that is registered as "app" with port 8080.
func web(change func(*catalog.Desired, *catalog.Observed)) (catalog.Desired, catalog.Observed) {
	d := catalog.Desired{
		Node: "pi1", Address: "192.0.2.1", Owners: []string{"static:/m", "c1"},
		Services: []catalog.Service{{Owner: "c1", Stack: "web", Name: "app", Register: []spec.Registration{{Name: "app", Port: 8080, Tags: []string{"a"}}}}},
	}
	o := catalog.Observed{Instances: []catalog.Instance{box(true)}}
	if change != nil {
		change(&d, &o)
	}
	return d, o
}

func box(passing bool) catalog.Instance {
	return catalog.Instance{Owner: "c1", Stack: "web", Service: "app", Passing: passing}
}

// registered is a registration as an earlier life of the daemon made it.
func registered(change func(*catalog.Registration)) catalog.Registration {
	r := catalog.Registration{
		ID: "brambled-pi1:web:app:app:8080", Name: "app", Address: "192.0.2.1", Port: 8080, Tags: []string{"a"}, Status: catalog.Passing,
		Meta: map[string]string{"brambled": "c1", "brambled_node": "pi1", "brambled_stack": "web", "brambled_service": "app", "brambled_check": "1m0s 10m0s"},
	}
	if change != nil {
		change(&r)
	}
	return r
}

// told are changes in words: "+ID@ADDRESS:PORT", "-ID", "ID=STATUS" and a ! after what is news.
func told(c catalog.Changes) string {
	var out []string
	for _, r := range c.Register {
		out = append(out, fmt.Sprintf("+%s@%s:%d", r.ID, r.Address, r.Port))
	}
	for _, id := range c.Deregister {
		out = append(out, "-"+id)
	}
	for _, k := range c.Checks {
		out = append(out, fmt.Sprintf("%s=%s%s", k.ID, k.Status, map[bool]string{true: "!"}[k.News]))
	}
	return strings.ReplaceAll(strings.Join(out, " "), "brambled-pi1:web:app:app:8080", "APP")
}

func TestPlan(t *testing.T) {
	type d = *catalog.Desired
	type o = *catalog.Observed
	have := func(o o, change func(*catalog.Registration)) { o.Registered = append(o.Registered, registered(change)) }
	for _, c := range []struct {
		name   string
		change func(d, o)
		want   string
	}{
		{"it runs and is not registered", nil, "+APP@192.0.2.1:8080 APP=passing!"},
		{"it is registered", func(_ d, o o) { have(o, nil) }, "APP=passing"},
		{"it became unhealthy", func(_ d, o o) { have(o, nil); o.Instances[0].Passing = false }, "APP=critical!"},
		{"it is unhealthy still", func(_ d, o o) {
			have(o, func(r *catalog.Registration) { r.Status = catalog.Critical })
			o.Instances[0].Passing = false
		}, "APP=critical"},
		{"the agent removed it for being unhealthy", func(_ d, o o) { o.Instances[0].Passing = false }, ""},
		{"it is gone", func(_ d, o o) { have(o, nil); o.Instances = nil }, "-APP"},
		{"it was never here", func(_ d, o o) { o.Instances = nil }, ""},
		{"its registration was taken out of the file", func(d d, o o) { have(o, nil); d.Services[0].Register = nil }, "-APP"},
		{"its stack is gone", func(d d, o o) { have(o, nil); d.Services = nil }, "-APP"},
		{"another port", func(d d, o o) { have(o, nil); d.Services[0].Register[0].Port = 80 },
			"+brambled-pi1:web:app:app:80@192.0.2.1:80 -APP brambled-pi1:web:app:app:80=passing!"},
		{"other tags", func(d d, o o) { have(o, nil); d.Services[0].Register[0].Tags = nil }, "+APP@192.0.2.1:8080 APP=passing!"},
		{"a port of one address", func(d d, o o) { have(o, nil); d.Services[0].Register[0].Address = "192.0.2.9" }, "+APP@192.0.2.9:8080 APP=passing!"},
		{"a check of other times", func(_ d, o o) { have(o, func(r *catalog.Registration) { r.Meta["brambled_check"] = "1s" }) }, "+APP@192.0.2.1:8080 APP=passing!"},
		{"its check is lost", func(_ d, o o) { have(o, func(r *catalog.Registration) { r.Status = catalog.Unchecked }) }, "+APP@192.0.2.1:8080 APP=passing!"},
		{"one of two runs well", func(_ d, o o) { have(o, nil); o.Instances = append(o.Instances, box(false)) }, "APP=passing"},
		{"a task of Swarm", func(_ d, o o) { o.Instances = []catalog.Instance{{Swarm: "web_app", Passing: true}} }, "+APP@192.0.2.1:8080 APP=passing!"},
		{"a task of another service", func(_ d, o o) { o.Instances = []catalog.Instance{{Swarm: "web_db", Passing: true}} }, ""},
		{"a stranger's container", func(_ d, o o) { o.Instances[0].Owner = "c2" }, ""},
		{"a service of an owner that was not read", func(d d, _ o) { d.Owners = d.Owners[:1] }, ""},

		{"the stack cannot be read", func(d d, o o) { have(o, nil); d.Services, d.Opaque = nil, []string{"c1/web"} }, "APP=passing"},
		{"it cannot be read, and the check is lost", func(d d, o o) {
			have(o, func(r *catalog.Registration) { r.Status = catalog.Unchecked })
			d.Services, d.Opaque = nil, []string{"c1/web"}
		}, "+APP@192.0.2.1:8080 APP=passing!"},
		{"it cannot be read and does not run", func(d d, o o) { have(o, nil); d.Services, d.Opaque, o.Instances = nil, []string{"c1/web"}, nil }, "-APP"},
		{"another one cannot be read", func(d d, o o) { have(o, nil); d.Services, d.Opaque = nil, []string{"c1/shop"} }, "-APP"},
		{"the state is remembered", func(d d, o o) { have(o, nil); d.Services, d.Recalled = nil, []string{"c1"} }, "APP=passing"},
		{"it is remembered and does not run", func(d d, o o) { have(o, nil); d.Services, d.Recalled, o.Instances = nil, []string{"c1"}, nil }, "-APP"},

		{"a stranger's registration", func(d d, o o) { d.Services = nil; have(o, func(r *catalog.Registration) { r.Meta = nil }) }, ""},
		{"one of another node at this agent", func(d d, o o) {
			d.Services = nil
			have(o, func(r *catalog.Registration) { r.Meta["brambled_node"] = "pi2" })
		}, ""},
		{"one of another cluster", func(d d, o o) {
			d.Services = nil
			have(o, func(r *catalog.Registration) { r.Meta["brambled"] = "c2" })
		}, ""},
		{"somebody copied our marks", func(d d, o o) { d.Services = nil; have(o, func(r *catalog.Registration) { r.ID = "mine" }) }, ""},
		{"a stranger has the id", func(_ d, o o) { have(o, func(r *catalog.Registration) { r.Meta = nil }) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, o := web(func(d *catalog.Desired, o *catalog.Observed) {
				if c.change != nil {
					c.change(d, o)
				}
			})
			plan := catalog.Plan(d, o)
			if diff := cmp.Diff(c.want, told(plan)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if again := catalog.Plan(d, catalog.Simulate(o, plan)); !again.Empty() {
				t.Errorf("it is not silent afterwards: %s", told(again))
			}
		})
	}
}

// Two services whose names run into each other have ids of their own.
func TestIDsAreApart(t *testing.T) {
	d, o := web(func(d *catalog.Desired, o *catalog.Observed) {
		d.Services, o.Instances = nil, nil
		for _, s := range []struct{ stack, name string }{{"a", "b-c"}, {"a-b", "c"}} {
			d.Services = append(d.Services, catalog.Service{Owner: "c1", Stack: s.stack, Name: s.name, Register: []spec.Registration{{Name: "x", Port: 80}}})
			o.Instances = append(o.Instances, catalog.Instance{Owner: "c1", Stack: s.stack, Service: s.name, Passing: true})
		}
	})
	if plan := catalog.Plan(d, o); len(plan.Register) != 2 || plan.Register[0].ID == plan.Register[1].ID {
		t.Errorf("registered: %v", slices.Collect(ids(plan)))
	}
}

func ids(c catalog.Changes) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, r := range c.Register {
			if !yield(r.ID) {
				return
			}
		}
	}
}
