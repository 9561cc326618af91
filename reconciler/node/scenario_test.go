package node_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

var update = flag.Bool("update", false, "rewrite the plans and worlds of testdata/*.txtar")

// TestScenarios plays the files of testdata. Each opens with the hazard it locks; its parts are played in order:
//
//	desired*.txt   what is desired from here on
//	observed.txt   how things are
//	then*.txt      what happens next: pass 10s | cut N | set NAME … | rm NAME | rmi IMAGE | free LANE | heal LANE |
//	               a line of observed.txt
//	plan*.txt      the plan that is made now; all its steps are applied when the next part begins, or with "cut N" in
//	               front of it the first N of each lane
//	world*.txt     what is there now
func TestScenarios(t *testing.T) {
	for _, file := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(strings.TrimSpace(string(a.Comment))) < 20 {
				t.Error("the opening comment must say which hazard the scenario locks")
			}
			s := scenario{t: t}
			for i := range a.Files {
				s.play(&a.Files[i])
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func scenarioFiles(t testing.TB) []string {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("found %d scenarios: %v", len(files), err)
	}
	return files
}

// scenario is one file being played.
type scenario struct {
	t testing.TB
	d spec.Desired
	o node.Observed
	p plan.Plan // not yet applied
}

func (s *scenario) play(f *txtar.File) {
	text := string(f.Data)
	part := strings.TrimRight(strings.TrimSuffix(f.Name, ".txt"), "0123456789")
	if part != "then" || !strings.HasPrefix(text, "cut ") {
		s.apply(1000)
	}
	switch part {
	case "desired":
		s.d = nodetest.ParseDesired(text)
	case "observed":
		s.o = nodetest.ParseObserved(text)
	case "then":
		for l := range strings.Lines(text) {
			if l = strings.TrimSpace(l); l != "" {
				s.happen(l)
			}
		}
	case "plan":
		s.p = planned(s.t, s.d, s.o)
		s.compare(f, s.p.String())
	case "world":
		s.compare(f, nodetest.Show(s.o))
	default:
		s.t.Fatalf("unknown part %s", f.Name)
	}
}

func (s *scenario) compare(f *txtar.File, got string) {
	if *update {
		f.Data = []byte(got)
		return
	}
	if diff := cmp.Diff(string(f.Data), got); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", f.Name, diff)
	}
}

// apply applies the first n steps of each lane of the pending plan.
func (s *scenario) apply(n int) {
	s.o = applied(s.o, s.p, n)
	s.p = plan.Plan{}
}

func applied(o node.Observed, p plan.Plan, n int) node.Observed {
	for _, l := range p.Lanes {
		for _, st := range l.Steps[:min(n, len(l.Steps))] {
			o = node.Simulate(o, st.Action)
		}
	}
	o.Permits.Records = carried(o.Permits.Records, "pi1", p.Permits)
	return o
}

// carried are the records of the store after a node's statements were carried out.
func carried(records map[plan.PermitKey]node.Record, by string, says []plan.Permit) map[plan.PermitKey]node.Record {
	records = maps.Clone(records)
	for _, s := range says {
		next, _ := records[s.Key].Carry(s, by, "")
		if records == nil {
			records = map[plan.PermitKey]node.Record{}
		}
		if records[s.Key] = next; next.Empty() {
			delete(records, s.Key)
		}
	}
	return records
}

func (s *scenario) happen(text string) {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "cut":
		n, err := strconv.Atoi(rest)
		if err != nil {
			s.t.Fatal(err)
		}
		s.apply(n)
	case "pass":
		d, err := time.ParseDuration(rest)
		if err != nil {
			s.t.Fatal(err)
		}
		s.o = s.o.Pass(d)
	case "set":
		name, change, _ := strings.Cut(rest, " ")
		s.o = nodetest.Clone(s.o)
		i := slices.IndexFunc(s.o.Containers, func(c node.Container) bool { return c.Name == name })
		if i < 0 {
			s.t.Fatalf("set: no container %s", name)
		}
		nodetest.Set(&s.o.Containers[i], change, nil)
	case "rm":
		n := len(s.o.Containers)
		s.o.Containers = slices.DeleteFunc(slices.Clone(s.o.Containers), func(c node.Container) bool { return c.Name == rest })
		if len(s.o.Containers) == n {
			s.t.Fatalf("rm: no container %s", rest)
		}
	case "rmi":
		s.o = nodetest.Clone(s.o)
		delete(s.o.Images, node.ImageRef{Ref: rest})
	case "free":
		delete(s.o.Busy, rest)
	case "heal":
		delete(s.o.Failures, rest)
	default:
		nodetest.Add(&s.o, text)
	}
}

// planned plans, and holds what must be true of any plan: Check takes it, the input is as it was, and the order of the
// input does not matter.
func planned(t testing.TB, d spec.Desired, o node.Observed) plan.Plan {
	t.Helper()
	p, err := tryPlan(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryPlan(d spec.Desired, o node.Observed) (plan.Plan, error) {
	kept := nodetest.Clone(o)
	p := node.Plan(d, o)
	if diff := cmp.Diff(kept, nodetest.Clone(o)); diff != "" {
		return p, fmt.Errorf("Plan changed its input:\n%s", diff)
	}
	if err := node.Check(d, o, p); err != nil {
		return p, fmt.Errorf("Check refuses:\n%w\nplan:\n%s", err, p)
	}
	if again := node.Plan(d, shuffled(o)).String(); again != p.String() {
		return p, fmt.Errorf("order matters:\n%s", cmp.Diff(p.String(), again))
	}
	return p, nil
}

// shuffled is the same observation in another order.
func shuffled(o node.Observed) node.Observed {
	o = nodetest.Clone(o)
	r := rand.New(rand.NewPCG(uint64(len(o.Containers)), 7))
	r.Shuffle(len(o.Containers), func(i, j int) { o.Containers[i], o.Containers[j] = o.Containers[j], o.Containers[i] })
	r.Shuffle(len(o.Networks), func(i, j int) { o.Networks[i], o.Networks[j] = o.Networks[j], o.Networks[i] })
	r.Shuffle(len(o.Volumes), func(i, j int) { o.Volumes[i], o.Volumes[j] = o.Volumes[j], o.Volumes[i] })
	for i := range o.Containers {
		slices.Reverse(o.Containers[i].Networks)
	}
	o.Images = maps.Clone(o.Images)
	return o
}
