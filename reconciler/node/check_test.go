package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

const checkDesired = `
stack web
  net web_default
  svc app img=app:2 net=web_default
  svc one img=one:2 excl=host_port_80
  svc slow img=slow:2 order=stop-first
stack dim opaque
`

const checkObserved = `
image app:2 one:2
net web_default c1/web
net old_default c1/old
net far_default c9/far
box web-app-1 c1/web/app/1 app:1 running net=web_default file=f1
box web-one-1 c1/web/one/1 one:1 running
box web-one-1.next c1/web/one/1 one:2 created
box web-slow-1 c1/web/slow/1 slow:1 running
box web-loop-1 c1/web/loop/1 loop:1 restarting
box dim-app-1 c1/dim/app/1 app:1 running
box far-app-1 c9/far/app/1 app:1 exited
box plain foreign exited net=old_default
box new-app-1 c1/new/app/1 2:app:1 exited
file f1
`

// TestCheck plans by hand what the planner must never plan.
func TestCheck(t *testing.T) {
	d, o := nodetest.ParseDesired(checkDesired), nodetest.ParseObserved(checkObserved)
	app, _ := d.Stacks[1].Service("app")
	stop := func(name string) plan.Action { return plan.Stop{ID: "#" + name, Name: name} }
	remove := func(name string) plan.Action { return plan.Remove{ID: "#" + name, Name: name} }
	tests := []struct {
		rule    string
		actions []plan.Action
		want    string // "" for a plan that is fine
	}{
		{"1 fail static: the owner was not read", []plan.Action{remove("far-app-1")}, "rule 3: ownership"},
		{"1 nothing is made for an owner that was not read", []plan.Action{plan.CreateVolume{Owner: "c9", Stack: "far", Volume: spec.Volume{Name: "v"}}}, "rule 3: ownership"},
		{"1 nor a network", []plan.Action{plan.CreateNetwork{Owner: "c9", Stack: "far"}}, "rule 3: ownership"},
		{"2 a stack that could not be read is not stopped", []plan.Action{stop("dim-app-1")}, "rule 2: unreadable is not absent"},
		{"2 and nothing of it is made", []plan.Action{plan.Create{Name: "dim-x-1", Owner: "c1", Stack: "dim", Spec: app.Container}}, "rule 2: unreadable is not absent"},
		{"what is for the Swarm is for another planner", []plan.Action{plan.RemoveService{ID: "x", Name: "x"}}, "no action on a Pi's containers"},
		{"3 a foreign container is not removed", []plan.Action{remove("plain")}, "rule 3: ownership"},
		{"3 nor started", []plan.Action{plan.Start{ID: "#plain", Name: "plain"}}, "rule 3: ownership"},
		{"3 nor renamed", []plan.Action{plan.Rename{ID: "#plain", From: "plain", To: "x"}}, "rule 3: ownership"},
		{"3 nor its policy set", []plan.Action{plan.SetRestart{ID: "#plain", Name: "plain", Policy: "no"}}, "rule 3: ownership"},
		{"3 nor cut from a network", []plan.Action{plan.Disconnect{Container: "#plain", Name: "plain", Network: "old_default"}}, "rule 3: ownership"},
		{"3 nor joined to one", []plan.Action{plan.Connect{Container: "#plain", Name: "plain"}}, "rule 3: ownership"},
		{"3 a foreign network is not removed", []plan.Action{plan.RemoveNetwork{ID: "#far_default", Name: "far_default"}}, "rule 3: ownership"},
		{"3 ours not while something is on it", []plan.Action{plan.RemoveNetwork{ID: "#old_default", Name: "old_default"}}, "a container is on it"},
		{"4 pull before stop", []plan.Action{stop("web-slow-1")}, "rule 4: pull before stop"},
		{"5 start-first: the successor runs first", []plan.Action{stop("web-app-1")}, "rule 5: gate"},
		{"5 also when it is created already", []plan.Action{
			plan.Rename{ID: "#web-app-1", From: "web-app-1", To: "web-app-1.prev"},
			plan.Create{Name: "web-app-1", Owner: "c1", Stack: "web", Service: "app", Replica: 1, Spec: app.Container},
			plan.Stop{ID: "#web-app-1", Name: "web-app-1.prev"},
		}, "rule 5: gate"},
		{"5 start-first done right", []plan.Action{
			plan.Rename{ID: "#web-app-1", From: "web-app-1", To: "web-app-1.prev"},
			plan.Create{Name: "web-app-1", Owner: "c1", Stack: "web", Service: "app", Replica: 1, Spec: app.Container},
			plan.Start{Name: "web-app-1"},
			plan.Stop{ID: "#web-app-1", Name: "web-app-1.prev"},
		}, ""},
		{"6 exclusive never runs twice", []plan.Action{plan.Start{ID: "#web-one-1.next", Name: "web-one-1.next"}}, "rule 6: exclusive"},
		{"6 stopped before is fine", []plan.Action{stop("web-one-1"), plan.Start{ID: "#web-one-1.next", Name: "web-one-1.next"}}, ""},
		{"newer schema", []plan.Action{remove("new-app-1")}, "newer schema"},
		{"a running container is not removed", []plan.Action{remove("web-app-1")}, "it runs: stop it first"},
		{"what is not there", []plan.Action{stop("nobody")}, "no such container"},
		{"a network that is not there", []plan.Action{plan.RemoveNetwork{ID: "x"}}, "no such network"},
		{"a name that is taken", []plan.Action{plan.Create{Name: "plain", Owner: "c1", Stack: "web", Spec: app.Container}}, "the name is taken"},
		{"a name that is taken, by rename", []plan.Action{plan.Rename{ID: "#web-app-1", From: "web-app-1", To: "plain"}}, "the name is taken"},
		{"what is in a crash loop, by rename", []plan.Action{plan.Rename{ID: "#web-loop-1", From: "web-loop-1", To: "x"}}, "cannot rename it"},
		{"no image", []plan.Action{plan.Create{Name: "x", Owner: "c1", Stack: "web"}}, "its image is not here"},
		{"a file in use", []plan.Action{plan.RemoveFile{Digest: "f1"}}, "a container refers to the file"},
		{"a pull harms nobody", []plan.Action{plan.Pull{Image: "x"}}, ""},
		{"a lane without a step", nil, "lane without a step"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			l := plan.Lane{Key: "test"}
			for _, a := range tt.actions {
				l.Steps = append(l.Steps, plan.Step{Action: a, Reason: plan.ReasonChanged})
			}
			refused(t, node.Check(d, o, plan.Plan{Lanes: []plan.Lane{l}}), tt.want)
		})
	}
}

