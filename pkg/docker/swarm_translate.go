package docker

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/distribution/reference"
	swarmapi "github.com/moby/moby/api/types/swarm"

	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

// translate describes the Swarm as the planner knows it, everything sorted.
func (m *swarmMemory) translate(o *swarm.Observed, l swarmLists, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(l)
	services := make(map[string]*swarmapi.Service, len(l.services))
	for i := range l.services {
		services[l.services[i].ID] = &l.services[i]
	}
	tasksOf := map[string][]swarmapi.Task{}
	for _, t := range l.tasks {
		tasksOf[t.ServiceID] = append(tasksOf[t.ServiceID], t)
		o.Tasks = append(o.Tasks, m.task(t, services[t.ServiceID], now))
	}
	names := swarmNetworkNames(l)
	for _, s := range l.services {
		o.Services = append(o.Services, observeService(s, tasksOf[s.ID], names))
	}
	for _, n := range l.nodes {
		o.Nodes = append(o.Nodes, swarmNode(n))
	}
	for _, n := range l.networks {
		o.Networks = append(o.Networks, swarm.Network{
			ID: n.ID, Name: n.Name, Attachable: n.Attachable,
			Owner: n.Labels[spec.LabelCluster], Stack: n.Labels[spec.LabelStack], Hash: n.Labels[spec.LabelHash],
		})
	}
	for _, c := range l.configs {
		o.Objects = append(o.Objects, swarmObject(spec.ConfigObject, c.ID, c.Spec.Annotations))
	}
	for _, s := range l.secrets {
		o.Objects = append(o.Objects, swarmObject(spec.SecretObject, s.ID, s.Spec.Annotations))
	}
	sortSwarm(o)
}

// forget drops what is known of tasks: without control their states are not followed.
func (m *swarmMemory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.since)
}

// prune drops tasks that are gone.
func (m *swarmMemory) prune(l swarmLists) {
	there := make(map[string]bool, len(l.tasks))
	for _, t := range l.tasks {
		there[t.ID] = true
	}
	for id := range m.since {
		if !there[id] {
			delete(m.since, id)
		}
	}
}

func observeService(s swarmapi.Service, tasks []swarmapi.Task, networks map[string]string) swarm.Service {
	l := s.Spec.Labels
	out := swarm.Service{
		ID: s.ID, Name: s.Spec.Name, Version: s.Version.Index,
		Owner: l[spec.LabelCluster], Stack: l[spec.LabelStack], Key: l[spec.LabelService], Hash: l[spec.LabelHash],
		Mode: modeOf(s.Spec.Mode), Asked: l[stackImage], Replicas: replicas(s, tasks), Objects: objectNames(s.Spec),
	}
	if c := s.Spec.TaskTemplate.ContainerSpec; c != nil {
		out.Image = c.Image
	}
	if out.Image == tagged(out.Asked) {
		out.Image = out.Asked // the client adds ":latest"
	}
	if u := s.UpdateStatus; u != nil {
		out.Update, out.Message = swarm.UpdateState(u.State), u.Message
	}
	out.Tried = tried(s)
	out.Networks = attached(s.Spec, networks)
	if s.PreviousSpec != nil {
		out.Before, out.NetworksBefore = objectNames(*s.PreviousSpec), attached(*s.PreviousSpec, networks)
	}
	return out
}

// tried is the hash of the version that an update was last made to. Swarm's own rollback forgets that version, and the label
// that was written before tells; a person's leaves it in the service.
func tried(s swarmapi.Service) string {
	if rolledBack(s.UpdateStatus) && s.PreviousSpec != nil {
		return s.PreviousSpec.Labels[spec.LabelHash]
	}
	return s.Spec.Labels[spec.LabelTried]
}

func rolledBack(u *swarmapi.UpdateStatus) bool {
	if u == nil {
		return false
	}
	switch u.State {
	case swarmapi.UpdateStateRollbackStarted, swarmapi.UpdateStateRollbackPaused, swarmapi.UpdateStateRollbackCompleted:
		return true
	case swarmapi.UpdateStateUpdating, swarmapi.UpdateStatePaused, swarmapi.UpdateStateCompleted:
	}
	return false
}

// attached are the names of the networks of a version; of one that has none, its id.
func attached(s swarmapi.ServiceSpec, names map[string]string) []string {
	var out []string
	for _, n := range s.TaskTemplate.Networks {
		out = append(out, cmp.Or(names[n.Target], n.Target))
	}
	slices.Sort(out)
	return out
}

