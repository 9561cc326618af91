package quorum_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/brambled/brambled/reconciler/internal/notation"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/quorum/quorumtest"
	"github.com/brambled/brambled/reconciler/spec"
)

var update = flag.Bool("update", false, "rewrite the plans and worlds of testdata/*.txtar")

// TestScenarios plays the files of testdata. Each opens with the hazard it locks; its parts are played in order:
//
//	desired*.txt   what is desired from here on
//	world.txt      how things are
//	then*.txt      what happens next: cut N | down PI | up PI | reimage PI | side PI… (of a partition) | pass 5m | carry (Swarm carries
//	               out what it was asked for) | free LANE | heal LANE | a line of world.txt
//	plan*.txt      the plan that the leader makes now; all its steps are applied when the next part begins, or with "cut N" in
//	               front of it the first N of each lane
//	plan*-PI.txt   the plan that a Pi makes of its own part
//	is*.txt        what is there now
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
			s := scenario{t: t, d: quorumtest.ParseDesired("")}
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
	t testing.TB
	d spec.Quorum
	w quorumtest.World
	p plan.Plan // not yet applied
}

func (s *scenario) play(f *txtar.File) {
	text := string(f.Data)
	name, pi, own := strings.Cut(strings.TrimSuffix(f.Name, ".txt"), "-")
	part := strings.TrimRight(name, "0123456789")
	if part != "then" || !strings.HasPrefix(text, "cut ") {
		s.apply(1000)
	}
	switch {
	case part == "desired":
		s.d = quorumtest.ParseDesired(text)
	case part == "world":
		s.w = quorumtest.ParseWorld(text)
	case part == "then":
		for _, l := range notation.Lines(text) {
			s.happen(l)
		}
		s.w.Refresh()
	case part == "plan" && own:
		m := s.w.Member(pi)
		s.p = quorum.PlanMember(s.d, m)
		if err := quorum.CheckMember(s.d, m, s.p); err != nil {
			s.t.Error(err)
		}
		s.compare(f, s.p.String())
	case part == "plan":
		p, err := tryPlan(s.d, s.w.View())
		if err != nil {
			s.t.Fatal(err)
		}
		s.p = p
		s.compare(f, s.p.String())
	case part == "is":
		s.compare(f, quorumtest.Show(s.w))
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
	s.w = s.w.Clone()
	for _, l := range s.p.Lanes {
		for _, st := range l.Steps[:min(n, len(l.Steps))] {
			s.w.Do(st.Action)
		}
	}
	s.p = plan.Plan{}
}

func (s *scenario) happen(text string) {
	word, rest, _ := strings.Cut(text, " ")
	s.w = s.w.Clone()
	switch word {
	case "cut":
		s.apply(notation.Number(rest))
	case "down":
		s.w.Down(rest)
	case "up":
		s.w.Up(rest)
	case "reimage":
		s.w.Reimage(rest)
	case "side":
		s.w.Cut(strings.Fields(rest)...)
	case "pass":
		d, err := time.ParseDuration(rest)
		if err != nil {
			s.t.Fatal(err)
		}
		s.w.Pass(d)
	case "carry":
		s.w.Carry()
	case "free":
		delete(s.w.O.Busy, rest)
	case "heal":
		delete(s.w.O.Failures, rest)
	default:
		s.w.Add(text)
	}
}

// tryPlan plans, and holds what must be true of any plan: Check takes it, the input is as it was, and the order of the input
// does not matter.
func tryPlan(d spec.Quorum, o quorum.Observed) (plan.Plan, error) {
	kept := quorumtest.World{O: o}.Clone().O
	for i := range kept.Nodes {
		kept.Nodes[i].Labels = maps.Clone(kept.Nodes[i].Labels)
	}
	p := quorum.Plan(d, o)
	if diff := cmp.Diff(kept, o); diff != "" {
		return p, fmt.Errorf("Plan changed its input:\n%s", diff)
	}
	if err := quorum.Check(d, o, p); err != nil {
		return p, fmt.Errorf("Check refuses:\n%w\nplan:\n%s", err, p)
	}
	if again := quorum.Plan(d, shuffled(o)).String(); again != p.String() {
		return p, fmt.Errorf("order matters:\n%s", cmp.Diff(p.String(), again))
	}
	return p, nil
}

// shuffled is the same observation in another order.
func shuffled(o quorum.Observed) quorum.Observed {
	o.Nodes, o.Present = slices.Clone(o.Nodes), slices.Clone(o.Present)
	r := rand.New(rand.NewPCG(uint64(len(o.Nodes)), 7))
	r.Shuffle(len(o.Nodes), func(i, j int) { o.Nodes[i], o.Nodes[j] = o.Nodes[j], o.Nodes[i] })
	r.Shuffle(len(o.Present), func(i, j int) { o.Present[i], o.Present[j] = o.Present[j], o.Present[i] })
	return o
}
