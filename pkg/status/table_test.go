package status

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twoNodes is a small bramble: one stack well, one failed, one held, one service for pi2 only.
func twoNodes() []Node {
	one := pass("owners c1\nstack bad held=x opaque\nstack gis\n  svc map img=map:9\nstack web\n  svc app img=app:1\n  svc init img=i:1 job=once",
		"image app:1 i:1\npull map:9 err=manifest_unknown retry=40s\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-init-1 c1/web/init/1 i:1 exited")
	one.Errors = map[string]error{"bad": errors.New("brambled/stacks/bad:3: unknown key imagee\nbrambled/stacks/bad:9: port \x1b[31m80 is taken")}
	one.Source = map[string]string{"bad": "brambled/stacks/bad"}
	one.Elsewhere = []Away{{Stack: "web", Service: "edge", Nodes: "pi2", Why: "its nodes are pi2"}, {Stack: "web", Service: "ghost", Nodes: "pi9", Why: "its nodes are pi9"}}
	two := pass("owners c1\nstack web\n  svc app img=app:1\n  svc edge img=e:1", "image app:1 e:1\nbox web-app-1 c1/web/app/1 app:1 running\nbox web-edge-1 c1/web/edge/1 e:1 running")
	two.Node = "pi2"
	two.Elsewhere = []Away{{Stack: "web", Service: "ghost", Nodes: "pi9", Why: "its nodes are pi9"}}
	return []Node{Build(one), Build(two)}
}

func TestTable(t *testing.T) {
	for _, tt := range []struct{ name, stack, want string }{
		{"all", "", `HELD on pi1: stack bad: bad input: 
    brambled/stacks/bad:3: unknown key imagee
    brambled/stacks/bad:9: port ?[31m80 is taken
  lifts by itself when brambled/stacks/bad is corrected

STACK  SERVICE  NODE  STATE      RUNNING  IMAGE  WHY
bad    -        pi1   held       -        -      held: brambled/stacks/bad:3: unknown key imagee (and 1 more)
gis    map      pi1   failed     0/1      map:9  gis/map waits for an image: map:9: manifest unknown (retry in 40 s)
web    app      pi1   running    1/1      app:1
web    app      pi2   running    1/1      app:1
web    edge     pi2   running    1/1      e:1
web    ghost    pi1   elsewhere  -        -  web/ghost is not for this Pi: its nodes are pi9
web    ghost    pi2   elsewhere  -        -  web/ghost is not for this Pi: its nodes are pi9
web    init     pi1   done       -        i:1
`},
		{"one", "gis", "STACK  SERVICE  NODE  STATE   RUNNING  IMAGE  WHY\ngis    map      pi1   failed  0/1      map:9  gis/map waits for an image: map:9: manifest unknown (retry in 40 s)\n"},
		{"none", "nobody", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			Table(&b, twoNodes(), tt.stack)
			if diff := cmp.Diff(squeeze(tt.want), squeeze(b.String())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	var b strings.Builder
	if Table(&b, nil, ""); b.String() != "no stacks\n" {
		t.Errorf("got %q", b.String())
	}
}

// squeeze leaves the columns' widths out of the comparison.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}

func TestWhy(t *testing.T) {
	for _, tt := range []struct{ stack, service, want string }{
		{"gis", "map", "pi1: gis/map waits for an image: map:9: manifest unknown (retry in 40 s)\n  last error: pull map:9: manifest unknown\n"},
		{"web", "app", "pi1: web/app is running (1 of 1)\npi2: web/app is running (1 of 1)\n"},
		{"web", "edge", "pi2: web/edge is running (1 of 1)\n"},
		{"bad", "", "pi1: bad is held, because its newest file cannot be used: \n    brambled/stacks/bad:3: unknown key imagee\n    brambled/stacks/bad:9: port ?[31m80 is taken\n"},
	} {
		t.Run(tt.stack+"/"+tt.service, func(t *testing.T) {
			var b strings.Builder
			if !Why(&b, twoNodes(), tt.stack, tt.service) {
				t.Error("not known")
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	for _, unknown := range [][2]string{{"nobody", ""}, {"web", "nobody"}} {
		var b strings.Builder
		if Why(&b, twoNodes(), unknown[0], unknown[1]) || b.Len() > 0 {
			t.Errorf("%v is known: %s", unknown, b.String())
		}
	}
	if r := Reasons(twoNodes(), "gis", "map"); len(r) != 1 || r[0].State != Failed || r[0].Progress == "" || r[0].LastError == "" {
		t.Errorf("reasons: %+v", r)
	}
}

// `apply` must end neither on what a Pi says of an older version nor while anything is under way.
func TestProgress(t *testing.T) {
	at := func(state State, index uint64) Node {
		return Node{Stacks: []Stack{{Name: "web", State: state, Index: index}}}
	}
	for _, tt := range []struct {
		name  string
		nodes []Node
		state State
		done  bool
	}{
		{"nobody has reported", nil, Converged, false},
		{"one does not know it yet", []Node{at(Converged, 7), {}}, Converging, false},
		{"an older version", []Node{at(Converged, 6)}, Converging, false},
		{"an older version that failed", []Node{at(Failed, 6)}, Converging, false},
		{"on the way", []Node{at(Converged, 7), at(Converging, 7)}, Converging, false},
		{"the engine is away", []Node{at(Unknown, 7)}, Unknown, false},
		{"there", []Node{at(Converged, 7), at(Converged, 9)}, Converged, true},
		{"failed", []Node{at(Converged, 7), at(Failed, 7)}, Failed, true},
		{"held", []Node{at(Held, 7), at(Failed, 7)}, Held, true},
	} {
		if state, done := Progress(tt.nodes, "web", 7); state != tt.state || done != tt.done {
			t.Errorf("%s: %s, %v", tt.name, state, done)
		}
	}
}

func TestSummary(t *testing.T) {
	for stack, want := range map[string]string{
		"web":  "web: converged, 3 of 3 running",
		"gis":  "gis: failed, 0 of 1 running: gis/map waits for an image: map:9: manifest unknown (retry in 40 s)",
		"none": "none: no node has taken it in yet",
	} {
		if got := Summary(twoNodes(), stack); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