// tagged is a reference as the client sends it: with a tag.
func tagged(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

func modeOf(m swarmapi.ServiceMode) spec.Mode {
	switch {
	case m.Global != nil:
		return spec.Global
	case m.ReplicatedJob != nil:
		return spec.ReplicatedJob
	case m.GlobalJob != nil:
		return spec.GlobalJob
	}
	return spec.Replicated
}

// replicas is how many tasks a service should have.
func replicas(s swarmapi.Service, tasks []swarmapi.Task) int {
	one := uint64(1) // Swarm's default, and Compose's
	switch m := s.Spec.Mode; {
	case m.Replicated != nil:
		return int(*cmp.Or(m.Replicated.Replicas, &one)) //nolint:gosec // as many as a person asked for
	case m.ReplicatedJob != nil:
		return int(*cmp.Or(m.ReplicatedJob.TotalCompletions, m.ReplicatedJob.MaxConcurrent, &one)) //nolint:gosec // as above
	}
	nodes := map[string]bool{} // during an update a node may have the old and the new one
	for _, t := range tasks {
		if wanted(t) && ofIteration(s, t) {
			nodes[t.NodeID] = true
		}
	}
	return len(nodes)
}

// wanted reports whether a task should run, or has run as a job should.
func wanted(t swarmapi.Task) bool {
	switch t.DesiredState {
	case swarmapi.TaskStateShutdown, swarmapi.TaskStateRemove, swarmapi.TaskStateOrphaned:
		return false
	default:
		return true
	}
}

// ofIteration reports whether a task belongs to the present run of a job; one of a service that is no job does.
func ofIteration(s swarmapi.Service, t swarmapi.Task) bool {
	return s.JobStatus == nil || t.JobIteration == nil || s.JobStatus.JobIteration == *t.JobIteration
}

// objectNames are the configs and secrets that a version of a service refers to.
func objectNames(s swarmapi.ServiceSpec) []swarm.ObjectName {
	c := s.TaskTemplate.ContainerSpec
	if c == nil {
		return nil
	}
	var out []swarm.ObjectName
	for _, r := range c.Configs {
		out = append(out, swarm.ObjectName{Kind: spec.ConfigObject, Name: r.ConfigName})
	}
	for _, r := range c.Secrets {
		out = append(out, swarm.ObjectName{Kind: spec.SecretObject, Name: r.SecretName})
	}
	slices.SortFunc(out, compareNames)
	return slices.Compact(out)
}

func compareNames(a, b swarm.ObjectName) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// swarmNetworkNames are the names of networks by id. A manager does not list those that Swarm has made for itself ("host"), but
// the tasks that use them name them.
func swarmNetworkNames(l swarmLists) map[string]string {
	out := map[string]string{}
	for _, t := range l.tasks {
		for _, a := range t.NetworksAttachments {
			out[a.Network.ID] = a.Network.Spec.Name
		}
	}
	for _, n := range l.networks {
		out[n.ID] = n.Name
	}
	return out
}

func (m *swarmMemory) task(t swarmapi.Task, s *swarmapi.Service, now time.Time) swarm.Task {
	seen, known := m.since[t.ID]
	if !known || seen.state != t.Status.State {
		seen = taskSince{t.Status.State, now}
		m.since[t.ID] = seen
	}
	out := swarm.Task{
		ID: t.ID, Service: t.ServiceID, Node: t.NodeID, Slot: t.Slot,
		State: string(t.Status.State), Desired: string(t.DesiredState), Err: t.Status.Err,
		Current: s != nil && current(*s, t), Since: now.Sub(seen.at),
	}
	if c := t.Spec.ContainerSpec; c != nil {
		out.Image, out.Stack, out.Key = c.Image, c.Labels[spec.LabelStack], c.Labels[spec.LabelService]
	}
	if c := t.Status.ContainerStatus; c != nil {
		out.Container = c.ContainerID
	}
	return out
}

// current reports whether a task is of its service's present version, by what Swarm goes by to replace tasks (swarmkit,
// orchestrator.IsTaskDirty): the same spec but for the placement, which a task that stays where it is may outlive.
func current(s swarmapi.Service, t swarmapi.Task) bool {
	a, b := s.Spec.TaskTemplate, t.Spec
	a.Placement, b.Placement = nil, nil
	a.Runtime, b.Runtime = "", "" // a service says "container", a task nothing
	return ofIteration(s, t) && reflect.DeepEqual(a, b)
}

func swarmNode(n swarmapi.Node) swarm.Node {
	return swarm.Node{
		ID: n.ID, Name: n.Description.Hostname, Ready: n.Status.State == swarmapi.NodeStateReady,
		Active: n.Spec.Availability == swarmapi.NodeAvailabilityActive, Manager: n.ManagerStatus != nil,
	}
}

func swarmObject(kind spec.ObjectKind, id string, a swarmapi.Annotations) swarm.Object {
	return swarm.Object{
		ID: id, Kind: kind, Name: a.Name,
		Owner: a.Labels[spec.LabelCluster], Stack: a.Labels[spec.LabelStack], Hash: a.Labels[spec.LabelHash],
	}
}

func sortSwarm(o *swarm.Observed) {
	slices.SortFunc(o.Services, func(a, b swarm.Service) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(o.Tasks, func(a, b swarm.Task) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(o.Nodes, func(a, b swarm.Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(o.Networks, func(a, b swarm.Network) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(o.Objects, func(a, b swarm.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}
