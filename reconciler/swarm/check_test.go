package swarm_test

import (
	"strings"
	"testing"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
	"github.com/brambled/brambled/reconciler/swarm/swarmtest"
)

const checkDesired = `
retry again:2
stack web
  net web_default def=2
  net shared external
  config web_conf_2
  config kept external
  svc app img=app:2 net=web_default config=web_conf_2
  svc same img=same:1
  svc bad img=bad:2
  svc again img=again:2
  svc mode img=mode:1 mode=global
  svc pull img=pull:2
  svc new img=new:1
  svc once img=once:2 mode=replicated-job
  svc lost img=new:1 net=web_gone config=web_gone_1
stack dim opaque
`

const checkObserved = `
node pi1
net web_default c1/web
net web_back c1/web
net web_old c1/web
net web_newer c1/web hash=2:x
net shared c1/web
net theirs foreign
net far_default c9/far
net dim_default c1/dim
config web_conf_1 c1/web
config web_conf_2 c1/web
config web_back_1 c1/web
config web_old_1 c1/web
config web_newer_1 c1/web hash=2:x
config kept c1/web
config theirs foreign
svc web_app c1/web/app app:1 tried=app:2 img=app:2@sha256:1 net=web_default config=web_conf_1 before=config:web_back_1 netbefore=web_back
svc web_same c1/web/same same:1
svc web_bad c1/web/bad bad:1 tried=bad:2 update=rollback_completed
svc web_again c1/web/again again:1 tried=again:2 update=rollback_completed
svc web_mode c1/web/mode mode:1
svc web_pull c1/web/pull pull:1
svc web_once c1/web/once once:1 mode=replicated-job
svc web_gone c1/web/gone gone:1
svc web_newer c1/web/newer 2:newer:1
svc dim_app c1/dim/app app:1
svc far_app c9/far/app app:1
svc plain foreign
`

