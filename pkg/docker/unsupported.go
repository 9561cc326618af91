package docker

import (
	"fmt"
	"strings"

	"github.com/moby/moby/client/pkg/versions"

	"github.com/brambled/brambled/reconciler/spec"
)

// speaks reports whether an API version is at least another.
func speaks(api, least string) bool { return versions.GreaterThanOrEqualTo(api, least) }

// lack is a need of a container that came with some API version.
type lack struct {
	api, engine string
	what        string
	needed      bool
}

// lacks returns what an engine of this API version lacks to create the container as it is written, "" for nothing. An older
// engine ignores a field it does not know, so that this table is what keeps a key from being dropped silently.
func lacks(c spec.Container, api string) string {
	var missing []string
	for _, l := range needs(c) {
		if l.needed && !speaks(api, l.api) {
			missing = append(missing, fmt.Sprintf("%s needs Docker Engine %s (API %s)", l.what, l.engine, l.api))
		}
	}
	if msg := unbindable(c, api); msg != "" {
		missing = append(missing, msg)
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("this engine speaks API %s: %s", api, strings.Join(missing, "; "))
}

// serviceLacks is [lacks] for a Swarm service on a manager of this API version.
func serviceLacks(s spec.SwarmService, api string) string {
	c := spec.Container{Body: s.Body}
	for _, v := range s.Volumes {
		c.Volumes = append(c.Volumes, spec.VolumeMount{Volume: v.Volume, Target: v.Target, Subpath: v.Subpath})
	}
	return lacks(c, api)
}

func needs(c spec.Container) []lack {
	b := c.Body
	list := []lack{
		{"1.43", "24", "annotations", len(b.Annotations) > 0},
		{"1.44", "25", "healthcheck.start_interval", b.Health != nil && b.Health.StartIntervalNanos > 0},
	}
	for _, v := range c.Volumes {
		list = append(list, lack{"1.45", "26", "volume subpath", v.Subpath != ""})
	}
	for _, m := range b.Binds {
		list = append(list, lack{"1.44", "25", "bind.recursive: " + m.Recursive, m.Recursive == "writable" || m.Recursive == "readonly"})
	}
	for _, d := range b.Devices {
		list = append(list, lack{"1.44", "25", "CDI device " + d.Source, isCDI(d.Source)})
	}
	for i, n := range c.Networks {
		// One address can be sent to an old engine: that of the network the container is created on.
		sendable := i == 0 && b.MacAddress == ""
		list = append(list,
			lack{"1.48", "28", "gw_priority", n.GatewayPriority != 0},
			lack{"1.44", "25", "mac_address of network " + n.Network, n.MAC != "" && !sendable},
		)
	}
	return list
}

// unbindable says which bind cannot be expressed. SELinux labels, and before API 1.42 the making of a missing source, exist
// in the short form only, which knows neither "recursive" nor a colon in a path.
func unbindable(c spec.Container, api string) string {
	for _, m := range c.Body.Binds {
		if !shortForm(m, api) {
			continue
		}
		if m.Recursive != "" && m.Recursive != "enabled" {
			return fmt.Sprintf("bind %s: recursive does not go with selinux%s", m.Target, alsoCreate(api))
		}
		if strings.Contains(m.Source+m.Target, ":") {
			return fmt.Sprintf("bind %s: a colon in a path does not go with selinux%s", m.Target, alsoCreate(api))
		}
	}
	return ""
}

func alsoCreate(api string) string {
	if !speaks(api, "1.42") {
		return ", nor with create_host_path before Docker Engine 23"
	}
	return ""
}
