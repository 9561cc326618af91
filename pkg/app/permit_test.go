package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
)

// quick is a stack whose one container is replaced when the word is another, and has passed at once.
func quick(word string) string {
	return greets(word) + "    deploy: { update_config: { monitor: 1ms } }\n"
}

// bad is quick, with a container that ends at once.
func bad(word string) string { return quick(word) + "    command: [\"-exit\", \"1\"]\n" }

// joins starts another node on the store of the first one.
func (d *instance) joins(t *testing.T, name string) *instance {
	t.Helper()
	other := &instance{engine: dockertest.New(t), store: d.store, cfg: d.cfg}
	other.engine.AddImage("hello:1", dockertest.Image{})
	dir := t.TempDir()
	other.cfg.Node, other.cfg.StateDir, other.cfg.ManifestsDir = name, filepath.Join(dir, "state"), filepath.Join(dir, "manifests")
	other.cfg.Docker.Host = other.engine.Host()
	other.run(t)
	return other
}

// permit is what the store has of a permit.
func (d *instance) permit(key string) (r node.Record, there bool) {
	p, there := d.store.Get("brambled/rollouts/" + key)
	_ = json.Unmarshal(p.Value, &r)
	return r, there
}

func (d *instance) noPermits(t *testing.T) {
	t.Helper()
	eventually(t, "no permit is left", func() error {
		for _, key := range []string{"web/app", ".voters"} {
			if r, there := d.permit(key); there {
				return fmt.Errorf("%s is %+v", key, r)
			}
		}
		return nil
	})
}

// says waits until the service of stack web says why it is as it is.
func (d *instance) says(t *testing.T, words string) {
	t.Helper()
	eventually(t, d.cfg.Node+" says "+words, func() error {
		st, _ := d.app.Status().Stack("web")
		if !strings.Contains(st.Why, words) {
			return fmt.Errorf("it says %q", st.Why)
		}
		return nil
	})
}

// word is what the container in charge was made with.
func (d *instance) word() string {
	env, _ := json.Marshal(d.engine.CreateRequest("web-app-1")["Env"])
	return string(env)
}

// A version that fails stops at the first node. The others keep their container, say why, and take up the next version; after
// that no permit is left.
func TestBadVersionStopsAtTheFirstNode(t *testing.T) {
	t.Parallel()
	one := start(t, nil)
	two := one.joins(t, "pi2")
	both := []*instance{one, two}
	one.store.Put("brambled/stacks/web", quick("one"))
	for _, d := range both {
		d.is(t, "web", status.Converged)
	}
	for _, d := range both {
		d.engine.Forget()
	}
	one.store.Put("brambled/stacks/web", bad("two"))
	for _, d := range both {
		eventually(t, d.cfg.Node+" reports the failure", func() error {
			st, _ := d.app.Status().Stack("web")
			if st.State != status.Failed {
				return fmt.Errorf("it is %s: %s", st.State, st.Why)
			}
			return nil
		})
	}
	tried, spared := one, two
	r, _ := one.permit("web/app")
	if r.Failed == nil || len(r.Holders) > 0 {
		t.Fatalf("the record is %+v", r)
	}
	if r.Failed.Node == "pi2" {
		tried, spared = two, one
	}
	spared.takesNothing(t)
	spared.says(t, "it failed on "+tried.cfg.Node+": it did not pass its gate (docker logs web-app-1.failed); put a new revision, or brambled retry web")
	one.store.Put("brambled/stacks/web", quick("three"))
	for _, d := range both {
		d.is(t, "web", status.Converged)
		if !strings.Contains(d.word(), "three") {
			t.Errorf("%s runs %s", d.cfg.Node, d.word())
		}
	}
	one.noPermits(t)
}

// A node that holds the permit and is away stops the rollout, which is said; a person has it go on.
func TestHolderThatIsAway(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", quick("one"))
	d.is(t, "web", status.Converged)
	d.store.Put("brambled/rollouts/web/app", `{"holders":[{"node":"pi9","hash":"1:x"}]}`)
	d.store.Put("brambled/rollouts/.voters", `{"holders":[{"node":"pi9","hash":"c/web/app"}]}`)
	d.store.Put("brambled/rollouts/other/app", `{"holders":[{"node":"pi9","hash":"1:x"}]}`)
	d.engine.Forget()
	d.store.Put("brambled/stacks/web", quick("two")+"    x-brambled: { nodes: all, voter: true }\n")
	d.says(t, "pi9 holds the permit for it and is not there; it goes on when pi9 is back, or with brambled retry web")
	d.takesNothing(t)
	o, err := NewOperator(d.cfg, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Retry(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new version runs", func() error {
		if !strings.Contains(d.word(), "two") {
			return errors.New(d.word())
		}
		return nil
	})
	d.noPermits(t)
	if r, _ := d.permit("other/app"); len(r.Holders) != 1 {
		t.Errorf("the permit of another stack is %+v", r)
	}
	if err := o.Retry(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "none that is away holds a permit") {
		t.Errorf("retry of what did not fail: %v", err)
	}
}

