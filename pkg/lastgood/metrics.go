package lastgood

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	writes     *prometheus.CounterVec
	generation prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_lastgood_writes_total", Help: "Writes of last-known-good to the state folder, by outcome.",
		}, []string{"outcome"}),
		generation: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_lastgood_generation", Help: "Generation of last-known-good on disk; 0 when there is none.",
		}),
	}
	for _, outcome := range []string{"ok", "error"} {
		m.writes.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(m.writes, m.generation)
	}
	return m
}

func (m *metrics) wrote(generation uint64) {
	m.writes.WithLabelValues("ok").Inc()
	m.generation.Set(float64(generation))
}

func (m *metrics) failed() { m.writes.WithLabelValues("error").Inc() }
