package consul

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

// TestSwarmRecord follows a Swarm from its claim to the one that came after it.
func TestSwarmRecord(t *testing.T) {
	s := consultest.New()
	c := testClient(t, s)
	session, err := c.createSession(t.Context(), "leader", DefaultTTL, true)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := c.acquire(t.Context(), "leader", nil, session); err != nil || !ok {
		t.Fatal(ok, err)
	}
	read := func() SwarmRecord {
		t.Helper()
		r, err := c.SwarmRecord(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	write := func(writes []Write) error { return c.Fenced(t.Context(), "leader", session, writes...) }
	expect := func(what string, want SwarmRecord) {
		t.Helper()
		if diff := cmp.Diff(want, read(), cmpopts.IgnoreUnexported(SwarmRecord{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	do := func(writes []Write) {
		t.Helper()
		if err := write(writes); err != nil {
			t.Fatal(err)
		}
	}
	expect("nothing yet", SwarmRecord{})
	do(read().Claim("pi1"))
	expect("claimed", SwarmRecord{Forming: "pi1"})
	do(read().Publish("one", "c1", []string{"10.0.0.1:2377"}, nil, "token1"))
	expect("published", SwarmRecord{ID: "one", Cluster: "c1", Managers: []string{"10.0.0.1:2377"}, Token: "token1"})
	late := read()
	do(read().Remove("n2"))
	expect("removed", SwarmRecord{ID: "one", Cluster: "c1", Managers: []string{"10.0.0.1:2377"}, Removed: []string{"n2"}, Token: "token1"})
	if writes := read().Remove("n2"); writes != nil {
		t.Errorf("noted twice: %+v", writes)
	}
	if err := write(late.Claim("pi3")); !errors.Is(err, ErrConflict) {
		t.Errorf("written over what was not read: %v", err)
	}
	do(read().Publish("two", "c1", []string{"10.0.0.2:2377"}, nil, "token2"))
	expect("another Swarm", SwarmRecord{ID: "two", Cluster: "c1", Managers: []string{"10.0.0.2:2377"}, Former: []string{"one"}, Token: "token2"})
	do(read().Publish("one", "c1", []string{"10.0.0.1:2377"}, nil, "token1"))
	expect("the first one again", SwarmRecord{ID: "one", Cluster: "c1", Managers: []string{"10.0.0.1:2377"}, Former: []string{"two"}, Token: "token1"})
	if list, err := c.List(t.Context(), swarmKeys); err != nil || strings.Contains(string(list.Entries[0].Value), "token1") {
		t.Errorf("the record shows the token: %v, %+v", err, list.Entries)
	}
}

// A record that cannot be read is no empty one: a second Swarm would be formed.
func TestSwarmRecordDamaged(t *testing.T) {
	s := consultest.New()
	c := testClient(t, s)
	if err := c.Put(t.Context(), swarmRecordKey, []byte(`{"id": "on`)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SwarmRecord(t.Context()); err == nil || !strings.Contains(err.Error(), "consul kv delete brambled/swarm/record") {
		t.Errorf("damaged: %v", err)
	}
	if err := c.Delete(t.Context(), swarmRecordKey); err != nil {
		t.Fatal(err)
	}
	if r, err := c.SwarmRecord(t.Context()); err != nil || r.ID != "" {
		t.Errorf("deleted: %+v, %v", r, err)
	}
	heal := s.Break(consultest.Failure{Drop: true})
	if _, err := c.SwarmRecord(t.Context()); err == nil {
		t.Error("a store that does not answer has no record")
	}
	heal()
}
