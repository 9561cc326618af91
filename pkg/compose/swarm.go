package compose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	"github.com/docker/go-units"

	"github.com/brambled/brambled/reconciler/spec"
)

// swarmName is what Swarm takes as the name of a service or a network (swarmkit, manager/controlapi: a part of a DNS name).
var swarmName = regexp.MustCompile(`^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$`)

// maxSwarmName is the length Swarm allows a name of a service or a network, in bytes.
const maxSwarmName = 63

// swarmService renders one service that Swarm runs.
func (r *render) swarmService(s types.ServiceConfig) spec.SwarmService {
	at := "services." + s.Name
	out := spec.SwarmService{Name: s.Name, Full: r.name + "_" + s.Name, Image: s.Image, Prepull: r.kinds[s.Name].prepull}
	r.swarmName(at, "service", out.Full)
	r.image(s, at)
	var c spec.Container
	r.process(s, at, &c.Body)
	r.isolation(s, at, &c.Body)
	r.health(s, at, &c.Body)
	r.mounts(s, at, &c)
	out.Body = c.Body
	r.swarmBody(at, &out.Body)
	r.stackLabels(s.Labels, at)
	out.Mode = r.mode(s, at)
	out.Networks = r.swarmAttachments(s, at)
	out.Volumes = r.swarmVolumes(c.Volumes)
	out.Files = r.swarmFiles(s, at)
	out.DependsOn = dependencies(s)
	out.Deploy = r.deploy(s, at, out)
	onHost := slices.ContainsFunc(out.Networks, func(a spec.Attachment) bool { return a.Network == "host" })
	out.Register = r.registered(s.Name, onHost, taskPorts(out.Deploy.Ports))
	out.Hash = spec.HashSwarmService(out)
	return out
}

// swarmName refuses a name that Swarm would refuse once the leader deploys it.
func (r *render) swarmName(at, what, name string) {
	switch {
	case len(name) > maxSwarmName:
		r.fault(at, fmt.Sprintf("in Swarm the %s is named %s, which is longer than %d characters", what, name, maxSwarmName), "shorten the name, or that of the stack")
	case !swarmName.MatchString(name):
		r.fault(at, fmt.Sprintf("Swarm refuses the name %s of a %s", name, what), "use letters, digits, - and _, beginning and ending with a letter or digit")
	}
}

// image refuses what is no reference.
func (r *render) image(s types.ServiceConfig, at string) {
	if _, err := reference.ParseNormalizedNamed(s.Image); err != nil && s.Image != "" {
		r.fault(at+".image", fmt.Sprintf("%q is no image: %v", s.Image, err), "write [registry/]name[:tag]")
	}
}

// swarmBody takes out what means nothing to Swarm, and refuses what came in by a short form that has no key of its own.
func (r *render) swarmBody(at string, b *spec.Body) {
	b.Expose = nil // on an overlay network every port is reachable
	if b.ClearCommand && len(b.Entrypoint) == 0 && !b.ClearEntrypoint {
		r.fault(at+".command", "Swarm cannot leave the image's command out", "set entrypoint as well: the image's command is not used then")
	}
	b.ClearCommand = false
	for i := range b.Binds {
		b.Binds[i].CreateSource = false // Swarm makes no folder on any Pi: see the row of create_host_path
		if b.Binds[i].SELinux != "" {
			r.fault(at+".volumes", "`"+b.Binds[i].SELinux+"` (SELinux) cannot be applied to a Swarm service", asContainers)
		}
	}
	for i := range b.Tmpfs {
		r.tmpfsOptions(at, &b.Tmpfs[i])
	}
}

// tmpfsOptions reads the options of the short form of tmpfs, of which Swarm has two.
func (r *render) tmpfsOptions(at string, t *spec.Tmpfs) {
	options := t.Options
	t.Options = ""
	for o := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		var err error
		switch key {
		case "":
			continue
		case "size":
			t.SizeBytes, err = units.RAMInBytes(value)
		case "mode":
			var mode uint64
			mode, err = strconv.ParseUint(value, 8, 12)
			t.Mode = uint32(mode)
		case "ro":
			t.ReadOnly = true
		default:
			r.fault(at+".tmpfs", fmt.Sprintf("`%s` cannot be applied to a Swarm service", key), "use size, mode and ro, or "+asContainers)
			continue
		}
		if err != nil {
			r.fault(at+".tmpfs", fmt.Sprintf("%q is no %s", value, key), "write one such as size=64m or mode=1777")
		}
	}
}

// stackLabels refuses the labels of `docker stack`.
func (r *render) stackLabels(l types.Labels, at string) {
	for k := range l {
		if strings.HasPrefix(k, "com.docker.stack.") {
			r.fault(at+".labels."+k, "this label is set by brambled", "choose another name")
		}
	}
}

