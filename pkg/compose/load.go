// Package compose reads Compose files and renders them into the neutral terms of reconciler/spec. It is the only importer
// of compose-go.
//
// Loading touches neither the disk nor the daemon's environment: all a file may refer to is in [Env]. No key is silently
// ignored: the table in this package says of each whether it is applied or refused, and with which hint.
package compose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"github.com/brambled/brambled/reconciler/spec"
)

// Env is all that a file may refer to.
type Env struct {
	Node    string
	NodeIP  string
	Cluster string
	Labels  map[string]string // of this node, for selectors such as "role=edge"
	// Owner is the value of the ownership label of all objects of the stack.
	Owner string
	// Prefix is the KV prefix that hints name ("brambled/").
	Prefix string
	// Vars are the values for ${NAME}, those of this node over those of all.
	Vars map[string]string
	// PerNode names the variables of which some node has a value of its own.
	PerNode map[string]bool
	// Secrets are the contents of external secrets.
	Secrets map[string][]byte
	// Static is true of the static tier, which is of one Pi: it has no Swarm services.
	Static bool

	nowhere bool // the node does not exist, see common
}

// builtin are the variables of every file. They are fixed for as long as a node is what it is, and so take no part in the
// revision: a stack has one revision on all nodes, unless their variables differ.
func (e Env) builtin(stack string) map[string]string {
	return map[string]string{
		"BRAMBLED_NODE":        e.Node,
		"BRAMBLED_NODE_IP":     e.NodeIP,
		"BRAMBLED_CLUSTER":     e.Cluster,
		"COMPOSE_PROJECT_NAME": stack,
	}
}

// Loaded is a file as it applies to one node, and to the cluster.
type Loaded struct {
	Stack    spec.Stack
	Swarm    spec.SwarmStack // the same on every node
	Services []Service       // every service of the file, sorted by name
}

// Service says where a service of a file runs.
type Service struct {
	Name  string
	Nodes string // the selector as written: "all", "pi1, pi2", "role=edge"; "" in Swarm
	Swarm bool   `json:",omitempty"` // Swarm places it
	Here  bool
	Why   string // why it is not here, "" when it is
}

// quiet keeps compose-go's own logger from writing to the daemon's output: what it warns of is in the table.
var quiet = sync.OnceFunc(func() { logrus.SetOutput(io.Discard) })

// stackName is what Compose allows as a project name.
var stackName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// Load reads one file as the stack of this name. The error is of type [Problems]: everything that is wrong, by line.
func Load(name, source string, file []byte, env Env) (out Loaded, err error) {
	r, out, err := load(name, source, file, env)
	if err == nil {
		r.common(&out, source, file)
	}
	return out, err
}

func load(name, source string, file []byte, env Env) (r *render, out Loaded, err error) {
	quiet()
	defer func() {
		if bad := recover(); bad != nil {
			err = Problems{{Source: source, Text: fmt.Sprintf("the file cannot be read: %v", bad), Hint: "please report this file as a bug"}}
		}
	}()
	if !stackName.MatchString(name) || len(name) > 63 {
		return nil, Loaded{}, Problems{{Source: source, Text: fmt.Sprintf("%q cannot be the name of a stack", name), Hint: "use lower-case letters, digits, - and _, beginning with a letter or digit, 63 at most"}}
	}
	d, problem := parse(source, file)
	if problem != nil {
		return nil, Loaded{}, Problems{*problem}
	}
	r = &render{
		d: d, env: env, name: name, used: map[string]string{}, builtin: env.builtin(name), objects: map[string]spec.SwarmObject{},
		rollouts: map[string]string{},
	}
	if ps := r.precheck(); len(ps) > 0 {
		return nil, Loaded{}, ps.sorted()
	}
	project, err := r.project(types.ConfigFile{Filename: source, Content: file})
	if err != nil {
		return nil, Loaded{}, r.explain(err)
	}
	out = r.stack(project)
	if err := r.found.err(); err != nil {
		return nil, Loaded{}, err
	}
	out.Stack.Revision = r.revision(file, func(string) bool { return true })
	out.Swarm.Revision = r.revision(file, func(used string) bool { return !r.differs(strings.TrimPrefix(used, "var ")) })
	return r, out, nil
}

// render turns one file into a stack and gathers what is wrong with it.
type render struct {
	d     *document
	env   Env
	name  string
	found Problems
	p     *types.Project
	kinds map[string]placement // by service
	used  map[string]string    // variables and secrets that were read, for the revision

	ofNode   bool              // a variable was read that differs from node to node
	rollouts map[string]string // by service

	builtin map[string]string

	uses    map[string]users            // which kinds of services use "networks.KEY", "volumes.KEY", …
	shared  map[string]bool             // networks, by key, that both kinds use
	objects map[string]spec.SwarmObject // by kind and key
}

// lookup returns a variable and notes that it was read. The names of the built-in ones cannot be given another value.
func (r *render) lookup(name string) (string, bool) {
	r.ofNode = r.ofNode || r.differs(name)
	if v, ok := r.builtin[name]; ok {
		return v, true
	}
	v, ok := r.env.Vars[name]
	if ok {
		r.used["var "+name] = v
	}
	return v, ok
}

func (r *render) fault(path, text, hint string) {
	r.found = append(r.found, r.d.problem(path, text, hint))
}

