package docker

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// ours reports whether a row carries our labels. Swarm's tasks are foreign, whatever labels their service has.
func ours(r container.Summary) bool {
	return r.Labels[spec.LabelCluster] != "" && r.Labels[labelSwarmTask] == ""
}

func rowName(r container.Summary) string {
	// A container that others link to has more names, with a slash inside.
	for _, n := range r.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}

// foreign describes a container that is not ours: what of it can be in the way.
func foreign(r container.Summary) node.Container {
	return node.Container{ID: r.ID, Name: rowName(r), State: node.State(r.State), Networks: rowNetworks(r, nil)}
}

// own describes a container of ours by its row and, if it could be inspected, by what that told.
func own(r container.Summary, m *inspection, live map[string]bool, fileDir string, now time.Time) node.Container {
	l := r.Labels
	replica, _ := strconv.Atoi(l[spec.LabelReplica]) // a damaged label is replica 0, which nobody desires
	c := node.Container{
		ID: r.ID, Name: rowName(r), Owner: l[spec.LabelCluster], Stack: l[spec.LabelStack], Service: l[spec.LabelService],
		Replica: replica, Hash: l[spec.LabelHash],
		State: node.State(r.State), Health: rowHealth(r), ExitCode: rowExitCode(r), ImageID: r.ImageID,
		Networks: rowNetworks(r, live), Seen: now.Sub(m.seen),
	}
	c.HasCheck = c.Health != node.NoHealth
	c.WantPolicy, c.WantPolicyMax = parseRestart(l[spec.LabelRestart])
	c.Policy, c.PolicyMax = c.WantPolicy, c.WantPolicyMax // until it could be inspected
	for _, mp := range r.Mounts {
		switch {
		case mp.Type == mount.TypeBind && filepath.Dir(mp.Source) == fileDir:
			c.Files = append(c.Files, filepath.Base(mp.Source))
		case mp.Type == mount.TypeVolume && mp.Name != "" && !anonymous.MatchString(mp.Name):
			c.Volumes = append(c.Volumes, mp.Name)
		}
	}
	slices.Sort(c.Files)
	slices.Sort(c.Volumes)
	switch {
	case m.good:
		addDetails(&c, m, live, now)
	case m.details.State != nil:
		addDetails(&c, m, live, now) // of an earlier look: better than nothing, but the row is newer
		c.State, c.Health, c.ExitCode = node.State(r.State), rowHealth(r), rowExitCode(r)
		fallthrough
	default:
		c.Error = "the engine does not answer for this container; if that lasts, restart docker.service"
	}
	if c.State != node.Running {
		c.Health = node.NoHealth
	}
	return c
}

// addDetails takes over what only inspecting tells. Its state is newer than the row's: engines report an exit a moment
// before they list it.
func addDetails(c *node.Container, m *inspection, live map[string]bool, now time.Time) {
	d := m.details
	c.RestartCount = d.RestartCount
	c.Name = strings.TrimPrefix(d.Name, "/")
	if s := d.State; s != nil {
		c.State, c.ExitCode, c.Error = node.State(s.Status), s.ExitCode, s.Error
		c.Health = node.NoHealth
		if s.Health != nil {
			c.Health = health(s.Health.Status)
		}
	}
	if d.Config != nil {
		c.HasCheck = hasCheck(d.Config.Healthcheck)
	}
	if d.HostConfig != nil {
		c.Policy, c.PolicyMax = string(d.HostConfig.RestartPolicy.Name), d.HostConfig.RestartPolicy.MaximumRetryCount
		if c.Policy == "" {
			c.Policy = "no"
		}
	}
	if d.NetworkSettings != nil {
		c.Networks = networkNames(d.NetworkSettings.Networks, live)
	}
	if !m.since.IsZero() && c.State == node.Running {
		c.Up = now.Sub(m.since)
	}
	c.EngineEnded = m.ended && c.State == node.Exited
	if !m.sick.IsZero() && c.State == node.Running && c.Health == node.Unhealthy {
		c.Sick = now.Sub(m.sick)
	}
}

func hasCheck(h *container.HealthConfig) bool {
	return h != nil && len(h.Test) > 0 && h.Test[0] != "NONE"
}

func health(s container.HealthStatus) node.Health {
	switch s {
	case container.Starting:
		return node.Starting
	case container.Healthy:
		return node.Healthy
	case container.Unhealthy:
		return node.Unhealthy
	case container.NoHealthcheck:
	}
	return node.NoHealth
}

// rowHealth reads a row's health; before API 1.52 it is in the text only: "Up 5 seconds (health: starting)".
func rowHealth(r container.Summary) node.Health {
	switch {
	case r.Health != nil:
		return health(r.Health.Status)
	case strings.Contains(r.Status, "(health: starting)"):
		return node.Starting
	case strings.Contains(r.Status, "(healthy)"):
		return node.Healthy
	case strings.Contains(r.Status, "(unhealthy)"):
		return node.Unhealthy
	}
	return node.NoHealth
}

// rowExitCode reads "Exited (137) 2 minutes ago" and "Restarting (1) 5 seconds ago".
func rowExitCode(r container.Summary) int {
	_, rest, ok := strings.Cut(r.Status, "(")
	code, _, ok2 := strings.Cut(rest, ")")
	n, err := strconv.Atoi(code)
	if !ok || !ok2 || err != nil {
		return 0
	}
	return n
}

// uptime reads how long a row says it is up, roughly: "Up About a minute (healthy)", "Up 3 weeks".
func uptime(status string) time.Duration {
	text, ok := strings.CutPrefix(status, "Up ")
	if !ok {
		return 0
	}
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "About "), " (")
	count, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		n = 1 // "a minute", "an hour"
	}
	units := map[string]time.Duration{
		"second": time.Second, "minute": time.Minute, "hour": time.Hour,
		"day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour, "year": 365 * 24 * time.Hour,
	}
	return time.Duration(n) * units[strings.TrimSuffix(unit, "s")] // "Less than a second" has no unit: 0
}

func rowNetworks(r container.Summary, live map[string]bool) []string {
	if r.NetworkSettings == nil {
		return nil
	}
	return networkNames(r.NetworkSettings.Networks, live)
}

// networkNames are the networks a container is on. An endpoint on a network that was removed since is none: the container
// does not start with it and has to be connected again. live are the ids of the networks there are; nil does not judge.
func networkNames(ends map[string]*network.EndpointSettings, live map[string]bool) []string {
	var out []string
	for _, name := range sortedKeys(ends) {
		if n := ends[name]; live != nil && n != nil && n.NetworkID != "" && !live[n.NetworkID] {
			continue
		}
		out = append(out, name)
	}
	return out
}