// A daemon that was killed with the permit finds it when it comes back, and ends what it began.
func TestPermitOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", quick("one"))
	d.is(t, "web", status.Converged)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	next := quick("two")
	d.store.Put("brambled/stacks/web", next)
	d.store.Put("brambled/rollouts/web/app", `{"holders":[{"node":"pi1","hash":"1:of another version"}]}`)
	d.run(t)
	eventually(t, "the new version runs", func() error {
		if !strings.Contains(d.word(), "two") {
			return errors.New(d.word())
		}
		return nil
	})
	d.noPermits(t)
}

// ledger is a store of records, for what the fake of Consul cannot bring about.
type ledger struct {
	list    chan answer // answers of WatchPrefix
	entries map[string]consul.Entry
	before  func() error // called before each write
	writes  int
}

type answer struct {
	list consul.List
	err  error
}

func (l *ledger) WatchPrefix(ctx context.Context, _ string, _ uint64) (consul.List, error) {
	select {
	case a := <-l.list:
		return a.list, a.err
	case <-ctx.Done():
		return consul.List{}, ctx.Err()
	}
}

func (l *ledger) Get(_ context.Context, key string) (consul.Entry, bool, error) {
	e, ok := l.entries[key]
	return e, ok, nil
}

func (l *ledger) PutCAS(_ context.Context, key string, value []byte, index uint64) error {
	l.writes++
	if l.before != nil {
		if err := l.before(); err != nil {
			return err
		}
	}
	if l.entries[key].ModifyIndex != index {
		return consul.ErrConflict
	}
	l.entries[key] = consul.Entry{Key: strings.TrimPrefix(key, rolloutKeys), Value: value, ModifyIndex: index + 1}
	return nil
}

func (l *ledger) DeleteCAS(_ context.Context, key string, index uint64) error {
	l.writes++
	if l.before != nil {
		if err := l.before(); err != nil {
			return err
		}
	}
	if l.entries[key].ModifyIndex != index {
		return consul.ErrConflict
	}
	delete(l.entries, key)
	return nil
}

func (l *ledger) Present(context.Context) ([]consul.Presence, error) { return nil, nil }

func (l *ledger) put(key, value string, index uint64) {
	l.entries[rolloutKeys+key] = consul.Entry{Key: key, Value: []byte(value), ModifyIndex: index}
}

// now is the answer that is true.
func (l *ledger) now() answer {
	var a answer
	for _, e := range l.entries {
		a.list.Entries = append(a.list.Entries, e)
	}
	return a
}

var webApp = plan.PermitKey{Owner: "c1", Stack: "web", Service: "app"}

const mine = `{"holders":[{"node":"pi1","hash":"1:a"}]}`

// bubble runs permits on a ledger until f is done.
func bubble(t *testing.T, f func(t *testing.T, p *permits, l *ledger)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{list: make(chan answer), entries: map[string]consul.Entry{}}
		p := newPermits(l, "pi1", func() {}, zaptest.NewLogger(t))
		ctx, cancel := context.WithCancel(t.Context())
		go p.run(ctx)
		synctest.Wait()
		f(t, p, l)
		cancel()
		synctest.Wait()
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func facts(p *permits) node.Permits { return p.facts([]string{"static:/m", "c1"}) }

// holds reports whether a plan that is made now would think that this node has the permit.
func holds(p *permits) bool {
	f := facts(p)
	_, held := f.Records[webApp].Held("pi1")
	return f.Known && held
}

// A plan must never build on a permit that is being given back, whatever an answer that was asked for before says.
func TestPermitGivenBackIsNotHeld(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, p *permits, l *ledger) {
		l.put("web/app", mine, 1)
		old := l.now()
		l.list <- old
		synctest.Wait()
		if !holds(p) {
			t.Fatal("the permit is not seen")
		}
		l.before = func() error {
			if holds(p) {
				t.Error("it is held while it is given back")
			}
			return nil
		}
		p.want([]plan.Permit{{Do: plan.ReturnPermit, Key: webApp, For: "1:a"}})
		synctest.Wait()
		l.list <- old // asked for before, answered after
		synctest.Wait()
		if holds(p) {
			t.Error("it is held by an answer that is older")
		}
		l.put("web/app", mine, 7)
		l.list <- l.now()
		synctest.Wait()
		if !holds(p) {
			t.Error("a newer answer is not believed")
		}
	})
}

