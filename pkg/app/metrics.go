package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the loop tells of itself.
type metrics struct {
	passes   *prometheus.CounterVec
	duration prometheus.Histogram
	steps    *prometheus.CounterVec
	lanes    prometheus.Gauge
	last     prometheus.Gauge
}

// The outcomes of a pass and of a step.
const (
	outcomeOK      = "ok"
	outcomeError   = "error"
	outcomeRefused = "refused"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_passes_total", Help: "Passes of the node loop, by outcome.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "brambled_pass_duration_seconds", Help: "Time from the start of observing to the end of planning.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10},
		}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_steps_total", Help: "Steps applied on the engine, by action and outcome.",
		}, []string{"action", "outcome"}),
		lanes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_lanes_running", Help: "Lanes of steps that are being applied.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_last_pass_timestamp_seconds", Help: "When the last pass ended without an error, as Unix time.",
		}),
	}
	for _, o := range []string{outcomeOK, outcomeError, outcomeRefused} {
		m.passes.WithLabelValues(o)
	}
	reg.MustRegister(m.passes, m.duration, m.steps, m.lanes, m.last)
	return m
}

func (m *metrics) pass(outcome string, took time.Duration, lanes int) {
	m.passes.WithLabelValues(outcome).Inc()
	m.duration.Observe(took.Seconds())
	m.lanes.Set(float64(lanes))
	if outcome == outcomeOK {
		m.last.SetToCurrentTime()
	}
}

func (m *metrics) step(action string, err error) {
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeError
	}
	m.steps.WithLabelValues(action, outcome).Inc()
}
