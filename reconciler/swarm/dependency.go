package swarm

import (
	"fmt"
	"slices"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// dependencies reports whether a service may be created. One that runs as containers is satisfied by a single instance
// anywhere, and where nothing is known of it: unknown never locks a cold start.
func (p *planner) dependencies(t target) bool {
	ok := true
	for _, dep := range t.svc.DependsOn {
		lack := ""
		if on, here := t.st.Service(dep.Service); here {
			lack = p.unmet(target{t.st, on}, dep)
		} else if on, known := p.o.Elsewhere[t.st.Name+"/"+dep.Service]; known {
			lack = on.unmet(dep)
		}
		if lack != "" {
			p.wait(t.subject(), plan.WaitDependency, lack)
			ok = false
		}
	}
	return ok
}

// unmet says what is still missing of a dependency that Swarm runs, "" when nothing is.
func (p *planner) unmet(on target, dep spec.Dependency) string {
	have, there := p.service(on.svc.Full)
	if !there || have.Stack != on.st.Name {
		return on.svc.Name + " is not there yet"
	}
	tasks, job := p.tasks[have.ID], on.svc.Mode.Job()
	met := have.Replicas == 0 && !job
	switch dep.Condition {
	case spec.Completed:
		met = met || have.Hash == on.svc.Hash && count(p.current(have), "complete") >= have.Replicas
	case spec.Healthy:
		// Swarm calls a task running only once its health check passed.
		met = met || count(tasks, "running") > 0
	case spec.Started:
		// A job that came and went was started.
		met = met || slices.ContainsFunc(tasks, func(k Task) bool {
			return k.State == "running" || k.State == "starting" || job && k.State == "complete"
		})
	}
	if met {
		return ""
	}
	return fmt.Sprintf("%s is not %s yet", on.svc.Name, dep.Condition)
}

// unmet says what is still missing of a dependency that runs as containers, "" when nothing is.
func (e Elsewhere) unmet(dep spec.Dependency) string {
	met := false
	switch dep.Condition {
	case spec.Completed:
		met = e.Completed > 0
	case spec.Healthy:
		met = e.Healthy > 0
	case spec.Started:
		met = e.Running+e.Completed > 0
	}
	if met {
		return ""
	}
	return fmt.Sprintf("%s is not %s on any Pi yet", dep.Service, dep.Condition)
}
