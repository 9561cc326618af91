package swarm_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/brambled/brambled/reconciler/internal/notation"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
	"github.com/brambled/brambled/reconciler/swarm/swarmtest"
)

var update = flag.Bool("update", false, "rewrite the plans and worlds of testdata/*.txtar")

// TestScenarios plays the files of testdata. Each opens with the hazard it locks; its parts are played in order:
//
//	desired*.txt   what is desired from here on
//	observed.txt   how things are
//	then*.txt      what happens next: cut N | work (Swarm does its work) | roll back NAME (to what it was before the last
//	               plan) | set NAME … | rm NAME | free LANE | heal LANE | a line of observed.txt
//	plan*.txt      the plan that is made now; all its steps are applied when the next part begins, or with "cut N" in
//	               front of it the first N of each lane
//	prepull*.txt   which nodes should have which image
//	world*.txt     what is there now
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("found %d scenarios: %v", len(files), err)
	}
	for _, file := range files {
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

// scenario is one file being played.
type scenario struct {
	t   testing.TB
	d   spec.Cluster
	o   swarm.Observed
	was swarm.Observed // before the last plan was applied
	p   plan.Plan      // not yet applied
}

func (s *scenario) play(f *txtar.File) {
	text := string(f.Data)
	part := strings.TrimRight(strings.TrimSuffix(f.Name, ".txt"), "0123456789")
	if part != "then" || !strings.HasPrefix(text, "cut ") {
		s.apply(1000)
	}
	switch part {
	case "desired":
		s.d = swarmtest.ParseDesired(text)
	case "observed":
		s.o = swarmtest.ParseObserved(text)
	case "then":
		for _, l := range notation.Lines(text) {
			s.happen(l)
		}
	case "plan":
		s.p = planned(s.t, s.d, s.o)
		s.compare(f, s.p.String())
	case "prepull":
		var b strings.Builder
		for image, nodes := range swarm.Prepulling(s.d, s.o) {
			fmt.Fprintf(&b, "%s: %s\n", image, strings.Join(nodes, " "))
		}
		s.compare(f, b.String())
	case "world":
		s.compare(f, swarmtest.Show(s.o))
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
	if !s.p.Empty() {
		s.was = s.o
	}
	s.o = swarmtest.Apply(s.o, s.p, n)
	s.p = plan.Plan{}
}

func (s *scenario) happen(text string) {
	word, rest, _ := strings.Cut(text, " ")
	s.o = swarmtest.Clone(s.o)
	switch word {
	case "cut":
		s.apply(notation.Number(rest))
	case "work":
		s.o = swarmtest.Work(s.o)
	case "roll":
		s.o = swarmtest.RollBack(s.o, s.was.Services[s.find(s.was, strings.TrimPrefix(rest, "back "))])
	case "set":
		name, change, _ := strings.Cut(rest, " ")
		swarmtest.Set(&s.o.Services[s.find(s.o, name)], notation.Parse(change, "update", "netbefore"))
	case "rm":
		i := s.find(s.o, rest)
		s.o.Services = slices.Delete(s.o.Services, i, i+1)
	case "free":
		delete(s.o.Busy, rest)
	case "heal":
		delete(s.o.Failures, rest)
	default:
		swarmtest.Add(&s.o, text)
	}
}

func (s *scenario) find(o swarm.Observed, name string) int {
	s.t.Helper()
	i := slices.IndexFunc(o.Services, func(svc swarm.Service) bool { return svc.Name == name })
	if i < 0 {
		s.t.Fatalf("no service %s", name)
	}
	return i
}

// planned plans, and holds what must be true of any plan: Check takes it, the input is as it was, and the order of the
// input does not matter.
func planned(t testing.TB, d spec.Cluster, o swarm.Observed) plan.Plan {
	t.Helper()
	p, err := tryPlan(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryPlan(d spec.Cluster, o swarm.Observed) (plan.Plan, error) {
	kept := swarmtest.Clone(o)
	p := swarm.Plan(d, o)
	if diff := cmp.Diff(kept, o); diff != "" {
		return p, fmt.Errorf("Plan changed its input:\n%s", diff)
	}
	if err := swarm.Check(d, o, p); err != nil {
		return p, fmt.Errorf("Check refuses:\n%w\nplan:\n%s", err, p)
	}
	if again := swarm.Plan(d, shuffled(o)).String(); again != p.String() {
		return p, fmt.Errorf("order matters:\n%s", cmp.Diff(p.String(), again))
	}
	return p, nil
}

// shuffled is the same observation in another order.
func shuffled(o swarm.Observed) swarm.Observed {
	o = swarmtest.Clone(o)
	r := rand.New(rand.NewPCG(uint64(len(o.Services)+len(o.Tasks)), 7))
	shuffle(r, o.Services)
	shuffle(r, o.Tasks)
	shuffle(r, o.Nodes)
	shuffle(r, o.Networks)
	shuffle(r, o.Objects)
	for i := range o.Services {
		shuffle(r, o.Services[i].Networks)
		shuffle(r, o.Services[i].Before)
	}
	return o
}

func shuffle[T any](r *rand.Rand, list []T) {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}
