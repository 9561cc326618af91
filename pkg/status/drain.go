package status

import (
	"slices"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// drain says how far this Pi is with its drain. What cannot be seen may run.
func (b *builder) drain() Drain {
	if len(b.Desired.Drained) == 0 {
		return ""
	}
	runs := func(c node.Container) bool {
		return c.State == node.Running || c.State == node.Restarting || c.State == node.Paused
	}
	for k, list := range b.slots {
		lane := "container " + subjectOf(k.stack, k.service, k.replica)
		busy := b.Observed.Busy[lane] || b.lanes[lane].Key != ""
		if b.Desired.Drains(k.owner) && (busy || slices.ContainsFunc(list, runs)) {
			return DrainUnderWay
		}
	}
	if b.blind {
		return DrainUnderWay
	}
	return DrainDone
}

// rests reports whether a service is out of service with all of its Pi.
func (f *findings) rests() bool {
	return slices.ContainsFunc(f.waits, func(w plan.Wait) bool { return w.For == plan.WaitUndrain })
}
