//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// soak is a Pi in trouble: both its engine and its Consul behind a proxy, its state on a disk that can be filled.
type soak struct {
	*matrix
	way     *harness.Proxy // to Consul
	docker  *http.Client   // to the engine, past the proxy
	wish    *wish
	rng     *rand.Rand // what the faults do; another one draws them, so that a soak that is cut short drew the same
	cluster string     // its id

	touched   map[string]bool      // containers that this round may replace, restart or remove
	lost      bool                 // the store lost what it had, and nobody has put it back
	older     string               // the file of a snapshot of the store
	strangers map[string]container // those that are there, by id
	gone      []string             // ids of strangers that a person has removed
	marker    string               // the file in the named volume
	lastGood  *poll
	base      usage
	retries   int // what a person had to ask for again
}

// bootSoak starts a Pi that runs all that is wished for, and strangers.
func bootSoak(t *testing.T, rng *rand.Rand) *soak {
	t.Helper()
	flags := []string{"--live-restore"}
	p := &pi{top: t, engine: harness.StartDockerd(t, flags...), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	s := &soak{matrix: &matrix{pi: p, flags: flags}, wish: newWish(), rng: rng, strangers: map[string]container{}}
	s.docker = s.client()
	s.way = harness.TCPProxy(t, p.consul.Address)
	// Below the engine's folder: its own clean-up unmounts it, however this process ends.
	home := filepath.Join(p.engine.Dir, "pi")
	state := filepath.Join(home, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	s.keepState(state, filepath.Join(home, "state-kept"))
	p.Brambled = harness.StartBrambled(t, harness.Options{
		Docker: p.proxy.Host, Consul: s.way.Host, Dir: home, Args: []string{"--resync", "5s"},
	})
	s.lastGood = pollLastGood(t, state)
	for _, name := range []string{"mine", "web-app-2", "trio-app-3", "new-app-1"} {
		s.stranger(name)
	}
	for key, value := range s.wish.keys() {
		s.consul.Put(t, "brambled/"+key, value)
	}
	s.converges()
	s.cluster, _ = s.consul.Get(t, "brambled/stacks/.cluster")
	s.mark()
	s.saveOlder()
	s.idles()
	s.base = s.usage()
	return s
}

// keepState copies the state of a soak that failed off the disk that is unmounted.
func (s *soak) keepState(from, to string) {
	s.top.Cleanup(func() {
		if s.top.Failed() {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				s.top.Logf("keep state folder: %v", err)
			}
		}
	})
}

// touch says that the round has a reason to replace these containers.
func (s *soak) touch(names ...string) {
	for _, n := range names {
		s.touched[n] = true
	}
}

// lasts lets what is on stay on: the time a fault takes is part of the fault.
func (s *soak) lasts(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// upTo is a random time.
func (s *soak) upTo(milliseconds int) time.Duration {
	return time.Duration(s.rng.IntN(milliseconds)) * time.Millisecond
}

// round makes the faults, ends them in another order, and looks at what became of it. It returns those that met something and
// how long it took until all was as it should be.
func (s *soak) round(faults []fault) (met []fault, took time.Duration) {
	s.touched = map[string]bool{}
	before := s.ours()
	s.proxy.Forget()
	var heals []func()
	for _, f := range faults {
		s.lasts(s.upTo(400))
		if heal := f.strike(s); heal != nil {
			heals, met = append(heals, heal), append(met, f)
		}
	}
	s.lasts(300*time.Millisecond + s.upTo(3000))
	s.rng.Shuffle(len(heals), func(i, j int) { heals[i], heals[j] = heals[j], heals[i] })
	for _, heal := range heals {
		heal()
	}
	began := time.Now()
	s.converges()
	took = time.Since(began)
	s.invariants(before)
	s.idles()
	s.bounded()
	return met, took
}

// tally is what the end of a soak tells.
type tally struct {
	seed    uint64
	began   time.Time
	rounds  int
	kinds   []string
	drawn   map[string]int
	slowest map[string]time.Duration
}

func (a *tally) add(met []fault, took time.Duration) {
	a.rounds++
	for _, f := range met {
		a.drawn[f.kind]++
		a.slowest[f.kind] = max(a.slowest[f.kind], took)
	}
}

// table has a line for each kind of fault.
func (a *tally) table() string {
	var b strings.Builder
	b.WriteString("| fault | times | invariants | slowest recovery of a round with it |\n|---|--:|---|--:|\n")
	for _, kind := range a.kinds {
		result, slowest := "held", fmt.Sprintf("%.1f s", a.slowest[kind].Seconds())
		if a.drawn[kind] == 0 {
			result, slowest = "not drawn", ""
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", kind, a.drawn[kind], result, slowest)
	}
	return b.String()
}

// setting reads a setting of the soak from the environment.
func setting[T any](t *testing.T, name string, otherwise T, parse func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// full is how long a soak must be to have met every kind of fault.
const full = 10 * time.Minute

// TestSoak draws faults from a seed, two to five at a time, ends them, and checks after each round that everything is as persons
// want it, and that nothing was touched that need not be. `make soak` runs it.
func TestSoak(t *testing.T) {
	lasts := setting(t, "BRAMBLED_SOAK", 0, time.ParseDuration)
	if lasts == 0 {
		t.Skip("a soak takes minutes: make soak")
	}
	seed := setting(t, "BRAMBLED_SOAK_SEED", uint64(time.Now().UnixNano()%1_000_000), func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	t.Logf("soak: seed %d, %v", seed, lasts)
	only := setting(t, "BRAMBLED_SOAK_KINDS", regexp.MustCompile(""), regexp.Compile)
	all := slices.DeleteFunc(faults(), func(f fault) bool { return !only.MatchString(f.kind) })
	b := newBag(all, rand.New(rand.NewPCG(seed, 1)))
	s := bootSoak(t, rand.New(rand.NewPCG(seed, 2)))
	a := &tally{seed: seed, began: time.Now(), kinds: kindsOf(all), drawn: map[string]int{}, slowest: map[string]time.Duration{}}
	t.Cleanup(func() {
		t.Logf("soak: seed %d, %d rounds in %v, %d retries by a person\n%s", seed, a.rounds, time.Since(a.began).Round(time.Second), s.retries, a.table())
	})
	for a.goesOn(lasts) {
		round := b.draw()
		t.Logf("soak: %s round %d: %s", time.Now().Format(time.TimeOnly), a.rounds+1, strings.Join(kindsOf(round), " + "))
		met, took := s.round(round)
		for _, f := range round {
			if !slices.Contains(kindsOf(met), f.kind) {
				b.left = append(b.left, f) // it must come again
			}
		}
		if t.Failed() {
			t.FailNow() // what follows would only repeat it
		}
		a.add(met, took)
	}
	a.everyKind(t, lasts)
	a.page(t, s.retries)
}

// goesOn says whether the soak is not over: a full one on a slow machine has more time to meet every kind.
func (a *tally) goesOn(lasts time.Duration) bool {
	over := time.Since(a.began)
	return over < lasts || lasts >= full && len(a.drawn) < len(a.kinds) && over < 2*lasts
}

// everyKind asserts that a full soak has met every kind of fault, and a shorter one some.
func (a *tally) everyKind(t *testing.T, lasts time.Duration) {
	t.Helper()
	if missing := len(a.kinds) - len(a.drawn); missing > 0 && lasts >= full || len(a.drawn) == 0 {
		t.Errorf("%d of %d kinds of fault were not met in %v", missing, len(a.kinds), lasts)
	}
}

// page writes the result for the reader of the docs, where it is asked for.
func (a *tally) page(t *testing.T, retries int) {
	t.Helper()
	path := os.Getenv("BRAMBLED_SOAK_PAGE")
	if path == "" {
		return
	}
	text := fmt.Sprintf(soakPage, time.Since(a.began).Round(time.Second), a.seed, a.rounds, retries, a.table())
	if err := os.WriteFile(filepath.Join(harness.Root(t), path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const soakPage = `# The soak

Generated by ` + "`make soak PAGE=docs/soak.md`" + `; do not edit.

A soak runs brambled with a real Docker Engine and a real Consul, each behind a proxy that can do harm, and breaks things for
minutes: every few seconds two to five faults at a time, drawn from a seed, ended in another order. After each round it waits
until everything is as the stacks say, and checks that

- no container was replaced, restarted or stopped that no person and no edit gave a reason for: same id, same process;
- no call of brambled's was about a container of somebody else, and those are as they were;
- no named volume was removed, and what lies in them is there;
- each container has what the newest files, variables and secrets say, and the store has them again after a loss;
- each file of last-known-good could be read at every instant;
- two looks at the engine later nothing was called that changes anything, no byte written to disk and no key to Consul;
- goroutines, open files and memory of brambled are where they were;
- brambled ended only when it was told to, and never refused a plan of its own.

The last run: %v, seed %d, %d rounds, %d retries by a person. The soak ends with the first round that breaks an invariant.

%s`