// TestCheckCutOff plans by hand what must not be done to a single writer, and for want of contact to anything else.
func TestCheckCutOff(t *testing.T) {
	d := nodetest.ParseDesired("stack web\n  svc db img=db:1 cutoff=60s\n  svc app img=app:1\n")
	boxes := "box web-db-1 c1/web/db/1 db:1 running\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-db-2 c1/web/db/1 db:1 exited\n"
	check := func(observed string, a plan.Action) error {
		l := plan.Lane{Key: "test", Steps: []plan.Step{{Action: a, Reason: plan.ReasonContact}}}
		return node.Check(d, nodetest.ParseObserved(boxes+observed), plan.Plan{Lanes: []plan.Lane{l}})
	}
	stop := func(name string) plan.Action { return plan.Stop{ID: "#" + name, Name: name} }
	refused(t, check("cut-off for=60s", stop("web-db-1")), "")
	refused(t, check("cut-off for=59s", stop("web-db-1")), "it may run although this node is cut off")
	refused(t, check("cut-off for=1h", stop("web-app-1")), "it may run although this node is cut off")
	refused(t, check("cut-off for=1s", plan.Start{ID: "#web-db-2", Name: "web-db-2"}), "somebody else may run it by now")
	refused(t, check("", plan.Start{ID: "#web-db-2", Name: "web-db-2"}), "")
}

