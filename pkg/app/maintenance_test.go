package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/status"
)

const operatorCluster = "3f9a1c2b"

// operators is an operator on a store in which pi1 and pi2 are present, pi3 has reported once, and pi1 leads a Swarm of which pi1 and
// pi3 are managers.
func operators(t *testing.T) (*Operator, *consultest.Server) {
	t.Helper()
	store := consultest.Start(t)
	cfg := config.Default()
	cfg.Node, cfg.StateDir, cfg.Consul.Address = "pi1", t.TempDir(), strings.TrimPrefix(store.URL, "http://")
	o, err := NewOperator(cfg, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, value any) {
		t.Helper()
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		store.Put("brambled/"+key, string(text))
	}
	store.Put("brambled/stacks/.cluster", operatorCluster)
	put("presence/pi1", consul.Presence{Node: "pi1", Address: "192.0.2.1", Version: "2", SwarmPart: consul.SwarmPart{Swarm: "n1", State: "active", In: "swarm1"}})
	put("presence/pi2", consul.Presence{Node: "pi2", Address: "192.0.2.2", Version: "1", SwarmPart: consul.SwarmPart{Swarm: "n2", State: "active"}})
	put("status/nodes/pi1", status.Node{Node: "pi1", Address: "192.0.2.1"})
	put("status/nodes/pi2", status.Node{Node: "pi2", Address: "192.0.2.2", Drain: status.DrainUnderWay})
	put("status/nodes/pi3", status.Node{Node: "pi3", Address: "192.0.2.3", Version: "1"})
	put("status/swarm", status.Node{Node: status.SwarmNode, Leader: "pi1", Quorum: &status.Quorum{Managed: true, Managers: []status.Manager{
		{Name: "pi1", Reachable: true, Leader: true}, {Name: "pi3"},
	}}})
	return o, store
}

