package node_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/spec"
)

// world is how an engine behaves after the steps were applied.
type world struct {
	name string
	// turn is what becomes of a container with a health check that is starting, or of one that runs in trial without.
	turn func(c *node.Container, trial bool)
}

var worlds = []world{
	{"all is well", func(c *node.Container, _ bool) {
		if c.Health == node.Starting {
			c.Health = node.Healthy
		}
	}},
	{"every successor fails", func(c *node.Container, trial bool) {
		switch {
		case trial && c.HasCheck:
			c.Health = node.Unhealthy
		case trial:
			c.State, c.Up, c.ExitCode = node.Exited, 0, 1
		case c.Health == node.Starting:
			c.Health = node.Healthy
		}
	}},
}

// TestCrashMatrix cuts each plan of a run at each step, plans anew from there, and expects the run to end as it does
// without a cut, with containers that need no change untouched throughout.
func TestCrashMatrix(t *testing.T) {
	cuts := 0
	for _, file := range scenarioFiles(t) {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range worlds {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+w.name, func(t *testing.T) {
				cuts += crashMatrix(t, a, w)
			})
		}
	}
	t.Logf("%d cuts", cuts)
	if cuts < 500 {
		t.Errorf("only %d cuts were made: the matrix is empty", cuts)
	}
}

func crashMatrix(t *testing.T, a *txtar.Archive, w world) (cuts int) {
	d, o := opening(a)
	for n := 0; ; n++ {
		want, _, done := run(t, d, o, w, -1, 0)
		if n >= done {
			return cuts
		}
		// Pass n of the whole run is cut after each number of steps.
		for k := 0; ; k++ {
			got, longest, _ := run(t, d, o, w, n, k)
			if k >= longest {
				break
			}
			cuts++
			if diff := cmp.Diff(nodetest.Show(want), nodetest.Show(got)); diff != "" {
				t.Errorf("pass %d cut after %d steps ends elsewhere (-whole +cut):\n%s", n+1, k, diff)
			}
		}
	}
}

// opening is the first desired and observed state of a scenario, with nothing under way.
func opening(a *txtar.Archive) (d spec.Desired, o node.Observed) {
	for _, f := range slices.Backward(a.Files) {
		switch f.Name {
		case "desired.txt":
			d = nodetest.ParseDesired(string(f.Data))
		case "observed.txt":
			o = nodetest.ParseObserved(string(f.Data))
		}
	}
	clear(o.Busy)
	clear(o.Failures)
	for ref, p := range o.Pulls {
		if p.Running || p.Err != "" {
			delete(o.Pulls, ref)
		}
	}
	return d, o
}

// run plans and applies until nothing is left to do. The plan of pass number cut is applied up to the k-th step of each
// lane only. It returns where the run ends, the longest lane of the pass that was cut, and the number of passes that
// changed something.
func run(t *testing.T, d spec.Desired, o node.Observed, w world, cut, k int) (end node.Observed, longest, passes int) {
	t.Helper()
	still := bystanders(d, o)
	o = nodetest.Clone(o)
	quiet := 0
	for n := 0; quiet < 2; n++ {
		if n > 60 {
			t.Fatalf("no end after %d passes:\n%s\n%s", n, nodetest.Show(o), node.Plan(d, o))
		}
		p := planned(t, d, o)
		limit := 1000
		if n == cut {
			limit = k
			for _, l := range p.Lanes {
				longest = max(longest, len(l.Steps))
			}
		}
		o = applied(o, p, limit)
		if n != cut || limit > 0 {
			o = live(d, o, w)
		}
		if p.Empty() {
			quiet++
		} else {
			quiet = 0
			passes = n + 1
		}
	}
	for name, id := range bystanders(d, o) {
		if was, ok := still[name]; ok && was != id {
			t.Errorf("%s needed no change and is another container now", name)
		}
	}
	for name := range still {
		if !slices.ContainsFunc(o.Containers, func(c node.Container) bool { return c.Name == name && c.ID == still[name] }) {
			t.Errorf("%s needed no change and is gone", name)
		}
	}
	return o, longest, passes
}

// live lets a while pass in which the engine does what the world says.
func live(d spec.Desired, o node.Observed, w world) node.Observed {
	o = nodetest.Clone(o)
	o.Pulls = maps.Clone(o.Pulls)
	for i := range o.Containers {
		c := &o.Containers[i]
		if c.State == node.Running && c.Up < nodetest.Monitor {
			w.turn(c, inTrial(d, o, *c))
		}
	}
	return o.Pass(nodetest.Monitor)
}

// inTrial reports whether a container is a successor whose predecessor is still kept.
func inTrial(d spec.Desired, o node.Observed, c node.Container) bool {
	st, _ := d.Stack(c.Stack)
	svc, _ := st.Service(c.Service)
	return c.Owner == st.Owner && c.Hash == svc.Container.Hash && c.Up == 0 &&
		slices.ContainsFunc(o.Containers, func(s node.Container) bool {
			return s.ID != c.ID && !strings.HasSuffix(s.Name, node.SuffixFailed) && slot(s) == slot(c)
		})
}

func slot(c node.Container) string {
	return fmt.Sprintf("%s/%s/%s/%d", c.Owner, c.Stack, c.Service, c.Replica)
}

// bystanders are the ids of the containers that run as desired or are none of our business, by name.
func bystanders(d spec.Desired, o node.Observed) map[string]string {
	out := map[string]string{}
	for _, c := range o.Containers {
		st, ok := d.Stack(c.Stack)
		svc, here := st.Service(c.Service)
		foreign := !d.Owned(c.Owner) || ok && st.Owner == c.Owner && st.Opaque
		asDesired := ok && here && st.Owner == c.Owner && c.Replica <= svc.Replicas && c.Hash == svc.Container.Hash &&
			c.Name == node.ContainerName(st.Name, svc, c.Replica) && c.State == node.Running && c.Seen >= time.Hour
		if foreign || asDesired {
			out[c.Name] = c.ID
		}
	}
	return out
}
