package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/plan"
)

// record is what the store says of the Swarm.
func (d *instance) record() (r consul.SwarmRecord) {
	p, _ := d.store.Get("brambled/swarm/record")
	_ = json.Unmarshal(p.Value, &r)
	return r
}

// swarmSays waits until the leader reports of the Swarm itself what is asked for.
func (d *instance) swarmSays(t *testing.T, desc string, fits func(status.Quorum) bool) (q status.Quorum) {
	t.Helper()
	eventually(t, "the leader reports that "+desc, func() error {
		n := d.led()
		if n.Quorum == nil || !fits(*n.Quorum) {
			return fmt.Errorf("it reports %+v", n.Quorum)
		}
		q = *n.Quorum
		return nil
	})
	return q
}

// second starts another node of the cluster, with an engine of its own.
func (d *instance) second(t *testing.T) *instance {
	t.Helper()
	other := &instance{engine: dockertest.New(t), store: d.store, cfg: d.cfg}
	other.engine.AddImage("hello:1", dockertest.Image{})
	other.cfg.Node, other.cfg.Address = "pi2", "192.0.2.2"
	other.cfg.StateDir, other.cfg.Docker.Host = filepath.Join(t.TempDir(), "state"), other.engine.Host()
	other.run(t)
	return other
}

// A stack with a Swarm service is all it takes: the Swarm forms, carries the cluster's name, and is in the store.
func TestKeeperForms(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { quickly(c); c.Labels = map[string]string{"role": "edge"} })
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	q := d.swarmSays(t, "one manager is all one node can have", func(q status.Quorum) bool { return q.State == status.Converged && len(q.Managers) == 1 })
	if !q.Managed || q.Target != 1 || q.Managers[0] != (status.Manager{Name: "pi1", Reachable: true, Leader: true}) {
		t.Errorf("it reports %+v", q)
	}
	if token, _ := d.store.Get("brambled/swarm/token"); string(token.Value) != dockertest.WorkerToken {
		t.Errorf("the token in the store is %q", token.Value)
	}
	if r := d.record(); r.ID != q.ID || !slices.Equal(r.Managers, []string{"192.0.2.1:2377"}) || r.Forming != "" {
		t.Errorf("the record is %+v", r)
	}
	eventually(t, "the node is labelled", func() error {
		if labels := d.engine.NodeLabels("fake"); labels["role"] != "edge" || labels["brambled.node"] != "pi1" {
			return fmt.Errorf("it has %v", labels)
		}
		return nil
	})
	if _, body := d.get("/metrics"); !strings.Contains(body, `brambled_swarm_managers{reachable="true"} 1`) || !strings.Contains(body, "brambled_swarm_managers_spare 0") {
		t.Error("the metrics do not know the managers")
	}
}

// Without a Swarm service there is no Swarm.
func TestKeeperFormsNone(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	l := d.leads(t)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	l.quorum.loop.Trigger()
	d.called(t, "GET /info")
	if n := d.engine.Count("POST /swarm/init"); n > 0 || d.record().Forming != "" {
		t.Errorf("a Swarm was formed for containers: %d, %+v", n, d.record())
	}
}

// A node that is in no Swarm joins by what the store says, and remembers which one it is in.
func TestMemberJoins(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	other := d.second(t)
	presence := func(want consul.SwarmPart) {
		t.Helper()
		eventually(t, "pi2 says that it is a worker of the Swarm", func() error {
			var p consul.Presence
			v, _ := d.store.Get("brambled/presence/pi2")
			_ = json.Unmarshal(v.Value, &p)
			want.Swarm, want.Knows = p.Swarm, p.Knows // the fake makes it up
			if p.SwarmPart != want || p.Swarm == "" {
				return fmt.Errorf("it says %+v", p)
			}
			return nil
		})
	}
	presence(consul.SwarmPart{State: "active", In: d.record().ID})
	other.engine.Forget()
	other.restart(t)
	presence(consul.SwarmPart{State: "active", In: d.record().ID})
	other.called(t, "GET /info")
	if other.engine.Count("POST /swarm/join")+other.engine.Count("POST /swarm/leave") > 0 {
		t.Errorf("a node that is in the Swarm did something about it: %v", other.engine.Log())
	}
}

