package app

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// stackFile is one Compose file, from the store or from the static tier.
type stackFile struct {
	Name   string
	Source string // as errors name it: "brambled/stacks/web", "/etc/brambled/manifests/consul.yaml"
	File   []byte
	Index  uint64 // ModifyIndex of its key; 0 in the static tier
	Env    compose.Env
}

// assembled is the desired state of this node with what was found on the way.
type assembled struct {
	Desired spec.Desired
	// Cluster is what Swarm should run, of the same files; without owners while they are only remembered.
	Cluster cluster
	// Errors are the stacks whose newest file is not enforced, by stack name.
	Errors map[string]error
	// Loaded is the version that is enforced, by stack name.
	Loaded map[string]compose.Loaded
	Index  map[string]uint64
	Source map[string]string
	// Holds are those of the desired state as a whole, and Kept the stacks they keep as they were, with the id of the hold.
	Holds []status.Hold
	Kept  map[string]string
}

// assembler turns files into the desired state. It remembers the last version of each stack that could be read, so that
// one that no longer can is held as it runs (rule 2), and does not parse again what did not change.
type assembler struct {
	good  map[string]good // by owner and name
	cache map[string]cached
}

// good is a version of a stack that could be read.
type good struct {
	file   stackFile
	loaded compose.Loaded
}

type cached struct {
	key    [sha256.Size]byte
	loaded compose.Loaded
	err    error
}

func newAssembler() *assembler {
	return &assembler{good: map[string]good{}, cache: map[string]cached{}}
}

// assemble builds the desired state. The static tier comes first, then the stacks in the order of their last change: of two
// that want one port, name or network, the one that came with the clash is the one that is held.
func (a *assembler) assemble(nodeName string, owners []string, files []stackFile) assembled {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(x, y stackFile) int { return cmp.Or(cmp.Compare(x.Index, y.Index), cmp.Compare(x.Name, y.Name)) })
	out := assembled{
		Desired: spec.Desired{Node: nodeName, Owners: owners},
		Errors:  map[string]error{}, Loaded: map[string]compose.Loaded{}, Index: map[string]uint64{}, Source: map[string]string{},
	}
	used := newClaims()
	present := map[string]bool{}
	for _, f := range files {
		present[key(f)] = true
		if other, twice := out.Source[f.Name]; twice {
			out.Errors[f.Name] = fmt.Errorf("%s: %s has a stack of this name already; rename one of them", f.Source, other)
			continue
		}
		out.Index[f.Name], out.Source[f.Name] = f.Index, f.Source
		st := a.stack(f, used, &out)
		out.Desired.Stacks = append(out.Desired.Stacks, st)
		if !isStatic(st.Owner) {
			out.Cluster.add(st, out.Loaded[f.Name].Swarm)
		}
	}
	out.Cluster.sort()
	slices.SortFunc(out.Desired.Stacks, func(x, y spec.Stack) int { return cmp.Compare(x.Name, y.Name) })
	maps.DeleteFunc(a.good, func(k string, _ good) bool { return !present[k] })
	maps.DeleteFunc(a.cache, func(k string, _ cached) bool { return !present[k] })
	return out
}

// stack returns the version of a stack that is enforced: the newest, else the last good one, else none of it.
func (a *assembler) stack(f stackFile, used *claims, out *assembled) spec.Stack {
	loaded, err := a.load(f)
	if err == nil {
		if err = used.take(f.Source, loaded.Stack); err == nil {
			a.good[key(f)] = good{f, loaded}
			out.Loaded[f.Name] = loaded
			return loaded.Stack
		}
	}
	out.Errors[f.Name] = err
	if last, ok := a.good[key(f)]; ok && used.take(f.Source, last.loaded.Stack) == nil {
		out.Loaded[f.Name] = last.loaded
		st := last.loaded.Stack
		st.Held = err.Error()
		return st
	}
	return spec.Stack{Name: f.Name, Owner: f.Env.Owner, Held: err.Error(), Opaque: true}
}