// TestCheckPermit plans by hand what must not be done to a service that other nodes run too, unless this node has the permit.
func TestCheckPermit(t *testing.T) {
	d := nodetest.ParseDesired("stack web\n  svc app img=app:2 order=stop-first shared\n  svc vote img=vote:2 order=stop-first voter\nstack own owner=static\n  svc one img=one:2 order=stop-first shared\nowners c1 static")
	app, _ := d.Stacks[1].Service("app")
	boxes := `
image app:2 vote:2 one:2
box web-app-1 c1/web/app/1 app:1 running net=n
box web-vote-1 c1/web/vote/1 vote:1 running
box own-one-1 static/own/one/1 one:1 running
box web-app-1.next c1/web/app/1 app:2 created
`
	const held, votes = "permits known\npermit c1/web/app by=pi1:app:2\npermit c1/web/vote by=pi1:vote:2\n", "permit voters by=pi1:c1/web/vote\n"
	rename := func(name string) plan.Action {
		return plan.Rename{ID: "#" + name, From: name, To: name + node.SuffixPrevious}
	}
	stop := plan.Stop{ID: "#web-vote-1", Name: "web-vote-1"}
	start := plan.Start{ID: "#web-app-1.next", Name: "web-app-1.next"}
	create := plan.Create{Name: "new", Owner: "c1", Stack: "web", Service: "app", Replica: 1, Spec: app.Container}
	cut := plan.Disconnect{Container: "#web-app-1", Name: "web-app-1", Network: "n"}
	for _, tt := range []struct {
		observed string
		a        plan.Action
		ok       bool
	}{
		{"", rename("web-app-1"), false}, {"permits known\n", rename("web-app-1"), false}, {held, rename("web-app-1"), true},
		{"permits known\npermit c1/web/app by=pi1:app:1\n", rename("web-app-1"), false}, // for another version
		{"permits known\npermit c1/web/app by=pi2:app:2\n", rename("web-app-1"), false}, // of another node
		{"", stop, false}, {held, stop, false}, {held + votes, stop, true},
		{"", cut, false}, {held, cut, true},
		{"", create, false}, {held, create, true},
		{"", start, false}, {held, start, true},
		{held, rename("web-vote-1"), false}, {held + votes, rename("web-vote-1"), true},
		{"permits without=static\n", rename("own-one-1"), true}, {"permits without=static\n", rename("web-app-1"), false},
		{"permits known without=static\n", rename("own-one-1"), false}, // the store answers
		{"box web-app-1 c1/web/app/1 app:1 running health=unhealthy\n", rename("web-app-1"), true},
	} {
		p := plan.Plan{Lanes: []plan.Lane{{Key: "test", Steps: []plan.Step{{Action: tt.a, Reason: plan.ReasonChanged}}}}}
		want := "this one has no permit"
		if tt.ok {
			want = ""
		}
		t.Run(tt.a.String()+" "+tt.observed, func(t *testing.T) { refused(t, node.Check(d, nodetest.ParseObserved(boxes+tt.observed), p), want) })
	}
}

// TestCheckLanes holds rule 8: what runs is not run a second time.
func TestCheckLanes(t *testing.T) {
	d, o := nodetest.ParseDesired("owners c1"), nodetest.ParseObserved("busy slow")
	pull := []plan.Step{{Action: plan.Pull{Image: "x"}}}
	refused(t, node.Check(d, o, plan.Plan{Lanes: []plan.Lane{{Key: "a", Steps: pull}, {Key: "a", Steps: pull}}}), "two lanes of one key")
	refused(t, node.Check(d, o, plan.Plan{Lanes: []plan.Lane{{Key: "slow", Steps: pull}}}), "lane still runs")
}

