package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/consul"
)

func file(name string, index uint64, text string) stackFile {
	return stackFile{Name: name, Source: "brambled/stacks/" + name, File: []byte(text), Index: index, Env: compose.Env{Node: "pi1", Owner: "c1", Prefix: "brambled/"}}
}

func publishing(port string) string {
	return "x-brambled: { nodes: all }\nservices:\n  app:\n    image: hello:1\n    ports: [\"" + port + ":80\"]\n"
}

// A file that can no longer be read is held as it runs; one that never could is left alone as a whole.
func TestUnreadableStackIsHeld(t *testing.T) {
	a := newAssembler()
	first := a.assemble("pi1", []string{"c1"}, []stackFile{file("web", 1, small)})
	if len(first.Errors) != 0 || len(first.Desired.Stacks) != 1 {
		t.Fatalf("a good file: %+v", first)
	}
	bad := a.assemble("pi1", []string{"c1"}, []stackFile{file("web", 2, "services: ["), file("new", 3, "services: [")})
	web, _ := bad.Desired.Stack("web")
	if web.Held == "" || web.Opaque || len(web.Services) != 1 {
		t.Errorf("the stack that ran: %+v", web)
	}
	if fresh, _ := bad.Desired.Stack("new"); !fresh.Opaque {
		t.Errorf("the stack nobody ever read: %+v", fresh)
	}
	if bad.Index["web"] != 2 || bad.Errors["web"] == nil {
		t.Errorf("index %d, error %v: the newest file was taken up, and refused", bad.Index["web"], bad.Errors["web"])
	}
	if gone := a.assemble("pi1", []string{"c1"}, nil); len(gone.Desired.Stacks) != 0 {
		t.Errorf("a deleted key is a command: %+v", gone.Desired.Stacks)
	}
}

// Of two stacks that want one thing, the one that changed last is held.
func TestClashesBetweenStacks(t *testing.T) {
	named := "x-brambled: { nodes: all }\nservices:\n  app:\n    image: hello:1\n    container_name: only\n"
	network := "x-brambled: { nodes: all }\nservices:\n  app:\n    image: hello:1\n    networks: [n]\nnetworks: { n: { name: shared } }\n"
	for name, c := range map[string]struct{ a, b, want string }{
		"port":              {publishing("8080"), publishing("8080"), "host port"},
		"port on addresses": {publishing("8080"), publishing("127.0.0.1:8080"), "host port"},
		"container name":    {named, named, "container name only"},
		"network":           {network, network, "network shared"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newAssembler().assemble("pi1", nil, []stackFile{file("aaa", 9, c.a), file("zzz", 5, c.b)})
			if got.Errors["zzz"] != nil || got.Errors["aaa"] == nil || !strings.Contains(got.Errors["aaa"].Error(), c.want) {
				t.Errorf("errors are %v, want one of aaa that names %q", got.Errors, c.want)
			}
		})
	}
	if got := newAssembler().assemble("pi1", nil, []stackFile{file("a", 1, publishing("127.0.0.1:8080")), file("b", 2, publishing("127.0.0.2:8080"))}); len(got.Errors) != 0 {
		t.Errorf("two addresses are no clash: %v", got.Errors)
	}
}

func TestStaticTierComesFirst(t *testing.T) {
	static := file("web", 0, small)
	static.Source, static.Env.Owner = "/etc/brambled/manifests/web.yaml", "static:/etc/brambled/manifests"
	got := newAssembler().assemble("pi1", []string{static.Env.Owner, "c1"}, []stackFile{file("web", 5, small), static})
	if st, _ := got.Desired.Stack("web"); st.Owner != static.Env.Owner {
		t.Errorf("the stack of the static tier belongs to %q", st.Owner)
	}
	if err := got.Errors["web"]; err == nil || !strings.Contains(err.Error(), "rename one of them") {
		t.Errorf("error %v", err)
	}
}

func TestNodeVariablesStandOverAll(t *testing.T) {
	snap := &consul.Snapshot{Cluster: "c1", Vars: []consul.Entry{
		{Key: "TAG", Value: []byte("1")}, {Key: "pi1/TAG", Value: []byte("2")}, {Key: "pi2/TAG", Value: []byte("3")}, {Key: "pi2/OTHER", Value: []byte("4")},
	}, Secrets: []consul.Entry{{Key: "key", Value: []byte("hush")}}}
	env := storeEnv("pi1", compose.Env{Prefix: "brambled/"}, snap)
	if env.Vars["TAG"] != "2" || !env.PerNode["TAG"] || !env.PerNode["OTHER"] || env.Vars["OTHER"] != "" || string(env.Secrets["key"]) != "hush" || env.Owner != "c1" {
		t.Errorf("environment %+v", env)
	}
}

func TestReadTier(t *testing.T) {
	dir := t.TempDir()
	manifests := filepath.Join(dir, "manifests")
	if got, err := readTier(manifests); err != nil || len(got.Files) != 0 {
		t.Errorf("no folder: %+v, %v", got, err)
	}
	before := stamp(manifests)
	for path, text := range map[string]string{"manifests/a.yaml": small, "manifests/.b.yaml": "hidden", "manifests/c.txt": "text", "vars.yaml": "A: b\nN: 3\n", "secrets/key": "hush"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readTier(manifests)
	if err != nil || len(got.Files) != 1 || got.Files[0].Name != "a" || got.Vars["A"] != "b" || got.Vars["N"] != "3" || string(got.Secrets["key"]) != "hush" {
		t.Errorf("tier %+v, %v", got, err)
	}
	if stamp(manifests) == before {
		t.Error("the stamp does not tell that files came")
	}
	if err := os.WriteFile(filepath.Join(dir, "vars.yaml"), []byte("- a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readTier(manifests); err == nil || !strings.Contains(err.Error(), "vars.yaml") {
		t.Errorf("bad vars: %v", err)
	}
}

func TestStackNames(t *testing.T) {
	for path, want := range map[string]string{"web.yaml": "web", "/a/Shop/compose.yaml": "shop", "/a/b/docker-compose.yml": "b", "-": ""} {
		if got := stackName(path, []byte("services: {}")); got != want {
			t.Errorf("stackName(%s) = %q, want %q", path, got, want)
		}
	}
	if got := stackName("-", []byte("name: given\n")); got != "given" {
		t.Errorf("the file's own name: %q", got)
	}
}