func (a *assembler) load(f stackFile) (compose.Loaded, error) {
	sum := fingerprint(f)
	if c, ok := a.cache[key(f)]; ok && c.key == sum {
		return c.loaded, c.err
	}
	loaded, err := compose.Load(f.Name, f.Source, f.File, f.Env)
	a.cache[key(f)] = cached{sum, loaded, err}
	return loaded, err
}

// cluster is the part of the desired state that Swarm runs, as it is put together.
type cluster struct{ spec.Cluster }

// add takes in the Swarm's part of a stack, which is held as the rest of it is.
func (c *cluster) add(st spec.Stack, inSwarm spec.SwarmStack) {
	inSwarm.Name, inSwarm.Owner, inSwarm.Held, inSwarm.Opaque = st.Name, st.Owner, st.Held, st.Opaque
	c.Stacks = append(c.Stacks, inSwarm)
}

func (c *cluster) sort() {
	slices.SortFunc(c.Stacks, func(x, y spec.SwarmStack) int { return cmp.Compare(x.Name, y.Name) })
}

func (c *cluster) hold(stack, why string) {
	for i := range c.Stacks {
		if c.Stacks[i].Name == stack {
			c.Stacks[i].Held = why
		}
	}
}

func key(f stackFile) string { return f.Env.Owner + "/" + f.Name }

// fingerprint covers all that loading a file can depend on.
func fingerprint(f stackFile) [sha256.Size]byte {
	h := sha256.New()
	write := func(parts ...string) {
		for _, p := range parts {
			var n [8]byte
			binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
			h.Write(n[:])
			h.Write([]byte(p))
		}
	}
	e := f.Env
	write(f.Name, f.Source, string(f.File), e.Node, e.NodeIP, e.Cluster, e.Owner)
	for _, k := range slices.Sorted(maps.Keys(e.Labels)) {
		write("label", k, e.Labels[k])
	}
	for _, k := range slices.Sorted(maps.Keys(e.Vars)) {
		write("var", k, e.Vars[k], fmt.Sprint(e.PerNode[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(e.Secrets)) {
		write("secret", k, string(e.Secrets[k]))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// claims are what only one stack on a node can have: host ports, container names, network definitions.
type claims struct {
	ports map[string]string // port → "web/app"
	names map[string]string // Docker name with its kind → "web/app"
}

func newClaims() *claims { return &claims{ports: map[string]string{}, names: map[string]string{}} }

// take claims all of a stack's exclusive resources, or none and says which is taken by whom.
func (c *claims) take(source string, st spec.Stack) error {
	ports, names := map[string]string{}, map[string]string{}
	for _, n := range st.Networks {
		if n.External {
			continue
		}
		if by, taken := c.names["network "+n.Name]; taken {
			return fmt.Errorf("%s: networks.%s: the network %s is defined by stack %s already; declare it external in one of them", source, n.Key, n.Name, by)
		}
		names["network "+n.Name] = st.Name
	}
	for _, svc := range st.Services {
		who := st.Name + "/" + svc.Name
		for _, p := range svc.Container.HostPorts {
			for taken, by := range c.ports {
				if compose.PortsClash(p, taken) {
					return fmt.Errorf("%s: services.%s.ports: host port %s is taken by service %s; publish another one", source, svc.Name, p, by)
				}
			}
			ports[p] = who
		}
		for n := 1; n <= svc.Replicas; n++ {
			name := node.ContainerName(st.Name, svc, n)
			if by, taken := c.names["container "+name]; taken {
				return fmt.Errorf("%s: services.%s: the container name %s is taken by service %s; rename one of them", source, svc.Name, name, by)
			}
			names["container "+name] = who
		}
	}
	maps.Copy(c.ports, ports)
	maps.Copy(c.names, names)
	return nil
}
