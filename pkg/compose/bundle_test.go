package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBundle runs testdata/bundle/*.txtar: the files of a folder, and in args.txt those that the bundle is made of. What
// comes out is what Load accepts, and gives spec.json.
func TestBundle(t *testing.T) {
	paths := glob(t, "testdata/bundle/*.txtar")
	for i, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = abs
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar := archive(t, path)
			t.Chdir(t.TempDir())
			t.Setenv("LEAK", "environment")
			args := []string{"compose.yaml"}
			for _, f := range ar.Files {
				if f.Name == "args.txt" {
					args = strings.Fields(string(f.Data))
				}
				if err := os.MkdirAll(filepath.Dir(f.Name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, warnings, err := Bundle(args)
			if err != nil {
				golden(t, path, ar, map[string]string{"error.txt": err.Error() + "\n"})
				return
			}
			got := map[string]string{"bundle.yaml": string(out)}
			if len(warnings) > 0 {
				got["warnings.txt"] = strings.Join(warnings, "\n") + "\n"
			}
			_, env := scenario(ar)
			loaded, err := Load("web", "bundle", out, env)
			if err != nil {
				t.Fatalf("the bundle cannot be loaded: %v\n%s", err, out)
			}
			loaded.Stack.Revision = ""
			got["spec.json"] = indented(t, shown(loaded))
			golden(t, path, ar, got)
		})
	}
}

func TestBundleTooLarge(t *testing.T) {
	t.Chdir(t.TempDir())
	file := "x-brambled: {nodes: all}\nservices: {app: {image: x, configs: [c]}}\nconfigs: {c: {file: big}}\n"
	for name, text := range map[string]string{"compose.yaml": file, "big": strings.Repeat("x", MaxFile)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Bundle([]string{"compose.yaml"}); err == nil || !strings.Contains(err.Error(), "Consul KV holds") {
		t.Errorf("%v", err)
	}
}
