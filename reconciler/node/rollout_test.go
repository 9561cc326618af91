package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/brambled/brambled/internal/proptest"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// bramble is several nodes that share the records of one store, in which anything comes late: the newest file, the view of the
// records, what a node had to say. Any node may lose its power at any step.
type bramble struct {
	choice
	tally   proptest.Tally
	records map[plan.PermitKey]node.Record
	writes  int
	nodes   []*pi
	rev     int // of the newest file
	newest  int // revision there was
	limit   int // how many nodes at a time
	attrs   string
	fails   map[int]bool         // the revisions whose containers end
	tried   map[int]map[*pi]bool // where a revision took the place of what served
	largest int                  // the highest limit there was
	quiet   bool                 // no more faults
}

// pi is one node.
type pi struct {
	name   string
	on     bool
	rev    int // of the file it has seen
	limit  int
	o      node.Observed
	lanes  []lane
	says   []plan.Permit
	cost   string // the version for which the service lost something last
	broken bool   // the service lost something by our hand and has not come to rest since
}

func newBramble(c choice, count proptest.Tally) *bramble {
	b := &bramble{choice: c, tally: count, records: map[plan.PermitKey]node.Record{}, rev: 1, newest: 1, fails: map[int]bool{}, tried: map[int]map[*pi]bool{}}
	b.attrs = proptest.Pick(c, []string{"", " excl=host_port", " voter", " voter excl=host_port", " fail=pause", " n=2", " health", " n=2 order=stop-first net=web_net"})
	b.limit = 1 + b.UpTo(2)
	b.largest = b.limit
	for i := range 2 + b.UpTo(4) {
		p := &pi{name: fmt.Sprintf("pi%d", i+1), on: true, rev: 1, limit: b.limit, o: nodetest.ParseObserved("image app:1\npermits known\n")}
		b.nodes = append(b.nodes, p)
	}
	for range 4 { // all begin with the first revision
		for _, p := range b.nodes {
			p.o = live(b.desired(p), applied(p.o, node.Plan(b.desired(p), p.o), 1000), worlds[0]).Pass(time.Minute)
		}
	}
	return b
}

// desired is what a node wants by the file that it has seen.
func (b *bramble) desired(p *pi) spec.Desired {
	def := 1 + p.rev/4%2 // the definition of the network changes now and then
	d := nodetest.ParseDesired(fmt.Sprintf("stack web\nnet web_net def=%d\nsvc app img=app:1 rev=%d par=%d shared monitor=5s%s", def, p.rev, p.limit, b.attrs))
	d.Node = p.name
	return d
}

func (b *bramble) oneIn(n int) bool { return b.UpTo(n) == 0 }

func (b *bramble) play() string {
	for range 300 {
		if problem := b.step(); problem != "" {
			return problem
		}
	}
	return b.converge()
}

// step lets something happen somewhere.
func (b *bramble) step() string {
	if !b.quiet && b.oneIn(25) {
		b.edit()
	}
	p := proptest.Pick(b.choice, b.nodes)
	switch {
	case b.quiet:
		p.on, p.rev = true, b.rev
	case !p.on && b.oneIn(6):
		b.boot(p)
	case p.on && b.oneIn(25):
		b.powerCut(p)
	case b.oneIn(6):
		p.rev = b.rev
	}
	if !p.on {
		return ""
	}
	switch b.UpTo(4) {
	case 0:
		b.carry(p)
	case 1:
		return b.work(p)
	case 2:
		b.wait(p)
	case 3:
		return b.pass(p)
	}
	return ""
}

// edit puts a new revision, good or bad, or the last good one again.
func (b *bramble) edit() {
	if b.fails[b.rev] && b.oneIn(3) {
		for b.fails[b.rev] {
			b.rev--
		}
		return
	}
	b.newest++
	b.rev = b.newest
	b.fails[b.rev] = b.oneIn(2)
}

func (b *bramble) powerCut(p *pi) {
	b.tally["power cut"]++
	p.broken = p.broken && !b.rests(p) // what has come to rest may begin anew after the boot
	if p.broken {
		b.tally["power cut in the middle"]++
	}
	p.on, p.lanes, p.says = false, nil, nil
	p.o = nodetest.Clone(p.o)
	for i := range p.o.Containers {
		if c := &p.o.Containers[i]; c.State == node.Running && c.Policy == "no" {
			nodetest.Set(c, "exited ended-by-engine", nil)
		}
	}
}

