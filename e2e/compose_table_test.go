//go:build e2e

package e2e

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// bench makes real objects of Compose files, without a daemon around.
type bench struct {
	engine *harness.Engine
	api    string
	apply  func(plan.Action) error
}

const sampleImage = "brambled/hello:1"

// TestComposeTable makes a real container for each key that the table says is applied, from a file with just that key, and
// reads the value where the table says it shows. A key that is lost anywhere between the file and the engine fails here.
func TestComposeTable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.engine.Docker(t, "network", "create", "outside")
	b.engine.Docker(t, "volume", "create", "outside")
	seen := 0
	for _, row := range compose.Rows() {
		if row.Container != compose.Applied || row.Sample == "" || strings.HasPrefix(row.Inspect, "spec.") {
			continue // pkg/compose's own tests see to what only brambled shows
		}
		t.Run(row.Path, func(t *testing.T) {
			b.row(t, row)
			seen++
		})
	}
	if seen < 100 {
		t.Errorf("%d rows were seen; the table has lost its samples", seen)
	}
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{engine: harness.StartDockerd(t)}
	b.engine.LoadHello(t)
	e, err := docker.New(docker.Config{Host: b.engine.Host, StateDir: harness.Workspace(t, "state")}, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	info, err := e.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b.api = info.APIVersion
	b.apply = func(a plan.Action) error { return e.Apply(context.Background(), a) }
	return b
}

func (b *bench) row(t *testing.T, row compose.Row) {
	file := row.File(sampleImage)
	loaded, err := compose.Load(compose.SampleStack, row.Path, []byte(file), compose.SampleEnv())
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	err = b.create(t, loaded.Stack)
	var lacks *docker.UnsupportedError
	switch old := row.Engine != "" && olderAPI(b.api, row.Engine); {
	case old && errors.As(err, &lacks):
		t.Logf("this engine (API %s) is refused, as it should be: %v", b.api, err)
		return
	case old:
		t.Fatalf("the engine (API %s) knows nothing of the key, and it was not refused: %v", b.api, err)
	case err != nil && row.Kernel:
		t.Logf("this machine cannot do it, and says so: %v", err)
		return
	case err != nil:
		t.Fatalf("%v\n%s", err, file)
	}
	var want any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(row.Want, "IMAGE", sampleImage)), &want); err != nil {
		t.Fatal(err)
	}
	got := b.look(t, row, loaded.Stack)
	switch {
	case contains(got, want):
	case row.Kernel && blank(got):
		t.Logf("this machine's kernel has it not, and the engine dropped it with a warning")
	default:
		t.Errorf("%s is %s, want %s\n%s", row.Inspect, text(got), row.Want, file)
	}
}

// create makes the objects of a stack, and removes them at the end of the test.
func (b *bench) create(t *testing.T, s spec.Stack) error {
	t.Helper()
	for _, n := range s.Networks {
		if n.External {
			continue
		}
		if err := b.apply(plan.CreateNetwork{Owner: s.Owner, Stack: s.Name, Network: n}); err != nil {
			return err
		}
		t.Cleanup(func() { b.engine.Docker(t, "network", "rm", n.Name) })
	}
	for _, v := range s.Volumes {
		if v.External {
			continue
		}
		if err := b.apply(plan.CreateVolume{Owner: s.Owner, Stack: s.Name, Volume: v}); err != nil {
			return err
		}
		t.Cleanup(func() { b.engine.Docker(t, "volume", "rm", v.Name) })
	}
	for _, svc := range s.Services {
		a := plan.Create{Name: nameOf(s, svc), Owner: s.Owner, Stack: s.Name, Service: svc.Name, Replica: 1, Spec: svc.Container, DependsOn: svc.DependsOn}
		if err := b.apply(a); err != nil {
			return err
		}
		t.Cleanup(func() { b.engine.Docker(t, "rm", "-f", "-v", a.Name) })
	}
	return nil
}

func nameOf(s spec.Stack, svc spec.Service) string {
	return cmp.Or(svc.Container.Name, fmt.Sprintf("%s-%s-1", s.Name, svc.Name))
}

// look reads what stands at a row's place; of several places, the first where something does.
func (b *bench) look(t *testing.T, row compose.Row, s spec.Stack) any {
	t.Helper()
	app, ok := s.Service("app")
	if !ok {
		t.Fatal("there is no service app")
	}
	for place := range strings.SplitSeq(row.Inspect, " | ") {
		var got any
		switch kind, rest, _ := strings.Cut(place, "."); {
		case strings.HasPrefix(place, "file:"):
			got = b.file(t, nameOf(s, app), strings.TrimPrefix(place, "file:"))
		case kind == "network":
			got = follow(b.inspect(t, "network", s.Networks[0].Name), rest)
		case kind == "volume":
			got = follow(b.inspect(t, "volume", s.Volumes[0].Name), rest)
		default:
			got = follow(b.inspect(t, "container", nameOf(s, app)), place)
		}
		if !blank(got) {
			return got
		}
	}
	return nil
}

func (b *bench) inspect(t *testing.T, kind, name string) any {
	t.Helper()
	var list []any
	if err := json.Unmarshal([]byte(b.engine.Docker(t, kind, "inspect", name)), &list); err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// file reads "PATH:FIELD" of a container: the content, or what the file's mode and owners are.
func (b *bench) file(t *testing.T, name, place string) any {
	t.Helper()
	path, field, _ := strings.Cut(place, ":")
	archive := tar.NewReader(strings.NewReader(b.engine.Docker(t, "cp", name+":"+path, "-")))
	head, err := archive.Next()
	if err != nil {
		t.Fatal(err)
	}
	switch field {
	case "mode":
		return strconv.FormatInt(head.Mode&0o777, 8)
	case "uid":
		return float64(head.Uid)
	case "gid":
		return float64(head.Gid)
	}
	content, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// follow goes down a path of names and indexes; ~ stands for a dot in a name.
func follow(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		key = strings.ReplaceAll(key, "~", ".")
		switch c := v.(type) {
		case map[string]any:
			v = c[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(c) {
				return nil
			}
			v = c[i]
		default:
			return nil
		}
	}
	return v
}

// contains reports whether all that is wanted is there; engines and images add more.
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

func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(out)
}

// olderAPI compares versions such as 1.41.
func olderAPI(a, b string) bool {
	_, minorA, _ := strings.Cut(a, ".")
	_, minorB, _ := strings.Cut(b, ".")
	x, errX := strconv.Atoi(minorA)
	y, errY := strconv.Atoi(minorB)
	return errX == nil && errY == nil && x < y
}