// A Swarm of a person's is used, and left alone.
func TestKeeperLeavesForeignSwarm(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	d.leads(t)
	d.engine.Forget()
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	q := d.swarmSays(t, "it only uses the Swarm", func(q status.Quorum) bool { return len(q.Managers) == 1 })
	if q.Managed || q.State != status.Converged {
		t.Errorf("it reports %+v", q)
	}
	for _, call := range d.engine.Log() {
		if strings.HasPrefix(call, "POST /swarm/") || strings.HasPrefix(call, "POST /nodes/") || strings.HasPrefix(call, "DELETE /nodes/") {
			t.Errorf("the Swarm itself was changed: %s", call)
		}
	}
	if r := d.record(); r.ID != "" || r.Forming != "" {
		t.Errorf("the record is %+v", r)
	}
}

// The first report of a term is whole: one that lacks what was not looked at yet would be written twice.
func TestFirstReportIsWhole(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmSays(t, "there is one manager", func(q status.Quorum) bool { return q.State == status.Converged && len(q.Managers) == 1 })
	for range 3 {
		d.restart(t)
		l, first := d.leads(t), status.Node{}
		eventually(t, "the new term has reported", func() error {
			if first = d.led(); first.Term != l.term.Number() {
				return fmt.Errorf("the report is of term %d", first.Term)
			}
			return nil
		})
		if first.Quorum == nil {
			t.Errorf("the first report of term %d says nothing of the Swarm itself", first.Term)
		}
	}
}

// A manager without a quorum says so by itself, also while no store tells it anything.
func TestLostQuorumIsSaid(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	d.engine.SetLeaderless(true)
	d.app.place.look()
	d.swarmSays(t, "the quorum is lost", func(q status.Quorum) bool {
		return q.State == status.Held && strings.Contains(q.Why, "docs/cluster.md")
	})
	if svc := d.swarmIs(t, "web", status.Held); !strings.Contains(svc.Why, "quorum") {
		t.Errorf("the service says %q", svc.Why)
	}
	away := d.store.Break(consultest.Failure{Status: 500})
	defer away()
	d.restart(t)
	eventually(t, "the node itself says it", func() error {
		if q := d.app.Status().Quorum; q == nil || q.State != status.Held {
			return fmt.Errorf("it says %+v", q)
		}
		return nil
	})
	d.engine.SetLeaderless(false)
	d.app.place.look()
	eventually(t, "the node itself says that it is over", func() error {
		if q := d.app.Status().Quorum; q != nil {
			return fmt.Errorf("it says %+v", q)
		}
		return nil
	})
}

// A leader whose term is over changes no node any more, whatever was planned.
func TestKeeperAsksTheTerm(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	l := d.leads(t)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.engine.Forget()
	before := d.store.Index()
	for _, a := range []plan.Action{plan.PromoteNode{ID: "x"}, plan.DropNode{ID: "x"}, plan.ClaimSwarm{Node: "pi1"}, plan.InitSwarm{Node: "pi1"}} {
		if err := l.quorum.apply(t.Context(), a); !errors.Is(err, lease.ErrEnded) {
			t.Errorf("%s after the term: %v", a, err)
		}
	}
	if log := d.engine.Log(); len(log) > 0 || d.store.Index() != before {
		t.Errorf("the engine got %v, the store went from %d to %d", log, before, d.store.Index())
	}
}

// That a node was removed is in the store before it is: who comes back must be able to know.
func TestRemovalIsNotedFirst(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	l := d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmSays(t, "there is one manager", func(q status.Quorum) bool { return len(q.Managers) == 1 })
	heal := d.store.Break(consultest.Failure{Path: "txn", Status: 500})
	d.engine.Forget()
	if err := l.quorum.apply(t.Context(), plan.DropNode{ID: "ghost"}); err == nil {
		t.Error("a node was removed that the store does not know of")
	}
	if n := d.engine.Count("DELETE /nodes"); n > 0 {
		t.Errorf("the engine was asked: %v", d.engine.Log())
	}
	heal()
	if err := l.quorum.apply(t.Context(), plan.DropNode{ID: "ghost"}); err != nil {
		t.Errorf("one that is not there any more: %v", err)
	}
	if r := d.record(); !slices.Contains(r.Removed, "ghost") {
		t.Errorf("the record is %+v", r)
	}
}
