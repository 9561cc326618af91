package docker

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/reconciler/spec"
)

const hello = "brambled/hello:1"

// TestSwarmColumn walks over the table of Compose keys: of each that is applied to Swarm services it renders the sample and
// reads the value at the place the table names. A key that nothing below it speaks for, and of which the table does not say where
// it shows, might be dropped.
func TestSwarmColumn(t *testing.T) {
	rows := compose.Rows()
	shown := 0
	for _, r := range rows {
		in, ok := r.InSwarm()
		switch {
		case r.Swarm != compose.Applied && ok:
			t.Errorf("%s is %s, and the table says where it shows", r.Path, r.Swarm)
		case r.Swarm != compose.Applied:
		case !ok && !below(rows, r.Path):
			t.Errorf("%s is applied, and nothing says where it shows", r.Path)
		case ok:
			shown++
			t.Run(r.Path, func(t *testing.T) { shows(t, r, in) })
		}
	}
	if shown < 100 {
		t.Errorf("%d rows were looked at", shown)
	}
}

// below reports whether a row has rows below it that show.
func below(rows []compose.Row, path string) bool {
	for _, r := range rows {
		if _, ok := r.InSwarm(); ok && (strings.HasPrefix(r.Path, path+".") || strings.HasPrefix(r.Path, path+"[]")) {
			return true
		}
	}
	return false
}

// shows compares what stands at the row's place with what it says, and with what stands there without the key: a value that is
// there anyway proves nothing.
func shows(t *testing.T, r compose.Row, in compose.InSwarm) {
	var want any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(in.Want, "IMAGE", hello)), &want); err != nil {
		t.Fatalf("Want: %v", err)
	}
	file := r.SwarmFile(hello)
	if got := inSwarm(t, file, in.Service); !contains(got, want) {
		t.Errorf("%s: %v, want %v\n%s", in.Service, got, want, file)
	}
	plain := "services:\n  app:\n    image: other:1\n"
	if strings.HasPrefix(in.Service, "object.") || in.Service == "Name" {
		return // without the key there is no object, and each service has a name
	}
	if got := inSwarm(t, plain, in.Service); contains(got, want) && in.Service != "network.driver" {
		t.Errorf("%s: %v stands there without the key", in.Service, got)
	}
}

// inSwarm renders a file and returns what stands at a place.
func inSwarm(t *testing.T, file, place string) any {
	t.Helper()
	loaded, err := compose.Load(compose.SampleStack, "f", []byte(file), compose.SampleEnv())
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	app, ok := loaded.Swarm.Service("app")
	if !ok {
		t.Fatalf("app is no Swarm service:\n%s", file)
	}
	of, path, _ := strings.Cut(place, ".")
	switch of {
	case "spec":
		return at(t, app, path)
	case "network":
		return at(t, loaded.Swarm.Networks[0], path)
	case "object":
		if path == "content" {
			return string(loaded.Swarm.Objects[0].Content)
		}
		return at(t, loaded.Swarm.Objects[0], path)
	}
	out, err := serviceSpec("test", compose.SampleStack, app, app.Image, func(_ spec.ObjectKind, name string) (string, bool) { return "id of " + name, true })
	if err != nil {
		t.Fatal(err)
	}
	return at(t, out, place)
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
			cur = c[strings.ReplaceAll(key, "~", ".")]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(c) {
				return nil
			}
			cur = c[i]
		default:
			return nil
		}
	}
	return cur
}

// contains reports whether a value has at least what is wanted.
func contains(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, v := range w {
			ok = ok && contains(g[k], v)
		}
		return ok
	case []any:
		g, ok := got.([]any)
		for _, v := range w {
			found := false
			for _, have := range g {
				found = found || contains(have, v)
			}
			ok = ok && found
		}
		return ok
	}
	return got == want
}
