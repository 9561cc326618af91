package compose

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// users are the kinds of services that use something.
type users struct{ swarm, containers bool }

func (u users) with(swarm bool) users {
	return users{u.swarm || swarm, u.containers || !swarm}
}

// users returns which kinds of services use each network, volume, config and secret, by "networks.KEY". What none uses is
// taken for one of all kinds that the file has: no key of it is ignored in silence.
func (d *document) users(swarm map[string]bool) map[string]users {
	out := map[string]users{}
	var all users
	for _, svc := range entries(find(d.root, "services")) {
		all = all.with(swarm[svc.key])
		for _, ref := range d.references(svc.key) {
			out[ref] = out[ref].with(swarm[svc.key])
		}
	}
	for _, kind := range []string{"networks", "volumes", "configs", "secrets"} {
		for _, e := range entries(find(d.root, kind)) {
			if key := join(kind, e.key); out[key] == (users{}) {
				out[key] = all
			}
		}
	}
	return out
}

// references are what a service and those it extends name.
func (d *document) references(service string) []string {
	var out []string
	for _, name := range d.chain(service) {
		n := d.services[name]
		for _, e := range entries(find(n, "networks")) {
			out = append(out, join("networks", e.key))
		}
		for _, kind := range []string{"networks", "volumes", "configs", "secrets"} {
			for _, item := range items(find(n, kind)) {
				if key := named(kind, item); key != "" {
					out = append(out, join(kind, key))
				}
			}
		}
	}
	if !slices.ContainsFunc(out, func(s string) bool { return strings.HasPrefix(s, "networks.") }) {
		out = append(out, "networks.default")
	}
	return out
}

// chain is a service and those it extends, the nearest first.
func (d *document) chain(service string) []string {
	var out []string
	for !slices.Contains(out, service) {
		out = append(out, service)
		base := find(d.services[service], "extends")
		if base != nil && base.Kind == yaml.MappingNode {
			base = find(base, "service")
		}
		if base == nil || base.Kind != yaml.ScalarNode {
			break
		}
		service = base.Value
	}
	return out
}

// named is the name that an item of a list refers to, in its short or long form; "" for a path.
func named(kind string, item *yaml.Node) string {
	item = resolve(item)
	if item == nil {
		return ""
	}
	if item.Kind == yaml.MappingNode {
		source := find(item, "source")
		if source == nil || strings.ContainsAny(source.Value, "/") {
			return ""
		}
		return source.Value
	}
	if kind != "volumes" {
		return item.Value
	}
	source, _, named := strings.Cut(item.Value, ":")
	if !named || strings.HasPrefix(source, "/") || strings.HasPrefix(source, ".") || strings.HasPrefix(source, "~") {
		return ""
	}
	return source
}

// inSwarm returns a test for paths whose values go into a Swarm service: its own keys, those of services it extends, and those
// of what it uses.
func (r *render) inSwarm() func(path string) bool {
	under := map[string]bool{}
	for name, k := range r.kinds {
		if k.swarm {
			for _, base := range r.d.chain(name) {
				under[join("services", base)] = true
			}
		}
	}
	for key, u := range r.uses {
		if u.swarm {
			under[key] = true
		}
	}
	return func(path string) bool {
		kind, rest, _ := strings.Cut(path, ".")
		for key := rest; key != ""; {
			if under[join(kind, key)] {
				return true
			}
			i := strings.LastIndexAny(key, ".[") // names may have dots
			key = key[:max(0, i)]
		}
		return false
	}
}

// differs reports whether a variable may have another value on another node.
func (r *render) differs(name string) bool {
	return r.env.PerNode[name] && r.builtin[name] == "" || name == "BRAMBLED_NODE" || name == "BRAMBLED_NODE_IP"
}

// ofOneNode is the problem of a variable that differs from node to node in a Swarm service, which is one for all of them.
func (r *render) ofOneNode(path, name string) Problem {
	hint := "set " + r.env.Prefix + "vars/" + name + " alone and delete those of nodes, or " + asContainers
	switch name {
	case "BRAMBLED_NODE":
		hint = "write {{.Node.Hostname}}, which Swarm fills in, or " + asContainers
	case "BRAMBLED_NODE_IP":
		hint = asContainers
	}
	return r.d.problem(path, "the variable "+name+" differs from node to node, and a Swarm service is one for all nodes", hint)
}
