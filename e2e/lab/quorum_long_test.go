//go:build e2e && long

package lab_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

// longer are the scenarios for which `make test` has no time.
func (b *bramble) longer() []scenario {
	return []scenario{
		{"two of three managers lose power and come back", b.twoGone},
		{"all Pis lose power at once", b.allAtOnce},
		{"faults at random", b.random},
	}
}

// twoGone: the last of three managers keeps what it runs, and says what is wrong.
func (b *bramble) twoGone(t *testing.T) {
	names := managers(t, manager(without(b.Pis, b.throne)), 3)
	last, gone := b.Pi(t, names[0]), []*lab.Pi{b.Pi(t, names[1]), b.Pi(t, names[2])}
	before := processes(t, []*lab.Pi{last})
	for _, p := range gone {
		p.PowerCut(t)
	}
	says(t, last, "quorum", "docs/cluster.md")
	unmoved(t, before, processes(t, []*lab.Pi{last}), "pair-own-1", "pair_one")
	began := time.Now()
	for _, p := range gone {
		p.Boot(t)
	}
	managers(t, last, 3)
	everywhere(t, last, 4)
	greets(t, b.Pis, "first")
	b.times.took("two of three managers boot → all is well", began)
	unmoved(t, before, processes(t, []*lab.Pi{last}), "pair-own-1")
	settledSwarm(t, b.Lab)
}

func (b *bramble) allAtOnce(t *testing.T) {
	names := managers(t, manager(without(b.Pis, b.throne)), 3)
	began := time.Now()
	b.AtOnce(t)
	from := b.Pi(t, names[0])
	if now := managers(t, from, 3); !slices.Equal(now, names) {
		t.Errorf("the managers are %v, were %v", now, names)
	}
	everywhere(t, from, 4)
	greets(t, b.Pis, "first")
	runs(t, b.Pis, "pair", "pair-own-1")
	b.times.took("all boot at once → all is well", began)
	settledSwarm(t, b.Lab)
}

// rounds is how many rounds of faults at random there are.
const rounds = 25

// random plays faults of one Pi at a time, drawn from a seed, with no regard for what has healed of the one before; then all must heal
// without a hand. BRAMBLED_SEED plays one again.
func (b *bramble) random(t *testing.T) {
	seed := time.Now().UnixNano()
	if s, err := strconv.ParseInt(os.Getenv("BRAMBLED_SEED"), 10, 64); err == nil {
		seed = s
	}
	long := harness.Long(t, rounds, seed)
	dice := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // a game of chance that can be repeated is the point
	played := map[string]int{}
	for round := range rounds {
		p := b.Pis[dice.IntN(len(b.Pis))]
		fault := faults[dice.IntN(len(faults))]
		t.Logf("round %d: %s on %s", round+1, fault.name, p.Name)
		played[fault.name]++
		fault.play(t, p)
		pause(t, time.Duration(5+dice.IntN(15))*time.Second)
	}
	began := time.Now()
	from := b.Pis[0]
	harness.Within(t, 5*time.Minute, "three managers, four nodes, all is converged", func() error { return b.well(&from) })
	long.Note = fmt.Sprintf("%v; healed after %s", played, time.Since(began).Round(time.Second))
	greets(t, b.Pis, "first")
	runs(t, b.Pis, "pair", "pair-own-1")
}

// faults are what happens to a Pi, each over within the call.
var faults = []struct {
	name string
	play func(*testing.T, *lab.Pi)
}{
	{"power cut", func(t *testing.T, p *lab.Pi) { p.PowerCut(t); p.Boot(t) }},
	{"brambled killed", func(t *testing.T, p *lab.Pi) { _, _ = p.Try("systemctl", "kill", "--signal=9", "brambled") }},
	{"dockerd killed", func(t *testing.T, p *lab.Pi) { _, _ = p.Try("systemctl", "kill", "--kill-whom=main", "--signal=9", "docker") }},
	{"consul killed", func(t *testing.T, p *lab.Pi) { _, _ = p.Try("systemctl", "kill", "--signal=9", "consul") }},
	{"cut off without a word", func(t *testing.T, p *lab.Pi) { p.Mute(t); pause(t, 20*time.Second); p.Mend(t) }},
	{"cable out", func(t *testing.T, p *lab.Pi) { p.Cut(t); pause(t, 10*time.Second); p.Mend(t) }},
}

// pause lets a fault last. It is how long the fault is, not a hope that something has happened.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// well reports what is not well yet, as any manager sees it.
func (b *bramble) well(from **lab.Pi) error {
	*from = manager(b.Pis)
	out, err := (*from).Try("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}")
	if err != nil {
		return err
	}
	if strings.Count(out, " Ready Active") != 4 || strings.Count(out, "\n") != 3 || strings.Count(out, "Leader")+strings.Count(out, "Reachable") != 3 {
		return errors.New(out)
	}
	if out, err := (*from).Try("brambled", "status"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