// precheck finds what can be found in the text alone: refused and unknown keys, undefined variables, bad selectors.
func (r *render) precheck() Problems {
	kinds, found := r.placements()
	r.kinds = kinds
	swarm := map[string]bool{}
	for name, k := range kinds {
		swarm[name] = k.swarm
	}
	r.uses = r.d.users(swarm)
	found = append(found, r.d.refuse(swarm, r.uses)...)
	if n := find(r.d.root, "name"); n != nil && n.Value != r.name {
		found = append(found, r.d.problem("name", fmt.Sprintf("the file's name is %q and the stack's is %q", n.Value, r.name), "remove the line, or put the file under "+r.env.Prefix+"stacks/"+n.Value))
	}
	if find(r.d.root, "services") == nil {
		found = append(found, r.d.problem("services", "the file has no services", "to remove a stack, delete its key"))
	}
	return append(append(found, r.differentProfiles()...), r.undefined()...)
}

// differentProfiles refuses Swarm services of profiles that are active on some nodes only.
func (r *render) differentProfiles() Problems {
	var found Problems
	for _, svc := range entries(find(r.d.root, "services")) {
		if r.kinds[svc.key].swarm && find(svc.value, "profiles") != nil && r.differs("COMPOSE_PROFILES") {
			found = append(found, r.ofOneNode("services."+svc.key+".profiles", "COMPOSE_PROFILES"))
		}
	}
	return found
}

// undefined finds variables without a value.
func (r *render) undefined() Problems {
	found := r.passedOn()
	inSwarm := r.inSwarm()
	r.d.scalars(r.d.root, "", func(path, value string, line int) {
		if tangled(value) {
			p := r.d.problem(path, "too many variables in one value", "split it, or put the text into the image")
			p.Line = line
			found = append(found, p)
			return
		}
		variables(value, r.lookup, func(ref varRef) {
			_, there := r.lookup(ref.name)
			if inSwarm(path) && r.differs(ref.name) {
				p := r.ofOneNode(path, ref.name)
				p.Line = line
				found = append(found, p)
			}
			if there && !ref.refused || ref.fallback {
				return
			}
			p := r.noValue(path, ref.name)
			switch {
			case ref.message != "":
				p.Text += ": " + ref.message
			case ref.refused:
			default:
				p.Hint += fmt.Sprintf(", or write ${%s:-default}; a literal dollar is $$", ref.name)
			}
			p.Line = line
			found = append(found, p)
		})
	})
	return found
}

// noValue is the problem of a variable that is not there.
func (r *render) noValue(path, name string) Problem {
	return r.d.problem(path, fmt.Sprintf("the variable %s has no value", name), fmt.Sprintf("consul kv put %svars/%s VALUE", r.env.Prefix, name))
}

// passedOn reads the names in `environment` that stand without a value. Compose takes theirs from the shell; there is none
// here, so that they come from the variables.
func (r *render) passedOn() Problems {
	var found Problems
	inSwarm := r.inSwarm()
	check := func(path, name string) {
		if inSwarm(path) && r.differs(name) {
			found = append(found, r.ofOneNode(path, name))
		}
		if _, ok := r.lookup(name); !ok {
			found = append(found, r.noValue(path, name))
		}
	}
	for _, svc := range entries(find(r.d.root, "services")) {
		path := "services." + svc.key + ".environment"
		n := find(svc.value, "environment")
		for _, e := range entries(n) {
			if v := resolve(e.value); v.Tag == "!!null" {
				check(join(path, e.key), e.key)
			}
		}
		for i, item := range items(n) {
			if name := resolve(item).Value; name != "" && !strings.ContainsAny(name, "=$") {
				check(fmt.Sprintf("%s[%d]", path, i), name)
			}
		}
	}
	return found
}

// project has compose-go parse, interpolate, merge and normalise the file, from memory alone. What compose-go calls its
// consistency check is left to this package: it ends at the first problem, in an order that is another one each time.
func (r *render) project(file types.ConfigFile) (p *types.Project, err error) {
	defer func() {
		if bad := recover(); bad != nil { // a missing value where compose-go counts on one
			err = fmt.Errorf("the value is missing, or of a kind that Compose cannot read here (%v)", bad)
		}
	}()
	vars := types.Mapping{}
	maps.Copy(vars, r.env.Vars)
	maps.Copy(vars, r.builtin)
	details := types.ConfigDetails{WorkingDir: "/", ConfigFiles: []types.ConfigFile{file}, Environment: vars}
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName(r.name, true)
		o.ResolvePaths = false
		o.SkipInclude = true
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.SkipConsistencyCheck = true
		o.ResourceLoaders = []loader.ResourceLoader{noFiles{}}
		o.Profiles = r.profiles()
	})
}

// noFiles stands where compose-go would open files. The table refuses all keys that name one; this is the second lock.
type noFiles struct{}

func (noFiles) Accept(string) bool { return true }
func (noFiles) Dir(string) string  { return "/" }
func (noFiles) Load(_ context.Context, path string) (string, error) {
	return "", fmt.Errorf("%s is a file; %s", path, inlineHint)
}

// profiles returns the active profiles; the KV variable takes the place of Compose's own. A file without profiles does not
// read it.
func (r *render) profiles() []string {
	for _, svc := range entries(find(r.d.root, "services")) {
		if find(svc.value, "profiles") != nil {
			list, _ := r.lookup("COMPOSE_PROFILES")
			return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
		}
	}
	return nil
}

// revision is the hash of all that the stack is made from on this node, or of a part of it.
func (r *render) revision(file []byte, part func(used string) bool) string {
	h := sha256.New()
	h.Write(file)
	for _, k := range slices.Sorted(maps.Keys(r.used)) {
		if part(k) {
			fmt.Fprintf(h, "\x00%s\x00%s", k, r.used[k])
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// IsProblems reports whether an error is of a file's contents, and returns it.
func IsProblems(err error) (Problems, bool) {
	var ps Problems
	ok := errors.As(err, &ps)
	return ps, ok
}