// TestCheckNamesEachFault: an operator who sees a refused plan must see all that is wrong with it, and where.
func TestCheckNamesEachFault(t *testing.T) {
	d, o := nodetest.ParseDesired(checkDesired), nodetest.ParseObserved(checkObserved)
	err := node.Check(d, o, plan.Plan{Lanes: []plan.Lane{
		{Key: "a", Steps: []plan.Step{{Action: plan.Remove{ID: "#plain", Name: "plain"}}}},
		{Key: "b", Steps: []plan.Step{{Action: plan.Stop{ID: "#web-app-1", Name: "web-app-1"}}}},
	}})
	refused(t, err, "lane a: remove plain: not ours")
	refused(t, err, "lane b: stop web-app-1: start-first")
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("Check refuses a sound plan: %v", err)
	case want != "" && err == nil:
		t.Errorf("Check takes the plan, want it refused for %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("Check refuses with %q, want %q", err, want)
	}
}

// TestCheckRemedies holds rule 8 for what may come back at once, by plans that the planner must never make.
func TestCheckRemedies(t *testing.T) {
	d := nodetest.ParseDesired("stack web\n vol v\n svc app img=app:1 health\n svc db img=app:1 vol=v\n svc asks img=app:1 vol=v heal=on\n svc off img=app:1 heal=off\n svc job img=app:1 job=once")
	box := "box web-%[1]s-1 c1/web/%[1]s/1 app:1 running health=unhealthy sick=1m"
	for _, tt := range []struct{ rule, service, more, want string }{
		{"sick for long enough", "app", "", ""},
		{"too soon", "app", "set sick=29s", "unhealthy for long enough"},
		{"while it starts", "app", "set up=4m sick=3m", "unhealthy for long enough"},
		{"not sick at all", "app", "set health=healthy", "unhealthy for long enough"},
		{"another version", "app", "box web-app-1 c1/web/app/1 app:0 running health=unhealthy sick=1m", "not the settled container"},
		{"in trial", "app", "box web-app-1.prev c1/web/app/1 app:0 running", "not the settled container"},
		{"within its budget", "app", "remedy container web/app/1 | why=unhealthy for=app:1 n=4 since=1h", ""},
		{"its budget is spent", "app", "remedy container web/app/1 | why=unhealthy for=app:1 n=5 since=59m", "its budget is spent"},
		{"writes a volume", "db", "", "not to be restarted for its health"},
		{"writes a volume and asks for it", "asks", "", ""},
		{"told not to", "off", "", "not to be restarted for its health"},
		{"a job", "job", "", "not to be restarted for its health"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			o := nodetest.ParseObserved(fmt.Sprintf(box, tt.service))
			if change, ok := strings.CutPrefix(tt.more, "set "); ok {
				nodetest.Set(&o.Containers[0], change, nil)
			} else if tt.more != "" {
				nodetest.Add(&o, tt.more)
			}
			name := "web-" + tt.service + "-1"
			refused(t, node.Check(d, o, plan.Plan{Lanes: []plan.Lane{{Key: "container web/" + tt.service + "/1", For: "1:app:1", Steps: []plan.Step{
				{Action: plan.Stop{ID: "#" + name, Name: name}, Reason: plan.ReasonUnhealthy},
				{Action: plan.Start{ID: "#" + name, Name: name}, Reason: plan.ReasonUnhealthy},
			}}}}), tt.want)
		})
	}
	o := nodetest.ParseObserved("box web-app-1 c1/web/app/1 app:1 exited\nremedy container web/app/1 | why=exited for=app:1 n=3 since=2s")
	again := plan.Plan{Lanes: []plan.Lane{{Key: "container web/app/1", For: "1:app:1", Steps: []plan.Step{{Action: plan.Start{ID: "#web-app-1", Name: "web-app-1"}, Reason: plan.ReasonExited}}}}}
	refused(t, node.Check(d, o, again), "only just now")
	refused(t, node.Check(d, o.Pass(time.Second), again), "")
}
