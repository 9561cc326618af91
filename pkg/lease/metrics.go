package lease

import "github.com/prometheus/client_golang/prometheus"

// change is what happened to a term.
type change string

const (
	elected     change = "elected"
	suspended   change = "suspended"
	resumed     change = "resumed"
	lostSession change = "session-lost" // expired, destroyed, or gone with a Consul that was wiped
	lostLock    change = "lock-lost"    // the key is gone or another session's
	wentBack    change = "went-back"    // the key is older than it was
	stopped     change = "stopped"
	yielded     change = "yielded"
	resigned    change = "resigned" // lead returned by itself
)

func changes() []change {
	return []change{elected, suspended, resumed, lostSession, lostLock, wentBack, stopped, yielded, resigned}
}

// metrics are what an elector tells of itself.
type metrics struct {
	held      prometheus.Gauge
	suspended prometheus.Gauge
	term      prometheus.Gauge
	changes   *prometheus.CounterVec
	failures  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_leader_held", Help: "1 while this node holds the leader's lock, as far as it knows.",
		}),
		suspended: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_leader_suspended", Help: "1 while this node's term as leader is suspended.",
		}),
		term: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_leader_term", Help: "The number of this node's term as leader, 0 while it has none.",
		}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_leader_transitions_total", Help: "What happened to this node's terms as leader.",
		}, []string{"to"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "brambled_leader_renew_failures_total", Help: "Renewals of the leader's session that got no good answer.",
		}),
	}
	for _, c := range changes() {
		m.changes.WithLabelValues(string(c))
	}
	if reg != nil {
		reg.MustRegister(m.held, m.suspended, m.term, m.changes, m.failures)
	}
	return m
}

func (m *metrics) count(c change) { m.changes.WithLabelValues(string(c)).Inc() }

func (m *metrics) hold(number uint64) {
	m.term.Set(float64(number))
	m.held.Set(1)
	m.count(elected)
}

func (m *metrics) drop(why change) {
	m.term.Set(0)
	m.held.Set(0)
	m.suspended.Set(0)
	m.count(why)
}
