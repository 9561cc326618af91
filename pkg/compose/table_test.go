package compose

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/google/go-cmp/cmp"
)

// schemaPaths are the keys of the Compose Specification in the table's spelling, each with whether the schema has it.
func schemaPaths() map[string]bool {
	out := map[string]bool{}
	elements := map[string]string{"services.*": "service", "networks.*": "network", "volumes.*": "volume", "configs.*": "config", "secrets.*": "secret"}
	for _, p := range schema.AttributePaths() {
		path := strings.ReplaceAll(string(p), ".[]", "[]")
		for prefix, kind := range elements {
			if rest, ok := strings.CutPrefix(path, prefix); ok {
				path = kind + rest
			}
		}
		out[path] = true
	}
	return out
}

// TestTableHasEveryKey locks the promise that no key is silently ignored: a key that a later compose-go brings is in no row,
// and fails here until somebody decides what becomes of it.
func TestTableHasEveryKey(t *testing.T) {
	rows := index(append(Rows(), topRows...))
	for path := range schemaPaths() {
		if !covered(rows, path) {
			t.Errorf("the table has no row for %s", path)
		}
	}
}

// covered reports whether a key has a row of its own or is below one that speaks for all below it. A name that the user
// chooses ("networks.*") needs none, nor has a whole element.
func covered(rows map[string]Row, path string) bool {
	if _, ok := rows[path]; ok || strings.HasSuffix(path, ".*") || !strings.ContainsAny(path, ".") && rows[path+"s"].Path != "" {
		return true
	}
	for p := path; p != ""; {
		if rows[p].Deep {
			return true
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return false
}

// TestTableHasNoOtherKey finds rows of keys that the schema does not have: misspelt, or gone.
func TestTableHasNoOtherKey(t *testing.T) {
	paths := schemaPaths()
	for _, r := range append(Rows(), topRows...) {
		if !paths[r.Path] {
			t.Errorf("the schema has no key %s", r.Path)
		}
	}
}

// TestTableRowsAreWhole locks what a row must say to be of use.
func TestTableRowsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(Rows(), topRows...) {
		if seen[r.Path] {
			t.Errorf("%s has two rows", r.Path)
		}
		seen[r.Path] = true
		for _, s := range []Support{r.Container, r.Swarm} {
			if s == "" {
				t.Errorf("%s: no support said", r.Path)
			}
			if s != Applied && r.Hint == "" {
				t.Errorf("%s: %s, and no hint says what to do", r.Path, s)
			}
		}
	}
}

// TestAppliedRowsShow locks that every key said to be applied says where it can be seen, itself or by the keys below it, and
// that the file which shows it is a good one. e2e/compose_table_test.go makes the containers.
func TestAppliedRowsShow(t *testing.T) {
	rows := Rows()
	for _, r := range rows {
		below := slices.ContainsFunc(rows, func(o Row) bool {
			return strings.HasPrefix(o.Path, r.Path+".") || strings.HasPrefix(o.Path, r.Path+"[]")
		})
		switch {
		case r.Container != Applied:
			continue
		case r.Sample == "" && !below:
			t.Errorf("%s is applied, and nothing says where it shows", r.Path)
			continue
		case r.Sample == "":
			continue
		}
		loaded, err := Load(SampleStack, r.Path, []byte(r.File("brambled/hello:1")), SampleEnv())
		if err != nil {
			t.Errorf("%s: %v\n%s", r.Path, err, r.File("brambled/hello:1"))
			continue
		}
		var want any
		if err := json.Unmarshal([]byte(r.Want), &want); err != nil {
			t.Errorf("%s: Want: %v", r.Path, err)
		}
		path, ok := strings.CutPrefix(r.Inspect, "spec.")
		if svc, _ := loaded.Stack.Service("app"); ok {
			if diff := cmp.Diff(want, at(t, svc, path)); diff != "" {
				t.Errorf("%s at %s (-want +got):\n%s", r.Path, r.Inspect, diff)
			}
		}
	}
}

// at follows a path of field names and indexes through a value's JSON form.
func at(t *testing.T, v any, path string) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var cur any
	if err := json.Unmarshal(text, &cur); err != nil {
		t.Fatal(err)
	}
	for key := range strings.SplitSeq(path, ".") {
		switch c := cur.(type) {
		case map[string]any:
			cur = c[key]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i < len(c) {
				cur = c[i]
			}
		default:
			return nil
		}
	}
	return cur
}

