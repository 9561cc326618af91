package reconciler_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/brambled/brambled/"

// The rules of who may import what. They are what keeps planning pure and each outside dependency behind one package; the
// linter says the same with more words.
var (
	pure      = []string{"reconciler/spec", "reconciler/plan", "reconciler/node", "reconciler/swarm", "reconciler/quorum", "reconciler/catalog"}
	impure    = []string{"os", "net", "log", "context", "math/rand"}
	importers = map[string]string{ // of a module: the folder that may
		"github.com/compose-spec/compose-go": "pkg/compose",
		"github.com/hashicorp/consul/api":    "pkg/consul",
		"github.com/moby/moby/":              "pkg/docker",
		"github.com/spf13/viper":             "pkg/config",
		"github.com/spf13/cobra":             "cmd",
	}
)

func TestImportRules(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "tools" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
			files++
			checkFile(t, file)
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Fatalf("walked %d files: %v", files, err)
	}
}

func checkFile(t *testing.T, file string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(filepath.ToSlash(file), "../")))
	for _, spec := range parsed.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if problem := forbidden(dir, name); problem != "" {
			t.Errorf("%s imports %s: %s", file, name, problem)
		}
	}
	if slices.Contains(pure, dir) && readsClock(parsed) {
		t.Errorf("%s reads the clock: time is part of what was observed", file)
	}
}

// forbidden says which rule an import breaks, "" for none.
func forbidden(dir, name string) string {
	inside, ours := strings.CutPrefix(name, module)
	switch {
	case strings.HasPrefix(dir, "reconciler") && ours && !strings.HasPrefix(inside, "reconciler/"):
		return "nothing under reconciler/ imports pkg/"
	case strings.HasPrefix(dir, "pkg/") && ours && (strings.HasPrefix(inside, "cmd/") || inside == "pkg/app" && dir != "pkg/app"):
		return "imports go one way: cmd, pkg/app, pkg/*, reconciler/*"
	case slices.Contains(pure, dir) && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") && !ours:
		return "planning needs the standard library alone"
	}
	if slices.Contains(pure, dir) {
		for _, bad := range impure {
			if name == bad || strings.HasPrefix(name, bad+"/") {
				return "planning is pure"
			}
		}
	}
	for prefix, owner := range importers {
		if strings.HasPrefix(name, prefix) && dir != owner && !strings.HasPrefix(dir, owner+"/") {
			return "only " + owner + " may"
		}
	}
	return ""
}

func readsClock(file *ast.File) bool {
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		id, isID := sel.X.(*ast.Ident)
		found = found || isID && id.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After"}, sel.Sel.Name)
		return true
	})
	return found
}

// The rules themselves are tested: a rule that forbids nothing is no rule.
func TestImportRulesForbid(t *testing.T) {
	for _, c := range []struct{ dir, name string }{
		{"reconciler/node", "os"}, {"reconciler/node", "net/http"}, {"reconciler/spec", "context"}, {"reconciler/plan", "math/rand/v2"},
		{"reconciler/node", "go.uber.org/zap"}, {"reconciler", module + "pkg/docker"}, {"pkg/docker", module + "pkg/app"},
		{"pkg/app", "github.com/spf13/viper"}, {"pkg/status", "github.com/moby/moby/client"}, {"pkg/app", "github.com/hashicorp/consul/api"},
		{"pkg/docker", "github.com/compose-spec/compose-go/v2/types"}, {"pkg/app", "github.com/spf13/cobra"},
	} {
		if forbidden(c.dir, c.name) == "" {
			t.Errorf("%s may import %s", c.dir, path.Clean(c.name))
		}
	}
}