func (r *render) mode(s types.ServiceConfig, at string) spec.Mode {
	if s.Deploy == nil || s.Deploy.Mode == "" {
		return spec.Replicated
	}
	mode := spec.Mode(s.Deploy.Mode)
	switch mode {
	case spec.Replicated, spec.ReplicatedJob:
		return mode
	case spec.Global, spec.GlobalJob:
		if s.Deploy.Replicas != nil || s.Scale != nil {
			r.fault(at+".deploy.mode", "a "+string(mode)+" service has one task on each node, and replicas is set", "remove replicas, or use replicated")
		}
		if s.Deploy.Placement.MaxReplicas > 0 {
			r.fault(at+".deploy.placement.max_replicas_per_node", "a "+string(mode)+" service has one task on each node", "remove it")
		}
		return mode
	}
	r.fault(at+".deploy.mode", fmt.Sprintf("unknown mode %q", s.Deploy.Mode), "use replicated, global, replicated-job or global-job")
	return spec.Replicated
}

// swarmVolumes gives each mount what an engine needs to make its volume.
func (r *render) swarmVolumes(list []spec.VolumeMount) []spec.SwarmMount {
	var out []spec.SwarmMount
	for _, v := range list {
		m := spec.SwarmMount{Volume: v.Volume, Target: v.Target, ReadOnly: v.ReadOnly, NoCopy: v.NoCopy, Subpath: v.Subpath}
		for _, key := range slices.Sorted(maps.Keys(r.p.Volumes)) {
			vol := r.p.Volumes[key]
			if v.Volume == "" || vol.Name != v.Volume {
				continue
			}
			if m.External = bool(vol.External); !m.External {
				m.Driver, m.Options, m.Labels = vol.Driver, map[string]string(vol.DriverOpts), r.labels(vol.Labels, "volumes."+key)
				r.stackLabels(vol.Labels, "volumes."+key)
			}
			r.volumeName(key, vol)
		}
		out = append(out, m)
	}
	return out
}

// swarmStack gathers what Swarm runs of the file.
func (r *render) swarmStack(services []spec.SwarmService) spec.SwarmStack {
	out := spec.SwarmStack{Name: r.name, Owner: r.env.Owner, Services: services, Networks: r.swarmNetworks(services)}
	for _, o := range r.objects {
		out.Objects = append(out.Objects, o)
	}
	slices.SortFunc(out.Objects, func(a, b spec.SwarmObject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	r.swarmPorts(services)
	return out
}

// swarmPorts refuses a port that two services of the stack publish: Swarm would refuse the second one.
func (r *render) swarmPorts(services []spec.SwarmService) {
	taken := map[spec.SwarmPort]string{}
	for _, s := range services {
		for _, p := range s.Deploy.Ports {
			key := spec.SwarmPort{Published: p.Published, Protocol: p.Protocol}
			if p.Published == 0 {
				continue
			}
			// Two services that publish it on the Pis they run on may be placed apart.
			if by, ok := taken[key]; ok && (by == s.Name || p.Mode == "ingress") {
				r.fault("services."+s.Name+".ports", fmt.Sprintf("port %d/%s is published by service %s already", p.Published, p.Protocol, by), "publish another one")
			}
			if p.Mode == "ingress" || taken[key] == "" {
				taken[key] = s.Name
			}
		}
	}
}

// mesh refuses a port that Swarm publishes on every Pi, and a container on its own: the second one to come could not start.
func (r *render) mesh(services []spec.SwarmService, containers map[string][]string) {
	for _, s := range services {
		for _, p := range s.Deploy.Ports {
			if p.Published == 0 || p.Mode != "ingress" {
				continue
			}
			everywhere := fmt.Sprintf("0.0.0.0:%d/%s", p.Published, p.Protocol)
			for _, name := range slices.Sorted(maps.Keys(containers)) {
				if slices.ContainsFunc(containers[name], func(host string) bool { return PortsClash(everywhere, host) }) {
					r.fault("services."+s.Name+".ports", fmt.Sprintf("port %d/%s is a host port of service %s, and Swarm publishes on every Pi", p.Published, p.Protocol, name), "publish another one, or use mode: host on other Pis")
				}
			}
		}
	}
}

// nanoCPUs are the billionths of a processor that the file says: compose-go keeps them as a float32, whose nearest decimal is
// what was written.
func nanoCPUs(n types.NanoCPUs) int64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(n), 'f', -1, 32), 64)
	if err != nil {
		return 0 // what FormatFloat writes can be read
	}
	return int64(math.Round(f * 1e9))
}

// absolute is where a file appears in the container.
func absolute(target, dir string) string {
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join(dir, target)
}
