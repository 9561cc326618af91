package quorumtest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/internal/notation"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

func parseLine(text string) notation.Line {
	return notation.Parse(text, "labels", "config", "person", "managers", "forming", "removed", "former", "id", "host", "in", "cluster", "knows")
}

// ParseDesired reads a desired state. It panics on a line it cannot read: the text is a test's own.
func ParseDesired(text string) spec.Quorum {
	d := spec.Quorum{Cluster: "c1", Manage: true, Wanted: true, Managers: 3, HoldDown: 5 * time.Minute, ReadyFor: time.Minute}
	for _, raw := range notation.Lines(text) {
		l := parseLine(raw)
		word := ""
		if len(l.Words) > 1 {
			word = l.Words[1]
		}
		switch l.Words[0] {
		case "cluster":
			d.Cluster = strings.TrimPrefix(word, "-")
		case "nomanage":
			d.Manage = false
		case "unwanted":
			d.Wanted = false
		case "adopt":
			d.Adopt = word
		case "managers":
			d.Managers = notation.Number(word)
		case "settings":
			d.Settings = spec.SwarmSettings{CertExpiry: l.Duration("cert", 0), Heartbeat: l.Duration("heartbeat", 0), TaskHistory: l.Number("history", 0)}
		case "pools":
			d.Pools, d.PoolMask = l.Words[1:], l.Number("mask", 0)
		case "node":
			d.Nodes = append(d.Nodes, spec.QuorumNode{Name: word, Labels: labels(l, "labels"), Drain: l.Has("drain"), Gone: l.Has("gone")})
		default:
			panic("desired: " + raw)
		}
	}
	return d
}

// labels are those of a field, nil where it is not there.
func labels(l notation.Line, key string) map[string]string {
	if _, said := l.Fields[key]; !said {
		return nil
	}
	out := map[string]string{}
	for _, kv := range l.List(key) {
		k, v, _ := strings.Cut(kv, ":")
		out[k] = v
	}
	return out
}

// ParseWorld reads a world, see [ParseDesired].
func ParseWorld(text string) World {
	w := World{O: quorum.Observed{Busy: map[string]bool{}, Failures: map[string]quorum.Failure{}}}
	w.O.Swarm = quorum.Swarm{ID: "swarm1", Version: 3, Cluster: "c1", CertExpiry: 2160 * time.Hour, Heartbeat: 5 * time.Second, TaskHistory: 5}
	said := false
	for _, raw := range notation.Lines(text) {
		said = said || strings.HasPrefix(raw, "record ")
		w.Add(raw)
	}
	if w.O.Node == "" {
		i := max(slices.IndexFunc(w.O.Nodes, func(n quorum.Node) bool { return n.Seat }), 0)
		if w.O.Node = w.Pis[0].Name; len(w.O.Nodes) > 0 {
			w.O.Node = w.O.Nodes[i].Host
		}
	}
	w.Refresh()
	if !said && len(w.O.Nodes) > 0 {
		w.O.Record = quorum.Record{SwarmID: "swarm1", Cluster: "c1", Token: true, TokenCurrent: true}
		for _, n := range w.O.Nodes {
			if n.Seat && n.Manager {
				w.O.Record.Managers = append(w.O.Record.Managers, n.Address)
			}
		}
		slices.Sort(w.O.Record.Managers)
	}
	if len(w.O.Nodes) == 0 {
		w.O.Swarm = quorum.Swarm{}
	}
	w.O.State = w.Pi(w.O.Node).State
	return w
}

