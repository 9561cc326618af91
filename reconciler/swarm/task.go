package swarm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/plan"
)

// Ended reports whether the task has come to its end, however that was.
func (t Task) Ended() bool {
	return slices.Contains([]string{"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}, t.State)
}

// current are the tasks of a service's present version.
func (p *planner) current(have Service) []Task {
	return slices.DeleteFunc(slices.Clone(p.tasks[have.ID]), func(k Task) bool { return !k.Current })
}

// count is how many tasks are in a state.
func count(tasks []Task, state string) int {
	n := 0
	for _, t := range tasks {
		if t.State == state {
			n++
		}
	}
	return n
}

// watch says what tasks a service lacks. That is Swarm's to repair: it is reported and not fought.
func (p *planner) watch(t target, have Service) {
	tasks := p.current(have)
	state, word := "running", "run"
	if t.svc.Mode.Job() {
		state, word = "complete", "complete"
	}
	away := 0
	if !t.svc.Mode.Job() {
		there := slices.DeleteFunc(slices.Clone(tasks), p.lost)
		away, tasks = count(tasks, state)-count(there, state), there
	}
	if n := count(tasks, state); n < have.Replicas {
		lost := ""
		if away > 0 {
			lost = fmt.Sprintf("; %d on nodes that are away", away)
		}
		p.wait(t.subject(), plan.WaitTasks, fmt.Sprintf("%d of %d %s%s", n, have.Replicas, word, lost+p.unaddressed(t, tasks)+why(tasks)))
	}
}

// lost reports whether a task is on a node that is away: Swarm keeps it in the state that it had.
func (p *planner) lost(t Task) bool {
	n, known := p.nodes[t.Node]
	return known && !n.Ready
}

// addressing is how long Swarm may take to give a task its addresses. It takes milliseconds, or for ever.
const addressing = 30 * time.Second

// unaddressed says of tasks that stay new what Swarm never says of them: a network of theirs has no free address
// (moby#37338, swarmkit#2800). Each address it gets back it gives to the next.
func (p *planner) unaddressed(t target, tasks []Task) string {
	stuck := 0
	for _, k := range tasks {
		switch {
		case k.State != "new":
		case k.Since >= addressing:
			stuck++
		default:
			p.wakeAfter(addressing - k.Since)
		}
	}
	if stuck == 0 {
		return ""
	}
	var networks []string
	for _, at := range t.svc.Networks {
		networks = append(networks, at.Network)
	}
	return fmt.Sprintf("; %d get no address: is one of its networks full, or Swarm's leader stuck? docker network inspect %s", stuck, strings.Join(networks, " "))
}

// why is what keeps tasks from running, as far as Swarm says it of the first that has something to say.
func why(tasks []Task) string {
	for _, ended := range []bool{false, true} {
		for _, t := range tasks {
			if t.Ended() == ended && t.Err != "" {
				return fmt.Sprintf("; %s: %s", t.State, t.Err)
			}
		}
	}
	return ""
}

// jobFailed says that a job has ended without success and is not restarted by Swarm any more, "" when it has not.
func (p *planner) jobFailed(have Service) string {
	tasks := p.current(have)
	done := count(tasks, "complete")
	if len(tasks) == 0 || done >= have.Replicas || slices.ContainsFunc(tasks, func(k Task) bool { return !k.Ended() }) {
		return ""
	}
	return fmt.Sprintf("the job ended with %d of %d complete, see docker service ps %s%s", done, have.Replicas, have.Name, why(tasks))
}

// hosts are the host names of the nodes that run a task of a service now, sorted.
func (p *planner) hosts(have Service) []string {
	var hosts []string
	for _, t := range p.tasks[have.ID] {
		if n := p.nodes[t.Node]; !t.Ended() && n.Name != "" {
			hosts = append(hosts, n.Name)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// everywhere are the host names of the nodes that Swarm may place a task on.
func (p *planner) everywhere() []string {
	var hosts []string
	for _, n := range p.nodes {
		if n.Active && n.Ready {
			hosts = append(hosts, n.Name)
		}
	}
	return hosts
}
