package swarmtest

import (
	"maps"
	"slices"

	"github.com/brambled/brambled/reconciler/swarm"
)

// Work lets Swarm do its work, with success: tasks that are new run, jobs complete, updates and roll backs end, and what is to
// stop is gone.
func Work(o swarm.Observed) swarm.Observed {
	o = Clone(o)
	jobs := map[string]bool{}
	for i := range o.Services {
		s := &o.Services[i]
		jobs[s.ID] = s.Mode.Job()
		switch s.Update {
		case swarm.Updating:
			s.Update = swarm.Completed
			s.Version++
		case swarm.RollbackStarted:
			s.Update = swarm.RollbackCompleted
			s.Version++
		case swarm.NotUpdated, swarm.Paused, swarm.Completed, swarm.RollbackPaused, swarm.RollbackCompleted:
		}
	}
	o.Tasks = slices.DeleteFunc(o.Tasks, func(t swarm.Task) bool {
		_, there := jobs[t.Service]
		return !there || !t.Current
	})
	for i := range o.Tasks {
		t := &o.Tasks[i]
		t.Node = place(o, i)
		if t.State = "running"; jobs[t.Service] {
			t.State = "complete"
		}
	}
	return o
}

// place is the id of a node for the nth task.
func place(o swarm.Observed, n int) string {
	if t := o.Tasks[n]; t.Node != "" || len(o.Nodes) == 0 {
		return t.Node
	}
	return o.Nodes[n%len(o.Nodes)].ID
}

// RollBack has Swarm roll a service back by itself to a former version of it: only the mark then says what failed.
func RollBack(o swarm.Observed, to swarm.Service) swarm.Observed {
	o = Clone(o)
	for i := range o.Services {
		if s := &o.Services[i]; s.ID == to.ID {
			to.Version, to.Update, to.Message = s.Version+1, swarm.RollbackStarted, "task failed"
			to.Before, to.NetworksBefore = nil, nil
			*s = to
		}
	}
	return o
}

// Clone is a copy that shares nothing with the original.
func Clone(o swarm.Observed) swarm.Observed {
	o.Services = slices.Clone(o.Services)
	for i := range o.Services {
		s := &o.Services[i]
		s.Objects, s.Before = slices.Clone(s.Objects), slices.Clone(s.Before)
		s.Networks, s.NetworksBefore = slices.Clone(s.Networks), slices.Clone(s.NetworksBefore)
	}
	o.Tasks, o.Nodes, o.Networks, o.Objects = slices.Clone(o.Tasks), slices.Clone(o.Nodes), slices.Clone(o.Networks), slices.Clone(o.Objects)
	o.Pins, o.Present, o.Elsewhere = maps.Clone(o.Pins), maps.Clone(o.Present), maps.Clone(o.Elsewhere)
	o.Busy, o.Failures, o.Prepulls = maps.Clone(o.Busy), maps.Clone(o.Failures), maps.Clone(o.Prepulls)
	for image, nodes := range o.Prepulls {
		o.Prepulls[image] = maps.Clone(nodes)
	}
	return o
}
