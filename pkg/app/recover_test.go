package app

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/docker/dockertest"
	"github.com/brambled/brambled/reconciler/plan"
)

// What must be true before a Swarm is forced onto one manager.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	engine := docker.Loss{State: "active", Manager: true, Leaderless: true, Address: "192.0.2.1:2377"}
	pi2, pi3 := Peer{Name: "pi2", Address: "192.0.2.2:2377"}, Peer{Address: "192.0.2.3:2377"}
	with := func(p Peer, change func(*Peer)) Peer { change(&p); return p }
	answering, present := func(p *Peer) { p.Answers = true }, func(p *Peer) { p.Present = true }
	worker, led, errored := engine, engine, engine
	worker.Manager, led.Leaderless, errored.State, errored.Err = false, false, "error", "no raft"
	down := errors.New("no leader")
	for _, tt := range []struct {
		name string
		l    loss
		r    Recovery
		want []string
	}{
		{"all is said", loss{engine, nil, []Peer{pi2, pi3}}, Recovery{Lost: []string{"pi2", "192.0.2.3"}}, nil},
		{"by address", loss{engine, nil, []Peer{pi2}}, Recovery{Lost: []string{"192.0.2.2:2377"}}, nil},
		{"one is not said", loss{engine, nil, []Peer{pi2, pi3}}, Recovery{Lost: []string{"pi2"}}, []string{"192.0.2.3:2377 would be given up", "--lost 192.0.2.3"}},
		{"nothing is said", loss{engine, nil, []Peer{pi2, pi3}}, Recovery{}, []string{"pi2 (192.0.2.2:2377), 192.0.2.3:2377 would be", "--lost pi2 --lost 192.0.2.3"}},
		{"one is present", loss{engine, nil, []Peer{with(pi2, present), pi3}}, Recovery{Lost: []string{"pi2", "192.0.2.3"}}, []string{"pi2 (192.0.2.2:2377) is present in Consul"}},
		{"one answers", loss{engine, nil, []Peer{with(pi2, answering), pi3}}, Recovery{Lost: []string{"pi2", "192.0.2.3"}}, []string{"--lost pi2: it answers"}},
		{"one answers, and the rest is lost", loss{engine, nil, []Peer{with(pi2, answering), pi3}}, Recovery{Lost: []string{"192.0.2.3"}}, nil},
		{"somebody else", loss{engine, nil, []Peer{pi2}}, Recovery{Lost: []string{"pi9"}}, []string{"--lost pi9", "they are pi2"}},
		{"nobody", loss{engine, nil, []Peer{pi3}}, Recovery{Lost: []string{""}}, []string{"no such other manager"}},
		{"a worker", loss{worker, nil, []Peer{pi2}}, Recovery{Lost: []string{"pi2"}}, []string{"no manager"}},
		{"an engine in trouble", loss{errored, nil, []Peer{pi2}}, Recovery{Lost: []string{"pi2"}}, []string{`"error": no raft`}},
		{"a leader", loss{led, nil, []Peer{pi2}}, Recovery{Lost: []string{"pi2"}}, []string{"has a leader", "node rm"}},
		{"alone", loss{engine, nil, nil}, Recovery{}, []string{"another manager"}},
		{"no Consul", loss{engine, down, []Peer{pi2}}, Recovery{Lost: []string{"pi2"}}, []string{"no leader", "--without-consul"}},
		{"no Consul, and that is said", loss{engine, down, []Peer{pi2}}, Recovery{Lost: []string{"pi2"}, WithoutConsul: true}, nil},
		{"Consul answers whatever is said", loss{engine, nil, []Peer{with(pi2, present)}}, Recovery{Lost: []string{"pi2"}, WithoutConsul: true}, []string{"is present"}},
	} {
		mentions(t, tt.name, tt.l.refuse(tt.r), tt.want...)
	}
}

// The whole way on fakes: the store knows the names, the engine is asked once all is said, and not before.
func TestRecover(t *testing.T) {
	t.Parallel()
	o, store := operators(t)
	engine := dockertest.New(t)
	o.cfg.Docker.Host, o.election = engine.Host(), 0
	e, err := docker.New(docker.Config{Host: engine.Host(), StateDir: t.TempDir()}, o.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Apply(t.Context(), plan.InitSwarm{Node: "pi1", Cluster: "c1", Address: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	const dead = "127.0.0.3:1" // nobody listens there, and it says so at once
	engine.SetManagers("192.0.2.1:2377", dead)
	store.Put("brambled/swarm/record", `{"id": "x", "managers": ["192.0.2.1:2377", "127.0.0.2:1"]}`)
	store.Put("brambled/status/nodes/pi2", `{"node": "pi2", "address": "127.0.0.2"}`)
	lost := Recovery{Lost: []string{"pi2", "127.0.0.3"}}
	_, err = o.Recover(t.Context(), lost)
	mentions(t, "with a leader", err, "has a leader")
	engine.SetLeaderless(true)
	_, err = o.Recover(t.Context(), lost)
	mentions(t, "pi2 is present, under another address", err, "pi2 (127.0.0.2:1) is present")
	store.Delete("brambled/presence/pi2")
	peers, err := o.Recover(t.Context(), Recovery{})
	mentions(t, "unsaid", err, "--lost pi2 --lost 127.0.0.3")
	if n := engine.Count("POST /swarm/init"); n != 1 || len(peers) != 2 {
		t.Errorf("the engine was asked before: %v, %+v", engine.Log(), peers)
	}
	peers, err = o.Recover(t.Context(), lost)
	mentions(t, "all is said", err)
	if n := engine.Count("POST /swarm/init"); n != 2 || len(peers) != 2 || peers[0] != (Peer{Name: "pi2", Address: "127.0.0.2:1"}) {
		t.Errorf("%d times, %+v", n, peers)
	}
}

// Nothing but the command reaches what forces a new cluster.
func TestDaemonCannotForce(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"ForceNewCluster": {"pkg/docker/recover.go", "pkg/app/recover.go", "pkg/docker/dockertest/node.go"},
		"NewSurvivor":     {"pkg/docker/recover.go", "pkg/app/recover.go"},
		"Recover":         {"pkg/app/recover.go", "cmd/brambled/recover.go"},
	}
	found := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		at := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		ast.Inspect(file, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok || allowed[id.Name] == nil {
				return true
			}
			if found[id.Name] = true; !slices.Contains(allowed[id.Name], at) {
				t.Errorf("%s names %s", at, id.Name)
			}
			return true
		})
		return nil
	})
	if err != nil || len(found) != len(allowed) {
		t.Errorf("found %v: %v", found, err)
	}
}
