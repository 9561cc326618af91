package compose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/brambled/brambled/reconciler/spec"
)

// stack renders the project. Problems are gathered, not returned: a person wants to see all of them.
func (r *render) stack(p *types.Project) Loaded {
	r.p = p
	out := Loaded{Stack: spec.Stack{Name: r.name, Owner: r.env.Owner}}
	for name := range p.DisabledServices {
		out.Services = append(out.Services, Service{Name: name, Nodes: r.kinds[name].selector, Swarm: r.kinds[name].swarm, Why: "none of its profiles is active; set " + r.env.Prefix + "vars/COMPOSE_PROFILES"})
	}
	r.crossing()
	var swarm []spec.SwarmService
	ports := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		k := r.kinds[name]
		out.Services = append(out.Services, Service{Name: name, Nodes: k.selector, Swarm: k.swarm, Here: k.here, Why: k.why})
		if k.swarm {
			swarm = append(swarm, r.swarmService(p.Services[name]))
			continue
		}
		// A service of other nodes is rendered too: what is wrong with it is wrong wherever the file is read.
		svc := r.service(p.Services[name])
		ports[name] = svc.Container.HostPorts
		if k.here {
			svc.Nodes = k.selector
			out.Stack.Services = append(out.Stack.Services, svc)
		}
	}
	slices.SortFunc(out.Services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	r.consistency(p)
	r.networks(&out.Stack)
	r.volumes(&out.Stack)
	r.clashes(out.Stack)
	out.Swarm = r.swarmStack(swarm)
	r.mesh(swarm, ports)
	return out
}

// service renders one service.
func (r *render) service(s types.ServiceConfig) spec.Service {
	path := "services." + s.Name
	out := spec.Service{Name: s.Name, Replicas: r.replicas(s)}
	c := &out.Container
	c.Name = s.ContainerName
	c.Image, c.Platform = s.Image, s.Platform
	r.image(s, path)
	c.PullPolicy = r.pullPolicy(s, path)
	c.StopTimeout = 10 * time.Second
	if s.StopGracePeriod != nil {
		c.StopTimeout = time.Duration(*s.StopGracePeriod)
	}
	out.Restart = r.restart(s, path, &c.Body)
	r.process(s, path, &c.Body)
	r.isolation(s, path, &c.Body)
	r.resources(s, path, &c.Body)
	c.HasHealthcheck = r.health(s, path, &c.Body)
	r.ports(s, path, c)
	r.attachments(s, path, c)
	r.mounts(s, path, c)
	r.files(s, path, c)
	r.exclusive(s, c)
	out.DependsOn = dependencies(s)
	out.Update = r.update(s, path, out)
	out.Heal = r.kinds[s.Name].heal
	out.Register = r.registered(s.Name, c.Body.NetworkMode == "host", containerPorts(c.Body.Ports))
	r.noHealing(path, out)
	r.contactOnly(path, &out)
	r.replicaProblems(path, out)
	c.Hash = spec.HashContainer(*c)
	r.rolled(&out)
	return out
}

// maxReplicas is how many containers of one service a node may be asked for.
const maxReplicas = 1000

func (r *render) replicas(s types.ServiceConfig) int {
	if s.Scale != nil {
		return *s.Scale
	}
	if s.Deploy != nil && s.Deploy.Replicas != nil {
		return *s.Deploy.Replicas
	}
	return 1
}

// replicaProblems refuses what two containers of one service cannot share.
func (r *render) replicaProblems(path string, s spec.Service) {
	if s.Replicas < 2 {
		return
	}
	for _, p := range s.Container.HostPorts {
		r.fault(path+".ports", fmt.Sprintf("%d replicas on one node cannot share host port %s", s.Replicas, p), "publish a range, or leave the host port out")
	}
	for _, a := range s.Container.Networks {
		if a.IPv4 != "" || a.IPv6 != "" {
			r.fault(path+".networks", fmt.Sprintf("%d replicas on one node cannot share a fixed address", s.Replicas), "leave the address out")
		}
	}
}

func (r *render) pullPolicy(s types.ServiceConfig, path string) spec.PullPolicy {
	switch s.PullPolicy {
	case "", "missing", "if_not_present":
		return spec.PullMissing
	case "always":
		return spec.PullAlways
	case "never":
		return spec.PullNever
	}
	r.fault(path+".pull_policy", fmt.Sprintf("`%s` cannot be applied", s.PullPolicy), "use missing, always or never")
	return spec.PullMissing
}

// restart reads restart and deploy.restart_policy, which say the same thing twice.
func (r *render) restart(s types.ServiceConfig, path string, b *spec.Body) spec.Restart {
	policy := s.Restart
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil {
		rp := s.Deploy.RestartPolicy
		said := policy
		policy = map[string]string{"none": "no", "on-failure": "on-failure", "any": "always", "": "always"}[rp.Condition]
		if policy == "" {
			r.fault(path+".deploy.restart_policy.condition", fmt.Sprintf("unknown condition %q", rp.Condition), "use none, on-failure or any")
		}
		if policy == "on-failure" && rp.MaxAttempts != nil {
			policy += ":" + strconv.FormatUint(*rp.MaxAttempts, 10)
		}
		if said != "" && said != policy {
			r.fault(path+".deploy.restart_policy", "restart is set as well, to another value", "keep one of the two")
		}
	}
	name, most, _ := strings.Cut(policy, ":")
	if most != "" {
		n, err := strconv.Atoi(most)
		if err != nil || n < 0 || name != "on-failure" {
			r.fault(path+".restart", fmt.Sprintf("%q is no restart policy", policy), "use no, always, unless-stopped, on-failure or on-failure:N")
			return spec.Always
		}
		b.RestartMax = n
	}
	switch name {
	case "":
		name = "unless-stopped"
	case "no", "always", "unless-stopped", "on-failure":
	default:
		r.fault(path+".restart", fmt.Sprintf("%q is no restart policy", policy), "use no, always, unless-stopped, on-failure or on-failure:N")
	}
	b.RestartPolicy = name
	switch name {
	case "no":
		return spec.Once
	case "on-failure":
		return spec.OnFailure
	}
	return spec.Always
}

