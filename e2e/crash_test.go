//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/failpoint"
)

// crashBench is a Pi whose daemon is killed again and again, and what must outlive that.
type crashBench struct {
	*pi
	api     *engineAPI
	foreign sighted
	volumes map[string]bool // that were asked for at some time
	line    *line

	now  estate             // what is converged
	seen map[string]sighted // when it was
}

func bootCrash(t *testing.T) *crashBench {
	// The networks of the tests, so that the registry needs no certificate.
	p := &pi{top: t, engine: harness.StartDockerd(t, "--insecure-registry=198.18.0.0/15"), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	b := &crashBench{pi: p, api: newEngineAPI(p.engine.Socket), volumes: map[string]bool{}}
	b.line = startRegistry(t, "").line(t, p.engine.Gateway)
	for _, tag := range []string{"1", "2"} {
		ref := b.line.address + "/hello:" + tag
		p.engine.Docker(t, "tag", "brambled/hello:"+tag, ref)
		p.engine.Docker(t, "push", "-q", ref)
		p.engine.Docker(t, "rmi", ref)
	}
	p.engine.Docker(t, "run", "-d", "--name", "mine", "brambled/hello:1")
	have, err := b.sight()
	if err != nil {
		t.Fatal(err)
	}
	b.foreign = have["mine"]
	return b
}

// settle starts the daemon that the rounds are about and waits until all of the first estate runs.
func (b *crashBench) settle(t *testing.T) {
	t.Helper()
	b.Brambled = harness.NewBrambled(t, b.options(""))
	write(t, filepath.Join(b.ManifestsDir(), "base.yaml"), static)
	b.now = newEstate(b.line.address)
	b.write(t, estate{}, b.now)
	b.Again(t)
	b.await(t, b.now)
}

func (b *crashBench) options(prefix string) harness.Options {
	return harness.Options{Docker: b.proxy.Host, Consul: b.consul.Address, Prefix: prefix, Failpoints: true, Args: []string{"--resync", "5s"}}
}

// write brings the store from one estate to another.
func (b *crashBench) write(t *testing.T, from, to estate) {
	t.Helper()
	was := map[string]string{}
	if from.registry != "" {
		was = from.keys()
	}
	for key, value := range to.keys() {
		if was[key] != value {
			b.consul.Put(t, "brambled/"+key, value)
		}
		delete(was, key)
	}
	for key := range was {
		b.consul.Delete(t, "brambled/"+key)
	}
}

// await waits until an estate is reached, and remembers it as what the next round starts from.
func (b *crashBench) await(t *testing.T, e estate) {
	t.Helper()
	harness.Eventually(t, "all is as the store says", func() error {
		have, err := b.reached(e)
		if err == nil {
			b.now, b.seen = e, have
		}
		return err
	})
}

// death is a point that the daemon is to die at. One that is sure is waited for; of any other the daemon may never come to it.
type death struct {
	point string
	sure  bool
}

// dies starts the daemon with a point armed, does what is to bring it there, and reports whether it died: the other end is
// that all was reached without coming to the point.
func (b *crashBench) dies(t *testing.T, d death, goal estate, cause func()) bool {
	t.Helper()
	b.Launch(b.top, "BRAMBLED_FAILPOINT="+d.point)
	cause()
	died := false
	harness.Eventually(t, "the daemon dies at "+d.point, func() error {
		if died, _ = b.Killed(); died {
			return nil
		}
		if _, err := b.reached(goal); err != nil || d.sure {
			return errors.Join(errors.New("it lives"), err)
		}
		return nil
	})
	if died {
		if _, err := b.Killed(); err != nil {
			t.Fatal(err)
		}
		if state := b.remembers(t); state.Cluster == "" {
			t.Fatalf("last-known-good has forgotten its cluster: %+v", state)
		}
		return true
	}
	b.Kill(t)
	return false
}

// round kills the daemon, makes edits that bring the next one to the points, kills each of these there, and expects the last
// one, which nobody kills, to come to the same end as if nothing had been. It returns how many died at their points.
func (b *crashBench) round(t *testing.T, names []string, points ...death) (deaths int) {
	t.Helper()
	from, before := b.now, b.seen
	goal := from.after(names...)
	b.Kill(t)
	b.remembers(t)
	if goal.far != from.far {
		// Not here, so that it is pulled; nothing to say where it was never pulled.
		_, _ = b.engine.TryDocker("rmi", goal.farImage())
	}
	written := from
	for _, point := range points {
		// While the first one runs: what happens then is nothing that it finds at its start.
		if b.dies(t, point, goal, func() { b.write(t, written, goal) }) {
			deaths++
		}
		written = goal
	}
	b.Again(b.top)
	b.write(t, written, goal)
	b.await(t, goal)
	undisturbed(t, from, goal, before, b.seen)
	if t.Failed() {
		t.FailNow()
	}
	return deaths
}

// firstStart are the points that only a node without a past comes to.
var firstStart = []failpoint.Name{
	failpoint.ClusterBefore, failpoint.ClusterAfter, failpoint.EngineBefore, failpoint.EngineAfter,
}

// byEdit says which edits bring the daemon to a point. All others are come to on any edit.
var byEdit = map[failpoint.Name][]string{
	"docker-pull-before": {"image elsewhere"}, "docker-pull-after": {"image elsewhere"},
	failpoint.PullRunning: {"image elsewhere"}, failpoint.PullEnded: {"image elsewhere"},
	"docker-create-network-before": {"network"}, "docker-create-network-after": {"network"},
	"docker-remove-network-before": {"network"}, "docker-remove-network-after": {"network"},
	"docker-connect-before": {"network"}, "docker-connect-after": {"network"},
	"docker-disconnect-before": {"network"}, "docker-disconnect-after": {"network"},
	"docker-create-volume-before": {"stack"}, "docker-create-volume-after": {"stack"},
	"docker-remove-file-before": {"config"}, "docker-remove-file-after": {"config"},
	failpoint.FileTemp: {"config"}, failpoint.FileRenamed: {"secret"},
	failpoint.RemoveCalled: {"no service"}, "docker-remove-before": {"no stack"},
	"docker-stop-before": {"stop-first"}, "docker-stop-after": {"stop-first"},
	"docker-set-restart-before": {"stop-first"}, "docker-set-restart-after": {"stop-first"},
	"docker-rename-after": {"stop-first"}, "docker-start-before": {"stop-first"}, "docker-create-after": {"stop-first"},
	failpoint.CreateCalled: {"start-first"}, "docker-start-after": {"start-first"}, "docker-rename-before": {"start-first"},
}

// TestCrash kills the daemon at each step it can be killed at (row 5 of the fault matrix, and row 11: among the steps are those
// of writing last-known-good).
func TestCrash(t *testing.T) {
	t.Parallel()
	b := bootCrash(t)
	t.Run("first start", func(t *testing.T) {
		for _, name := range firstStart {
			t.Run(string(name), func(t *testing.T) { b.firstStart(t, string(name)) })
		}
	})
	b.settle(t)
	t.Run("each point", func(t *testing.T) {
		for _, name := range later() {
			if !t.Run(string(name), func(t *testing.T) { b.at(t, name) }) {
				t.Fatal("the rounds that follow need a Pi that is sound")
			}
		}
	})
	if t.Failed() {
		return
	}
	t.Run("random", func(t *testing.T) { b.random(t, rounds) })
	b.silentStart(t)
}

// later are the points that any node comes to, one without a Swarm too.
func later() []failpoint.Name {
	others := slices.Concat(firstStart, failpoint.SwarmNames(), failpoint.QuorumNames())
	return slices.DeleteFunc(failpoint.Names(), func(n failpoint.Name) bool { return slices.Contains(others, n) })
}

// at visits one point.
func (b *crashBench) at(t *testing.T, name failpoint.Name) {
	change := byEdit[name]
	if change == nil {
		change = []string{"job"}
	}
	if slices.Contains(change, "no service") {
		// Twice: the second container takes over the volume of the first, and only brambled knows that it has no name.
		b.round(t, []string{"service"})
		b.round(t, []string{"service"})
	}
	if slices.Contains(change, "no stack") {
		b.round(t, []string{"stack"})
	}
	b.round(t, change, death{string(name), true})
}

// random makes rounds of random edits, with deaths at random points, up to three in a row: the second and third are of a
// daemon that is just putting right what the one before left.
func (b *crashBench) random(t *testing.T, n int) {
	seed := time.Now().UnixNano()
	if s := os.Getenv("BRAMBLED_SEED"); s != "" {
		given, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatalf("BRAMBLED_SEED: %v", err)
		}
		seed = given
	}
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	result := harness.Long(t, n, seed)
	deaths, tries := 0, 0
	for i := range n {
		change := someEdits(r)
		var points []death
		for range 1 + r.IntN(3) {
			// Most points are come to once or twice on the way.
			points = append(points, death{point: fmt.Sprintf("%s:%d", somePoint(r, change), 1+r.IntN(4)/2)})
		}
		tries += len(points)
		ok := t.Run(fmt.Sprintf("%d of %d", i+1, n), func(t *testing.T) {
			t.Logf("edits %v, points %v", change, points)
			deaths += b.round(t, change, points...)
		})
		if !ok {
			t.Fatalf("run it again with BRAMBLED_SEED=%d", seed)
		}
	}
	t.Logf("%d rounds with seed %d: the daemon died at %d of %d points", n, seed, deaths, tries)
	if deaths < n/2 {
		t.Errorf("only %d of %d daemons died: the rounds show nothing", deaths, tries)
	}
	result.Note = fmt.Sprintf("%d deaths", deaths)
}

