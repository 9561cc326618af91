package docker

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	calls   *prometheus.CounterVec
	events  prometheus.Counter
	streams prometheus.Counter
	pulls   *prometheus.CounterVec
	pins    *prometheus.CounterVec
	up      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_docker_calls_total", Help: "Requests to the Docker Engine, by method.",
		}, []string{"method"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "brambled_docker_events_total", Help: "Events of the Docker Engine that asked for a look.",
		}),
		streams: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "brambled_docker_event_streams_total", Help: "Times the event stream of the Docker Engine was opened.",
		}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_docker_pulls_total", Help: "Image pulls that ended, by outcome.",
		}, []string{"outcome"}),
		pins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_docker_pins_total", Help: "Questions to a registry for an image's digest, by outcome.",
		}, []string{"outcome"}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_docker_up", Help: "Whether the Docker Engine answered the last time it was asked.",
		}),
	}
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
		m.calls.WithLabelValues(method)
	}
	for _, outcome := range []string{"ok", "error"} {
		m.pulls.WithLabelValues(outcome)
		m.pins.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(m.calls, m.events, m.streams, m.pulls, m.pins, m.up)
	}
	return m
}
