package docker

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"

	"github.com/brambled/brambled/reconciler/spec"
)

// The labels of `docker stack deploy`, by which `docker stack ps STACK` and `docker stack services` find what a stack has.
const (
	stackNamespace = "com.docker.stack.namespace"
	stackImage     = "com.docker.stack.image"
)

// objectIDs returns the id of a config or a secret in the Swarm, false where there is none of that name.
type objectIDs func(kind spec.ObjectKind, name string) (id string, ok bool)

// serviceSpec is a Swarm service as `docker stack deploy` would ask for it (docker/cli, cli/compose/convert), with our labels.
// image is what the tasks run: pinned to a digest, or as written. Every field of [spec.SwarmService] that Swarm has ends up
// in it; the error names what it refers to and the Swarm lacks, or a value that cannot be read.
func serviceSpec(owner, stack string, s spec.SwarmService, image string, ids objectIDs) (swarm.ServiceSpec, error) {
	task, err := taskSpec(stack, s, image, ids)
	if err != nil {
		return swarm.ServiceSpec{}, fmt.Errorf("service %s: %w", s.Full, err)
	}
	labels := stackLabels(stack, s.Deploy.Labels)
	labels[stackImage] = s.Image
	labels[spec.LabelCluster], labels[spec.LabelStack] = owner, stack
	labels[spec.LabelService], labels[spec.LabelHash] = s.Name, s.Hash
	out := swarm.ServiceSpec{
		Annotations:  swarm.Annotations{Name: s.Full, Labels: labels},
		TaskTemplate: task,
		Mode:         serviceMode(s),
		EndpointSpec: endpointSpec(s.Deploy),
	}
	if !s.Mode.Job() { // Swarm refuses an update policy of a job
		out.UpdateConfig = updateConfig(&s.Deploy.Update)
		out.RollbackConfig = updateConfig(s.Deploy.Rollback)
	}
	return out, nil
}

// stackLabels adds the label of the stack to the user's.
func stackLabels(stack string, user map[string]string) map[string]string {
	l := maps.Clone(user)
	if l == nil {
		l = map[string]string{}
	}
	l[stackNamespace] = stack
	return l
}

func serviceMode(s spec.SwarmService) swarm.ServiceMode {
	switch s.Mode {
	case spec.Global:
		return swarm.ServiceMode{Global: &swarm.GlobalService{}}
	case spec.GlobalJob:
		return swarm.ServiceMode{GlobalJob: &swarm.GlobalJob{}}
	case spec.ReplicatedJob:
		return swarm.ServiceMode{ReplicatedJob: &swarm.ReplicatedJob{MaxConcurrent: s.Deploy.MaxConcurrent, TotalCompletions: s.Deploy.Replicas}}
	case spec.Replicated:
	}
	return swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: s.Deploy.Replicas}}
}

func taskSpec(stack string, s spec.SwarmService, image string, ids objectIDs) (swarm.TaskSpec, error) {
	c, err := taskContainer(stack, s, image)
	if err != nil {
		return swarm.TaskSpec{}, err
	}
	if c.Configs, err = configReferences(s.Files, ids); err != nil {
		return swarm.TaskSpec{}, err
	}
	if c.Secrets, err = secretReferences(s.Files, ids); err != nil {
		return swarm.TaskSpec{}, err
	}
	t := swarm.TaskSpec{
		ContainerSpec: c, Networks: networkAttachments(s.Networks), Placement: placement(s),
		Resources: requirements(s.Deploy), RestartPolicy: restartPolicy(s.Deploy.Restart),
	}
	if b := s.Body; b.LogDriver != "" || len(b.LogOptions) > 0 {
		t.LogDriver = &swarm.Driver{Name: b.LogDriver, Options: b.LogOptions}
	}
	return t, nil
}

