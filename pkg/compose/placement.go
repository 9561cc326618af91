package compose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/reconciler/spec"
)

// extension is brambled's own key, at the top of a file and in a service.
const extension = "x-brambled"

// extensionKeys are the keys under x-brambled.
var extensionKeys = []string{"nodes", "swarm", "heal", "prepull", "register", "stop_when_cut_off", "voter"}

// placement is where a service runs, and what else its x-brambled says.
type placement struct {
	heal     spec.Heal
	prepull  spec.Prepull
	register []registration
	cutOff   time.Duration
	voter    *bool // as written
	single   bool  // exactly one node is named
	swarm    bool
	selector string // as written
	here     bool
	why      string
}

// placements reads x-brambled of the file and of each service.
func (r *render) placements() (map[string]placement, Problems) {
	top := find(r.d.root, extension)
	found := append(r.d.extension(top, extension), r.d.registeredByAll(top)...)
	found = append(found, r.d.misspelt(r.d.root, "")...)
	out := map[string]placement{}
	for _, svc := range entries(find(r.d.root, "services")) {
		path := "services." + svc.key
		found = append(found, r.d.extension(find(svc.value, extension), join(path, extension))...)
		found = append(found, r.d.misspelt(svc.value, path)...)
		own, at := r.d.inherited(svc.key)
		p, problem := r.placement(svc.key, join("services."+at, extension), top, own)
		if problem != nil {
			found = append(found, *problem)
		}
		heal, problems := r.heal(join("services."+at, extension), top, own)
		p.heal, found = heal, append(found, problems...)
		p.prepull, problems = r.prepull(join("services."+at, extension), top, own)
		found = append(found, problems...)
		p.register, problems = r.registrations(svc.key, join("services."+at, extension), own)
		found = append(found, problems...)
		p.cutOff, problems = r.cutOff(p, join("services."+at, extension), top, own)
		found = append(found, problems...)
		p.voter, problems = r.voter(p, join("services."+at, extension), top, own)
		found = append(found, problems...)
		found = append(found, r.otherKind(p, join("services."+at, extension), own)...)
		out[svc.key] = p
	}
	return out, found
}

// inherited returns the x-brambled of a service, or of the nearest one it extends, and whose it is.
func (d *document) inherited(name string) (own *yaml.Node, at string) {
	at = name
	for range 20 { // a chain this long is a circle, of which compose-go speaks
		svc := d.services[at]
		if own := find(svc, extension); own != nil {
			return own, at
		}
		base := find(svc, "extends")
		if base != nil && base.Kind == yaml.MappingNode {
			base = find(base, "service")
		}
		if base == nil || base.Kind != yaml.ScalarNode {
			break
		}
		at = base.Value
	}
	return nil, name
}

// extension checks the keys under an x-brambled.
func (d *document) extension(n *yaml.Node, path string) Problems {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return Problems{d.problem(path, "this is no mapping", "write x-brambled: { nodes: all }")}
	}
	var found Problems
	for _, e := range entries(n) {
		if !slices.Contains(extensionKeys, e.key) {
			found = append(found, d.problem(join(path, e.key), fmt.Sprintf("unknown key `%s`", e.key), "x-brambled has "+strings.Join(extensionKeys, ", ")))
		}
	}
	return found
}

// misspelt finds keys that were meant to be x-brambled: Compose lets any key pass that begins with x-.
func (d *document) misspelt(n *yaml.Node, path string) Problems {
	var found Problems
	for _, e := range entries(n) {
		if strings.HasPrefix(e.key, "x-") && e.key != extension && nearest(e.key, []string{extension}) != "" {
			found = append(found, d.problem(join(path, e.key), fmt.Sprintf("unknown key `%s`", e.key), "did you mean x-brambled?"))
		}
	}
	return found
}

