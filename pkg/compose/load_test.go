package compose

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/brambled/brambled/reconciler/spec"
)

var update = flag.Bool("update", false, "write what is expected from what is")

// TestLoad runs testdata/*.txtar. Each opens with the hazard that it locks. compose.yaml is the file; vars/NAME and
// secrets/NAME are what it may refer to, node-vars/NAME those of the node alone; node.txt is the name of the node if it is
// not pi1. What is expected is spec.json, or error.txt.
func TestLoad(t *testing.T) {
	for _, path := range glob(t, "testdata/*.txtar") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar := archive(t, path)
			file, env := scenario(ar)
			name, got := "spec.json", ""
			loaded, err := Load("web", "brambled/stacks/web", file, env)
			if err != nil {
				name, got = "error.txt", err.Error()+"\n"
				if _, ok := IsProblems(err); !ok {
					t.Errorf("the error is %T, want Problems", err)
				}
			} else {
				got = indented(t, shown(loaded))
			}
			golden(t, path, ar, map[string]string{name: got})
		})
	}
}

// scenario reads the inputs of a txtar file.
func scenario(ar *txtar.Archive) ([]byte, Env) {
	env := Env{
		Node: "pi1", NodeIP: "192.168.1.11", Cluster: "bramble", Labels: map[string]string{"role": "edge"}, Owner: "c1",
		Prefix: "brambled/", Vars: map[string]string{}, PerNode: map[string]bool{}, Secrets: map[string][]byte{},
	}
	var file []byte
	for _, f := range ar.Files {
		dir, name := filepath.Split(f.Name)
		text := strings.TrimSuffix(string(f.Data), "\n")
		switch {
		case f.Name == "compose.yaml":
			file = f.Data
		case f.Name == "node.txt":
			env.Node = text
		case dir == "vars/":
			env.Vars[name] = text
		case dir == "node-vars/":
			env.Vars[name], env.PerNode[name] = text, true
		case dir == "secrets/":
			env.Secrets[name] = []byte(text)
		}
	}
	return file, env
}