// What a plan had to say is void when the next one is made: between the two, what it was about may have begun.
func TestSayingsOfAnOldPlanAreVoid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{entries: map[string]consul.Entry{}}
		l.put("web/app", mine, 1)
		p := newPermits(l, "pi1", func() {}, zaptest.NewLogger(t))
		p.learn(0, l.now().list.Entries)
		p.want([]plan.Permit{{Do: plan.ReturnPermit, Key: webApp, For: "1:a"}})
		facts(p)
		if p.carry(t.Context()) || l.writes > 0 || !holds(p) {
			t.Error("an old plan's word was carried out")
		}
	})
}

// A write whose answer was lost may have taken place: nothing is known until the records are read again.
func TestPermitOfALostAnswer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, p *permits, l *ledger) {
		l.list <- l.now()
		synctest.Wait()
		l.before = func() error { l.put("web/app", mine, 5); return errors.New("lost") }
		p.want([]plan.Permit{{Do: plan.AskPermit, Key: webApp, For: "1:a", Limit: 1}})
		synctest.Wait()
		if facts(p).Known {
			t.Error("it is taken for known")
		}
		l.list <- l.now()
		synctest.Wait()
		if !holds(p) {
			t.Error("it was read again and is not seen")
		}
	})
}

// Of two nodes that ask at a time one gets it: who was slower looks again.
func TestPermitIsCheckAndSet(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, p *permits, l *ledger) {
		l.list <- l.now()
		synctest.Wait()
		l.before = func() error {
			l.put("web/app", `{"holders":[{"node":"pi2","hash":"1:a"}]}`, 3)
			l.before = nil
			return nil
		}
		p.want([]plan.Permit{{Do: plan.AskPermit, Key: webApp, For: "1:a", Limit: 1}})
		synctest.Wait()
		if got := string(l.entries["rollouts/web/app"].Value); !strings.Contains(got, "pi2") || strings.Contains(got, "pi1") || l.writes != 1 {
			t.Errorf("after %d writes the record is %s", l.writes, got)
		}
		if _, held := facts(p).Records[webApp].Held("pi2"); !held {
			t.Error("the other holder is not seen")
		}
	})
}

// A record that cannot be read is left as it is, and one that has what is asked for is not written.
func TestRecordsThatAreNotWritten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, p *permits, l *ledger) {
		l.put("web/app", "{", 1)
		l.put("web/db", mine, 1)
		l.list <- l.now()
		synctest.Wait()
		if d := facts(p).Records[webApp].Damaged; !strings.Contains(d, "rollouts/web/app cannot be read") {
			t.Errorf("it says %q", d)
		}
		db := plan.PermitKey{Owner: "c1", Stack: "web", Service: "db"}
		p.want([]plan.Permit{
			{Do: plan.AskPermit, Key: webApp, For: "1:a", Limit: 1}, {Do: plan.AskPermit, Key: db, For: "1:a", Limit: 1},
			{Do: plan.KeepPermit, Key: db, For: "1:a"}, {Do: plan.ForgetFailure, Key: db, For: "1:b"},
		})
		synctest.Wait()
		if l.writes > 0 {
			t.Errorf("%d writes: %+v", l.writes, l.entries)
		}
	})
}

// The store may be what has to be mended: a minute after its last answer the static tier goes on, and nothing else.
func TestStaticTierGoesOnWithoutStore(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, p *permits, l *ledger) {
		pass(2 * time.Minute) // without a word it is as long as the first answer takes
		l.list <- l.now()
		synctest.Wait()
		l.list <- answer{err: errors.New("away")}
		synctest.Wait()
		if f := facts(p); f.Known || len(f.Without) > 0 {
			t.Errorf("at once: %+v", f)
		}
		go func() {
			for range 4 {
				l.list <- answer{err: errors.New("away")}
			}
		}()
		pass(withoutStore)
		if f := facts(p); f.Known || fmt.Sprint(f.Without) != "[static:/m]" {
			t.Errorf("after a minute: %+v", f)
		}
		synctest.Wait()
		l.list <- answer{list: consul.List{Filtered: true}}
		synctest.Wait()
		if facts(p).Known {
			t.Error("an answer that leaves something out is believed")
		}
		pass(time.Minute)
		l.list <- l.now()
		synctest.Wait()
		if f := facts(p); !f.Known || len(f.Without) > 0 {
			t.Errorf("when it is back: %+v", f)
		}
	})
}

