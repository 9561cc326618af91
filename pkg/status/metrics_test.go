package status

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// scrape is what a registry answers, as text.
func scrape(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg, "1.2.3")
	empty := scrape(t, reg)
	for _, want := range []string{`brambled_build_info{goversion="go`, `version="1.2.3"} 1`, `brambled_stacks{state="held"} 0`, `brambled_services{state="failed"} 0`, "brambled_ready 0"} {
		if !strings.Contains(empty, want) {
			t.Errorf("before the first report: no %s in\n%s", want, empty)
		}
	}
	m.Set(twoNodes()[0])
	text := scrape(t, reg)
	for _, want := range []string{
		`brambled_stacks{state="held"} 1`, `brambled_stacks{state="failed"} 1`, `brambled_stacks{state="converged"} 1`,
		`brambled_stack_error{stack="bad"} 1`, `brambled_stack_error{stack="web"} 0`, `brambled_stack_converged{stack="web"} 1`,
		`brambled_holds{cause="bad input"} 1`, `brambled_service_containers_running{service="app",stack="web"} 1`, "brambled_ready 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	m.Set(Node{})
	if text := scrape(t, reg); strings.Contains(text, `stack="`) || strings.Contains(text, "brambled_holds{") {
		t.Errorf("a stack that is gone is still there:\n%s", text)
	}
}

// A key under stacks/ can have any name, and a service can be there twice under two owners: the scrape goes on.
func TestMetricsTakeAnyName(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg, "dev")
	m.Set(Node{
		Holds: []Hold{{Cause: "\xff"}, {Cause: "\xfe"}},
		Stacks: []Stack{
			{Name: "\xff\"\n", State: Held}, {Name: "\xfe\"\n", State: Held},
			{Name: "web", State: Converging, Services: []Service{{Name: "app", Running: 1}, {Name: "app", Running: 1, State: Removing}, {Name: "app", State: Elsewhere}}},
		},
	})
	text := scrape(t, reg)
	for _, want := range []string{`brambled_stacks{state="held"} 2`, `brambled_service_containers_running{service="app",stack="web"} 2`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
