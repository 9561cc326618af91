package compose

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// consistency finds what is wrong between the keys of a service, and between services. Networks, volumes, configs and
// secrets that are not declared are found where they are rendered.
func (r *render) consistency(p *types.Project) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s, path := p.Services[name], "services."+name
		if s.Image == "" {
			r.fault(path, "there is no image", "name one under image")
		}
		if s.NetworkMode != "" && r.d.lines[path+".networks"] > 0 {
			r.fault(path+".networks", "network_mode is set as well", "keep one of the two")
		}
		if h := s.HealthCheck; h != nil && len(h.Test) > 0 && !slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, h.Test[0]) {
			r.fault(path+".healthcheck.test", fmt.Sprintf("a list must begin with CMD, CMD-SHELL or NONE, not %q", h.Test[0]), "put CMD in front")
		}
		r.twice(s, path)
		r.scales(s, path)
		r.sameTarget(s, path)
		r.dependsOn(p, s, path)
	}
	r.cycles(p)
}

// twice refuses two ways of saying one thing that say different things.
func (r *render) twice(s types.ServiceConfig, path string) {
	if s.Deploy == nil {
		return
	}
	differ := func(key, deploy string, a, b float64) {
		if a != 0 && b != 0 && a != b {
			r.fault(path+"."+key, fmt.Sprintf("%s is set as well, to another value", deploy), "keep one of the two")
		}
	}
	if l := s.Deploy.Resources.Limits; l != nil {
		differ("cpus", "deploy.resources.limits.cpus", float64(s.CPUS), float64(l.NanoCPUs))
		differ("mem_limit", "deploy.resources.limits.memory", float64(s.MemLimit), float64(l.MemoryBytes))
		differ("pids_limit", "deploy.resources.limits.pids", float64(s.PidsLimit), float64(l.Pids))
	}
	if v := s.Deploy.Resources.Reservations; v != nil {
		differ("mem_reservation", "deploy.resources.reservations.memory", float64(s.MemReservation), float64(v.MemoryBytes))
	}
	if mode := s.Deploy.Mode; !r.kinds[s.Name].swarm && mode != "" && mode != "replicated" {
		r.fault(path+".deploy.mode", fmt.Sprintf("`%s` is for Swarm services", mode), "use x-brambled.nodes: all for one on every Pi, restart: no for a job")
	}
}

// containerName is what the engine takes.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// scales checks how many containers there are, and their names.
func (r *render) scales(s types.ServiceConfig, path string) {
	key, n := path+".scale", r.replicas(s)
	if s.Scale == nil {
		key = path + ".deploy.replicas"
	} else if s.Deploy != nil && s.Deploy.Replicas != nil && *s.Deploy.Replicas != *s.Scale {
		r.fault(key, "deploy.replicas is set as well, to another value", "keep one of the two")
	}
	switch {
	case n < 0:
		r.fault(key, fmt.Sprintf("there cannot be %d containers", n), "write 0 or more")
	case n > maxReplicas:
		r.fault(key, fmt.Sprintf("%d replicas on one node", n), fmt.Sprintf("%d at most", maxReplicas))
	case n > 1 && s.ContainerName != "":
		r.fault(path+".container_name", fmt.Sprintf("%d replicas cannot share one name", n), "leave container_name out")
	}
	if s.ContainerName != "" && !containerName.MatchString(s.ContainerName) {
		r.fault(path+".container_name", fmt.Sprintf("the engine refuses the name %q", s.ContainerName), "use two or more letters, digits, _ . and -, beginning with a letter or digit")
	}
}

// sameTarget finds mounts at one place. compose-go drops all but the last of those of one list without a word, so that lists
// are counted.
func (r *render) sameTarget(s types.ServiceConfig, path string) {
	for key, have := range map[string]int{"volumes": len(s.Volumes), "tmpfs": len(s.Tmpfs), "configs": len(s.Configs), "secrets": len(s.Secrets), "devices": len(s.Devices)} {
		if n := len(items(find(r.d.services[s.Name], key))); n > have && s.Extends == nil {
			r.fault(path+"."+key, "two entries have one target", "give one of them another")
		}
	}
	at := map[string]string{}
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		at[target] = "tmpfs"
	}
	for i, v := range s.Volumes {
		if at[v.Target] != "" {
			r.fault(fmt.Sprintf("%s.volumes[%d]", path, i), fmt.Sprintf("%s is under tmpfs as well", v.Target), "keep one of the two")
		}
	}
	for _, key := range []string{"environment", "labels"} {
		seen := map[string]bool{}
		for i, item := range items(find(r.d.services[s.Name], key)) {
			name, _, _ := strings.Cut(resolve(item).Value, "=")
			if seen[name] {
				r.fault(fmt.Sprintf("%s.%s[%d]", path, key, i), fmt.Sprintf("%s is there already", name), "keep one of the two")
			}
			seen[name] = true
		}
	}
}

// dependsOn refuses dependencies that can never come true.
func (r *render) dependsOn(p *types.Project, s types.ServiceConfig, path string) {
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		_, known := p.Services[name]
		_, disabled := p.DisabledServices[name]
		switch {
		case known:
		case disabled && s.DependsOn[name].Required:
			r.fault(path+".depends_on", fmt.Sprintf("none of the profiles of service %s is active", name), "set "+r.env.Prefix+"vars/COMPOSE_PROFILES, or write required: false")
		case !disabled:
			r.fault(path+".depends_on", fmt.Sprintf("there is no service %q", name), "name a service of this file")
		}
	}
}

// cycles finds services that wait for each other.
func (r *render) cycles(p *types.Project) {
	done := map[string]bool{}
	var visit func(chain []string, name string)
	visit = func(chain []string, name string) {
		if i := slices.Index(chain, name); i >= 0 {
			circle := append(slices.Clone(chain[i:]), name)
			r.fault("services."+circle[len(circle)-2]+".depends_on", "services wait for each other: "+strings.Join(circle, " → "), "take one of these dependencies out")
			return
		}
		if done[name] {
			return
		}
		for _, next := range slices.Sorted(maps.Keys(p.Services[name].DependsOn)) {
			visit(append(slices.Clip(chain), name), next)
		}
		done[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		visit(nil, name)
	}
}
