//go:build e2e

package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// fault is one kind of trouble, and how it is made.
type fault struct {
	kind string
	// group: of the faults of one group only one is on at a time.
	group string
	// takes is what it takes away from the test's own hands, needs what it cannot be made without.
	takes, needs string
	// works says that it gives brambled something to do: without that, a fault on the way there meets nobody.
	works bool
	// strike makes the fault and returns what ends it; nil when there was nothing to strike at.
	strike func(*soak) (heal func())
}

// goes says whether two faults may be on at the same time.
func (f fault) goes(with fault) bool {
	meets := func(a, b string) bool { return a != "" && a == b }
	return f.group != with.group && !meets(f.takes, with.needs) && !meets(with.takes, f.needs)
}

// bag gives all faults in a random order before it gives one again.
type bag struct {
	all, left []fault
	rng       *rand.Rand
}

func newBag(all []fault, rng *rand.Rand) *bag { return &bag{all: all, rng: rng} }

// take gives the first that suits. It starts over only when it is empty, so what does not suit now is first the next time.
func (b *bag) take(suits func(fault) bool) (fault, bool) {
	if len(b.left) == 0 {
		b.left = slices.Clone(b.all)
		b.rng.Shuffle(len(b.left), func(i, j int) { b.left[i], b.left[j] = b.left[j], b.left[i] })
	}
	i := slices.IndexFunc(b.left, suits)
	if i < 0 {
		return fault{}, false
	}
	f := b.left[i]
	b.left = slices.Delete(b.left, i, i+1)
	return f, true
}

// draw gives the faults of one round: two to five that go together, and among them one that brambled works for.
func (b *bag) draw() []fault {
	first, _ := b.take(func(fault) bool { return true })
	round := []fault{first}
	together := func(f fault) bool {
		return !slices.ContainsFunc(round, func(r fault) bool { return !f.goes(r) })
	}
	for range 1 + b.rng.IntN(3) {
		if f, ok := b.take(together); ok {
			round = append(round, f)
		}
	}
	if !slices.ContainsFunc(round, func(f fault) bool { return f.works }) {
		work := slices.DeleteFunc(slices.Clone(b.all), func(f fault) bool { return !f.works || !together(f) })
		if len(work) > 0 {
			round = append(round, work[b.rng.IntN(len(work))])
		}
	}
	b.rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
	return round
}

// The ten minutes of a soak are enough for each kind: of what was drawn no kind is drawn twice before all were once.
func TestSoakDrawsEveryKind(t *testing.T) {
	for seed := range uint64(200) {
		b := newBag(faults(), rand.New(rand.NewPCG(seed, 0)))
		drawn, rounds := map[string]int{}, 0
		for ; len(drawn) < len(b.all); rounds++ {
			round := b.draw()
			for i, f := range round {
				drawn[f.kind]++
				for _, other := range round[:i] {
					if !f.goes(other) {
						t.Fatalf("seed %d: %q and %q do not go together", seed, f.kind, other.kind)
					}
				}
			}
		}
		if rounds > len(b.all) {
			t.Errorf("seed %d: %d rounds for %d kinds", seed, rounds, len(b.all))
		}
	}
	one, two := newBag(faults(), rand.New(rand.NewPCG(7, 0))), newBag(faults(), rand.New(rand.NewPCG(7, 0)))
	for range 100 {
		if a, b := kindsOf(one.draw()), kindsOf(two.draw()); !slices.Equal(a, b) {
			t.Fatalf("one seed, two draws: %v and %v", a, b)
		}
	}
}

func kindsOf(faults []fault) []string {
	var out []string
	for _, f := range faults {
		out = append(out, f.kind)
	}
	return out
}