// TestRefusedRowsRefuse makes a file with each key that the table refuses, for both kinds of services, and wants the problem to
// name the line, the service, the key and the way out.
func TestRefusedRowsRefuse(t *testing.T) {
	for _, r := range append(Rows(), topRows...) {
		if r.Container == Refused {
			isRefused(t, r, "x-brambled: {nodes: all}\n", false)
		}
		if r.Swarm == Refused {
			isRefused(t, r, "x-brambled: {swarm: true}\n", true)
		}
	}
}

// isRefused checks one row; above is true where the refusal of a key above this one will do.
func isRefused(t *testing.T, r Row, head string, above bool) {
	t.Helper()
	file, key := refusedFile(r.Path)
	file = head + file
	_, err := Load("web", "f", []byte(file), Env{Node: "pi1"})
	ps, _ := IsProblems(err)
	i := slices.IndexFunc(ps, func(p Problem) bool {
		return p.Key == key && p.Hint == r.Hint || above && strings.HasPrefix(p.Text, "`") && (strings.HasPrefix(key, p.Key+".") || strings.HasPrefix(key, p.Key+"["))
	})
	if i < 0 {
		t.Errorf("%s is not refused:\n%s\n%v", r.Path, file, err)
		return
	}
	wantService := ""
	if strings.HasPrefix(key, "services.") {
		wantService = "app"
	}
	if ps[i].Line == 0 || ps[i].Service != wantService {
		t.Errorf("%s: line %d, service %q", r.Path, ps[i].Line, ps[i].Service)
	}
}

// refusedFile nests a key into a file, and returns the path of the key there.
func refusedFile(path string) (file, key string) {
	kind, rest, _ := strings.Cut(path, ".")
	switch kind {
	case "service":
		path = "services.app." + rest
	case "network", "volume", "config", "secret":
		path = kind + "s.thing." + rest
	}
	parts := strings.Split(path, ".")
	var b strings.Builder
	if kind != "service" {
		b.WriteString("services: {app: {image: x}}\n")
	}
	indent := ""
	for i, p := range parts {
		name, list := strings.CutSuffix(p, "[]")
		if name == "*" {
			name = "any"
		}
		b.WriteString(indent + name + ":")
		key = join(key, name)
		indent += "  "
		switch {
		case i == len(parts)-1:
			b.WriteString(" x\n")
		case list:
			b.WriteString("\n" + indent + "-\n")
			indent += "  "
			key += "[0]"
		default:
			b.WriteString("\n")
		}
	}
	return b.String(), key
}

// TestUnknownKeysAreRefused finds keys that a file may have and that no row stands for, which nothing would refuse.
func TestUnknownKeysAreRefused(t *testing.T) {
	for file, want := range map[string]string{
		"x-brambled: {nodes: all}\nservices: {app: {image: x, imagee: y}}":                    "did you mean image?",
		"x-brambled: {nodes: all}\nservices: {app: {image: x}}\nservice: {}":                  "did you mean services?",
		"x-brambled: {nodes: all}\nservices: {app: {image: x, deploy: {replica: 2}}}":         "did you mean replicas?",
		"x-brambled: {nodes: all}\nservices: {app: {image: x, ports: [{targt: 80}]}}":         "did you mean target?",
		"x-brambled: {nodes: all}\nservices: {app: {image: x}}\nnetworks: {n: {drivr: x}}":    "did you mean driver?",
		"x-brambled: {nodes: all, wait: 1}\nservices: {app: {image: x}}":                      "x-brambled has nodes, swarm, heal",
		"x-bramble: {nodes: all}\nservices: {app: {image: x}}":                                "did you mean x-brambled?",
		"x-brambled: {nodes: all}\nservices: {app: {image: x}}\nvolumes: {v: {x-brambled: }}": "put it at the top",
	} {
		_, err := Load("web", "f", []byte(file), Env{Node: "pi1"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v, want %q", file, err, want)
		}
	}
}