// boot is a node whose power is back: the engine starts what it may start, and brambled remembers nothing.
func (b *bramble) boot(p *pi) {
	p.on = true
	p.o = nodetest.Clone(p.o)
	p.o.Permits = node.Permits{}
	for i := range p.o.Containers {
		c := &p.o.Containers[i]
		c.Seen, c.Up, c.Sick = 0, 0, 0
		if c.State == node.Running && c.HasCheck {
			c.Health = node.Starting
		}
	}
}

// look gives a node its view of the store: the newest, the one it had, or none.
func (b *bramble) look(p *pi) {
	if b.quiet || b.oneIn(2) {
		p.o.Permits = node.Permits{Known: true, Records: maps.Clone(b.records)}
	} else if b.oneIn(8) {
		p.o.Permits = node.Permits{}
	}
	for _, other := range b.nodes {
		if !other.on {
			p.o.Permits.Away = append(slices.Clone(p.o.Permits.Away), other.name)
		}
	}
}

// pass plans on a node and begins the lanes. What the pass before had to say and was not carried out is void by it, as in the
// daemon: the view it planned by is older.
func (b *bramble) pass(p *pi) string {
	b.look(p)
	p.o.Busy = map[string]bool{}
	for _, l := range p.lanes {
		p.o.Busy[l.key] = true
	}
	d := b.desired(p)
	next := node.Plan(d, p.o)
	if err := node.Check(d, p.o, next); err != nil {
		return fmt.Sprintf("%s: %v\nplan:\n%s", p.name, err, next)
	}
	p.says = next.Permits
	for _, w := range next.Waits {
		b.tally["wait: "+string(w.For)]++
	}
	for _, l := range next.Lanes {
		p.lanes = append(p.lanes, lane{key: l.Key, goal: l.For, steps: l.Steps})
	}
	return ""
}

// carry carries out what a node has to say, each by check-and-set on the record as it is now. A node knows at once what it wrote.
func (b *bramble) carry(p *pi) {
	for len(p.says) > 0 && !b.oneIn(4) {
		s := p.says[0]
		p.says = p.says[1:]
		r, ok := b.records[s.Key].Carry(s, p.name, "")
		if !ok || s.Do == plan.KeepPermit {
			continue
		}
		b.writes++
		p.broken = p.broken && s.Do != plan.FailPermit // a recorded failure is an end too
		b.tally["permit: "+string(s.Do)]++
		if b.records[s.Key] = r; r.Empty() {
			delete(b.records, s.Key)
		}
		p.o.Permits = node.Permits{Known: true, Records: maps.Clone(b.records)}
	}
}

// work takes some steps of a node's lanes.
func (b *bramble) work(p *pi) string {
	running := p.lanes
	p.lanes = nil
	for _, l := range running {
		n := len(l.steps)
		if !b.quiet && b.oneIn(3) {
			n = b.UpTo(n + 1)
		}
		for _, s := range l.steps[:n] {
			if problem := b.apply(p, l.goal, s); problem != "" {
				return problem
			}
		}
		if n < len(l.steps) {
			p.lanes = append(p.lanes, lane{key: l.key, goal: l.goal, steps: l.steps[n:]})
		}
	}
	return ""
}

// apply takes one step and watches what it costs.
func (b *bramble) apply(p *pi, goal string, s plan.Step) string {
	before, hit := target(p.o, s.Action)
	served := hit && before.State == node.Running && before.Health != node.Unhealthy && !evidence(before)
	p.o = node.Simulate(p.o, s.Action)
	switch a := s.Action.(type) {
	case plan.Rename:
		if served && strings.HasSuffix(a.To, node.SuffixPrevious) {
			p.broken, p.cost = true, goal
		}
	case plan.Stop, plan.Disconnect:
		if served {
			p.broken, p.cost = true, goal
		}
	case plan.Start:
		started, _ := target(p.o, s.Action)
		if rev := revision(started); p.cost == started.Hash && rev == b.rev && b.fails[rev] {
			if b.tried[rev] == nil {
				b.tried[rev] = map[*pi]bool{}
			}
			b.tried[rev][p] = true
			if len(b.tried[rev]) > b.largest {
				return fmt.Sprintf("revision %d, which fails, took the place of what served on more than %d nodes", rev, b.largest)
			}
		}
	}
	broken := 0
	for _, other := range b.nodes {
		if other.broken = other.broken && !(other != p && b.rests(other)); other.broken {
			broken++
		}
	}
	if broken > 1 {
		b.tally["two at a time"]++
	}
	limit := b.largest
	if strings.Contains(b.attrs, "voter") {
		limit = 1
	}
	if broken > limit {
		return fmt.Sprintf("%d nodes are disrupted at a time, %d may be: %s %s", broken, limit, p.name, s)
	}
	return ""
}

