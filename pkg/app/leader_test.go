package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/plan"
)

// inSwarm is a stack with one service that Swarm runs.
func inSwarm(args string) string {
	return "services:\n  app:\n    image: hello:1\n    command: [-listen, \":80\"" + args + "]\n    deploy: { replicas: 2, update_config: { monitor: 1s } }\n"
}

// quickly makes the first term of a cluster begin soon: it waits for a session's time to live.
func quickly(c *config.Config) { c.SessionTTL = time.Second }

// byHand is quickly, on a cluster whose Swarm is a person's business.
func byHand(c *config.Config) { quickly(c); c.Swarm.Manage = false }

// formSwarm makes the engine the manager of a Swarm, as a person would.
func (d *instance) formSwarm(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(d.engine.Host(), "unix://"))
	}}}
	defer client.CloseIdleConnections()
	res, err := client.Post("http://docker/v1.41/swarm/init", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("form a Swarm: %s", res.Status)
	}
	d.app.place.look()
}

// led is the leader's report as it is in the store.
func (d *instance) led() (n status.Node) {
	p, _ := d.store.Get("brambled/" + swarmReportKey)
	_ = json.Unmarshal(p.Value, &n)
	return n
}

// swarmIs waits until the leader reports a state of a stack's only service.
func (d *instance) swarmIs(t *testing.T, stack string, want status.State) (svc status.Service) {
	t.Helper()
	eventually(t, fmt.Sprintf("service of %s is %s", stack, want), func() error {
		st, _ := d.led().Stack(stack)
		if len(st.Services) != 1 || st.Services[0].State != want {
			return fmt.Errorf("the leader reports %+v", st)
		}
		svc = st.Services[0]
		return nil
	})
	return svc
}

// A service that says nothing of nodes is deployed by the leader, changed, and removed with its stack.
func TestLeaderDeploys(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	d.engine.SetDistribution("hello:1", dockertest.Distribution{Digest: "sha256:" + strings.Repeat("1", 64)})
	d.store.Put("brambled/stacks/web", inSwarm(""))
	svc := d.swarmIs(t, "web", status.Running)
	if svc.Running != 2 || svc.Updated != 2 || !svc.Swarm || len(svc.Tasks) != 2 {
		t.Errorf("the service is %+v", svc)
	}
	d.is(t, "web", status.Converged) // this node has nothing of it to run
	if n := d.led(); n.Leader != "pi1" || n.Term == 0 {
		t.Errorf("the report is by %q in term %d", n.Leader, n.Term)
	}
	hash := svc.Hash
	d.store.Put("brambled/stacks/web", inSwarm(", -greeting, hi"))
	eventually(t, "the service is changed", func() error {
		if svc = d.swarmIs(t, "web", status.Running); svc.Hash == hash || svc.Updated != 2 {
			return fmt.Errorf("it is %+v", svc)
		}
		return nil
	})
	d.store.Delete("brambled/stacks/web")
	eventually(t, "the service is gone", func() error {
		if st := d.led().Stacks; len(st) > 0 {
			return fmt.Errorf("there is %+v", st)
		}
		return nil
	})
}

// A version that Swarm rolls back is FAILED, for whoever leads, and tried again only when a person says so.
func TestLeaderReportsFailure(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	good := d.swarmIs(t, "web", status.Running)
	d.store.Put("brambled/stacks/web", inSwarm(", -exit, \"1\""))
	bad := d.swarmIs(t, "web", status.Failed)
	if bad.Hash == good.Hash || bad.Running != 2 || !strings.Contains(bad.Why, "docker service ps web_app") {
		t.Errorf("the service is %+v", bad)
	}
	if _, body := d.get("/metrics"); !strings.Contains(body, `brambled_swarm_service_failed{service="app",stack="web"} 1`) {
		t.Error("the metrics do not show the failure")
	}
	d.restart(t)
	d.swarmIs(t, "web", status.Failed)
	d.engine.Forget()
	d.app.trigger()
	d.called(t, "GET /services")
	for _, call := range d.engine.Log() {
		if strings.HasSuffix(call, "/update") {
			t.Errorf("changed after the failure: %s", call)
		}
	}
	d.store.Put("brambled/approvals/retry/web", "retry\n")
	d.called(t, "/update")
	d.swarmIs(t, "web", status.Failed)
	d.engine.Forget()
	// A step of one pass is there by the third: the second takes it for running, and waits for its end.
	for n := range 3 {
		d.app.trigger()
		eventually(t, "one more pass", func() error {
			if got := d.engine.Count("GET /services"); got <= n {
				return fmt.Errorf("there were %d", got)
			}
			return nil
		})
	}
	for _, call := range d.engine.Log() {
		if strings.HasSuffix(call, "/update") {
			t.Errorf("changed again for one retry: %s", call)
		}
	}
}

