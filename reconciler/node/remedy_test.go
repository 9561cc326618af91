package node_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/node/nodetest"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// This file is what the explorer knows of remedies, and the rules about them.

// neverLoops: by the explorer's own books, nothing is healed more than twice within an hour, and what ended again is started later each time.
func neverLoops(e *explorer, p plan.Plan) string {
	for _, l := range p.Lanes {
		remedy, ok := l.Remedy()
		if !ok {
			continue
		}
		count, since := 0, 24*time.Hour
		for _, end := range e.endings[remedy] {
			if end.goal == l.For && e.now-end.at < time.Hour {
				count, since = count+1, e.now-end.at
			}
		}
		if key := e.endings[remedy]; len(key) > 0 && key[len(key)-1].goal != l.For {
			continue // another version was worked toward meanwhile
		}
		switch {
		case remedy.Reason == plan.ReasonUnhealthy && (count >= 2 || count > 0 && since < 2*time.Second):
			return fmt.Sprintf("%s heals after %d times, the last of them %s ago", l.Key, count, since)
		case remedy.Reason == plan.ReasonExited && count > 0 && since < time.Second<<(count-1) && since < 5*time.Minute:
			return fmt.Sprintf("%s starts again after %d times, the last of them %s ago", l.Key, count, since)
		}
	}
	return ""
}

// healsWhatMay: only a service that runs, has been unhealthy for long enough and does not forbid it is stopped for its
// health; one that writes a named volume must ask for it. It is started again by the same lane.
func healsWhatMay(d spec.Desired, o node.Observed, s plan.Step) string {
	if s.Reason != plan.ReasonUnhealthy {
		return ""
	}
	c, _ := target(o, s.Action)
	svc, canonical, desired := wanted(d, c)
	if _, stop := s.Action.(plan.Stop); !stop {
		return ""
	}
	writes := slices.ContainsFunc(svc.Container.Volumes, func(v spec.VolumeMount) bool { return !v.ReadOnly })
	switch {
	case !desired || c.Name != canonical || c.Hash != svc.Container.Hash || svc.Restart.Job():
		return "it is no settled service"
	case c.State != node.Running || c.Health != node.Unhealthy || c.Sick < time.Second || c.Up < 10*time.Second:
		return fmt.Sprintf("it is %s %s, unhealthy for %s, up for %s", c.State, c.Health, c.Sick, c.Up)
	case svc.Heal == spec.HealOff || svc.Heal == spec.HealDefault && writes:
		return "it is not to be healed"
	}
	return ""
}

// ending is the end of a lane that applied a remedy.
type ending struct {
	goal string
	at   time.Duration
}

// remedies is what a loop knows of its endings.
func (e *explorer) remedies() map[plan.Remedy]plan.Repeats {
	out := map[plan.Remedy]plan.Repeats{}
	for key, list := range e.endings {
		last := list[len(list)-1]
		r := plan.Repeats{For: last.goal, Since: e.now - last.at}
		for _, end := range slices.Backward(list) {
			if end.goal != last.goal || e.now-end.at >= time.Hour {
				break
			}
			r.Count++
		}
		if r.Count > 0 {
			out[key] = r
		}
	}
	return out
}

// ail makes what runs unhealthy for some seconds.
func (e *explorer) ail() {
	e.o = nodetest.Clone(e.o)
	for i := range e.o.Containers {
		if c := &e.o.Containers[i]; c.State == node.Running && c.HasCheck && c.Owner != "" {
			c.Health = node.Unhealthy
		}
	}
	e.pass(time.Duration(1+e.UpTo(5)) * time.Second)
}

// health counts what becomes of services that are unhealthy.
func (t tally) health(d spec.Desired, o node.Observed) {
	for _, c := range o.Containers {
		svc, name, ok := wanted(d, c)
		if !ok || c.Name != name || c.Hash != svc.Container.Hash || c.Health != node.Unhealthy || c.Sick < d.Healing.After {
			continue
		}
		switch {
		case svc.Restart.Job():
			t["unhealthy job"]++
		case svc.Heal == spec.HealOff:
			t["unhealthy, not to be healed"]++
		case svc.Container.Writes() != "" && svc.Heal == spec.HealOn:
			t["unhealthy with a volume, to be healed"]++
		case svc.Container.Writes() != "":
			t["unhealthy with a volume"]++
		}
	}
}
