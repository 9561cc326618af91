package compose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/brambled/brambled/reconciler/spec"
)

// swarmMonitor is how long a task must run to have passed, if the file does not say. Swarm's own 5 s miss a process that
// takes its time to fail, as most do on a Pi, and then there is nothing to roll back any more.
const swarmMonitor = 30 * time.Second

// deploy renders how Swarm runs a service.
func (r *render) deploy(s types.ServiceConfig, at string, svc spec.SwarmService) spec.Deploy {
	d := s.Deploy
	if d == nil {
		d = &types.DeployConfig{}
	}
	out := spec.Deploy{Labels: r.labels(d.Labels, at+".deploy"), MaxReplicasPerNode: d.Placement.MaxReplicas}
	r.stackLabels(d.Labels, at+".deploy")
	r.swarmReplicas(s, svc.Mode, &out)
	out.EndpointMode, out.Ports = r.endpoint(s, d, at)
	r.placementRules(d.Placement, at+".deploy.placement", &out)
	out.Limits, out.Reservations = required(d.Resources.Limits), required(d.Resources.Reservations)
	out.Restart = r.swarmRestart(s, d, at, svc.Mode)
	if svc.Mode.Job() {
		for key, c := range map[string]*types.UpdateConfig{"update_config": d.UpdateConfig, "rollback_config": d.RollbackConfig} {
			if c != nil {
				r.fault(at+".deploy."+key, "Swarm does not update a job: a changed one runs anew", "remove it")
			}
		}
		return out
	}
	out.Update = r.swarmUpdate(s, d.UpdateConfig, at, out)
	if d.RollbackConfig != nil {
		back := r.updatePolicy(d.RollbackConfig, spec.SwarmUpdate{Parallelism: 1}, at+".deploy.rollback_config", spec.Pause, spec.Continue)
		out.Rollback = &back
	}
	return out
}

// swarmReplicas sets the count of a replicated service; as many tasks of a job run at once as shall complete.
func (r *render) swarmReplicas(s types.ServiceConfig, mode spec.Mode, out *spec.Deploy) {
	if s.Scale == nil && (s.Deploy == nil || s.Deploy.Replicas == nil) || mode == spec.Global || mode == spec.GlobalJob {
		return
	}
	n := uint64(max(0, r.replicas(s)))
	out.Replicas = &n
	if mode == spec.ReplicatedJob {
		most := n
		out.MaxConcurrent = &most
	}
}

// endpoint renders how the service is reached.
func (r *render) endpoint(s types.ServiceConfig, d *types.DeployConfig, at string) (string, []spec.SwarmPort) {
	mode := strings.ToLower(d.EndpointMode)
	if mode != "" && mode != "vip" && mode != "dnsrr" {
		r.fault(at+".deploy.endpoint_mode", fmt.Sprintf("unknown endpoint mode %q", d.EndpointMode), "use vip or dnsrr")
	}
	var out []spec.SwarmPort
	for i, p := range s.Ports {
		key := fmt.Sprintf("%s.ports[%d]", at, i)
		if r.d.lines[key] == 0 {
			key = at + ".ports" // of a range
		}
		port := r.swarmPort(p, key)
		if mode == "dnsrr" && port.Mode == "ingress" {
			r.fault(key, "with endpoint_mode dnsrr there is no address for the routing mesh to send to", "use mode: host")
		}
		out = append(out, port)
	}
	slices.SortFunc(out, func(a, b spec.SwarmPort) int {
		return cmp.Or(cmp.Compare(a.Published, b.Published), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Mode, b.Mode))
	})
	return mode, out
}

func (r *render) swarmPort(p types.ServicePortConfig, at string) spec.SwarmPort {
	out := spec.SwarmPort{Target: p.Target, Protocol: cmp.Or(p.Protocol, "tcp"), Mode: cmp.Or(p.Mode, "ingress")}
	if p.Target == 0 || p.Target > math.MaxUint16 {
		r.fault(at, fmt.Sprintf("%d is no port", p.Target), "use 1 to 65535")
	}
	if !slices.Contains([]string{"tcp", "udp", "sctp"}, out.Protocol) {
		r.fault(at, fmt.Sprintf("%q is no protocol", out.Protocol), "use tcp, udp or sctp")
	}
	if out.Mode != "ingress" && out.Mode != "host" {
		r.fault(at, fmt.Sprintf("unknown mode %q", out.Mode), "use ingress or host")
	}
	if p.HostIP != "" {
		r.fault(at, "`host_ip` cannot be applied to a Swarm service", "Swarm publishes on every address")
	}
	if p.Published != "" {
		n, err := strconv.ParseUint(p.Published, 10, 16)
		if err != nil {
			r.fault(at, fmt.Sprintf("%q is no port that Swarm can publish", p.Published), "use 1 to 65535; Swarm picks from no range")
		}
		out.Published = uint32(n)
	}
	return out
}

// placementRules reads what says on which nodes tasks may and should run.
func (r *render) placementRules(p types.Placement, at string, out *spec.Deploy) {
	for i, c := range p.Constraints {
		if !strings.Contains(c, "==") && !strings.Contains(c, "!=") {
			r.fault(fmt.Sprintf("%s.constraints[%d]", at, i), fmt.Sprintf("%q is no constraint", c), "write one such as node.labels.role == edge")
		}
		out.Constraints = append(out.Constraints, c)
	}
	slices.Sort(out.Constraints)
	out.Constraints = slices.Compact(out.Constraints)
	for _, p := range p.Preferences {
		out.Preferences = append(out.Preferences, p.Spread)
	}
}

