package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
)

// pass is the input of a report on one pass over what the notation describes.
func pass(desired, observed string) Input {
	in := Input{Node: "pi1", Desired: nodetest.ParseDesired(desired), Observed: nodetest.ParseObserved(observed)}
	in.Plan = node.Plan(in.Desired, in.Observed)
	return in
}

// brief is a report as the tables below show it.
func brief(n Node) string {
	var b strings.Builder
	for _, st := range n.Stacks {
		fmt.Fprintf(&b, "%s %s: %s\n", st.Name, st.State, st.Why)
		for _, s := range st.Services {
			fmt.Fprintf(&b, "  %s %s %d/%d/%d: %s", s.Name, s.State, s.Running, s.Healthy, s.Desired, s.Why)
			if s.Progress != "" {
				fmt.Fprintf(&b, " (%s)", s.Progress)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func TestBuild(t *testing.T) {
	for _, tt := range []struct{ name, desired, observed, want string }{
		{
			"all well",
			"stack web\n  svc app img=app:1 n=2\n  svc db img=db:1 health\n  svc init img=i:1 job=once",
			"image app:1 db:1 i:1\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-app-2 c1/web/app/2 app:1 running\n" +
				"box web-db-1 c1/web/db/1 db:1 running health=healthy check\nbox web-init-1 c1/web/init/1 i:1 exited",
			`web converged: web is converged
  app running 2/2/2: web/app is running (2 of 2)
  db running 1/1/1: web/db is running (1 of 1, healthy)
  init done 0/0/1: web/init is done (exit 0)
`,
		},
		{
			"nothing there yet",
			"stack web\n  svc app img=app:1", "image app:1",
			`web converging: web/app is being changed: create web-app-1 (missing)
  app converging 0/0/1: web/app is being changed: create web-app-1 (missing)
`,
		},
		{
			"image is being pulled: the figures are not part of the sentence",
			"stack web\n  svc app img=app:1", "pull app:1 running",
			`web converging: web/app waits for an image: app:1 is being pulled
  app converging 0/0/1: web/app waits for an image: app:1 is being pulled
`,
		},
		{
			"the registry says no: that needs a person",
			"stack web\n  svc app img=app:9", "pull app:9 err=manifest_unknown retry=40s",
			`web failed: web/app waits for an image: app:9: manifest unknown
  app failed 0/0/1: web/app waits for an image: app:9: manifest unknown (retry in 40 s)
`,
		},
		{
			"the registry says nothing: that ends by itself",
			"stack web\n  svc app img=app:9", "pull app:9 err=dial_tcp:_lookup_registry:_host_not_found retry=4m",
			`web converging: web/app waits for an image: app:9: dial tcp: lookup registry: host not found
  app converging 0/0/1: web/app waits for an image: app:9: dial tcp: lookup registry: host not found (retry in 4 min)
`,
		},
		{
			"the cause of a dependency comes first",
			"stack web\n  svc app img=app:1 dep=db:healthy\n  svc db img=db:9", "image app:1\npull db:9 err=manifest_unknown retry=40s",
			`web failed: web/db waits for an image: db:9: manifest unknown
  app converging 0/0/1: web/db waits for an image: db:9: manifest unknown; therefore web/app waits for a dependency: db is not there yet
  db failed 0/0/1: web/db waits for an image: db:9: manifest unknown (retry in 40 s)
`,
		},
		{
			"an external network is missing: the cause is the network's",
			"stack web\n  net lan external\n  svc app img=app:1 net=lan", "image app:1",
			`web failed: network lan waits for a network: it is external and does not exist; docker network create lan
  app converging 0/0/1: network lan waits for a network: it is external and does not exist; docker network create lan; therefore web/app waits for a network: lan
`,
		},
		{
			"a revision that failed its gate",
			"stack web\n  svc app img=app:2", "image app:1 app:2\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-app-1.failed c1/web/app/1 app:2 exited exit=1 policy=no",
			`web failed: web/app waits for a new revision or retry: this revision did not pass its gate; see docker logs web-app-1.failed
  app failed 1/1/1: web/app waits for a new revision or retry: this revision did not pass its gate; see docker logs web-app-1.failed
`,
		},
		{
			"a job that failed",
			"stack web\n  svc init img=i:1 job=once", "image i:1\nbox web-init-1 c1/web/init/1 i:1 exited exit=3",
			`web failed: web/init waits for a new revision or retry: job exited with 3
  init failed 0/0/1: web/init waits for a new revision or retry: job exited with 3
`,
		},
		{
			"a crash loop, seen while it waits",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 restarting exit=1 restarts=7",
			`web failed: web/app ends and is restarted again and again; see docker logs web-app-1
  app failed 0/0/1: web/app ends and is restarted again and again; see docker logs web-app-1 (exit code 1, restarted 7 times)
`,
		},
		{
			"a crash loop, seen while it runs: its moments serve nobody",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running up=2s seen=1h restarts=8",
			`web failed: web/app ends and is restarted again and again; see docker logs web-app-1
  app failed 0/0/1: web/app ends and is restarted again and again; see docker logs web-app-1 (exit code 0, restarted 8 times)
`,
		},
		{
			"it ends each time brambled starts it",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 exited exit=1\nremedy container web/app/1 | why=exited for=app:1 n=4 since=1s",
			`web failed: web/app ends and is restarted again and again; see docker logs web-app-1
  app failed 0/0/1: web/app ends and is restarted again and again; see docker logs web-app-1 (exit code 1, restarted 4 times)
`,
		},
		{
			"and while it runs",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running up=2s\nremedy container web/app/1 | why=exited for=app:1 n=4 since=2s",
			`web failed: web/app ends and is restarted again and again; see docker logs web-app-1
  app failed 0/0/1: web/app ends and is restarted again and again; see docker logs web-app-1 (exit code 0, restarted 4 times)
`,
		},
		{
			"it has run for a while since",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running up=2m\nremedy container web/app/1 | why=exited for=app:1 n=4 since=2m",
			`web converged: web is converged
  app running 1/1/1: web/app is running (1 of 1)
`,
		},
		{
			"unhealthy, and not to be restarted",
			"stack web\n  vol v\n  svc db img=db:1 health vol=v", "image db:1\nvol v c1/web\nbox web-db-1 c1/web/db/1 db:1 running health=unhealthy",
			`web converging: web/db is unhealthy: the health check of web-db-1 fails (1 of 1 running); it is not restarted: it writes the volume v, and x-brambled.heal is not true
  db unhealthy 1/0/1: web/db is unhealthy: the health check of web-db-1 fails (1 of 1 running); it is not restarted: it writes the volume v, and x-brambled.heal is not true
`,
		},
		{
			"unhealthy, and restarts did not help",
			"stack web\n  svc app img=app:1 health", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running health=unhealthy sick=1m\nremedy container web/app/1 | why=unhealthy for=app:1 n=5 since=9m",
			`web failed: web/app waits for a new revision or retry: web-app-1 is unhealthy again after 5 restarts within an hour and is left as it is; see docker logs web-app-1, or brambled retry web
  app failed 1/0/1: web/app waits for a new revision or retry: web-app-1 is unhealthy again after 5 restarts within an hour and is left as it is; see docker logs web-app-1, or brambled retry web
`,
		},
		{
			"restarts of long ago are no loop",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running up=2s seen=2s restarts=8",
			`web converged: web is converged
  app running 1/1/1: web/app is running (1 of 1)
`,
		},
		{
			"one restart is no loop",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 restarting exit=1 restarts=1",
			`web converging: web/app waits for the engine: it ended, and the engine restarts it
  app converging 0/0/1: web/app waits for the engine: it ended, and the engine restarts it
`,
		},
		{
			"unhealthy",
			"stack web\n  svc app img=app:1 health", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running health=unhealthy check",
			`web converging: web/app is unhealthy: the health check of web-app-1 fails (1 of 1 running); it is restarted if that lasts
  app unhealthy 1/0/1: web/app is unhealthy: the health check of web-app-1 fails (1 of 1 running); it is restarted if that lasts
`,
		},
		{
			"health check has not passed yet",
			"stack web\n  svc app img=app:1 health", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running health=starting check",
			`web converging: web/app is starting: the health check of web-app-1 has not passed yet (1 of 1 running)
  app converging 1/0/1: web/app is starting: the health check of web-app-1 has not passed yet (1 of 1 running)
`,
		},
		{
			"the name is taken by a foreign container",
			"stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 foreign running id=abc",
			`web failed: web/app waits for a name: web-app-1 is taken by a container that is not ours to touch (abc); remove or rename it
  app failed 0/0/1: web/app waits for a name: web-app-1 is taken by a container that is not ours to touch (abc); remove or rename it
`,
		},
		{
			"a stack and a service that are no longer desired",
			"owners c1\nstack web\n  svc app img=app:1",
			"image app:1\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-old-1 c1/web/old/1 old:1 running\nbox gone-x-1 c1/gone/x/1 x:1 running\nbox mine foreign running",
			`gone removing: gone/x is no longer desired and is being removed
  x removing 1/0/0: gone/x is no longer desired and is being removed
web converging: web/old is no longer desired and is being removed
  app running 1/1/1: web/app is running (1 of 1)
  old removing 1/0/0: web/old is no longer desired and is being removed
`,
		},
		{
			"held: the last version that could be read goes on",
			"stack web held=line_3:_unknown_key\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running",
			`web held: held: line 3: unknown key
  app running 1/1/1: web/app is running (1 of 1); its stack is held, this is the last version that could be read
`,
		},
		{
			"held and opaque: what runs is left alone",
			"owners c1\nstack web held=not_YAML opaque", "box web-app-1 c1/web/app/1 app:1 running",
			`web held: held: not YAML
  app held 1/0/0: web/app is left as it is: no version of its stack can be read
`,
		},
		{
			"scaled down",
			"stack web\n  svc app img=app:1 n=1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-app-2 c1/web/app/2 app:1 running",
			`web converging: web/app is being changed
  app converging 1/1/1: web/app is being changed
`,
		},
		{
			"several replicas name the one that waits",
			"stack web\n  svc app img=app:1 n=2", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-app-2 foreign running id=abc",
			`web failed: web/app (replica 2) waits for a name: web-app-2 is taken by a container that is not ours to touch (abc); remove or rename it
  app failed 1/1/2: web/app (replica 2) waits for a name: web-app-2 is taken by a container that is not ours to touch (abc); remove or rename it
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := brief(Build(pass(tt.desired, tt.observed)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A stack says it is converged only when the plan has nothing left for it, and it gets there: `apply` ends there.
func TestConvergedMeansEmptyPlan(t *testing.T) {
	engine := nodetest.NewEngine("image app:1 db:1 i:1")
	desired := nodetest.ParseDesired("stack web\n  net web_default\n  vol web_data\n  svc app img=app:1 net=web_default dep=init:completed\n  svc db img=db:1 vol=web_data health\n  svc init img=i:1 job=once")
	for range 40 {
		o, err := engine.Observe(nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := node.Plan(desired, o)
		st, _ := Build(Input{Desired: desired, Observed: o, Plan: p}).Stack("web")
		quiet := p.Empty() && len(p.Waits) == 0
		switch {
		case st.State == Converged && !quiet:
			t.Fatalf("converged, and still to do:\n%s", p)
		case st.State == Converged:
			return
		}
		apply(t, engine, p)
		engine.Change(age)
	}
	t.Error("never converged")
}

func apply(t *testing.T, engine *nodetest.Engine, p plan.Plan) {
	t.Helper()
	for _, l := range p.Lanes {
		for _, s := range l.Steps {
			if err := engine.Apply(t.Context(), s.Action); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// age lets time go by: jobs end, health checks pass.
func age(o *node.Observed) {
	for i := range o.Containers {
		c := &o.Containers[i]
		switch {
		case c.Service == "init" && c.State == node.Running:
			c.State = node.Exited
		case c.Health == node.Starting:
			c.Health = node.Healthy
		}
		c.Up += time.Hour
	}
}

// A lane that failed once is tried again and needs nobody; one that fails all the time does.
func TestStubbornFailure(t *testing.T) {
	in := pass("stack web\n  svc app img=app:1\n  svc db img=db:1",
		"image app:1 db:1\nfail container web/app/1 | for=app:1 retry=2s\nfail container web/db/1 | for=db:1 retry=2m")
	f := in.Observed.Failures["container web/db/1"]
	f.Count = 5
	in.Observed.Failures["container web/db/1"] = f
	want := `web failed: web/db waits for a retry: start x: boom
  app converging 0/0/1: web/app waits for a retry: start x: boom (attempt 1 failed, retry in 2 s)
  db failed 0/0/1: web/db waits for a retry: start x: boom (attempt 5 failed, retry in 2 min)
`
	if diff := cmp.Diff(want, brief(Build(in))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEngineAway(t *testing.T) {
	in := pass("stack web\n  svc app img=app:1", "")
	in.Plan, in.Observed, in.Err = plan.Plan{}, node.Observed{}, errors.New("connect to the engine: refused")
	n := Build(in)
	if n.Ready || n.Error == "" || len(n.Holds) != 1 || n.Holds[0].Cause != "engine unreachable" {
		t.Errorf("report: %+v", n)
	}
	if st := n.Stacks[0]; st.State != Unknown || st.Services[0].State != Unknown {
		t.Errorf("an engine that does not answer says nothing about what runs: %+v", st)
	}
	in = pass("stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running")
	in.Err = fmt.Errorf("%w: it would remove a volume", reconciler.ErrRefused)
	if n = Build(in); n.Holds[0].Cause != "plan refused" || n.Stacks[0].Services[0].State != Running {
		t.Errorf("a refused plan: %+v", n)
	}
}

func TestBadInputIsHeldWithItsSource(t *testing.T) {
	in := pass("owners c1\nstack bad held=x opaque\nstack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running")
	in.Errors = map[string]error{"bad": errors.New("brambled/stacks/bad:3: unknown key imagee\nbrambled/stacks/bad:9: unknown key y"), "twice": errors.New("there is one already")}
	in.Source = map[string]string{"bad": "brambled/stacks/bad"}
	in.Index = map[string]uint64{"bad": 7}
	n := Build(in)
	want := []Hold{
		{Scope: "stack bad", Cause: "bad input", Detail: in.Errors["bad"].Error(), Lifts: "by itself when brambled/stacks/bad is corrected"},
		{Scope: "stack twice", Cause: "bad input", Detail: "there is one already", Lifts: "by itself when its file is corrected"},
	}
	if diff := cmp.Diff(want, n.Holds); diff != "" {
		t.Errorf("holds (-want +got)\n%s", diff)
	}
	bad, _ := n.Stack("bad")
	if bad.State != Held || bad.Index != 7 || bad.Why != "held: brambled/stacks/bad:3: unknown key imagee (and 1 more)" {
		t.Errorf("bad: %+v", bad)
	}
	if web, _ := n.Stack("web"); web.State != Converged {
		t.Errorf("the other stack goes on: %+v", web)
	}
}

func TestElsewhere(t *testing.T) {
	in := pass("stack web\n  svc app img=app:1", "image app:1\nbox web-app-1 c1/web/app/1 app:1 running")
	in.Elsewhere = []Away{
		{Stack: "web", Service: "edge", Nodes: "role=edge", Why: "this node has no label role=edge"},
		{Stack: "far", Service: "x", Nodes: "pi9"},
	}
	n := Build(in)
	want := "far converged: far is converged\n  x elsewhere 0/0/0: far/x is not for this Pi: its nodes are pi9\n" +
		"web converged: web is converged\n  app running 1/1/1: web/app is running (1 of 1)\n  edge elsewhere 0/0/0: web/edge is not for this Pi: this node has no label role=edge\n"
	if diff := cmp.Diff(want, brief(n)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What changes by itself is not in the stable form, and no two forms of one state differ by the order of observation.
func TestStable(t *testing.T) {
	const desired = "stack web\n  svc app img=app:1\n  svc db img=db:1\n  svc c img=c:1\n  svc d img=d:1"
	at := func(done, total int64, retry time.Duration, state string, restarts int) Node {
		in := pass(desired, fmt.Sprintf("image c:1 d:1\nbox web-c-1 c1/web/c/1 c:1 %s up=3s seen=1h restarts=%d exit=%d\nbox web-d-1 c1/web/d/1 d:1 running", state, restarts, restarts%2))
		in.Observed.Pulls = map[node.ImageRef]node.Pull{{Ref: "app:1"}: {Running: true, Done: done << 20, Total: total << 20}, {Ref: "db:1"}: {Err: "timeout", RetryIn: retry}}
		in.Plan = node.Plan(in.Desired, in.Observed)
		slices.Reverse(in.Observed.Containers)
		return Build(in)
	}
	a, b := at(1, 80, time.Minute, "running", 7), at(30, 80, time.Second, "restarting", 9)
	if !Same(a, b) {
		t.Errorf("the stable forms differ\n%s", cmp.Diff(a.Stable(), b.Stable()))
	}
	if a.Stacks[0].Services[0].Progress != "1 of 80 MB" {
		t.Errorf("Stable changed the report itself: %+v", a.Stacks[0].Services[0])
	}
	if c := at(1, 80, time.Minute, "running", 0); Same(a, c) {
		t.Error("the end of a crash loop is no change")
	}
}

// Two attempts that fail for one reason make one text, though a port and an id in it differ.
func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"Get https://r/v2/: read tcp 10.0.0.2:41234->1.1.1.1:443: i/o timeout": "Get https://r/v2/: read tcp 1.1.1.1:443: i/o timeout",
		"lookup r on 1.1.1.1:53: read udp4 10.0.0.2:5->1.1.1.1:53: timeout":    "lookup r on 1.1.1.1:53: read udp4 1.1.1.1:53: timeout",
		"on endpoint web-app-1 (" + strings.Repeat("0a", 32) + "): port taken": "on endpoint web-app-1: port taken",
		"db:9: manifest unknown -> gone":                                       "db:9: manifest unknown -> gone",
	} {
		if got := scrub(in); got != want {
			t.Errorf("%q\nbecame %q\ninstead %q", in, got, want)
		}
	}
}