func TestRolloutKeys(t *testing.T) {
	t.Parallel()
	owners := []string{"static:/m", "c1"}
	for key, want := range map[string]plan.PermitKey{
		"web/app": webApp, ".voters": plan.Voters(), ".static/web/app": {Owner: "static:/m", Stack: "web", Service: "app"},
	} {
		if got := parseRollout(key, owners); got != want || rolloutKey(got) != key {
			t.Errorf("%s is %v, and back %s", key, got, rolloutKey(got))
		}
	}
	if got := parseRollout("web/app", owners[:1]); got.Owner != "" {
		t.Errorf("before the store was read it is %v", got)
	}
	if got := plan.ParsePermitKey((plan.PermitKey{Owner: "static:/m", Stack: "web", Service: "app"}).String()); got.Owner != "static:/m" || got.Name() != "web/app" {
		t.Errorf("read back: %+v", got)
	}
}

// The managers of the Swarm are voters too: while they change nobody else's voter may be disrupted, and the other way round.
func TestSwarmTakesTheVotersPermit(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { quickly(c) })
	eventually(t, "it leads", func() error {
		if d.app.leading.Load() == nil {
			return errors.New("nobody leads")
		}
		return nil
	})
	l := d.app.leading.Load()
	v := l.quorum.votes
	fenced := func(what string, f func() error) {
		t.Helper()
		eventually(t, what, f) // a first term waits for its deadline
	}
	d.store.Put("brambled/rollouts/.voters", `{"holders":[{"node":"pi2","hash":"c1/consul/consul"}]}`)
	if err := v.take(t.Context(), plan.PromoteNode{}); err == nil || !strings.Contains(err.Error(), "pi2 is updating consul/consul") {
		t.Errorf("while another node updates a voter: %v", err)
	}
	if err := v.take(t.Context(), plan.SetNode{}); err != nil {
		t.Errorf("what is no change of managers: %v", err)
	}
	d.store.Delete("brambled/rollouts/.voters")
	fenced("it is taken", func() error { return v.take(t.Context(), plan.DemoteNode{}) })
	if err := v.take(t.Context(), plan.PromoteNode{}); err != nil {
		t.Errorf("it is the Swarm's already: %v", err)
	}
	v.look(quorumPass{Ready: true})
	eventually(t, "it is given back", func() error {
		signal(v.idle)
		if r, there := d.permit(".voters"); there {
			return fmt.Errorf("it is %+v", r)
		}
		return nil
	})
}

// A change that Swarm is still carrying out keeps the permit, and so does a pass that knows nothing.
func TestVotesStayPending(t *testing.T) {
	t.Parallel()
	promotes := plan.Plan{Lanes: []plan.Lane{{Steps: []plan.Step{{Action: plan.PromoteNode{}}}}}}
	for name, tt := range map[string]struct {
		pass quorumPass
		want bool
	}{
		"nothing is left to be done": {pass: quorumPass{Ready: true}},
		"the pass failed":            {pass: quorumPass{Ready: true, Err: errors.New("no answer")}, want: true},
		"it knows nothing":           {pass: quorumPass{}, want: true},
		"Swarm carries it out": {
			pass: quorumPass{Ready: true, Plan: plan.Plan{Waits: []plan.Wait{{Subject: "managers", For: plan.WaitSwarm}}}}, want: true,
		},
		"a lane runs":      {pass: quorumPass{Ready: true, Observed: quorum.Observed{Busy: map[string]bool{"managers": true}}}, want: true},
		"more is to come":  {pass: quorumPass{Ready: true, Plan: promotes}, want: true},
		"only others wait": {pass: quorumPass{Ready: true, Plan: plan.Plan{Waits: []plan.Wait{{Subject: "pi2", For: plan.WaitCandidate}}}}},
	} {
		v := &votes{pending: true, idle: make(chan struct{}, 1)}
		if v.look(tt.pass); v.pending != tt.want || len(v.idle) == 0 != tt.want {
			t.Errorf("%s: pending is %t, told %t", name, v.pending, len(v.idle) > 0)
		}
	}
}