func required(in *types.Resource) *spec.Resources {
	if in == nil {
		return nil
	}
	out := &spec.Resources{NanoCPUs: nanoCPUs(in.NanoCPUs), MemoryBytes: int64(in.MemoryBytes), Pids: in.Pids}
	for _, g := range in.GenericResources {
		if d := g.DiscreteResourceSpec; d != nil {
			out.Generic = append(out.Generic, spec.GenericResource{Kind: d.Kind, Value: d.Value})
		}
	}
	slices.SortFunc(out.Generic, func(a, b spec.GenericResource) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

// swarmRestart reads restart and deploy.restart_policy, which say the same thing twice. What neither says is left to Swarm,
// which restarts always; but a job ends.
func (r *render) swarmRestart(s types.ServiceConfig, d *types.DeployConfig, at string, mode spec.Mode) spec.SwarmRestart {
	out := r.plainRestart(s.Restart, at)
	key := at + ".restart"
	if p := d.RestartPolicy; p != nil {
		key = at + ".deploy.restart_policy.condition"
		said := out.Condition
		out = spec.SwarmRestart{
			Condition: cmp.Or(p.Condition, "any"), Delay: (*time.Duration)(p.Delay), MaxAttempts: p.MaxAttempts, Window: (*time.Duration)(p.Window),
		}
		if !slices.Contains([]string{"none", "on-failure", "any"}, out.Condition) {
			r.fault(key, fmt.Sprintf("unknown condition %q", p.Condition), "use none, on-failure or any")
		}
		if said != "" && said != out.Condition {
			r.fault(at+".deploy.restart_policy", "restart is set as well, to another value", "keep one of the two")
		}
		if mode.Job() && p.Condition == "" {
			out.Condition = "on-failure"
		}
	}
	if mode.Job() {
		if out.Condition == "any" {
			r.fault(key, "a job ends, and is not restarted when it has ended well", "use on-failure or no")
		}
		out.Condition = cmp.Or(out.Condition, "on-failure")
	}
	return out
}

// plainRestart is what `restart` means to Swarm.
func (r *render) plainRestart(policy, at string) spec.SwarmRestart {
	name, most, limited := strings.Cut(policy, ":")
	out := spec.SwarmRestart{Condition: map[string]string{"no": "none", "always": "any", "unless-stopped": "any", "on-failure": "on-failure"}[name]}
	n, err := strconv.ParseUint(most, 10, 31)
	if name != "" && out.Condition == "" || limited && (err != nil || name != "on-failure") {
		r.fault(at+".restart", fmt.Sprintf("%q is no restart policy", policy), "use no, always, unless-stopped, on-failure or on-failure:N")
	}
	if limited && n > 0 {
		out.MaxAttempts = &n
	}
	return out
}

// swarmUpdate reads the update policy; what is not said follows from what old and new tasks would share.
func (r *render) swarmUpdate(s types.ServiceConfig, c *types.UpdateConfig, at string, d spec.Deploy) spec.SwarmUpdate {
	u := spec.SwarmUpdate{Parallelism: 1, FailureAction: spec.Rollback, Monitor: swarmMonitor, Order: spec.StartFirst}
	shared := r.sharedByTasks(s, d)
	if shared != "" || d.MaxReplicasPerNode > 0 { // a full node has no place for a new task beside the old one
		u.Order = spec.StopFirst
	}
	if r.writableVolume(s) != "" {
		u.FailureAction = spec.Pause
	}
	if c == nil {
		return u
	}
	u = r.updatePolicy(c, u, at+".deploy.update_config", spec.Rollback, spec.Pause, spec.Continue)
	if shared != "" && u.Order == spec.StartFirst {
		r.fault(at+".deploy.update_config.order", "start-first is impossible: old and new cannot both have the "+shared, "use stop-first")
	}
	return u
}

// sharedByTasks says what keeps an old and a new task from running side by side on one node, "" when nothing does.
func (r *render) sharedByTasks(s types.ServiceConfig, d spec.Deploy) string {
	for _, p := range d.Ports {
		if p.Mode == "host" && p.Published != 0 {
			return fmt.Sprintf("host port %d/%s", p.Published, p.Protocol)
		}
	}
	if v := r.writableVolume(s); v != "" {
		return "writable volume " + v
	}
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		if r.p.Networks[key].Name == "host" {
			return "host's network"
		}
	}
	return ""
}

// updatePolicy puts what a file says of an update, or of a rollback, over what holds otherwise.
func (r *render) updatePolicy(c *types.UpdateConfig, u spec.SwarmUpdate, at string, actions ...spec.FailureAction) spec.SwarmUpdate {
	if c.Parallelism != nil {
		u.Parallelism = *c.Parallelism
	}
	u.Delay, u.MaxFailureRatio = time.Duration(c.Delay), c.MaxFailureRatio
	if c.Monitor != 0 {
		u.Monitor = time.Duration(c.Monitor)
	}
	if a := spec.FailureAction(c.FailureAction); a != "" {
		if !slices.Contains(actions, a) {
			r.fault(at+".failure_action", fmt.Sprintf("unknown failure action %q", a), fmt.Sprintf("use one of %v", actions))
		}
		u.FailureAction = a
	}
	if o := spec.Order(c.Order); o != "" {
		if o != spec.StartFirst && o != spec.StopFirst {
			r.fault(at+".order", fmt.Sprintf("unknown order %q", o), "use start-first or stop-first")
		}
		u.Order = o
	}
	if u.Delay < 0 || u.Monitor < 0 || u.MaxFailureRatio < 0 || u.MaxFailureRatio > 1 {
		r.fault(at, "delay and monitor cannot be below 0, nor max_failure_ratio outside of 0 to 1", "correct it")
	}
	return u
}
