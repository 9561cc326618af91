package consul

import (
	"errors"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

func yes() (bool, string) { return true, "" }

func TestEnsureCluster(t *testing.T) {
	t.Run("creates it in all lists beside the user's keys", func(t *testing.T) {
		s := consultest.New()
		s.Put(keyStack+"web", "services: {}")
		id, created, err := testClient(t, s).EnsureCluster(t.Context(), yes)
		if err != nil || !created || !validID(id) {
			t.Fatalf("EnsureCluster = %q, %v, %v", id, created, err)
		}
		for _, list := range lists {
			if got, _ := s.Get("brambled/" + list + ClusterKey); string(got.Value) != id {
				t.Errorf("%s names %q, want %q", list, got.Value, id)
			}
		}
		if got, _ := s.Get(keyStack + "web"); string(got.Value) != "services: {}" {
			t.Errorf("the user's key became %q", got.Value)
		}
	})
	t.Run("returns the one there is, whoever asks", func(t *testing.T) {
		s := consultest.New()
		seed(s)
		s.Put(keyStack+ClusterKey, testID+"\n") // echo … | consul kv put
		id, created, err := testClient(t, s).EnsureCluster(t.Context(), func() (bool, string) { return false, "asked" })
		if id != testID || created || err != nil {
			t.Errorf("EnsureCluster = %q, %v, %v", id, created, err)
		}
	})
	t.Run("another node is faster", func(t *testing.T) {
		s := consultest.New()
		id, created, err := testClient(t, s).EnsureCluster(t.Context(), func() (bool, string) { seed(s); return true, "" })
		if id != testID || created || err != nil {
			t.Errorf("EnsureCluster = %q, %v, %v", id, created, err)
		}
	})
}

func TestEnsureClusterHolds(t *testing.T) {
	presence := func(value string) func(*consultest.Server) {
		return func(s *consultest.Server) { s.Put("brambled/presence/pi2", value) }
	}
	for _, c := range []struct {
		name    string
		do      func(*consultest.Server)
		allowed func() (bool, string)
		want    string
	}{
		{"the node knows of one", func(*consultest.Server) {}, func() (bool, string) { return false, "containers carry 3f9a1c2b" }, "containers carry 3f9a1c2b"},
		{"a present node names one", presence(`{"node":"pi2","address":"10.0.0.2","cluster":"3f9a1c2b"}`), yes, "node pi2 (10.0.0.2) belongs to 3f9a1c2b"},
		{"a present node cannot be understood", presence(`\x00`), yes, "presence/pi2"},
		{"presence is filtered", func(s *consultest.Server) { presence(`{"node":"pi2"}`)(s); s.Filter("brambled/presence/", true) }, yes, "presence/"},
		{"the token may not read it", func(s *consultest.Server) { s.Filter("brambled/vars/", true) }, yes, "may not read .cluster"},
		{"one list lacks it", func(s *consultest.Server) { seed(s); s.Delete(keyVar + ClusterKey) }, yes, "consul kv put brambled/vars/.cluster 3f9a1c2b"},
		{"only one list has it", func(s *consultest.Server) { s.Put(keyStack+ClusterKey, testID) }, yes, "brambled/vars/.cluster, brambled/secrets/.cluster is missing"},
		{"two clusters are mixed", func(s *consultest.Server) { seed(s); swap(s, "feedbeef", Secrets) }, yes, "two clusters"},
		{"it is no id", func(s *consultest.Server) { seed(s); swap(s, "a b", Secrets) }, yes, "brambled/secrets/.cluster holds no cluster id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := consultest.New()
			c.do(s)
			before := s.Index()
			id, created, err := testClient(t, s).EnsureCluster(t.Context(), c.allowed)
			if id != "" || created || !errors.Is(err, ErrClusterHold) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("EnsureCluster = %q, %v, %v; want a hold that says %q", id, created, err, c.want)
			}
			if s.Index() != before {
				t.Error("something was written")
			}
		})
	}
	t.Run("Consul is ill", func(t *testing.T) {
		s := consultest.New()
		s.Break(consultest.Failure{Path: "kv/brambled/presence/", Status: 500, Body: "No cluster leader"})
		_, created, err := testClient(t, s).EnsureCluster(t.Context(), yes)
		if created || CauseOf(err) != NoLeader {
			t.Errorf("created %v, %v", created, err)
		}
	})
}
