package compose

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/reconciler/spec"
)

// registerKeys are the keys of an entry of x-brambled.register.
var registerKeys = []string{"name", "port", "tags"}

// dnsLabel is what can be a part of NAME.service.consul: Consul takes other names, and never answers for them.
var dnsLabel = regexp.MustCompile(`^[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`)

// registration is an entry of x-brambled.register as it is written: its port is the container's.
type registration struct {
	at   string // its place in the file
	name string
	port uint16
	tags []string
}

// registeredByAll refuses register at the top of a file: one name for all services would be a mistake each time.
func (d *document) registeredByAll(top *yaml.Node) Problems {
	if find(top, "register") == nil {
		return nil
	}
	return Problems{d.problem(extension+".register", "register is about one service", "move it into the x-brambled of the service")}
}

// registrations reads x-brambled.register of a service: one mapping, or a list of them.
func (r *render) registrations(service, path string, own *yaml.Node) ([]registration, Problems) {
	n := find(own, "register")
	path = join(path, "register")
	switch {
	case n == nil:
		return nil, nil
	case n.Kind == yaml.MappingNode:
		reg, found := r.registration(service, path, n)
		return []registration{reg}, found
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		return nil, Problems{r.d.problem(path, "this registers nothing", "write register: { port: 80 }, or a list of such")}
	}
	var out []registration
	var found Problems
	for i, item := range items(n) {
		reg, problems := r.registration(service, fmt.Sprintf("%s[%d]", path, i), resolve(item))
		found = append(found, problems...)
		if slices.ContainsFunc(out, func(o registration) bool { return o.name == reg.name && o.port == reg.port }) && len(problems) == 0 {
			found = append(found, r.d.problem(reg.at, fmt.Sprintf("%s with port %d is registered twice", reg.name, reg.port), "keep one of the two"))
		}
		out = append(out, reg)
	}
	return out, found
}

// registration reads one entry.
func (r *render) registration(service, at string, n *yaml.Node) (registration, Problems) {
	out := registration{at: at, name: service}
	if n == nil || n.Kind != yaml.MappingNode {
		return out, Problems{r.d.problem(at, "this is no mapping", "write { name: web, port: 80, tags: [a] }")}
	}
	var found Problems
	bad := func(key, text, hint string) { found = append(found, r.d.problem(join(at, key), text, hint)) }
	for _, e := range entries(n) {
		if !slices.Contains(registerKeys, e.key) {
			bad(e.key, fmt.Sprintf("unknown key `%s`", e.key), "register has "+strings.Join(registerKeys, ", ")+"; its check is the container's health")
		}
	}
	if name := find(n, "name"); name != nil {
		out.name = name.Value
	}
	if !dnsLabel.MatchString(out.name) {
		bad("name", fmt.Sprintf("%q cannot be found by DNS", out.name), "set name to letters, digits and -, 63 at most; variables are not read here")
	}
	var port string
	if p := find(n, "port"); p != nil {
		port = p.Value
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		bad("port", fmt.Sprintf("%q is no port", port), "set port to that of the container, 1 to 65535; variables are not read here")
	}
	out.port = uint16(number)
	tags, ok := texts(find(n, "tags"))
	if !ok {
		bad("tags", "these are no tags", `write a list of texts: tags: [primary, "2"]; variables are not read here`)
	}
	out.tags = tags
	return out, found
}

// texts reads a list of texts, none of them empty or with a variable.
func texts(n *yaml.Node) (out []string, ok bool) {
	if n != nil && n.Kind != yaml.SequenceNode {
		return nil, false
	}
	for _, item := range items(n) {
		t := resolve(item)
		if t == nil || t.Kind != yaml.ScalarNode || t.Tag != "!!str" || t.Value == "" || strings.Contains(t.Value, "$") {
			return nil, false
		}
		out = append(out, t.Value)
	}
	return out, true
}

// hostPort is a port of a container and where it is on the Pi.
type hostPort struct {
	target    uint16
	address   string // "" for all of the Pi's
	published uint16
	protocol  string
}

// containerPorts are the ports of a container that are published where other Pis can reach them and know them beforehand: on no
// loopback, and not on one of a range that the engine picks.
func containerPorts(list []spec.Port) []hostPort {
	var out []hostPort
	for _, p := range list {
		number, err := strconv.ParseUint(p.Published, 10, 16)
		ip, _ := netip.ParseAddr(p.HostIP)
		if err != nil || number == 0 || ip.IsLoopback() {
			continue
		}
		h := hostPort{target: p.Target, published: uint16(number), protocol: p.Protocol}
		if ip.IsValid() && !ip.IsUnspecified() {
			h.address = ip.String()
		}
		out = append(out, h)
	}
	return out
}

// taskPorts are those of a Swarm service. One that Swarm publishes on every Pi (ingress) is reached on the Pi of a task too.
func taskPorts(list []spec.SwarmPort) []hostPort {
	var out []hostPort
	for _, p := range list {
		if p.Published > 0 && p.Published <= 65535 && p.Target <= 65535 {
			out = append(out, hostPort{target: uint16(p.Target), published: uint16(p.Published), protocol: p.Protocol})
		}
	}
	return out
}

// registered resolves the registrations of a service to where others reach it. An address inside of a Pi or of an overlay is of
// no use to them, so that what is not published is refused.
func (r *render) registered(service string, onHost bool, ports []hostPort) []spec.Registration {
	var out []spec.Registration
	// TCP first: of a port that is published for both, DNS clients mean that one.
	slices.SortStableFunc(ports, func(a, b hostPort) int {
		return cmp.Or(strings.Compare(a.protocol, b.protocol), cmp.Compare(a.published, b.published), strings.Compare(a.address, b.address))
	})
	for _, w := range r.kinds[service].register {
		reg := spec.Registration{Name: w.name, Port: w.port, Tags: w.tags}
		i := slices.IndexFunc(ports, func(p hostPort) bool { return p.target == w.port })
		switch {
		case onHost:
		case i < 0:
			r.fault(join(w.at, "port"), fmt.Sprintf("port %d of the container is not published where others can reach it", w.port),
				fmt.Sprintf("publish it on a port of the Pi (ports: [\"%d:%d\"]), or use the host's network", w.port, w.port))
		default:
			reg.Address, reg.Port = ports[i].address, ports[i].published
		}
		out = append(out, reg)
	}
	slices.SortFunc(out, func(a, b spec.Registration) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
	})
	return out
}
