package consul

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// op names a kind of request, in metrics and errors.
type op string

// The kinds of requests.
const (
	opList    op = "list"
	opGet     op = "get"
	opPut     op = "put"
	opDelete  op = "delete"
	opTxn     op = "txn"
	opSession op = "session"
	opAgent   op = "agent"
)

const outcomeOK = "ok"

// Metrics are what this package tells of itself. One set serves a client and the watcher and presence on it.
type Metrics struct {
	requests  *prometheus.CounterVec
	faults    *prometheus.GaugeVec
	answered  *prometheus.GaugeVec
	snapshots prometheus.Counter
	restarts  *prometheus.CounterVec
	present   prometheus.Gauge
}

// NewMetrics returns metrics that begin at zero. A nil registerer leaves them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_consul_requests_total", Help: "Requests to Consul, by kind and outcome.",
		}, []string{"op", "outcome"}),
		faults: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "brambled_consul_fault", Help: "1 while the desired state cannot be read soundly for this cause.",
		}, []string{"cause"}),
		answered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "brambled_consul_watch_last_answer_timestamp_seconds",
			Help: "When Consul last answered the watch on a list, as Unix time.",
		}, []string{"list"}),
		snapshots: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "brambled_consul_snapshots_total", Help: "Desired states with new contents that were accepted from Consul.",
		}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "brambled_consul_watch_resets_total", Help: "Times the watch on a list started over at index 0.",
		}, []string{"list"}),
		present: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "brambled_consul_presence_held", Help: "1 while this node's presence key is held.",
		}),
	}
	for _, o := range []op{opList, opGet, opPut, opDelete, opTxn, opSession, opAgent} {
		m.requests.WithLabelValues(string(o), outcomeOK)
		for _, c := range causes {
			if !c.ofContents() {
				m.requests.WithLabelValues(string(o), string(c))
			}
		}
	}
	for _, c := range causes {
		m.faults.WithLabelValues(string(c))
	}
	for _, list := range lists {
		m.answered.WithLabelValues(list)
		m.restarts.WithLabelValues(list)
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.faults, m.answered, m.snapshots, m.restarts, m.present)
	}
	return m
}

// ofContents tells the causes that only the contents of lists can have from those that a single request meets.
func (c Cause) ofContents() bool {
	return c == Filtered || c == Unvouched || c == Foreign || c == Regressed
}

func (m *Metrics) request(o op, err error) {
	outcome := outcomeOK
	if err != nil {
		outcome = string(classify(err))
	}
	m.requests.WithLabelValues(string(o), outcome).Inc()
}

func (m *Metrics) fault(now *Fault) {
	for _, c := range causes {
		v := 0.0
		if now != nil && now.Cause == c {
			v = 1
		}
		m.faults.WithLabelValues(string(c)).Set(v)
	}
}

func (m *Metrics) answer(list string, at time.Time) {
	m.answered.WithLabelValues(list).Set(float64(at.UnixMilli()) / 1000)
}