// taskContainer is what runs in each task. Swarm calls the entry point the command, and the command its arguments.
func taskContainer(stack string, s spec.SwarmService, image string) (*swarm.ContainerSpec, error) {
	b := s.Body
	c := &swarm.ContainerSpec{
		Image: image, Labels: stackLabels(stack, b.Labels),
		Command: b.Entrypoint, Args: b.Command, Env: slices.Sorted(slices.Values(b.Env)),
		Hostname: b.Hostname, Dir: b.WorkingDir, User: b.User, Groups: b.GroupAdd,
		TTY: b.TTY, OpenStdin: b.StdinOpen, Init: b.Init, StopSignal: b.StopSignal,
		Healthcheck: healthConfig(b.Health), Hosts: hosts(b.ExtraHosts), Mounts: taskMounts(stack, s),
		ReadOnly: b.ReadOnly, Sysctls: b.Sysctls, Privileges: &swarm.Privileges{},
	}
	if b.ClearEntrypoint {
		c.Command = []string{""} // what the engine takes for "none at all": an empty list is the image's own
	}
	if b.StopSeconds != nil {
		grace := time.Duration(*b.StopSeconds) * time.Second
		c.StopGracePeriod = &grace
	}
	c.CapabilityAdd, c.CapabilityDrop = effectiveCapabilities(b.CapAdd, b.CapDrop)
	for _, u := range b.Ulimits {
		c.Ulimits = append(c.Ulimits, &units.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	if x := s.Deploy.CredentialSpec; x != nil {
		c.Privileges.CredentialSpec = &swarm.CredentialSpec{Config: x.Config, File: x.File, Registry: x.Registry}
	}
	var err error
	c.DNSConfig, err = dnsConfig(b)
	return c, err
}

// hosts turns "name:address" into what Swarm takes, a line of /etc/hosts.
func hosts(extra []string) []string {
	var out []string
	for _, h := range extra {
		name, address, _ := strings.Cut(h, ":")
		out = append(out, address+" "+name)
	}
	return out
}

func dnsConfig(b spec.Body) (*swarm.DNSConfig, error) {
	if len(b.DNS) == 0 && len(b.DNSSearch) == 0 && len(b.DNSOptions) == 0 {
		return nil, nil
	}
	out := &swarm.DNSConfig{Search: b.DNSSearch, Options: b.DNSOptions}
	for _, d := range b.DNS {
		ip, err := netip.ParseAddr(d)
		if err != nil {
			return nil, fmt.Errorf("dns %q: %w", d, err)
		}
		out.Nameservers = append(out.Nameservers, ip)
	}
	return out, nil
}

// effectiveCapabilities drops nothing that is added: to Swarm, unlike to an engine, one name in both lists is one too many.
func effectiveCapabilities(add, drop []string) (added, dropped []string) {
	const all = "ALL"
	one := func(list []string) []string {
		if slices.Contains(list, all) {
			return []string{all}
		}
		return slices.Sorted(slices.Values(list))
	}
	added = one(add)
	for _, c := range one(drop) {
		if !slices.Contains(added, c) {
			dropped = append(dropped, c)
		}
	}
	return added, dropped
}

// taskMounts are volumes, binds and file systems in memory, by target.
func taskMounts(stack string, s spec.SwarmService) []mount.Mount {
	var out []mount.Mount
	for _, v := range s.Volumes {
		out = append(out, taskVolume(stack, v))
	}
	for _, b := range s.Body.Binds {
		m := mount.Mount{Type: mount.TypeBind, Source: b.Source, Target: b.Target, ReadOnly: b.ReadOnly}
		if b.Propagation != "" {
			m.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(b.Propagation)}
		}
		out = append(out, m)
	}
	for _, t := range s.Body.Tmpfs {
		m := mount.Mount{Type: mount.TypeTmpfs, Target: t.Target, ReadOnly: t.ReadOnly}
		if t.SizeBytes != 0 || t.Mode != 0 {
			m.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: t.SizeBytes, Mode: fs.FileMode(t.Mode)}
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b mount.Mount) int { return cmp.Compare(a.Target, b.Target) })
	return out
}

// taskVolume carries the volume's definition: the engine a task comes to makes the volume by it, if it has none of the name.
func taskVolume(stack string, v spec.SwarmMount) mount.Mount {
	m := mount.Mount{Type: mount.TypeVolume, Source: v.Volume, Target: v.Target, ReadOnly: v.ReadOnly}
	if v.Volume == "" && !v.NoCopy && v.Subpath == "" {
		return m
	}
	m.VolumeOptions = &mount.VolumeOptions{NoCopy: v.NoCopy, Subpath: v.Subpath}
	if v.Volume == "" || v.External {
		return m
	}
	m.VolumeOptions.Labels = stackLabels(stack, v.Labels)
	if v.Driver != "" || len(v.Options) > 0 {
		m.VolumeOptions.DriverConfig = &mount.Driver{Name: v.Driver, Options: v.Options}
	}
	return m
}

func configReferences(files []spec.SwarmFile, ids objectIDs) ([]*swarm.ConfigReference, error) {
	var out []*swarm.ConfigReference
	for _, f := range filesOf(files, spec.ConfigObject) {
		id, ok := ids(f.Kind, f.Object)
		if !ok {
			return nil, fmt.Errorf("there is no config %s in the Swarm", f.Object)
		}
		out = append(out, &swarm.ConfigReference{
			ConfigID: id, ConfigName: f.Object,
			File: &swarm.ConfigReferenceFileTarget{Name: f.Target, UID: cmp.Or(f.UID, "0"), GID: cmp.Or(f.GID, "0"), Mode: fs.FileMode(f.Mode)},
		})
	}
	return out, nil
}

