package catalog_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/brambled/brambled/reconciler/catalog"
	"github.com/brambled/brambled/reconciler/spec"
)

// world is drawn from so few names that what is desired, runs and is registered meet often.
func world(t *rapid.T) (catalog.Desired, catalog.Observed) {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	chance := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	d := catalog.Desired{Node: "pi1", Address: "192.0.2.1", Owners: []string{"s", "c1"}}
	if chance("recalled") {
		d.Recalled = []string{"c1"}
	}
	var o catalog.Observed
	for _, stack := range []string{"a", "b"} {
		if chance("opaque") {
			d.Opaque = append(d.Opaque, "c1/"+stack)
			continue
		}
		for _, name := range []string{"x", "y"} {
			s := catalog.Service{Owner: one("owner", "c1", "c1", "s", "c2"), Stack: stack, Name: name}
			for _, port := range rapid.SliceOfNDistinct(rapid.Uint16Range(1, 3), 0, 2, rapid.ID).Draw(t, "ports") {
				s.Register = append(s.Register, spec.Registration{Name: name, Port: port})
			}
			d.Services = append(d.Services, s)
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "instances") {
		i := catalog.Instance{Owner: one("owner", "c1", "s"), Stack: one("stack", "a", "b"), Service: one("service", "x", "y"), Passing: !chance("ill")}
		if chance("swarm") {
			i = catalog.Instance{Swarm: i.Stack + "_" + i.Service, Passing: i.Passing}
		}
		o.Instances = append(o.Instances, i)
	}
	taken := map[string]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "registered") {
		stack, name := one("stack", "a", "b"), one("service", "x", "y")
		port := rapid.IntRange(1, 3).Draw(t, "port")
		r := catalog.Registration{
			ID: fmt.Sprintf("%spi1:%s:%s:%s:%d", one("prefix", "brambled-", "brambled-", "other-"), stack, name, name, port), Name: name, Address: one("address", "192.0.2.1", "192.0.2.2"), Port: port,
			Status: catalog.Status(one("status", "passing", "critical", "")),
			Meta: map[string]string{
				catalog.MetaOwner: one("owner", "c1", "s", "c2"), catalog.MetaNode: one("node", "pi1", "pi1", "pi2"),
				catalog.MetaStack: stack, catalog.MetaService: name, catalog.MetaCheck: catalog.TTL.String() + " " + catalog.Gone.String(),
			},
		}
		if !taken[r.ID] {
			o.Registered, taken[r.ID] = append(o.Registered, r), true
		}
	}
	return d, o
}

// Whatever is desired, runs and is registered: afterwards nothing is left to tell, strangers are as they were, nothing is
// registered that does not run, and what cannot be read loses nothing that runs.
func TestConverges(t *testing.T) {
	count := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, o := world(t)
		plan := catalog.Plan(d, o)
		after := catalog.Simulate(o, plan)
		if again := catalog.Plan(d, after); !again.Empty() {
			t.Fatalf("a second plan has %s", told(again))
		}
		count["register"] += len(plan.Register)
		count["deregister"] += len(plan.Deregister)
		count["renew"] += len(plan.Checks)
		now := map[string]catalog.Registration{}
		for _, r := range after.Registered {
			now[r.ID] = r
		}
		for _, r := range o.Registered {
			if !ours(r) {
				count["stranger"]++
				if !reflect.DeepEqual(now[r.ID], r) {
					t.Fatalf("a stranger's %+v is now %+v", r, now[r.ID])
				}
			} else if unread(d, r) && runs(o, r) {
				count["unread"]++
				if _, there := now[r.ID]; !there {
					t.Fatalf("%s runs, and cannot be read, and was taken out", r.ID)
				}
			}
		}
		for _, r := range after.Registered {
			if ours(r) && !runs(o, r) {
				t.Fatalf("%s is registered, and nothing of it runs", r.ID)
			}
		}
	})
	for _, what := range []string{"register", "deregister", "renew", "stranger", "unread"} {
		if count[what] == 0 {
			t.Errorf("no world had: %s (%v)", what, slices.Sorted(maps.Keys(count)))
		}
	}
}

func ours(r catalog.Registration) bool {
	return r.ID[:len(catalog.Prefix)] == catalog.Prefix && r.Meta[catalog.MetaNode] == "pi1" && r.Meta[catalog.MetaOwner] != "c2"
}

func unread(d catalog.Desired, r catalog.Registration) bool {
	owner := r.Meta[catalog.MetaOwner]
	return slices.Contains(d.Recalled, owner) || slices.Contains(d.Opaque, owner+"/"+r.Meta[catalog.MetaStack])
}

func runs(o catalog.Observed, r catalog.Registration) bool {
	return slices.ContainsFunc(o.Instances, func(i catalog.Instance) bool {
		stack, name := r.Meta[catalog.MetaStack], r.Meta[catalog.MetaService]
		return i.Swarm == stack+"_"+name || i.Swarm == "" && i.Owner == r.Meta[catalog.MetaOwner] && i.Stack == stack && i.Service == name
	})
}
