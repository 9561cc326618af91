package compose

import (
	"fmt"
	"maps"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/reconciler/spec"
)

const voterKey = "voter"

// voter reads x-brambled.voter of a service; nil where nothing is said. It is of a service: not all of a file are voters.
func (r *render) voter(p placement, path string, top, own *yaml.Node) (*bool, Problems) {
	n := find(own, voterKey)
	bad := func(path, text, hint string) (*bool, Problems) {
		return nil, Problems{r.d.problem(path+"."+voterKey, text, hint)}
	}
	switch {
	case find(top, voterKey) != nil:
		return bad(extension, voterKey+" is said of a service, not of a file", "write it under x-brambled of the service that votes in a quorum")
	case n == nil:
		return nil, nil
	case n.Tag != "!!bool":
		return bad(path, fmt.Sprintf("%s is %q", voterKey, n.Value), "write true or false")
	case p.swarm:
		return bad(path, voterKey+" is about containers: Swarm updates its services itself", "set x-brambled.nodes to run it as containers")
	}
	yes := isTrue(n)
	return &yes, nil
}

// rolled says what a rollout of the service is: a container service that may run on other nodes too is disrupted on so many of
// them at a time as its update policy says. The static tier's files are on other nodes as well. A job has nothing to lose.
func (r *render) rolled(s *spec.Service) {
	p := r.kinds[s.Name]
	if s.Restart.Job() || p.single && !r.env.Static {
		return
	}
	s.Rollout = s.Container.Hash
	r.rollouts[s.Name] = s.Rollout
	s.Voter = repository(s.Container.Image) == "consul"
	if p.voter != nil {
		s.Voter = *p.voter
	}
}

// repository is the last part of an image's name, without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ := strings.Cut(image, ":")
	return name
}

// common gives the services of a file in which something is each node's own the names of their rollouts that are the same on all
// nodes: the hashes they would have on a node that does not exist. A file that cannot be read for that node goes by its revision.
func (r *render) common(out *Loaded, source string, file []byte) {
	if !r.ofNode || r.env.nowhere {
		return
	}
	other, _, err := load(r.name, source, file, nowhere(r.env))
	for i := range out.Stack.Services {
		s := &out.Stack.Services[i]
		switch {
		case s.Rollout == "":
		case err == nil && other.rollouts[s.Name] != "":
			s.Rollout = other.rollouts[s.Name]
		default:
			s.Rollout = fmt.Sprintf("%d:%s", spec.Schema, out.Swarm.Revision)
		}
	}
}

// nowhere is the environment of a node that does not exist. What differs from node to node has values that suit most keys.
func nowhere(e Env) Env {
	e.nowhere, e.Node, e.NodeIP, e.Labels = true, "node", "192.0.2.1", nil
	vars := maps.Clone(e.Vars)
	for name := range e.PerNode {
		if vars == nil {
			vars = map[string]string{}
		}
		vars[name] = "1"
	}
	e.Vars = vars
	return e
}
