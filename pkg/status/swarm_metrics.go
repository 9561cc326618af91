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
	managers, target, spare            *prometheus.Desc
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
	m.managers = desc("brambled_swarm_managers", "Managers of the Swarm, by whether they can be reached; only of the leader, and while it can see the Swarm.", "reachable")
	m.target = desc("brambled_swarm_managers_target", "How many managers a Swarm that brambled manages should have; only of the leader.")
	m.spare = desc("brambled_swarm_managers_spare", "How many managers may be lost before the Swarm cannot be changed; -1 where it cannot already; only of the leader.")
	m.report.Store(&Node{})
	reg.MustRegister(m)
	return m
}

// Set takes over a report; the zero Node is that of a node that does not lead.
func (m *SwarmMetrics) Set(n Node) { m.report.Store(&n) }

// Describe implements prometheus.Collector.
func (m *SwarmMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.services, m.desired, m.running, m.failed, m.managers, m.target, m.spare} {
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
	n.Quorum.collect(m, gauge)
	for _, s := range States() {
		if s != Converged && s != Elsewhere {
			gauge(m.services, float64(states[s]), string(s))
		}
	}
}

// collect gives the figures of the Swarm itself.
func (q *Quorum) collect(m *SwarmMetrics, gauge func(*prometheus.Desc, float64, ...string)) {
	switch {
	case q == nil:
	case q.State == Held:
		gauge(m.spare, -1)
	case len(q.Managers) > 0:
		reachable := 0
		for _, k := range q.Managers {
			if k.Reachable {
				reachable++
			}
		}
		gauge(m.managers, float64(reachable), "true")
		gauge(m.managers, float64(len(q.Managers)-reachable), "false")
		gauge(m.spare, float64(max(q.Spare, -1)))
		if q.Managed {
			gauge(m.target, float64(q.Target))
		}
	}
}
