package consul

import (
	"errors"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

// TestDecisions reads what persons decided, as the commands write it and as a person may write it by hand.
func TestDecisions(t *testing.T) {
	s := consultest.New()
	c := testClient(t, s)
	for _, tt := range []struct {
		value string
		yes   bool
	}{
		{"", true}, {"by hand", true}, {"{}", true}, {`{"on": true}`, true}, {`{"on": false}`, false}, {`{"cluster": "c1"}`, true},
		{`{"cluster": "c2"}`, false}, {`{"cluster": "c1", "on": false}`, false}, {`"text"`, true},
	} {
		index := s.Put("brambled/drain/pi1", tt.value)
		d, cluster, err := c.Drain(t.Context(), "pi1")
		if err != nil || d.Yes("c1") != tt.yes || d.Index != index || cluster != "" {
			t.Errorf("%q: %+v of %q, %v", tt.value, d, cluster, err)
		}
	}
	s.Put("brambled/stacks/.cluster", "c1\n")
	if d, cluster, err := c.Drain(t.Context(), "pi2"); err != nil || d.Index != 0 || d.Yes("c1") || cluster != "c1" {
		t.Errorf("no key: %+v of %q, %v", d, cluster, err)
	}
	s.Put("brambled/swarm/gone/pi3", "{}")
	s.Put("brambled/swarm/adopt", "  swarm7\n")
	r, err := c.SwarmRecord(t.Context())
	if err != nil || len(r.Gone) != 1 || !r.Gone["pi3"].Yes("c1") || r.Adopt.ID != "swarm7" {
		t.Errorf("%+v, %v", r, err)
	}
	drains, err := c.Drains(t.Context())
	if err != nil || len(drains) != 1 {
		t.Errorf("%+v, %v", drains, err)
	}
	if err := c.Decide(t.Context(), DrainKey("pi1"), Decision{Index: 1}); !errors.Is(err, ErrConflict) {
		t.Errorf("over a key that was changed: %v", err)
	}
	if err := c.Decide(t.Context(), DrainKey("pi1"), Decision{By: "me", Index: drains["pi1"].Index}); err != nil {
		t.Error(err)
	}
}

// A decision that is hidden from the token must not look like one that nobody made.
func TestHiddenDecisions(t *testing.T) {
	s := consultest.New()
	c := testClient(t, s)
	s.Put("brambled/stacks/.cluster", "c1")
	s.Put("brambled/drain/pi1", "{}")
	s.Filter("brambled/drain/", true)
	if _, _, err := c.Drain(t.Context(), "pi1"); err == nil || !strings.Contains(err.Error(), "brambled/drain/pi1") {
		t.Errorf("one: %v", err)
	}
	if _, err := c.Drains(t.Context()); err == nil || !strings.Contains(err.Error(), "consul.token") {
		t.Errorf("all: %v", err)
	}
}
