package status

import (
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// SwarmMetrics are the figures of the leader's newest report. A node that does not lead has none.
type SwarmMetrics struct {
	report atomic.Pointer[Node]

	services, desired, running, failed *prometheus.Desc
}

// NewSwarmMetrics registers the metrics.
func NewSwarmMetrics(reg prometheus.Registerer) *SwarmMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &SwarmMetrics{
		services: desc("brambled_swarm_services", "Services that Swarm runs, by state; only of the leader.", "state"),
		desired:  desc("brambled_swarm_service_tasks_desired", "Tasks of the service that should run; only of the leader.", "stack", "service"),
		running:  desc("brambled_swarm_service_tasks_running", "Tasks of the service that run; only of the leader.", "stack", "service"),
		failed:   desc("brambled_swarm_service_failed", "1 when the newest revision of the service failed and is not tried again; only of the leader.", "stack", "service"),
	}
	m.report.Store(&Node{})
	reg.MustRegister(m)
	return m
}

// Set takes over a report; the zero Node is that of a node that does not lead.
func (m *SwarmMetrics) Set(n Node) { m.report.Store(&n) }

// Describe implements prometheus.Collector.
func (m *SwarmMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.services, m.desired, m.running, m.failed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *SwarmMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	n := *m.report.Load()
	if n.Leader == "" {
		return
	}
	states := map[State]int{}
	seen := map[[2]string]bool{}
	for _, st := range n.Stacks {
		for _, s := range st.Services {
			states[s.State]++
			id := [2]string{strings.ToValidUTF8(st.Name, "?"), strings.ToValidUTF8(s.Name, "?")}
			if seen[id] { // a series must not come twice
				continue
			}
			seen[id] = true
			gauge(m.desired, float64(s.Desired), id[0], id[1])
			gauge(m.running, float64(s.Running), id[0], id[1])
			gauge(m.failed, one(s.State == Failed), id[0], id[1])
		}
	}
	for _, s := range States() {
		if s != Converged && s != Elsewhere {
			gauge(m.services, float64(states[s]), string(s))
		}
	}
}