// called waits until the engine got a call like this.
func (d *instance) called(t *testing.T, like string) {
	t.Helper()
	eventually(t, "the engine gets "+like, func() error {
		if log := d.engine.Log(); !slices.ContainsFunc(log, func(call string) bool { return strings.Contains(call, like) }) {
			return fmt.Errorf("it got %v", log)
		}
		return nil
	})
}

// leads waits until this daemon leads with a valid term.
func (d *instance) leads(t *testing.T) (l *leading) {
	t.Helper()
	eventually(t, "it leads", func() error {
		if l = d.app.leading.Load(); l == nil {
			return fmt.Errorf("it does not")
		}
		return l.term.Check()
	})
	return l
}

// A leader whose term is over does nothing any more, whatever was planned.
func TestTermIsAsked(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	l := d.leads(t)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.engine.Forget()
	if err := l.apply(t.Context(), plan.RemoveService{ID: "x", Name: "web_app"}); !errors.Is(err, lease.ErrEnded) {
		t.Errorf("after the term: %v", err)
	}
	if log := d.engine.Log(); len(log) > 0 {
		t.Errorf("the engine got %v", log)
	}
}

// A leader that does not know yet that it lost the lock cannot write to the store: the store refuses it.
func TestReportIsFenced(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { c.SessionTTL = 3 * time.Second })
	l := d.leads(t)
	deaf := d.store.Break(consultest.Failure{Path: "kv/brambled/leader", Hang: true})
	defer deaf()
	d.store.Delete("brambled/leader")
	if err := l.writeReport(t.Context(), []byte("{}")); !errors.Is(err, consul.ErrConflict) {
		t.Errorf("written without the lock: %v", err)
	}
	if _, there := d.store.Get("brambled/" + swarmReportKey); there {
		t.Error("the report is in the store")
	}
}

// Of two daemons one leads, and the other takes over at once when it stops.
func TestOneLeads(t *testing.T) {
	t.Parallel()
	d := start(t, quickly)
	d.formSwarm(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Running)
	other := &instance{engine: d.engine, store: d.store, cfg: d.cfg}
	other.cfg.Node, other.cfg.StateDir = "pi2", filepath.Join(t.TempDir(), "state")
	other.run(t)
	eventually(t, "both are there", func() error {
		if _, there := d.store.Get("brambled/presence/pi2"); !there {
			return fmt.Errorf("pi2 is not")
		}
		return nil
	})
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other leads", func() error {
		if n := d.led(); n.Leader != "pi2" {
			return fmt.Errorf("the report is by %s", n.Leader)
		}
		return nil
	})
}

// Without a Swarm the service waits, and says for what.
func TestLeaderWithoutSwarm(t *testing.T) {
	t.Parallel()
	d := start(t, byHand)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	if svc := d.swarmIs(t, "web", status.Held); !strings.Contains(svc.Why, "docker swarm init") {
		t.Errorf("it says %q", svc.Why)
	}
	d.formSwarm(t)
	d.swarmIs(t, "web", status.Running)
}

// A node that is in no Swarm, or a worker of one, makes room for a manager: only that one can do what there is to do.
func TestLeaderMakesRoom(t *testing.T) {
	t.Parallel()
	d := start(t, byHand)
	d.leads(t)
	d.store.Put("brambled/stacks/web", inSwarm(""))
	d.swarmIs(t, "web", status.Held)
	manager := &instance{engine: dockertest.New(t), store: d.store, cfg: d.cfg}
	manager.engine.AddImage("hello:1", dockertest.Image{})
	manager.cfg.Node, manager.cfg.StateDir, manager.cfg.Docker.Host = "pi2", filepath.Join(t.TempDir(), "state"), manager.engine.Host()
	manager.run(t)
	manager.formSwarm(t)
	d.swarmIs(t, "web", status.Running)
	if n := d.led(); n.Leader != "pi2" {
		t.Errorf("%s leads", n.Leader)
	}
	manager.leads(t)
	if d.app.leading.Load() != nil {
		t.Error("the one that made room is back")
	}
}