// golden compares the named outputs with those in the archive, which has no other ones.
func golden(t *testing.T, path string, ar *txtar.Archive, got map[string]string) {
	t.Helper()
	outputs := map[string]bool{"spec.json": true, "error.txt": true, "bundle.yaml": true, "warnings.txt": true}
	if *update {
		var files []txtar.File
		for _, f := range ar.Files {
			if !outputs[f.Name] {
				files = append(files, f)
			}
		}
		for _, name := range []string{"bundle.yaml", "warnings.txt", "spec.json", "error.txt"} {
			if text := got[name]; text != "" {
				files = append(files, txtar.File{Name: name, Data: []byte(text)})
			}
		}
		ar.Files = files
		if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := map[string]string{}
	for _, f := range ar.Files {
		if outputs[f.Name] {
			want[f.Name] = string(f.Data)
		}
	}
	for name, text := range got {
		if text == "" {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got (go test -update writes it anew):\n%s", diff)
	}
	if len(strings.TrimSpace(string(ar.Comment))) == 0 {
		t.Error("the scenario does not say which hazard it locks")
	}
}

// shown is a loaded file without the part that Swarm would run if there were any.
func shown(l Loaded) any {
	if len(l.Swarm.Services) > 0 {
		return l
	}
	return struct {
		Stack    spec.Stack
		Services []Service
	}{l.Stack, l.Services}
}

func indented(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return paths
}

func archive(t *testing.T, path string) *txtar.Archive {
	t.Helper()
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return ar
}

// TestLoadIsDeterministic loads each scenario again and again: an order that comes from a map would recreate containers, and
// a report that changes without reason would be written to the store each time.
func TestLoadIsDeterministic(t *testing.T) {
	for _, path := range glob(t, "testdata/*.txtar") {
		file, env := scenario(archive(t, path))
		say := func() string {
			loaded, err := Load("web", "brambled/stacks/web", file, env)
			if err != nil {
				return err.Error()
			}
			return indented(t, shown(loaded))
		}
		first := say()
		for range 10 {
			if later := say(); later != first {
				t.Fatalf("%s (-first +later):\n%s", path, cmp.Diff(first, later))
			}
		}
	}
}

// TestHashesStay locks the hash of whole files. A changed hash recreates every container, or rolls out every Swarm service, of
// every user at the next upgrade of brambled: change a line here only together with spec.Schema, and on purpose.
func TestHashesStay(t *testing.T) {
	got := map[string]string{}
	for _, path := range glob(t, "testdata/corpus*/*.yaml") {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		loaded, err := Load(name, path, file, CorpusEnv())
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, s := range loaded.Stack.Services {
			got["container "+name+"/"+s.Name] = s.Container.Hash
		}
		for _, n := range loaded.Stack.Networks {
			got["network "+n.Name] = n.Hash
		}
		for _, v := range loaded.Stack.Volumes {
			got["volume "+v.Name] = v.Hash
		}
		for _, s := range loaded.Swarm.Services {
			got["service "+s.Full] = s.Hash
		}
		for _, n := range loaded.Swarm.Networks {
			got["network "+n.Name] = n.Hash
		}
		for _, o := range loaded.Swarm.Objects {
			got[string(o.Kind)+" "+o.Name] = o.Hash
		}
	}
	const path = "testdata/hashes.json"
	if *update {
		if err := os.WriteFile(path, []byte(indented(t, got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// CorpusEnv is what the files of testdata/corpus and corpus-swarm refer to.
func CorpusEnv() Env {
	return Env{Node: "pi1", NodeIP: "192.168.1.11", Owner: "c1", Prefix: "brambled/", Vars: map[string]string{"TAG": "1"}, Secrets: map[string][]byte{"token": []byte("hush")}}
}

// revision is what Load says of a file under some variables and secrets.
func revision(t *testing.T, file string, env Env) string {
	t.Helper()
	loaded, err := Load("web", "f", []byte(file), env)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Stack.Revision
}

// TestRevision locks what a revision is made from. One that misses a change would let a failed rollout stay failed; one that
// changes with what the file does not use would roll out what did not change.
func TestRevision(t *testing.T) {
	const file = `
x-brambled: {nodes: all}
services:
  app:
    image: "app:${TAG}"
    environment: [PASSED]
    profiles: [edge]
    secrets: [token]
    configs: [motd]
    command: ["${BRAMBLED_NODE}", "${ABSENT:-none}"]
secrets: {token: {external: true}}
configs: {motd: {environment: MOTD}}
`
	base := func() Env {
		return Env{
			Node:    "pi1",
			Vars:    map[string]string{"TAG": "1", "PASSED": "a", "MOTD": "hi", "COMPOSE_PROFILES": "edge", "OTHER": "x"},
			Secrets: map[string][]byte{"token": []byte("t"), "other": []byte("o")},
		}
	}
	first := revision(t, file, base())
	for _, tt := range []struct {
		what    string
		change  func(*Env)
		changes bool
	}{
		{"a variable in a value", func(e *Env) { e.Vars["TAG"] = "2" }, true},
		{"a variable passed on", func(e *Env) { e.Vars["PASSED"] = "b" }, true},
		{"a variable of a config", func(e *Env) { e.Vars["MOTD"] = "ho" }, true},
		{"the profiles", func(e *Env) { e.Vars["COMPOSE_PROFILES"] = "edge,lab" }, true},
		{"a variable that had a default", func(e *Env) { e.Vars["ABSENT"] = "none" }, true},
		{"a secret", func(e *Env) { e.Secrets["token"] = []byte("u") }, true},
		{"a variable that is not used", func(e *Env) { e.Vars["OTHER"] = "y" }, false},
		{"a secret that is not used", func(e *Env) { e.Secrets["other"] = []byte("p") }, false},
		{"the node", func(e *Env) { e.Node = "pi2" }, false},
	} {
		env := base()
		tt.change(&env)
		if got := revision(t, file, env) != first; got != tt.changes {
			t.Errorf("%s: the revision changes: %v, want %v", tt.what, got, tt.changes)
		}
	}
	if revision(t, file+"# a comment\n", base()) == first {
		t.Error("the file's bytes changed and the revision did not")
	}
}

// TestLoadReadsNothingElse proves that neither the disk nor the daemon's environment takes part.
func TestLoadReadsNothingElse(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{".env": "LEAK=file\n", "base.yaml": "services: {b: {image: leak}}\n", "e.env": "LEAK=1\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("LEAK", "environment")
	t.Setenv("COMPOSE_PROFILES", "lab")
	const head = "x-brambled: {nodes: all}\nservices: {app: {image: x, "
	for _, body := range []string{
		`command: "$LEAK"}}`, `environment: [LEAK]}}`, `env_file: e.env}}`, `extends: {file: base.yaml, service: b}}}`, `label_file: e.env}}`,
		`build: .}}`, "configs: [c]}}\nconfigs: {c: {file: e.env}}", "configs: [c]}}\nconfigs: {c: {environment: LEAK}}",
		"secrets: [c]}}\nsecrets: {c: {file: e.env}}", "secrets: [c]}}\nsecrets: {c: {environment: LEAK}}", "user: a}}\ninclude: [base.yaml]",
		`volumes: ["./e.env:/x"]}}`, `volumes: ["~:/x"]}}`, `<<: {env_file: e.env}}}`,
	} {
		if _, err := Load("web", "f", []byte(head+body), Env{Node: "pi1"}); err == nil {
			t.Errorf("%s is not refused", body)
		}
	}
	loaded, err := Load("web", "f", []byte(head+"profiles: [lab]}}"), Env{Node: "pi1"})
	if err != nil || len(loaded.Stack.Services) != 0 {
		t.Errorf("a profile of the environment is active: %v, %v", loaded.Stack.Services, err)
	}
}

// TestLoadLeavesItsInput locks that variables of one stack cannot leak into the next by the map they came in.
func TestLoadLeavesItsInput(t *testing.T) {
	env := Env{Node: "pi1", Vars: map[string]string{"A": "1"}}
	if _, err := Load("web", "f", []byte("x-brambled: {nodes: all}\nservices: {app: {image: x, command: \"$A\"}}"), env); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"A": "1"}, env.Vars); diff != "" {
		t.Errorf("the variables changed:\n%s", diff)
	}
}

// TestGarbage feeds what people and programs put under stacks/: each is one clear problem, with the key and what to do.
func TestGarbage(t *testing.T) {
	many := func(line string, n int) string { return strings.Repeat(line, n) }
	for _, tt := range []struct{ what, stack, file, want string }{
		{"nothing", "web", "", "the file is empty; to remove a stack, delete its key: consul kv delete brambled/stacks/web"},
		{"blanks", "web", " \n\t\n", "the file is empty"},
		{"a NUL", "web", "services:\x00", "this is not text"},
		{"a picture", "web", "\x89PNG\r\n\x1a\n\xff\xd8", "this is not text"},
		{"too much", "web", many("# a comment of some length\n", 20000), "bytes; Consul KV holds 524288"},
		{"a list", "web", "- a\n- b\n", "its top is no mapping"},
		{"a word", "web", "hello", "its top is no mapping"},
		{"two documents", "web", "a: 1\n---\nb: 2\n", ":2: a second YAML document begins"},
		{"bad YAML", "web", "services:\n  app:\n   - x\n  y: [\n", "not valid YAML"},
		{"a key twice", "web", "x-brambled: {nodes: all}\nservices:\n  app:\n    image: x\n    image: y\n", ":5: the key `image` is there already, at line 4"},
		{"an alias in itself", "web", "x: &a\n  b: *a\n", "an alias stands inside of what it names"},
		{"a merge of itself", "web", "x: &a\n  <<: *a\n", "an alias stands inside of what it names"},
		{"a bomb", "web", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n", "aliases make this file too large"},
		{"a bomb of merges", "web", "a: &a {k: v}\n" + "b: &b {<<: [*a,*a,*a,*a,*a,*a,*a,*a]}\nc: &c {<<: [*b,*b,*b,*b,*b,*b,*b,*b]}\nd: &d {<<: [*c,*c,*c,*c,*c,*c,*c,*c]}\ne: &e {<<: [*d,*d,*d,*d,*d,*d,*d,*d]}\nf: &f {<<: [*e,*e,*e,*e,*e,*e,*e,*e]}\ng: {<<: [*f,*f,*f,*f,*f,*f,*f,*f]}\n", "aliases make this file too large"},
		{"a deep nest", "web", "a: " + many("[", 5000) + many("]", 5000), "nested too deeply"},
		{"a tag", "web", "services: !reset null\n", "the tag !reset means nothing in one file"},
		{"a key that is a list", "web", "[a, b]: 1\n", "this key is no text"},
		{"a merge of a word", "web", "a:\n  <<: b\n", "<< merges a mapping"},
		{"a tangle of variables", "web", "x-brambled: {nodes: all}\nservices: {app: {image: x, command: \"" + many("${A:-", 500) + many("}", 500) + "\"}}\n", "too many variables in one value"},
		{"no services", "web", "x-brambled: {nodes: all}\n", "the file has no services"},
		{"a name Docker refuses", "Web!", "services: {}", `"Web!" cannot be the name of a stack`},
		{"a folder", "a/b", "services: {}", `"a/b" cannot be the name of a stack`},
		{"a long name", many("a", 64), "services: {}", "63 at most"},
		{"a hundred thousand unknown keys", "web", "x-brambled: {nodes: all}\nservices:\n  app:\n    image: x\n" + many0("    k%d: v\n", 8000), "and "},
	} {
		_, err := Load(tt.stack, "brambled/stacks/"+tt.stack, []byte(tt.file), Env{Node: "pi1", Prefix: "brambled/"})
		ps, ok := IsProblems(err)
		if !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
			continue
		}
		if ps[0].Hint == "" || !strings.HasPrefix(err.Error(), "brambled/stacks/"+tt.stack) {
			t.Errorf("%s: no way out, or no place: %v", tt.what, err)
		}
	}
}

// many0 writes a numbered line many times.
func many0(line string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Replace(line, "%d", strings.Repeat("x", i%50)+string(rune('a'+i%26))+strings.Repeat("y", i/50%30)+string(rune('a'+i/1500%26)), 1))
	}
	return b.String()
}

// TestLargestFile loads a file of the largest size that KV holds.
func TestLargestFile(t *testing.T) {
	head := "x-brambled: {nodes: all}\nservices:\n  app:\n    image: x\n    environment:\n      BIG: "
	file := head + strings.Repeat("x", MaxFile-len(head)-1) + "\n"
	loaded, err := Load("web", "f", []byte(file), Env{Node: "pi1"})
	if err != nil || len(loaded.Stack.Services) != 1 {
		t.Fatalf("%d services, %v", len(loaded.Stack.Services), err)
	}
}

func TestPortsClash(t *testing.T) {
	for _, tt := range []struct {
		a, b  string
		clash bool
	}{
		{"0.0.0.0:80/tcp", "0.0.0.0:80/tcp", true},
		{"0.0.0.0:80/tcp", "127.0.0.1:80/tcp", true},
		{"127.0.0.1:80/tcp", "192.168.1.1:80/tcp", false},
		{"0.0.0.0:80/tcp", "0.0.0.0:80/udp", false},
		{"0.0.0.0:80/tcp", "0.0.0.0:81/tcp", false},
		{"::1:80/tcp", "0.0.0.0:80/tcp", true},
		{"::1:80/tcp", "127.0.0.1:80/tcp", false},
	} {
		for _, got := range []bool{PortsClash(tt.a, tt.b), PortsClash(tt.b, tt.a)} {
			if got != tt.clash {
				t.Errorf("%s and %s clash: %v, want %v", tt.a, tt.b, got, tt.clash)
			}
		}
	}
}

// FuzzLoad looks for a file that is neither loaded nor refused. Whatever is loaded must be whole.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.txtar", "testdata/corpus*/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			if ar := txtar.Parse(text); strings.HasSuffix(path, ".txtar") {
				text, _ = scenario(ar)
			}
			f.Add(text)
		}
	}
	for _, r := range Rows() {
		f.Add([]byte(r.File("x")))
		f.Add([]byte(r.SwarmFile("x")))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		loaded, err := Load("web", "f", file, SampleEnv())
		if err != nil {
			ps, ok := IsProblems(err)
			if !ok || len(ps) == 0 {
				t.Fatalf("the error is %T: %v", err, err)
			}
			for _, p := range ps {
				if strings.HasPrefix(p.Text, "the file cannot be read") {
					t.Fatal(err) // a panic that was caught
				}
			}
			return
		}
		for _, s := range loaded.Stack.Services {
			if s.Container.Hash == "" || s.Container.Image == "" || s.Replicas < 0 || s.Restart == spec.Restart("") {
				t.Fatalf("half a service: %+v", s)
			}
		}
		for _, s := range loaded.Swarm.Services {
			if s.Hash == "" || s.Image == "" || s.Mode == "" || s.Prepull == "" || len(s.Full) > 63 {
				t.Fatalf("half a Swarm service: %+v", s)
			}
			for _, a := range s.Networks {
				if !slices.ContainsFunc(loaded.Swarm.Networks, func(n spec.Network) bool { return n.Name == a.Network }) {
					t.Fatalf("network %s of Swarm service %s is not there", a.Network, s.Name)
				}
			}
			for _, f := range s.Files {
				if !slices.ContainsFunc(loaded.Swarm.Objects, func(o spec.SwarmObject) bool { return o.Kind == f.Kind && o.Name == f.Object }) {
					t.Fatalf("%s %s of Swarm service %s is not there", f.Kind, f.Object, s.Name)
				}
			}
		}
	})
}

// A changed registration replaces no container and updates no Swarm service.
func TestRegistrationIsNotHashed(t *testing.T) {
	hashes := func(register string) (out []string) {
		file := "services:\n  box: { image: a, ports: [\"80:80\"], x-brambled: { nodes: all" + register + " } }\n" +
			"  task: { image: a, ports: [\"81:80\"], x-brambled: { swarm: true" + register + " } }\n"
		loaded, err := Load("web", "web", []byte(file), Env{Node: "pi1", Owner: "c1"})
		if err != nil {
			t.Fatal(err)
		}
		return []string{loaded.Stack.Services[0].Container.Hash, loaded.Swarm.Services[0].Hash}
	}
	if diff := cmp.Diff(hashes(""), hashes(", register: { port: 80, tags: [a] }")); diff != "" {
		t.Errorf("-without +with:\n%s", diff)
	}
}