// somePoint picks a point, most often one that the edits lead to.
func somePoint(r *rand.Rand, change []string) failpoint.Name {
	all := later()
	if r.IntN(4) > 0 {
		all = slices.DeleteFunc(all, func(n failpoint.Name) bool {
			by := byEdit[n]
			return by != nil && !slices.ContainsFunc(by, func(e string) bool { return slices.Contains(change, e) })
		})
	}
	return all[r.IntN(len(all))]
}

// firstStart kills a node without a past at its first start. The next one founds the cluster, and one only.
func (b *crashBench) firstStart(t *testing.T, point string) {
	prefix := point + "/"
	first := harness.NewBrambled(t, b.options(prefix))
	first.Launch(t, "BRAMBLED_FAILPOINT="+point)
	harness.Eventually(t, "the daemon dies at "+point, func() error {
		died, err := first.Killed()
		if !died {
			return fmt.Errorf("it lives")
		}
		return err
	})
	before, had := b.consul.Get(t, prefix+"stacks/.cluster")
	first.Again(t)
	harness.Eventually(t, "the next start founds the cluster", func() error {
		ids := map[string]bool{}
		for _, list := range []string{"stacks/", "vars/", "secrets/"} {
			id, there := b.consul.Get(t, prefix+list+".cluster")
			if !there {
				return fmt.Errorf("%s has no id", list)
			}
			ids[id] = true
		}
		if len(ids) != 1 || had && !ids[before] {
			t.Fatalf("the lists carry the ids %v, before the new start it was %q", slices.Sorted(maps.Keys(ids)), before)
		}
		p := crashBench{pi: &pi{Brambled: first}}
		if id := p.remembers(t).Cluster; !ids[id] {
			return fmt.Errorf("last-known-good has the id %q", id)
		}
		if holds := p.report(t).Holds; len(holds) > 0 {
			return fmt.Errorf("it holds: %v", holds)
		}
		return nil
	})
	first.Kill(t)
}

// silentStart holds that after all that one more death and start changes nothing.
func (b *crashBench) silentStart(t *testing.T) {
	b.Kill(t)
	b.proxy.Forget()
	b.Again(b.top)
	before := b.seen
	b.await(t, b.now)
	undisturbed(t, b.now, b.now, before, b.seen)
	if calls := b.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("the new start changed something: %v", calls)
	}
}