// update reads the update policy; what is not said follows from what the service shares.
func (r *render) update(s types.ServiceConfig, path string, svc spec.Service) spec.Update {
	u := spec.Update{Order: spec.StartFirst, FailureAction: spec.Rollback, Monitor: 5 * time.Second, Parallelism: 1}
	if svc.Container.Exclusive != "" {
		u.Order = spec.StopFirst
	}
	if r.writableVolume(s) != "" {
		u.FailureAction = spec.Pause
	}
	if s.Deploy == nil || s.Deploy.UpdateConfig == nil {
		return u
	}
	c := s.Deploy.UpdateConfig
	switch order := spec.Order(c.Order); order {
	case "":
	case spec.StopFirst:
		u.Order = order
	case spec.StartFirst:
		if svc.Container.Exclusive != "" {
			r.fault(path+".deploy.update_config.order", "start-first is impossible: old and new cannot both have the "+svc.Container.Exclusive, "use stop-first")
		}
		u.Order = order
	default:
		r.fault(path+".deploy.update_config.order", fmt.Sprintf("unknown order %q", c.Order), "use start-first or stop-first")
	}
	switch a := spec.FailureAction(c.FailureAction); a {
	case "":
	case spec.Rollback, spec.Pause, spec.Continue:
		u.FailureAction = a
	default:
		r.fault(path+".deploy.update_config.failure_action", fmt.Sprintf("unknown failure action %q", c.FailureAction), "use rollback, pause or continue")
	}
	if c.Monitor > 0 {
		u.Monitor = time.Duration(c.Monitor)
	}
	if c.Parallelism != nil {
		u.Parallelism = int(min(*c.Parallelism, 1000))
	}
	return u
}

func dependencies(s types.ServiceConfig) []spec.Dependency {
	conditions := map[string]spec.Condition{
		types.ServiceConditionStarted:               spec.Started,
		types.ServiceConditionHealthy:               spec.Healthy,
		types.ServiceConditionCompletedSuccessfully: spec.Completed,
	}
	var out []spec.Dependency
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		d := s.DependsOn[name]
		out = append(out, spec.Dependency{Service: name, Condition: cmp.Or(conditions[d.Condition], spec.Started), Required: d.Required, Restart: d.Restart})
	}
	return out
}

// exclusive finds what keeps two containers of one replica from running side by side.
func (r *render) exclusive(s types.ServiceConfig, c *spec.Container) {
	switch {
	case len(c.HostPorts) > 0:
		c.Exclusive = "host port " + c.HostPorts[0]
	case c.Body.NetworkMode == "host":
		c.Exclusive = "host's network"
	case strings.HasPrefix(c.Body.NetworkMode, "container:"):
		c.Exclusive = "network of " + strings.TrimPrefix(c.Body.NetworkMode, "container:")
	case r.writableVolume(s) != "":
		c.Exclusive = "writable volume " + r.writableVolume(s)
	case c.Body.MacAddress != "":
		c.Exclusive = "hardware address " + c.Body.MacAddress
	}
	for _, a := range c.Networks {
		if addr := cmp.Or(a.IPv4, a.IPv6, a.MAC); addr != "" && c.Exclusive == "" {
			c.Exclusive = "fixed address " + addr
		}
	}
}

// clashes finds two services of the stack that want one name or host port on this node.
func (r *render) clashes(st spec.Stack) {
	names, ports := map[string]string{}, map[string][]taken{}
	for _, svc := range st.Services {
		path := "services." + svc.Name
		if name := svc.Container.Name; name != "" {
			other := cmp.Or(names[name], numbered(st, name))
			if other != "" && other != svc.Name {
				r.fault(path+".container_name", fmt.Sprintf("services %s and %s both want the container name %s", other, svc.Name, name), "rename one of them")
			}
			names[name] = svc.Name
		}
		for _, p := range svc.Container.HostPorts {
			_, port := splitPort(p)
			for _, t := range ports[port] {
				if t.service != svc.Name && PortsClash(p, t.port) {
					r.fault(path+".ports", fmt.Sprintf("host port %s is taken by service %s", p, t.service), "publish another one")
					break
				}
			}
			ports[port] = append(ports[port], taken{svc.Name, p})
		}
	}
}

// taken is a host port of a service.
type taken struct{ service, port string }

// numbered returns the service one of whose containers has this name by its number.
func numbered(st spec.Stack, name string) string {
	for _, svc := range st.Services {
		number, ok := strings.CutPrefix(name, st.Name+"-"+svc.Name+"-")
		if n, err := strconv.Atoi(number); ok && err == nil && svc.Container.Name == "" && n >= 1 && n <= svc.Replicas {
			return svc.Name
		}
	}
	return ""
}

// PortsClash reports whether two host ports in the form of [spec.Container.HostPorts] cannot both be bound.
func PortsClash(a, b string) bool {
	ipA, portA := splitPort(a)
	ipB, portB := splitPort(b)
	return portA == portB && (ipA == ipB || ipA == "0.0.0.0" || ipB == "0.0.0.0")
}

func splitPort(s string) (ip, port string) {
	i := strings.LastIndexByte(s, ':')
	return s[:i], s[i+1:]
}
