package node_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// nothingBegins: on a node that is drained nothing is started, made or fetched; and nothing but a drain is a reason to stop what is
// desired there, save for a single writer whose time is over.
func nothingBegins(e *explorer, p plan.Plan) string {
	return walking(func(d spec.Desired, o node.Observed, s plan.Step) string {
		owner := ""
		switch a := s.Action.(type) {
		case plan.Create:
			owner = a.Owner
		case plan.CreateNetwork:
			owner = a.Owner
		case plan.CreateVolume:
			owner = a.Owner
		case plan.Start, plan.Rename, plan.Connect:
			c, _ := target(o, a)
			owner = c.Owner
		case plan.Stop:
			c, _ := target(o, a)
			if _, _, desired := wanted(d, c); desired && s.Reason != plan.ReasonDrain && s.Reason != plan.ReasonContact {
				owner = c.Owner
			}
		}
		if d.Drains(owner) {
			return "the node is drained"
		}
		return ""
	})(e, p)
}

// drainInOrder: a drain stops nothing that something else depends on which still runs, cuts no job short, and keeps a container of
// each replica that has one.
func drainInOrder(e *explorer, p plan.Plan) string {
	return walking(func(d spec.Desired, o node.Observed, s plan.Step) string {
		c, ok := target(o, s.Action)
		svc, _, desired := wanted(d, c)
		if !ok || s.Reason != plan.ReasonDrain {
			return ""
		}
		switch s.Action.(type) {
		case plan.Stop:
			if desired && svc.Restart == spec.Once {
				return "a job is cut short"
			}
			if user := running(d, e.o, c); user != "" {
				return user + " runs and depends on it"
			}
		case plan.Remove:
			if !slices.ContainsFunc(others(o, c), func(k node.Container) bool { return !evidence(k) }) {
				return "nothing of this replica is kept"
			}
		}
		return ""
	})(e, p)
}

// running is a container that runs, or may by the engine's doing, and whose service depends on the service of c.
func running(d spec.Desired, o node.Observed, c node.Container) string {
	for _, k := range o.Containers {
		svc, _, ok := wanted(d, k)
		runs := slices.Contains([]node.State{node.Running, node.Restarting, node.Paused}, k.State)
		if ok && runs && k.Owner == c.Owner && k.Stack == c.Stack &&
			slices.ContainsFunc(svc.DependsOn, func(dep spec.Dependency) bool { return dep.Service == c.Service }) {
			return k.Name
		}
	}
	return ""
}

// atRest says what of a drained owner is not at rest in a world that has come to rest, and does not say why.
func (e *explorer) atRest(p plan.Plan) string {
	for _, c := range e.o.Containers {
		subject := fmt.Sprintf("%s/%s/%d", c.Stack, c.Service, c.Replica)
		said := slices.ContainsFunc(p.Waits, func(w plan.Wait) bool { return w.Subject == subject && w.For != plan.WaitUndrain })
		_, _, desired := wanted(e.d, c)
		if desired && e.d.Drains(c.Owner) && c.State == node.Running && !said {
			return c.Name + " runs on a node that is drained"
		}
	}
	return ""
}

// TestDrainAndBack drains a node in the midst of its work and takes that back: it ends as if nobody had.
func TestDrainAndBack(t *testing.T) {
	const desired = "stack web\n net web_net\n svc db img=db:1 net=web_net health\n svc app img=app:2 n=2 net=web_net dep=db:healthy\n" +
		" svc front img=front:1 dep=app:started\n svc task img=task:1 job=once\n svc retried img=task:1 job=on-failure\n"
	start := "image db:1 app:1 app:2 front:1 task:1\nnet web_net c1/web\n" +
		"box web-db-1 c1/web/db/1 db:1 running health=healthy net=web_net\n" +
		"box web-app-1 c1/web/app/1 app:1 running net=web_net\nbox web-app-2 c1/web/app/2 app:1 running net=web_net\n"
	d, drained := nodetest.ParseDesired(desired), nodetest.ParseDesired("drained c1\n"+desired)
	want, _, _ := run(t, d, nodetest.ParseObserved(start), worlds[0], -1, 0)
	for passes := range 12 {
		o := nodetest.ParseObserved(start)
		for range passes {
			o = live(d, applied(o, planned(t, d, o), 1), worlds[0])
		}
		o, _, _ = run(t, drained, o, worlds[0], -1, 0)
		for _, c := range o.Containers {
			if c.Service != "task" && c.State == node.Running {
				t.Errorf("after %d passes and a drain %s runs", passes, c.Name)
			}
			if c.Service != "task" && c.Policy != "no" && c.ExitCode != 0 {
				t.Errorf("after %d passes and a drain the engine may start %s", passes, c.Name)
			}
		}
		back, _, _ := run(t, d, o, worlds[0], -1, 0)
		if got := nodetest.Show(back); got != nodetest.Show(want) {
			t.Errorf("drained after %d passes, it ends as\n%swant\n%s", passes, got, nodetest.Show(want))
		}
	}
}

// TestCheckDrain plans by hand what must not be done to a node that is drained, and for a drain to one that is not.
func TestCheckDrain(t *testing.T) {
	const desired = "stack web\n svc db img=db:1\n svc app img=app:2 dep=db:started\n svc task img=db:1 job=once\n"
	const boxes = "image app:2 db:1\nbox web-db-1 c1/web/db/1 db:1 running\nbox web-app-1 c1/web/app/1 app:1 exited\n" +
		"box web-app-1.next c1/web/app/1 app:2 exited\nbox web-task-1 c1/web/task/1 db:1 running\nbox old c1/web/gone/1 db:1 exited\n"
	check := func(desired, observed string, a plan.Action) error {
		l := plan.Lane{Key: "test", Steps: []plan.Step{{Action: a, Reason: plan.ReasonDrain}}}
		return node.Check(nodetest.ParseDesired(desired), nodetest.ParseObserved(boxes+observed), plan.Plan{Lanes: []plan.Lane{l}})
	}
	stop := func(name string) plan.Action { return plan.Stop{ID: "#" + name, Name: name} }
	remove := func(name string) plan.Action { return plan.Remove{ID: "#" + name, Name: name} }
	refused(t, check("drained c1\n"+desired, "", stop("web-db-1")), "")
	refused(t, check(desired, "", stop("web-db-1")), "this node is not drained")
	refused(t, check("drained c1\n"+desired, "", stop("web-task-1")), "a job is not cut short")
	refused(t, check("drained c1\n"+desired, "box web-app-1 c1/web/app/1 app:1 running\n", stop("web-db-1")), "app depends on it and still runs")
	refused(t, check("drained c1\n"+desired, "", plan.Start{ID: "#web-app-1", Name: "web-app-1"}), "this node is drained")
	refused(t, check("drained c1\n"+desired, "", plan.CreateVolume{Owner: "c1", Stack: "web"}), "this node is drained")
	refused(t, check("drained c1\n"+desired, "", plan.CreateNetwork{Owner: "c1", Stack: "web"}), "this node is drained")
	refused(t, check("drained c1\n"+desired, "", plan.Create{Name: "x", Owner: "c1", Stack: "web"}), "this node is drained")
	refused(t, check("drained c1\n"+desired, "", remove("web-app-1")), "")
	refused(t, check("drained c1\n"+desired, "", remove("old")), "")
	refused(t, check("drained c1\nstack web\n svc gone img=db:1\n", "", remove("old")), "what it will run again is kept")
}