// placement decides for one service: its own x-brambled, else the file's, else Swarm.
func (r *render) placement(service, path string, top, own *yaml.Node) (placement, *Problem) {
	bad := func(path, text, hint string) (placement, *Problem) {
		p := r.d.problem(path, text, hint)
		p.Service = service
		return placement{}, &p
	}
	x, at := own, path
	if find(own, "nodes") == nil && !isTrue(find(own, "swarm")) {
		x, at = top, extension
	}
	for from, n := range map[string]*yaml.Node{path: find(own, "swarm"), extension: find(top, "swarm")} {
		if n != nil && n.Tag != "!!bool" {
			return bad(from+".swarm", fmt.Sprintf("swarm is %q", n.Value), "write true or false")
		}
	}
	nodes := find(x, "nodes")
	switch {
	case nodes != nil && isTrue(find(x, "swarm")):
		return bad(at, "nodes and swarm are both set", "a service runs in one of the two ways")
	case nodes != nil:
		return r.selector(nodes, at+".nodes")
	case isFalse(find(own, "swarm")) || find(own, "swarm") == nil && isFalse(find(top, "swarm")):
		return bad("services."+service, "swarm is false, and nothing says where it runs", "add nodes: all, or the names of nodes")
	case r.env.Static:
		return bad("services."+service, "this is a Swarm service, and the static tier is of this Pi alone", "set x-brambled: { nodes: all } to run it as containers, or put the file into the store")
	}
	return placement{swarm: true, why: "Swarm places it, once a leader can deploy it"}, nil
}

// prepull reads x-brambled.prepull of a service, else of the file.
func (r *render) prepull(path string, top, own *yaml.Node) (spec.Prepull, Problems) {
	var found Problems
	out := spec.PrepullRunning
	for _, x := range []struct {
		at string
		n  *yaml.Node
	}{{extension, find(top, "prepull")}, {path, find(own, "prepull")}} {
		if x.n == nil {
			continue
		}
		out = spec.Prepull(x.n.Value)
		if out != spec.PrepullRunning && out != spec.PrepullAll {
			found = append(found, r.d.problem(x.at+".prepull", fmt.Sprintf("prepull is %q", x.n.Value), "write running or all"))
		}
	}
	return out, found
}

// otherKind refuses the keys of a service's own x-brambled that mean nothing to its kind.
func (r *render) otherKind(p placement, path string, own *yaml.Node) Problems {
	switch {
	case p.swarm && find(own, "heal") != nil:
		return Problems{r.d.problem(path+".heal", "heal is about containers", "remove it: Swarm itself replaces a task that is unhealthy")}
	case !p.swarm && p.selector != "" && find(own, "prepull") != nil:
		return Problems{r.d.problem(path+".prepull", "prepull is about Swarm services", "remove it: a container's image is always pulled before it is replaced")}
	}
	return nil
}

func isFalse(n *yaml.Node) bool {
	return n != nil && n.Tag == "!!bool" && !isTrue(n)
}

func isTrue(n *yaml.Node) bool {
	var yes bool
	return n != nil && n.Tag == "!!bool" && n.Decode(&yes) == nil && yes
}

// selector reads `nodes`: all, a list of names, or "label=value". Variables are not read here: what selects the node must
// not depend on the node.
func (r *render) selector(n *yaml.Node, path string) (placement, *Problem) {
	fault := func(text string) (placement, *Problem) {
		p := r.d.problem(path, text, `write all, a list of node names, or a node label such as "role=edge"`)
		return placement{}, &p
	}
	if n.Kind == yaml.SequenceNode {
		var names []string
		for _, c := range n.Content {
			name := resolve(c).Value
			if name == "" || name == "all" || strings.ContainsAny(name, "$= ") {
				return fault(fmt.Sprintf("%q is no name of a node", name))
			}
			names = append(names, name)
		}
		if len(names) == 0 {
			return fault("the list of nodes is empty")
		}
		p := placement{selector: strings.Join(names, ", "), here: slices.Contains(names, r.env.Node)}
		p.single = !slices.ContainsFunc(names, func(name string) bool { return name != names[0] })
		return p.because("it runs on " + p.selector), nil
	}
	value := n.Value
	label, want, isLabel := strings.Cut(value, "=")
	switch {
	case n.Kind != yaml.ScalarNode || value == "":
		return fault("this selects no nodes")
	case value == "all":
		return placement{selector: "all", here: true}, nil
	case isLabel && label != "" && !strings.Contains(value, "$"):
		have, ok := r.env.Labels[label]
		p := placement{selector: value, here: ok && have == want}
		return p.because("this node has no label " + value), nil
	}
	return fault(fmt.Sprintf("%q selects no nodes", value))
}

func (p placement) because(why string) placement {
	if !p.here {
		p.why = why
	}
	return p
}
