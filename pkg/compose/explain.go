package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// explainer finds out what compose-go objects to. Its own error is the first problem that it met, on a way through the file
// that is another one each time, and often without the place. So the parts of the file are loaded one by one.
type explainer struct {
	r     *render
	tries int
	found Problems
}

// maxTries bounds the work on a file that is wrong everywhere.
const maxTries = 1000

// explain turns compose-go's error into the problems of the file.
func (r *render) explain(err error) Problems {
	e := &explainer{r: r}
	for _, top := range entries(r.d.root) {
		switch top.key {
		case "services", "networks", "volumes", "configs", "secrets":
			e.descend([]string{top.key}, top.value)
		}
	}
	if len(e.found) == 0 {
		return r.told("", err).sorted()
	}
	return e.found.sorted()
}

// descend looks for the smallest part that fails on its own, and reports whether this one fails.
func (e *explainer) descend(path []string, n *yaml.Node) bool {
	if e.tries > maxTries || len(e.found) > maxProblems {
		return false
	}
	err := e.try(path, n)
	if err == nil {
		return false
	}
	part := false
	if v := resolve(n); v != nil && v.Kind == yaml.MappingNode {
		for _, c := range entries(v) {
			part = e.descend(append(slices.Clip(path), c.key), c.value) || part
		}
	}
	if !part {
		e.found = append(e.found, e.r.told(strings.Join(path, "."), err)...)
	}
	return true
}

// try loads a file of nothing but one part.
func (e *explainer) try(path []string, n *yaml.Node) error {
	e.tries++
	var value any
	if err := n.Decode(&value); err != nil {
		return err
	}
	services := map[string]any{}
	if path[0] == "services" {
		services = e.bases(path)
	}
	doc := map[string]any{"services": services}
	at := doc
	for _, k := range path[:len(path)-1] {
		next, ok := at[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[k] = next
		}
		at = next
	}
	at[path[len(path)-1]] = value
	_, err := e.r.project(types.ConfigFile{Filename: e.r.d.source, Config: doc})
	return err
}

// bases are the services that a service extends, reduced to what extending needs.
func (e *explainer) bases(path []string) map[string]any {
	out := map[string]any{}
	if len(path) < 2 {
		return out
	}
	for name := path[1]; ; {
		base := find(e.r.d.services[name], "extends")
		var v any
		if base == nil || base.Decode(&v) != nil {
			return out
		}
		if out[name] != nil {
			return out // a circle
		}
		out[name] = map[string]any{"extends": v}
		if base.Kind == yaml.MappingNode {
			base = find(base, "service")
		}
		if base == nil {
			return out
		}
		name = base.Value
		if e.r.d.services[name] != nil && find(e.r.d.services[name], "extends") == nil {
			out[name] = map[string]any{}
		}
	}
}

var (
	dottedPath = regexp.MustCompile(`^((?:services|networks|volumes|configs|secrets)(?:\.[A-Za-z0-9_\-\[\]]+)*)(?:: | )`)
	decodeLine = regexp.MustCompile(`^'[^']*' `)
	itemIndex  = regexp.MustCompile(`\.(\d+)\b`)
)

// noise is what compose-go says around what it has to say.
var noise = []string{"failed to cast to expected type: ", "decoding failed due to the following error(s):", ": invalid compose project"}

// told says in one problem a line what compose-go said of a part.
func (r *render) told(path string, err error) Problems {
	text := strings.TrimPrefix(err.Error(), "validating "+r.d.source+": ")
	for _, n := range noise {
		text = strings.ReplaceAll(text, n, "")
	}
	if strings.HasPrefix(text, "invalid interpolation format") {
		text = "${...} is not closed or not a variable"
		return Problems{r.d.problem(path, text, "write ${NAME}; a literal dollar is $$")}
	}
	var out Problems
	for line := range strings.SplitSeq(text, "\n") {
		line = decodeLine.ReplaceAllString(strings.TrimSpace(line), "")
		if strings.TrimSpace(line) == "" {
			continue
		}
		out = append(out, r.d.problem(r.place(path, &line), words(line), "see docs/compose.md"))
	}
	return out
}

// place takes the path off an error's text. It is the better one where it goes deeper: into a list.
func (r *render) place(path string, text *string) string {
	*text = strings.TrimPrefix(*text, "error while interpolating ")
	m := dottedPath.FindStringSubmatch(*text)
	if m == nil {
		return path
	}
	*text = strings.TrimPrefix(*text, m[0])
	deeper := itemIndex.ReplaceAllString(m[1], "[$1]")
	if strings.HasPrefix(deeper, path) && r.d.lines[deeper] > 0 {
		return deeper
	}
	return path
}

// words puts the schema's terms into those of a Compose file.
func words(s string) string {
	s = strings.ReplaceAll(s, "must be a array", "must be a list")
	s = strings.ReplaceAll(s, "must be a integer", "must be a number")
	s = strings.TrimPrefix(s, "time: ")
	if strings.Contains(s, "strconv.") {
		_, value, _ := strings.Cut(s, `parsing "`)
		value, _, _ = strings.Cut(value, `"`)
		return fmt.Sprintf("%q is no number", value)
	}
	if name, ok := strings.CutPrefix(s, "additional properties "); ok {
		return strings.TrimSuffix(name, " not allowed") + " cannot be a name: use letters, digits, . _ and -"
	}
	return s
}
