package status

import (
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of the newest report. They are computed when they are asked for, from one report: a scrape sees
// no half of two, and what a report no longer names is gone.
type Metrics struct {
	report atomic.Pointer[Node]

	ready, stacks, services, converged, failed, index *prometheus.Desc
	desired, running, healthy, holds                  *prometheus.Desc
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer, version string) *Metrics {
	return newMetrics(reg, version)
}

func newMetrics(reg prometheus.Registerer, version string) *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &Metrics{
		ready:     desc("brambled_ready", "1 when the engine was looked at and a plan was made in the last pass."),
		stacks:    desc("brambled_stacks", "Stacks on this node, by state.", "state"),
		services:  desc("brambled_services", "Services of stacks on this node, by state.", "state"),
		converged: desc("brambled_stack_converged", "1 when the stack is as desired on this node.", "stack"),
		failed:    desc("brambled_stack_error", "1 when the stack's newest file cannot be used and is not enforced.", "stack"),
		index:     desc("brambled_stack_modify_index", "ModifyIndex of the stack's key that this node has taken in.", "stack"),
		desired:   desc("brambled_service_containers_desired", "Containers of the service that should run on this node.", "stack", "service"),
		running:   desc("brambled_service_containers_running", "Containers of the service that run on this node.", "stack", "service"),
		healthy:   desc("brambled_service_containers_healthy", "Running containers of the service that are healthy or have no health check.", "stack", "service"),
		holds:     desc("brambled_holds", "Things that are not done because doing nothing is safer, by cause.", "cause"),
	}
	m.report.Store(&Node{})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "brambled_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(version, runtime.Version()).Set(1)
	reg.MustRegister(m, info)
	return m
}

// Set takes over a report.
func (m *Metrics) Set(n Node) { m.report.Store(&n) }

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.ready, m.stacks, m.services, m.converged, m.failed, m.index, m.desired, m.running, m.healthy, m.holds,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	n := *m.report.Load()
	stacks, services, holds := map[State]int{}, map[State]int{}, map[string]int{}
	seen := map[string]bool{}
	for _, st := range n.Stacks {
		stacks[st.State]++
		for _, s := range st.Services {
			services[s.State]++
		}
		// A key's name can be anything, and two can look alike once they are text: a series must not come twice.
		if name := strings.ToValidUTF8(st.Name, "?"); !seen[name] {
			seen[name] = true
			m.stack(gauge, name, st)
		}
	}
	for _, h := range n.Holds {
		holds[strings.ToValidUTF8(h.Cause, "?")]++
	}
	for _, s := range States() {
		if s.ofStack() {
			gauge(m.stacks, float64(stacks[s]), string(s))
		}
		if s != Converged {
			gauge(m.services, float64(services[s]), string(s))
		}
	}
	for cause, count := range holds {
		gauge(m.holds, float64(count), cause)
	}
	gauge(m.ready, one(n.Ready))
}

// stack collects the figures of one stack. What is left of a service under another owner is added to the service's own.
func (m *Metrics) stack(gauge func(*prometheus.Desc, float64, ...string), name string, st Stack) {
	gauge(m.converged, one(st.State == Converged), name)
	gauge(m.failed, one(st.Error != ""), name)
	gauge(m.index, float64(st.Index), name)
	sum := map[string]Service{}
	for _, s := range st.Services {
		if s.State == Elsewhere {
			continue
		}
		t := sum[strings.ToValidUTF8(s.Name, "?")]
		t.Desired, t.Running, t.Healthy = t.Desired+s.Desired, t.Running+s.Running, t.Healthy+s.Healthy
		sum[strings.ToValidUTF8(s.Name, "?")] = t
	}
	for service, s := range sum {
		gauge(m.desired, float64(s.Desired), name, service)
		gauge(m.running, float64(s.Running), name, service)
		gauge(m.healthy, float64(s.Healthy), name, service)
	}
}

// ofStack reports whether a stack can be in this state.
func (s State) ofStack() bool {
	switch s {
	case Running, Done, Unhealthy, Elsewhere, Drained:
		return false
	default:
		return true
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
