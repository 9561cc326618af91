package lease_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/lease/leasetest"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		opts lease.Options
		want string // in the error; "" for none
	}{
		{"the defaults", lease.Options{}, ""},
		{"a long time to live", lease.Options{TTL: time.Hour}, ""},
		{"all set", lease.Options{TTL: 15 * time.Second, Renew: 4 * time.Second, Margin: 3 * time.Second, LockDelay: 5 * time.Second}, ""},
		{"a time to live too short", lease.Options{TTL: 500 * time.Millisecond}, "1s to"},
		{"and too long", lease.Options{TTL: 25 * time.Hour}, "1s to"},
		{"a renew interval that leaves no second try", lease.Options{TTL: 10 * time.Second, Renew: 4 * time.Second}, "one lost request"},
		{"and one that is negative", lease.Options{Renew: -1}, "never comes"},
		{"a margin that eats the time to live", lease.Options{TTL: 10 * time.Second, Margin: 5 * time.Second}, "one lost request"},
		{"a margin for nothing", lease.Options{TTL: 10 * time.Second, Margin: time.Millisecond}, "margin"},
		{"a margin that suits 10s and not 5s", lease.Options{Margin: 2 * time.Second}, "5s"},
		{"a lock-delay that means none", lease.Options{LockDelay: time.Microsecond}, "lock-delay"},
		{"and one Consul refuses", lease.Options{TTL: time.Hour, LockDelay: 2 * time.Minute}, "lock-delay"},
		{"and one longer than the time to live", lease.Options{TTL: 10 * time.Second, LockDelay: 15 * time.Second}, "longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := lease.New(leasetest.New().Link(), identity("pi1"), c.opts, zap.NewNop(), nil)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want %q", err, c.want)
			}
		})
	}
}

func TestMetricsBeginAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := lease.New(leasetest.New().Link(), identity("pi1"), lease.Options{}, zap.NewNop(), reg); err != nil {
		t.Fatal(err)
	}
	n := &node{reg: reg}
	got := n.count()
	for _, c := range append(lease.Changes(), "brambled_leader_held", "brambled_leader_suspended", "brambled_leader_term", "brambled_leader_renew_failures_total") {
		if v, ok := got[c]; !ok || v != 0 {
			t.Errorf("%s = %v, %v", c, v, ok)
		}
	}
	if len(got) != len(slices.Compact(lease.Changes()))+4 {
		t.Errorf("metrics = %v", got)
	}
}

func TestHolder(t *testing.T) {
	for _, tt := range []struct{ session, value, want string }{
		{"s", `{"node": "pi1", "run": "x", "term": 7}`, "pi1"},
		{"", `{"node": "pi1"}`, ""},
		{"s", `{"node": "pi1", "released": true}`, ""},
		{"s", "no claim", ""},
	} {
		if got := lease.Holder(tt.session, []byte(tt.value)); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