// Add adds what a line says.
func (w *World) Add(raw string) {
	l := parseLine(raw)
	word := ""
	if len(l.Words) > 1 {
		word = l.Words[1]
	}
	lane, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(raw, l.Words[0])), " |")
	switch l.Words[0] {
	case "lead":
		w.O.Node = word
	case "swarm":
		s := &w.O.Swarm
		s.ID, s.Cluster = word, notation.Or(l.Fields["cluster"], "c1")
		if l.Has("foreign") {
			s.Cluster = ""
		}
		s.CertExpiry, s.Heartbeat, s.TaskHistory = l.Duration("cert", s.CertExpiry), l.Duration("heartbeat", s.Heartbeat), l.Number("history", s.TaskHistory)
	case "record":
		w.O.Record = record(l, word)
	case "pi":
		w.addPi(l, word)
	case "record-of":
		n := node(l, word)
		n.ID = notation.Or(l.Fields["id"], "@old-"+word)
		w.O.Nodes = append(w.O.Nodes, n)
	case "busy":
		w.O.Busy[lane] = true
	case "fail":
		w.O.Failures[lane] = quorum.Failure{
			Step: notation.Or(l.Fields["step"], "promote x"), Err: notation.Or(l.Fields["err"], "boom"), For: l.Fields["for"], Count: 1, RetryIn: l.Duration("retry", 0),
		}
	default:
		panic("world: " + raw)
	}
}

func record(l notation.Line, id string) quorum.Record {
	r := quorum.Record{
		SwarmID: strings.TrimPrefix(id, "-"), Cluster: notation.Or(l.Fields["cluster"], "c1"), Managers: l.List("managers"), Forming: l.Fields["forming"],
		FormingFor: l.Duration("for", 0), Removed: l.List("removed"), Former: l.List("former"), Token: !l.Has("notoken"), TokenCurrent: !l.Has("stale"),
	}
	if r.SwarmID == "" {
		r.Cluster, r.Token, r.TokenCurrent = "", false, false
	}
	return r
}

func (w *World) addPi(l notation.Line, name string) {
	p := Pi{Name: name, Address: "10.0.0." + strings.TrimPrefix(name, "pi"), Up: l.Fields["down"] == "" && !l.Has("down"), State: quorum.Active, Swarm: w.O.Swarm.ID}
	p.Deaf, p.Knows = l.Fields["deaf"] != "", l.List("knows")
	switch {
	case l.Has("out"):
		p.State, p.Swarm = quorum.Inactive, ""
	case l.Has("silent"):
		p.State, p.Swarm = quorum.Unknown, ""
	case l.Fields["in"] != "":
		p.Swarm, p.ID = l.Fields["in"], "@"+l.Fields["in"]+"-"+name
	default:
		n := node(l, name)
		w.O.Nodes = append(w.O.Nodes, n)
		p.ID = n.ID
	}
	w.Pis = append(w.Pis, p)
	slices.SortFunc(w.Pis, func(a, b Pi) int { return strings.Compare(a.Name, b.Name) })
}

func node(l notation.Line, name string) quorum.Node {
	n := quorum.Node{
		ID: notation.Or(l.Fields["id"], "@"+name), Host: notation.Or(l.Fields["host"], name), Version: uint64(l.Number("v", 10)), Availability: plan.Active,
		Manager: l.Has("manager") || l.Has("leader"), Leader: l.Has("leader"), Labels: map[string]string{},
		ReadyFor: l.Duration("ready", 10*time.Minute), PendingFor: l.Duration("joining", l.Duration("leaving", 0)),
	}
	n.Seat = n.Manager
	switch {
	case l.Fields["joining"] != "":
		n.Manager, n.Seat = true, false
	case l.Fields["leaving"] != "":
		n.Manager, n.Seat = false, true
	}
	n.Ready, n.Reachable = true, n.Seat
	if away := l.Duration("down", l.Duration("deaf", 0)); away > 0 {
		n.Ready, n.Reachable, n.ReadyFor, n.AwayFor = l.Fields["down"] == "", false, 0, away
	}
	if l.Has("drained") || l.Has("drained-by-us") {
		n.Availability = plan.Drained
	}
	if l.Has("drained-by-us") {
		n.Labels[spec.LabelDrained] = "true"
	}
	if !l.Has("fresh") {
		n.Labels[spec.LabelCluster], n.Labels[spec.LabelNode] = "c1", name
	}
	give(n.Labels, l)
	return n
}

// give adds a person's labels, and those of a config file with their keys.
func give(to map[string]string, l notation.Line) {
	maps.Copy(to, labels(l, "person"))
	config := labels(l, "config")
	maps.Copy(to, config)
	if keys := slices.Sorted(maps.Keys(config)); len(keys) > 0 {
		to[spec.LabelNodeKeys] = strings.Join(keys, ",")
	}
}
