package compose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/brambled/brambled/reconciler/spec"
)

// swarmPrefix stands in front of the Docker name of a network of Swarm's scope. The containers of a stack share a bridge of
// the same key on each Pi; an engine takes two networks of one name, and then cannot tell which one is meant. The names of
// stacks, and so of bridges, have no capitals.
const swarmPrefix = "Swarm-"

// local are the drivers whose networks end at their Pi.
var local = []string{"bridge", "host", "ipvlan", "macvlan", "none", "null"}

// predefined are the networks that every engine has, by the name under which `external` refers to them.
var predefined = []string{"bridge", "host", "none"}

// overlayName is the Docker name of a network that Swarm services use; one that the user gave is kept.
func (r *render) overlayName(key string) string {
	n := r.p.Networks[key]
	if bool(n.External) || r.d.lines["networks."+key+".name"] > 0 {
		return n.Name
	}
	return swarmPrefix + n.Name
}

// crossing finds the networks that both kinds of services use, and refuses those that cannot reach both. A default network
// of which the file does not speak is two: a bridge per Pi and an overlay.
func (r *render) crossing() {
	r.shared = map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(r.p.Networks)) {
		n, at := r.p.Networks[key], "networks."+key
		if u := r.uses[at]; !u.swarm || !u.containers || r.d.lines[at] == 0 {
			continue
		}
		if !bool(n.External) && (n.Driver != "overlay" || !n.Attachable) {
			r.fault(at, "containers and Swarm services cannot share this network: a bridge ends at its Pi", "declare it `driver: overlay` and `attachable: true`, or give each kind a network of its own")
			continue
		}
		r.shared[key] = true
	}
}

// swarmAttachments renders the networks of a Swarm service. Its name in the file is always an alias.
func (r *render) swarmAttachments(s types.ServiceConfig, at string) []spec.Attachment {
	var out []spec.Attachment
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		if _, ok := r.p.Networks[key]; !ok {
			r.fault(at+".networks", fmt.Sprintf("there is no network %q", key), "declare it under the top-level networks")
			continue
		}
		a := spec.Attachment{Network: r.overlayName(key), Aliases: []string{s.Name}}
		if cfg := s.Networks[key]; cfg != nil {
			a.Aliases = append(a.Aliases, cfg.Aliases...)
			a.DriverOpts = map[string]string(cfg.DriverOpts)
		}
		slices.Sort(a.Aliases)
		a.Aliases = slices.Compact(a.Aliases)
		if slices.Contains(predefined, a.Network) {
			a.Aliases = nil // they take none
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b spec.Attachment) int { return cmp.Compare(a.Network, b.Network) })
	return out
}

// swarmNetworks renders the networks that Swarm services use.
func (r *render) swarmNetworks(services []spec.SwarmService) []spec.Network {
	used := map[string]bool{}
	for _, s := range services {
		for key := range r.p.Services[s.Name].Networks {
			used[key] = true
		}
	}
	var out []spec.Network
	for _, key := range slices.Sorted(maps.Keys(r.p.Networks)) {
		if used[key] {
			out = append(out, r.swarmNetwork(key, r.overlayName(key)))
		}
	}
	slices.SortFunc(out, func(a, b spec.Network) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (r *render) swarmNetwork(key, name string) spec.Network {
	n, at := r.p.Networks[key], "networks."+key
	if bool(n.External) {
		return spec.Network{Name: name, Key: key, External: true}
	}
	r.swarmName(at, "network", name)
	out := spec.Network{
		Name: name, Key: key, Driver: cmp.Or(n.Driver, "overlay"), Options: map[string]string(n.DriverOpts),
		Internal: n.Internal, Attachable: n.Attachable, EnableIPv6: n.EnableIPv6,
		Labels: r.labels(n.Labels, at), IPAM: r.ipam(n.Ipam, at+".ipam"),
	}
	r.stackLabels(n.Labels, at)
	for _, other := range slices.Sorted(maps.Keys(r.p.Networks)) {
		if other != key && (r.p.Networks[other].Name == name || r.overlayName(other) == name) {
			r.fault(at, fmt.Sprintf("network %s has the name %s too", other, name), "rename one of them")
		}
	}
	if slices.Contains(local, out.Driver) {
		r.fault(at+".driver", fmt.Sprintf("a network of the driver %s ends at its Pi, and Swarm services use this one", out.Driver), "leave driver out, or write overlay")
	}
	out.Hash = spec.HashNetwork(out)
	return out
}