// TestCheck plans by hand what the planner must never plan.
func TestCheck(t *testing.T) {
	d, o := swarmtest.ParseDesired(checkDesired), swarmtest.ParseObserved(checkObserved)
	web, _ := d.Stack("web")
	svc := func(name string) spec.SwarmService { s, _ := web.Service(name); return s }
	update := func(name string, version uint64, image string) plan.Action {
		return plan.UpdateService{ID: "#web_" + name, Version: version, Owner: "c1", Stack: "web", Service: svc(name), Image: image}
	}
	force := func(name, image string) plan.Action {
		a := update(name, 10, image).(plan.UpdateService)
		a.Force = true
		return a
	}
	create := func(name string) plan.Action {
		return plan.CreateService{Owner: "c1", Stack: "web", Service: svc(name), Image: name}
	}
	remove := func(name string) plan.Action { return plan.RemoveService{ID: "#" + name, Name: name} }
	mark := func(name, tried string) plan.Action {
		return plan.MarkService{ID: "#web_" + name, Name: "web_" + name, Version: 10, Tried: swarmtest.Hash(tried)}
	}
	net := func(name string) plan.Action { return plan.RemoveNetwork{ID: "#" + name, Name: name} }
	config := func(name string) plan.Action {
		return plan.RemoveObject{ID: "#" + name, Kind: spec.ConfigObject, Name: name}
	}
	moded := svc("app")
	moded.Mode = spec.Global
	other := svc("new")
	other.Hash = "1:other"
	tests := []struct {
		rule   string
		action plan.Action
		want   string // "" for a plan that is fine
	}{
		{"a service of another cluster stays", remove("far_app"), "rule 3: ownership"},
		{"a foreign one stays", remove("plain"), "rule 3: ownership"},
		{"nothing is made for an owner that was not read", plan.CreateService{Owner: "c9", Stack: "web", Service: svc("new"), Image: "x"}, "rule 3: ownership"},
		{"nor a network", plan.CreateNetwork{Owner: "c9", Stack: "web"}, "rule 3: ownership"},
		{"nor a config", plan.CreateObject{Owner: "c9", Stack: "web"}, "rule 3: ownership"},
		{"a foreign network stays", net("theirs"), "rule 3: ownership"},
		{"one of another cluster too", net("far_default"), "rule 3: ownership"},
		{"a foreign config stays", config("theirs"), "rule 3: ownership"},
		{"a stack that could not be read keeps its services", remove("dim_app"), "rule 2: unreadable"},
		{"and its networks", net("dim_default"), "rule 2: unreadable"},
		{"a desired service stays", remove("web_same"), "it is desired"},
		{"one whose mode differs may go", remove("web_mode"), ""},
		{"one that is not desired may go", remove("web_gone"), ""},
		{"one made under a newer schema stays", remove("web_newer"), "newer schema"},
		{"a network made under a newer schema stays", net("web_newer"), "newer schema"},
		{"a config made under a newer schema stays", config("web_newer_1"), "newer schema"},
		{"an update carries the version that was observed", update("app", 9, "app:2@sha256:1"), "rule 9: fenced"},
		{"an update with a difference is fine", update("app", 10, "app:2@sha256:1"), ""},
		{"an update needs a difference", update("same", 10, "same:1"), "rule 7"},
		{"a version that failed is not tried again", update("bad", 10, "bad:1@sha256:1"), "rule 5: not retried"},
		{"unless a person asks for it", update("again", 10, "again:1@sha256:1"), ""},
		{"an update makes new tasks anyhow", force("app", "app:2@sha256:1"), "runs already and failed"},
		{"an update that may be rolled back is marked first", update("pull", 10, "pull:1@sha256:1"), "nothing would say"},
		{"a mode is not updated", update("mode", 10, "mode:1@sha256:1"), "mode"},
		{"the image is pulled before a task is stopped", update("app", 10, "app:3"), "rule 4: pull before stop"},
		{"a service needs an image", plan.CreateService{Owner: "c1", Stack: "web", Service: svc("new")}, "no image"},
		{"only what is desired is put in place", plan.UpdateService{ID: "#web_app", Version: 10, Owner: "c1", Stack: "web", Service: moded, Image: "x"}, "not what is desired"},
		{"nor made", plan.CreateService{Owner: "c1", Stack: "web", Service: other, Image: "x"}, "not what is desired"},
		{"a mark says what is desired", mark("pull", "pull:3"), "not what is desired"},
		{"a mark is made once", mark("app", "app:2"), "marked already"},
		{"a mark before the update is fine", mark("pull", "pull:2"), ""},
		{"a job is not marked", mark("once", "once:2"), "run the job again"},
		{"a job is updated without", update("once", 10, "once:1@sha256:1"), ""},
		{"no mark on what is foreign", plan.MarkService{ID: "#plain", Name: "plain", Version: 10}, "rule 3: ownership"},
		{"a name is taken once", create("app"), "the name is taken"},
		{"a service needs its networks and configs", create("lost"), "is not there"},
		{"a service that is missing is fine", create("new"), ""},
		{"a network with a service stays", net("web_default"), "a service is on it"},
		{"one that a roll back needs stays", net("web_back"), "rolled back"},
		{"an external one stays", net("shared"), "it is desired"},
		{"an unused one may go", net("web_old"), ""},
		{"an external network is not made", plan.CreateNetwork{Owner: "c1", Stack: "web", Network: spec.Network{Name: "x", External: true}}, "external"},
		{"nor one that is there", plan.CreateNetwork{Owner: "c1", Stack: "web", Network: spec.Network{Name: "theirs"}}, "the name is taken"},
		{"an external config is not made", plan.CreateObject{Owner: "c1", Stack: "web", Object: spec.SwarmObject{Name: "x", External: true}}, "external"},
		{"nor one that is there", plan.CreateObject{Owner: "c1", Stack: "web", Object: spec.SwarmObject{Kind: spec.ConfigObject, Name: "theirs"}}, "the name is taken"},
		{"a config with a service stays", config("web_conf_1"), "a service refers to it"},
		{"one that a roll back needs stays", config("web_back_1"), "rolled back"},
		{"a desired one stays", config("web_conf_2"), "it is desired"},
		{"an external one stays", config("kept"), "it is desired"},
		{"an unreferenced one may go", config("web_old_1"), ""},
		{"what is not there cannot be removed", config("nothing"), "no such object"},
		{"nor changed", remove("nothing"), "no such service"},
		{"containers are none of the Swarm's", plan.Stop{ID: "x"}, "no action of the Swarm"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			err := swarm.Check(d, o, plan.Plan{Lanes: []plan.Lane{{Key: "x", Steps: []plan.Step{{Action: tt.action}}}}})
			if got := message(err); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestCheckLanes holds what is true of lanes whatever is in them.
func TestCheckLanes(t *testing.T) {
	lane := plan.Lane{Key: "image x", Steps: []plan.Step{{Action: plan.Pin{Image: "x"}}}}
	for _, tt := range []struct {
		observed string
		lanes    []plan.Lane
		want     string
	}{
		{"", []plan.Lane{lane}, ""},
		{"nocontrol", []plan.Lane{lane}, "no control"},
		{"busy image x", []plan.Lane{lane}, "still runs"},
		{"", []plan.Lane{lane, lane}, "two lanes"},
		{"", []plan.Lane{{Key: "image x"}}, "without a step"},
	} {
		err := swarm.Check(spec.Cluster{}, swarmtest.ParseObserved(tt.observed), plan.Plan{Lanes: tt.lanes})
		if got := message(err); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.observed, got, tt.want)
		}
	}
}
