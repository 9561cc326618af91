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
		{"brambled is upgraded on one Pi after the other", b.upgraded},
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

// upgraded: the old and the new version run side by side, whoever of them leads, and no container notices.
func (b *bramble) upgraded(t *testing.T) {
	const version = "99.0"
	deb := b.Package(t, version)
	before := processes(t, b.Pis)
	for i, p := range b.Pis {
		p.Install(t, deb)
		harness.Eventually(t, p.Name+" runs the new version", func() error {
			out, err := b.Pis[0].Try("consul", "kv", "get", "brambled/presence/"+p.Name)
			if err == nil && !strings.Contains(out, `"version":"`+version) {
				err = errors.New(out)
			}
			return err
		})
		edit := fmt.Sprint("upgrade", i)
		b.Pis[i].Put(t, pairKey, b.labelled(edit))
		b.edited(t, b.Pis, edit)
	}
	unmoved(t, before, processes(t, b.Pis), "pair-own-1", "pair_one")
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
	{"dockerd killed", func(t *testing.T, p *lab.Pi) {
		_, _ = p.Try("systemctl", "kill", "--kill-whom=main", "--signal=9", "docker")
	}},
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

// TestQuorumBootstrap (row 21): the first node that is made a manager dies on its way. The Swarm must not be stuck between one and three.
func TestQuorumBootstrap(t *testing.T) {
	b := startBramble(t)
	long := harness.Long(t, 1, 0)
	b.enthrone(t)
	b.Pis[3].Put(t, pairKey, pair)
	var second *lab.Pi
	harness.Within(t, 3*time.Minute, "a second manager is being made", func() error {
		out, err := b.throne.Try("sh", "-c", "docker node inspect --format '{{.Spec.Role}} {{.Description.Hostname}}' $(docker node ls -q)")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if role, name, _ := strings.Cut(strings.TrimSpace(line), " "); role == "manager" && name != b.throne.Name {
				second = b.Pi(t, name)
				return nil
			}
		}
		return errors.New(out)
	})
	second.PowerCut(t)
	began, how := time.Now(), "before it had its seat"
	pause(t, 15*time.Second) // in which Swarm notices
	if _, err := b.throne.Try("docker", "node", "ls"); err != nil {
		// It had it for a moment, and of two managers none may be lost: nothing can be done but to say so until it is back.
		how = "when it just had its seat"
		says(t, b.throne, "quorum", "docs/cluster.md")
		second.Boot(t)
	}
	names := managers(t, b.throne, 3)
	long.Note = fmt.Sprintf("%s died %s; %v are the managers after %s", second.Name, how, names, time.Since(began).Round(time.Second))
	greets(t, without(b.Pis, second), "first")
	if how == "before it had its seat" {
		second.Boot(t)
	}
	everywhere(t, b.throne, 4)
	settledSwarm(t, b.Lab)
}
