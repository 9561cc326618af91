package consul

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

func TestKV(t *testing.T) {
	ctx := t.Context()
	s := consultest.New()
	c := testClient(t, s)
	if _, ok, err := c.Get(ctx, "stacks/web"); ok || err != nil {
		t.Fatalf("Get of a missing key = %v, %v", ok, err)
	}
	if err := c.PutCAS(ctx, "stacks/web", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.PutCAS(ctx, "stacks/web", []byte("2"), 0); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "brambled/stacks/web") {
		t.Errorf("PutCAS over a key = %v, want a conflict that names it", err)
	}
	e, ok, err := c.Get(ctx, "stacks/web")
	if !ok || err != nil || string(e.Value) != "1" || e.Key != "stacks/web" {
		t.Fatalf("Get = %+v, %v, %v", e, ok, err)
	}
	if err := c.PutCAS(ctx, "stacks/web", []byte("2"), e.ModifyIndex); err != nil {
		t.Error(err)
	}
	if err := c.DeleteCAS(ctx, "stacks/web", e.ModifyIndex); !errors.Is(err, ErrConflict) {
		t.Errorf("DeleteCAS at an old index = %v, want a conflict", err)
	}
	if err := c.Put(ctx, "stacks/db", make([]byte, MaxValue)); err != nil {
		t.Errorf("a value of exactly 512 KiB: %v", err)
	}
	puts := s.Requests("PUT ")
	for _, err := range []error{c.Put(ctx, "stacks/db", make([]byte, MaxValue+1)), c.PutCAS(ctx, "stacks/db", make([]byte, MaxValue+1), 0)} {
		if err == nil || !strings.Contains(err.Error(), "524289 bytes") || !strings.Contains(err.Error(), "brambled/stacks/db") {
			t.Errorf("a value over 512 KiB: %v", err)
		}
	}
	if s.Requests("PUT ") != puts {
		t.Error("a value over 512 KiB was sent")
	}
	if err := errors.Join(c.Delete(ctx, "stacks/web"), c.Delete(ctx, "stacks/web")); err != nil {
		t.Error(err)
	}
	list, err := c.List(ctx, Stacks)
	if err != nil || names(list.Entries) != "db" {
		t.Errorf("List = %q, %v", names(list.Entries), err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	s := consultest.New()
	c := testClient(t, s)
	heal := s.Break(consultest.Failure{Drop: true})
	_, _, err := c.Get(t.Context(), "stacks/web")
	for _, part := range []string{"get", "brambled/stacks/web", "unreachable", c.Address(), "consul.address"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
	heal()
	s.Break(consultest.Failure{Status: 403, Body: "Permission denied: token with AccessorID 'x' lacks permission 'key:write'"})
	if err := c.Put(t.Context(), "stacks/web", nil); CauseOf(err) != Forbidden || !strings.Contains(err.Error(), "consul.token") {
		t.Errorf("Put without the right = %v", err)
	}
	if err := c.Fenced(t.Context(), "leader", "x", Write{Key: "swarm/id"}); CauseOf(err) != Forbidden {
		t.Errorf("Fenced without the right = %v", err)
	}
}

func TestFenced(t *testing.T) {
	ctx := t.Context()
	s := consultest.New()
	c := testClient(t, s)
	session, err := c.createSession(ctx, "leader", DefaultTTL, false)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := c.acquire(ctx, "leader", []byte("pi1"), session); !held || err != nil {
		t.Fatalf("acquire = %v, %v", held, err)
	}
	if err := c.Fenced(ctx, "leader", session, Write{Key: "swarm/id", Value: []byte("1"), CAS: true}, Write{Key: "swarm/a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	err = c.Fenced(ctx, "leader", session, Write{Key: "swarm/b", Value: []byte("2")}, Write{Key: "swarm/id", Value: []byte("2"), CAS: true})
	if _, ok := s.Get("brambled/swarm/b"); !errors.Is(err, ErrConflict) || ok {
		t.Errorf("a refused operation left others done: %v", err)
	}
	s.Expire(session)
	err = c.Fenced(ctx, "leader", session, Write{Key: "swarm/a", Value: []byte("3")}, Write{Key: "swarm/id", Delete: true})
	if got, _ := s.Get("brambled/swarm/a"); !errors.Is(err, ErrConflict) || string(got.Value) != "1" {
		t.Errorf("a session that lost the lock wrote %q: %v", got.Value, err)
	}
}

func TestConfig(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "consul.example:8500")
	for _, c := range []struct {
		cfg             Config
		address, prefix string
	}{
		{Config{}, "consul.example:8500", "brambled/"},
		{Config{Address: "http://10.0.0.1:8500", Prefix: "/lab/pi"}, "http://10.0.0.1:8500", "lab/pi/"},
	} {
		got, err := New(c.cfg)
		if err != nil || got.Address() != c.address || got.Prefix() != c.prefix {
			t.Errorf("New(%+v) = %q %q, %v", c.cfg, got.Address(), got.Prefix(), err)
		}
	}
	if _, err := New(Config{TokenFile: "/nonexistent/token"}); err == nil || !strings.Contains(err.Error(), "/nonexistent/token") {
		t.Errorf("a token file that is missing: %v", err)
	}
}

func TestMetricsBeginAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	NewMetrics(reg)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	if series["brambled_consul_fault"] != len(causes) || series["brambled_consul_requests_total"] == 0 || series["brambled_consul_watch_resets_total"] != len(lists) {
		t.Errorf("series = %v", series)
	}
}
