package app

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/reconciler/catalog"
	"github.com/brambled/brambled/reconciler/spec"
)

// bureau is a registrar with a fake agent, in a bubble with a clock of its own. Services "a" and "b" of stack "web" run.
type bureau struct {
	t     *testing.T
	agent *consultest.Server
	store *consul.Client
	logs  *observer.ObservedLogs
	log   *zap.Logger

	mu    sync.Mutex
	now   running
	known bool
}

func inBureau(t *testing.T, f func(*bureau)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := consultest.New()
		store, err := consul.New(consul.Config{Transport: s.Transport()})
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.InfoLevel)
		b := &bureau{t: t, agent: s, store: store, logs: logs, log: zap.New(core), known: true}
		b.now.desired = catalog.Desired{Node: "pi1", Address: "192.0.2.1", Owners: []string{"c1"}}
		for i, name := range []string{"a", "b"} {
			b.now.add("c1", "web", name, []spec.Registration{{Name: name, Port: uint16(80 + i)}})
			b.now.instances = append(b.now.instances, catalog.Instance{Owner: "c1", Stack: "web", Service: name, Passing: true})
		}
		f(b)
	})
}

func (b *bureau) look() (running, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now, b.known
}

// knows says whether it is known what runs.
func (b *bureau) knows(known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = known
}

// live runs a registrar until the returned function is called, and lets it come to rest.
func (b *bureau) live() (*registrar, func()) {
	ctx, stop := context.WithCancel(b.t.Context())
	r := newRegistrar(b.store, b.look, nil, b.log)
	go r.run(ctx)
	synctest.Wait()
	return r, func() { stop(); synctest.Wait() }
}

// later lets time pass in the bubble, where it costs nothing.
func later(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock, not the machine's
	synctest.Wait()
}

// is asserts the statuses of a and b in the catalog: "passing critical", "- passing".
func (b *bureau) is(when, want string) {
	b.t.Helper()
	var got []string
	for _, id := range []string{"brambled-pi1:web:a:a:80", "brambled-pi1:web:b:b:81"} {
		status := "-"
		if s, there := b.agent.Services()[id]; there {
			status = s.Status
		}
		got = append(got, status)
	}
	if g := strings.Join(got, " "); g != want {
		b.t.Errorf("%s: a and b are %s, want %s", when, g, want)
	}
}

// An agent that lost what it knew gets it again, without anything having happened on the engine.
func TestCatalogOfAWipedAgent(t *testing.T) {
	inBureau(t, func(b *bureau) {
		_, stop := b.live()
		defer stop()
		b.is("at first", "passing passing")
		b.agent.WipeAgent()
		later(renewEvery)
		b.is("after a while", "passing passing")
	})
}

// A catalog that is right is never written: checks are renewed for as long as it takes, and that is all.
func TestCatalogAtRest(t *testing.T) {
	inBureau(t, func(b *bureau) {
		r, stop := b.live()
		defer stop()
		made := b.agent.Requests("PUT agent/service/register")
		renewed := b.agent.Requests("PUT agent/check/update/service:brambled-pi1:web:a:a:80")
		for range 30 {
			later(renewEvery)
			lists := b.agent.Requests("GET agent/services")
			r.news() // passes without news
			synctest.Wait()
			if b.agent.Requests("GET agent/services") != lists {
				t.Fatal("a pass without news asks the agent")
			}
		}
		b.is("after ten minutes", "passing passing")
		if n := b.agent.Requests("PUT agent/service/register"); n != made {
			t.Errorf("registered %d times more", n-made)
		}
		if n := b.agent.Requests("PUT agent/check/update/service:brambled-pi1:web:a:a:80"); n != renewed+30 {
			t.Errorf("renewed %d times, want 30", n-renewed)
		}
	})
}

// A daemon that is started again in time is not seen in the catalog; one that stays away vouches for nothing.
func TestCatalogOverARestart(t *testing.T) {
	inBureau(t, func(b *bureau) {
		_, stop := b.live()
		stop()
		later(catalog.TTL - time.Second)
		b.is("while it is away", "passing passing")
		made := b.agent.Requests("PUT agent/service/register")
		b.knows(false) // until it has looked at the engine
		r, stop := b.live()
		b.knows(true)
		r.news()
		synctest.Wait()
		stop()
		if b.agent.Requests("PUT agent/service/register") != made {
			t.Error("what was registered was registered again")
		}
		later(catalog.TTL - time.Second)
		b.is("while it is away again", "passing passing")
		later(2 * time.Second)
		b.is("when it stays away", "critical critical")
	})
}

// While the engine does not answer, nobody can say that a service passes.
func TestCatalogOfAnEngineThatIsAway(t *testing.T) {
	inBureau(t, func(b *bureau) {
		_, stop := b.live()
		defer stop()
		b.knows(false)
		later(catalog.TTL + time.Second)
		b.is("away", "critical critical")
		b.knows(true)
		later(renewEvery)
		b.is("back", "passing passing")
	})
}

// An agent that fails is told of once, and what it refuses for one service holds up no other.
func TestCatalogThatIsRefused(t *testing.T) {
	inBureau(t, func(b *bureau) {
		heal := b.agent.Break(consultest.Failure{Path: "agent/", Status: 500, Body: "no"})
		_, stop := b.live()
		defer stop()
		later(5 * renewEvery)
		b.is("while it fails", "- -")
		if n := b.logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
		heal()
		heal = b.agent.Break(consultest.Failure{Path: "agent/check/update/service:brambled-pi1:web:a", Status: 403, Body: "Permission denied"})
		later(renewEvery)
		b.is("healed", "passing passing")
		later(catalog.TTL + time.Second)
		b.is("one is refused", "critical passing")
		heal()
		later(renewEvery)
		b.is("none is refused", "passing passing")
	})
}