// mentions asserts that an error says all that is asked for; nothing is asked of none.
func mentions(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if (err == nil) != (len(words) == 0) {
		t.Errorf("%s: %v", what, err)
	}
	for _, w := range words {
		if err != nil && !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want %q", what, err, w)
		}
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	o, store := operators(t)
	store.Put("brambled/drain/pi2", "by hand")
	store.Put("brambled/drain/pi1", `{"on": false}`)
	store.Put("brambled/swarm/gone/pi3", "{}")
	lock := consul.NewLeaderLock(o.store)
	session, err := lock.Open(t.Context(), "test", consul.DefaultTTL, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, held, err := lock.Acquire(t.Context(), session, []byte(`{"node": "pi1"}`), lease.Record{}); err != nil || !held {
		t.Fatal(held, err)
	}
	store.Put("brambled/swarm/gone/pi4", `{"cluster": "another"}`)
	got, err := o.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Node{
		{Name: "pi1", Address: "192.0.2.1", Version: "2", Present: true, Leader: true, Swarm: "manager", Reachable: true, SwarmLeader: true},
		{Name: "pi2", Address: "192.0.2.2", Version: "1", Present: true, Swarm: "worker", Drained: true, Drain: status.DrainUnderWay},
		{Name: "pi3", Address: "192.0.2.3", Version: "1", Swarm: "manager", Gone: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A drain is a key that says who decided; taking it back leaves a key that says so, because a key that is gone may be a loss.
func TestDrainCommands(t *testing.T) {
	t.Parallel()
	o, store := operators(t)
	_, err := o.Drain(t.Context(), "pi9")
	mentions(t, "an unknown node", err, "no node pi9", "pi1, pi2, pi3")
	mentions(t, "one that is not drained", o.Undrain(t.Context(), "pi1"), "it is not drained")
	if n, err := o.Drain(t.Context(), "pi1"); err != nil || !n.Present {
		t.Fatal(n, err)
	}
	p, _ := store.Get("brambled/drain/pi1")
	var d consul.Decision
	if err := json.Unmarshal(p.Value, &d); err != nil || d.On == nil || !*d.On || d.Cluster != operatorCluster || d.By == "" || d.At.IsZero() {
		t.Errorf("the key is %s", p.Value)
	}
	if _, err := o.Drain(t.Context(), "pi1"); err != nil {
		t.Errorf("drained twice: %v", err)
	}
	if again, _ := store.Get("brambled/drain/pi1"); again.ModifyIndex != p.ModifyIndex {
		t.Error("a node that is drained was drained again")
	}
	mentions(t, "undrain", o.Undrain(t.Context(), "pi1"))
	if p, _ := store.Get("brambled/drain/pi1"); !strings.Contains(string(p.Value), `"on":false`) {
		t.Errorf("the key is %s", p.Value)
	}
	mentions(t, "over what was read before", o.decideOn(t.Context(), consul.DrainKey("pi1"), d), "changed by somebody else")
}

func TestDrainWaits(t *testing.T) {
	t.Parallel()
	own := func(d status.Drain, services ...status.Service) status.Node {
		return status.Node{Node: "pi2", Drain: d, Stacks: []status.Stack{
			{Name: "base", Source: "/etc/brambled/manifests/base.yaml", Services: []status.Service{{Name: "consul", Running: 1}}},
			{Name: "web", Source: "brambled/stacks/web", Index: 7, Services: services},
		}}
	}
	leader := func(managed bool, manager, on string) status.Node {
		return status.Node{
			Node: status.SwarmNode, Leader: "pi1", Quorum: &status.Quorum{
				Managed: managed, Managers: []status.Manager{{Name: manager}}, Waits: []string{"managers waits for a candidate: pi2 keeps its seat"},
			},
			Stacks: []status.Stack{{Name: "shop", Services: []status.Service{{Name: "app", Tasks: []status.Task{{Node: on, State: "running"}}}}}},
		}
	}
	for _, tt := range []struct {
		name    string
		reports []status.Node
		want    []string
	}{
		{"done", []status.Node{own(status.DrainDone), leader(true, "pi1", "pi3")}, nil},
		{"not heard of", nil, []string{"pi2 has not reported"}},
		{"not taken in", []status.Node{own("")}, []string{"has not taken it in yet"}},
		{"a job runs", []status.Node{own(status.DrainUnderWay, status.Service{Name: "job", Running: 1, Why: "it is not cut short"}, status.Service{Name: "app"})}, []string{"web/job runs: it is not cut short"}},
		{"it has a seat", []status.Node{own(status.DrainDone), leader(true, "pi2", "pi3")}, []string{"pi2 keeps its seat"}},
		{"a task runs", []status.Node{own(status.DrainDone), leader(true, "pi1", "pi2")}, []string{"Swarm service shop/app"}},
		{"a Swarm that is only used", []status.Node{own(status.DrainDone), leader(false, "pi2", "pi2")}, nil},
	} {
		got := Draining("pi2", tt.reports)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q", tt.name, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tt.want[i]) {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

// What is removed for good is a node that is away; with it goes what it said and what was decided about it.
func TestRemoveNode(t *testing.T) {
	t.Parallel()
	o, store := operators(t)
	mentions(t, "an unknown node", o.RemoveNode(t.Context(), "pi9", true), "no node pi9", "pi3")
	mentions(t, "one that is present", o.RemoveNode(t.Context(), "pi2", false), "pi2 is present", "--force", "brambled drain pi2")
	store.Put("brambled/drain/pi3", "{}")
	mentions(t, "one that is away", o.RemoveNode(t.Context(), "pi3", false))
	for key, want := range map[string]bool{"swarm/gone/pi3": true, "status/nodes/pi3": false, "drain/pi3": false} {
		if _, there := store.Get("brambled/" + key); there != want {
			t.Errorf("key %s: %v", key, there)
		}
	}
	mentions(t, "by force", o.RemoveNode(t.Context(), "pi2", true))
	if _, there := store.Get("brambled/status/nodes/pi2"); !there {
		t.Error("a daemon that runs lost its report, and would take that for a store that went back")
	}
	nodes, err := o.Nodes(t.Context())
	if err != nil || len(nodes) != 3 || !nodes[2].Gone {
		t.Errorf("%+v %v", nodes, err)
	}
	mentions(t, "undo", o.RestoreNode(t.Context(), "pi3"))
	mentions(t, "undo again", o.RestoreNode(t.Context(), "pi3"), "pi3 was not removed", "brambled/swarm/gone/pi3")
}

func TestAdoptable(t *testing.T) {
	t.Parallel()
	in := func(node, id string) consul.Presence {
		return consul.Presence{Node: node, SwarmPart: consul.SwarmPart{In: id}}
	}
	for _, tt := range []struct {
		name    string
		b       bramble
		managed bool
		want    []string
	}{
		{"a manager is in it", bramble{present: []consul.Presence{in("pi1", "new"), in("pi2", "")}}, true, nil},
		{"not managed", bramble{}, false, []string{"swarm.manage is false"}},
		{"nobody is in it", bramble{present: []consul.Presence{in("pi1", "")}}, true, []string{"no present node", "docker info"}},
		{"another is there", bramble{present: []consul.Presence{in("pi1", "new"), in("pi2", "old")}}, true, []string{"pi2 is in old", "docker swarm leave"}},
		{"the cluster has one", bramble{record: consul.SwarmRecord{ID: "old"}}, true, []string{"the cluster has Swarm old already"}},
		{"the cluster has it", bramble{cluster: "c", record: consul.SwarmRecord{ID: "new", Cluster: "c"}}, true, []string{"it is the cluster's already"}},
		{"of a former cluster", bramble{cluster: "c", record: consul.SwarmRecord{ID: "new", Cluster: "b"}, present: []consul.Presence{in("pi1", "new")}}, true, nil},
	} {
		mentions(t, tt.name, tt.b.adoptable("new", tt.managed), tt.want...)
	}
	o, store := operators(t)
	mentions(t, "adopt another", o.Adopt(t.Context(), "swarm2"), "adopt Swarm swarm2", "pi1 is in swarm1")
	mentions(t, "adopt", o.Adopt(t.Context(), "swarm1"))
	if p, _ := store.Get("brambled/swarm/adopt"); !strings.Contains(string(p.Value), `"id":"swarm1"`) {
		t.Errorf("the key is %s", p.Value)
	}
}

// What persons decide reaches the Swarm: a drained node gets no task, one that is gone loses its record.
func TestKeeperHeedsDecisions(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	d.swarmSays(t, "all is well", func(q status.Quorum) bool { return q.State == status.Converged })
	drained := func(want string) {
		t.Helper()
		eventually(t, "the drain is "+want, func() error {
			if got := d.engine.NodeLabels("fake")["brambled.drained"]; got != want {
				return fmt.Errorf("the label is %q", got)
			}
			return nil
		})
	}
	d.store.Put("brambled/drain/pi1", "{}")
	drained("true")
	d.drain(t, status.DrainDone)
	d.store.Put("brambled/drain/pi1", `{"on": false}`)
	drained("")
	d.drain(t, "")

	d.engine.AddNode("pi7")
	d.engine.Down("pi7")
	d.store.Put("brambled/swarm/gone/pi7", "{}")
	eventually(t, "its record is removed", func() error {
		if d.engine.Count("DELETE /nodes") == 0 || len(d.record().Removed) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
}

// A Swarm of a person's is taken over at a word, and the word is not kept.
func TestKeeperAdopts(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	id := d.swarmSays(t, "it only uses the Swarm", func(q status.Quorum) bool { return !q.Managed && q.ID != "" }).ID
	o, err := NewOperator(d.cfg, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it can be adopted", func() error { return o.Adopt(t.Context(), id) })
	q := d.swarmSays(t, "it manages the Swarm", func(q status.Quorum) bool { return q.Managed && q.State == status.Converged })
	if r := d.record(); q.ID != id || r.ID != id || !slices.Equal(r.Former, nil) {
		t.Errorf("it reports %+v, and the record is %+v", q, r)
	}
	eventually(t, "the word is gone", func() error {
		if p, there := d.store.Get("brambled/swarm/adopt"); there {
			return fmt.Errorf("it is %s", p.Value)
		}
		return nil
	})
}
