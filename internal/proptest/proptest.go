// Package proptest is what the property tests share: how many worlds a rule sees, where a world's decisions
// come from, and the count of what the worlds led to.
package proptest

import (
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Main runs a package's tests with this many worlds for each rule. BRAMBLED_RAPID_CHECKS asks for more in a long run, and
// what the command line says counts.
func Main(m *testing.M, checks string) {
	flag.Parse()
	settings := map[string]string{"rapid.checks": checks, "rapid.shrinktime": "10s", "rapid.nofailfile": "true"}
	if n := os.Getenv("BRAMBLED_RAPID_CHECKS"); n != "" {
		settings["rapid.checks"] = n
	}
	flag.Visit(func(f *flag.Flag) { delete(settings, f.Name) })
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// Choice is where a world's decisions come from: rapid, or the bytes of a fuzzer.
type Choice interface {
	// UpTo returns a number from 0 to n-1.
	UpTo(n int) int
}

type rapidChoice struct{ t *rapid.T }

func (c rapidChoice) UpTo(n int) int { return rapid.IntRange(0, n-1).Draw(c.t, "") }

// Random is a choice that a seeded source makes.
type Random struct{ *rand.Rand }

// UpTo returns a number from 0 to n-1.
func (c Random) UpTo(n int) int { return c.IntN(n) }

// Draw decides how a world is made: by rapid draw for draw, which finds small worlds and makes them smaller, or mostly by
// one seed, which gets further out because rapid prefers small numbers.
func Draw(t *rapid.T) Choice {
	if seed := rapid.Uint64().Draw(t, "seed"); seed%4 != 0 {
		return Random{rand.New(rand.NewPCG(seed, seed))}
	}
	return rapidChoice{t}
}

// Pick takes one of a list.
func Pick[T any](c Choice, list []T) T { return list[c.UpTo(len(list))] }

// Tally counts outcomes.
type Tally map[string]int

// Require logs the counts and fails for each of the outcomes that no world led to: the rules were then not put to the test.
func (c Tally) Require(t *testing.T, outcomes []string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(c)) {
		t.Logf("%7d  %s", c[k], k)
	}
	for _, k := range outcomes {
		if c[k] == 0 {
			t.Errorf("no world led to: %s", k)
		}
	}
}