func secretReferences(files []spec.SwarmFile, ids objectIDs) ([]*swarm.SecretReference, error) {
	var out []*swarm.SecretReference
	for _, f := range filesOf(files, spec.SecretObject) {
		id, ok := ids(f.Kind, f.Object)
		if !ok {
			return nil, fmt.Errorf("there is no secret %s in the Swarm", f.Object)
		}
		out = append(out, &swarm.SecretReference{
			SecretID: id, SecretName: f.Object,
			File: &swarm.SecretReferenceFileTarget{Name: f.Target, UID: cmp.Or(f.UID, "0"), GID: cmp.Or(f.GID, "0"), Mode: fs.FileMode(f.Mode)},
		})
	}
	return out, nil
}

// filesOf are the files of one kind by the name of their object, then target: another order would be another version.
func filesOf(files []spec.SwarmFile, kind spec.ObjectKind) []spec.SwarmFile {
	var out []spec.SwarmFile
	for _, f := range files {
		if f.Kind == kind {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b spec.SwarmFile) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Target, b.Target))
	})
	return out
}

// networkAttachments name networks by their Docker names: the manager finds the ids.
func networkAttachments(list []spec.Attachment) []swarm.NetworkAttachmentConfig {
	var out []swarm.NetworkAttachmentConfig
	for _, n := range list {
		a := swarm.NetworkAttachmentConfig{Target: n.Network, DriverOpts: n.DriverOpts}
		if container.NetworkMode(n.Network).IsUserDefined() { // "host" and "none" take no aliases
			a.Aliases = n.Aliases
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b swarm.NetworkAttachmentConfig) int { return cmp.Compare(a.Target, b.Target) })
	return out
}

func placement(s spec.SwarmService) *swarm.Placement {
	p := &swarm.Placement{Constraints: s.Deploy.Constraints, MaxReplicas: s.Deploy.MaxReplicasPerNode}
	for _, d := range s.Deploy.Preferences {
		p.Preferences = append(p.Preferences, swarm.PlacementPreference{Spread: &swarm.SpreadOver{SpreadDescriptor: d}})
	}
	return p
}

func requirements(d spec.Deploy) *swarm.ResourceRequirements {
	r := &swarm.ResourceRequirements{}
	if l := d.Limits; l != nil {
		r.Limits = &swarm.Limit{NanoCPUs: l.NanoCPUs, MemoryBytes: l.MemoryBytes, Pids: l.Pids}
	}
	if v := d.Reservations; v != nil {
		r.Reservations = &swarm.Resources{NanoCPUs: v.NanoCPUs, MemoryBytes: v.MemoryBytes}
		for _, g := range v.Generic {
			r.Reservations.GenericResources = append(r.Reservations.GenericResources, swarm.GenericResource{
				DiscreteResourceSpec: &swarm.DiscreteGenericResource{Kind: g.Kind, Value: g.Value},
			})
		}
	}
	return r
}

func restartPolicy(r spec.SwarmRestart) *swarm.RestartPolicy {
	if r == (spec.SwarmRestart{}) {
		return nil
	}
	return &swarm.RestartPolicy{
		Condition: swarm.RestartPolicyCondition(r.Condition), Delay: r.Delay, MaxAttempts: r.MaxAttempts, Window: r.Window,
	}
}

func updateConfig(u *spec.SwarmUpdate) *swarm.UpdateConfig {
	if u == nil {
		return nil
	}
	return &swarm.UpdateConfig{
		Parallelism: u.Parallelism, Delay: u.Delay, FailureAction: swarm.FailureAction(u.FailureAction),
		Monitor: u.Monitor, MaxFailureRatio: u.MaxFailureRatio, Order: swarm.UpdateOrder(u.Order),
	}
}

func endpointSpec(d spec.Deploy) *swarm.EndpointSpec {
	e := &swarm.EndpointSpec{Mode: swarm.ResolutionMode(d.EndpointMode)}
	for _, p := range d.Ports {
		e.Ports = append(e.Ports, swarm.PortConfig{
			Protocol: network.IPProtocol(p.Protocol), TargetPort: p.Target, PublishedPort: p.Published, PublishMode: swarm.PortConfigPublishMode(p.Mode),
		})
	}
	slices.SortFunc(e.Ports, swarm.PortConfig.Compare)
	return e
}