// revision is the one that a container is of.
func revision(c node.Container) int {
	n := 0
	_, _ = fmt.Sscanf(c.Hash, "1:app:1+%d", &n)
	return n
}

// wait lets time pass on a node. What fails ends, and what is well becomes healthy.
func (b *bramble) wait(p *pi) {
	p.o = nodetest.Clone(p.o.Pass(2 * time.Second))
	for i := range p.o.Containers {
		c := &p.o.Containers[i]
		switch {
		case c.State != node.Running:
		case b.fails[revision(*c)]:
			nodetest.Set(c, "exited exit=1", nil)
		case c.Health == node.Starting:
			c.Health = node.Healthy
		}
	}
	p.broken = p.broken && !b.rests(p)
}

// rests reports whether each replica of a node is in the hands of one container that has shown to be well, on its networks, or of
// one that is kept for a person.
func (b *bramble) rests(p *pi) bool {
	svc := b.desired(p).Stacks[0].Services[0]
	for n := 1; n <= svc.Replicas; n++ {
		well := false
		name := fmt.Sprintf("web-app-%d", n)
		for _, c := range p.o.Containers {
			switch {
			case c.Replica != n || evidence(c):
			case c.Name != name && svc.Update.FailureAction == spec.Pause:
				well = true
			case c.Name != name:
				return false
			case c.State == node.Running && (c.Health == node.Healthy || c.Up >= 5*time.Second) && len(c.Networks) == len(svc.Container.Networks):
				well = true
			}
		}
		if !well {
			return false
		}
	}
	return true
}

// converge ends the faults, brings all nodes back and expects them to come to rest: with the newest revision on every node,
// unless it fails, and with nothing left to write.
func (b *bramble) converge() string {
	b.quiet = true
	for _, p := range b.nodes {
		if !p.on {
			b.boot(p)
		}
	}
	for range 400 {
		before, still := b.writes, true
		for _, p := range b.nodes {
			p.on, p.rev = true, b.rev
			if problem := b.round(p); problem != "" {
				return problem
			}
			still = still && len(p.lanes) == 0
		}
		if still && b.writes == before && b.settled() {
			return ""
		}
	}
	return fmt.Sprintf("no rest: records %+v", b.records)
}

func (b *bramble) round(p *pi) string {
	if problem := b.pass(p); problem != "" {
		return problem
	}
	if problem := b.work(p); problem != "" {
		return problem
	}
	b.carry(p)
	b.wait(p)
	return ""
}

// settled reports whether all is as it should end.
func (b *bramble) settled() bool {
	for _, p := range b.nodes {
		if next := node.Plan(b.desired(p), p.o); len(next.Lanes) > 0 {
			return false
		}
		for _, c := range p.o.Containers {
			if c.Name == "web-app-1" && !b.fails[b.rev] && revision(c) != b.rev {
				return false
			}
		}
	}
	for _, r := range b.records {
		if len(r.Holders) > 0 || !b.fails[b.rev] {
			return false
		}
	}
	return true
}

// TestOneDisruptionAtATime: never more nodes at a time than may be, a revision that fails is tried on no more than that (as long as
// it is the newest: a node that failed goes on with a newer one at once), and one that is good comes to every node once all are back, with no record left.
func TestOneDisruptionAtATime(t *testing.T) {
	count := proptest.Tally{}
	t.Run("worlds", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			c := proptest.Draw(t)
			for range 10 {
				b := newBramble(c, count)
				if problem := b.play(); problem != "" {
					t.Fatal(problem + "\n" + b.show())
				}
			}
		})
	})
	count.Require(t, []string{
		"power cut", "power cut in the middle", "two at a time", "wait: a permit", "wait: a new revision or retry",
		"permit: ask", "permit: give back", "permit: record failure", "permit: forget failure",
	})
}

func (b *bramble) show() string {
	var out strings.Builder
	fmt.Fprintf(&out, "revision %d, fails: %v, limit %d,%s\n", b.rev, b.fails, b.largest, b.attrs)
	for key, r := range b.records {
		fmt.Fprintf(&out, "%s: %+v %+v\n", key, r.Holders, r.Failed)
	}
	for _, p := range b.nodes {
		fmt.Fprintf(&out, "%s on=%v rev=%d broken=%v\n%s%s", p.name, p.on, p.rev, p.broken, nodetest.Show(p.o), node.Plan(b.desired(p), p.o))
	}
	return out.String()
}
