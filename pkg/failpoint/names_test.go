package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A point that is on the list and nowhere in the daemon would be visited by no test; one in two places is two points.
func TestEachPointHasItsPlace(t *testing.T) {
	places := map[string]int{}
	walk(t, "..", func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if fun, ok := call.Fun.(*ast.SelectorExpr); ok && isName(fun.X, "failpoint") && fun.Sel.Name == "Hit" {
				if arg, ok := call.Args[0].(*ast.SelectorExpr); ok {
					places[arg.Sel.Name]++
				} else {
					t.Errorf("%s: a point has to be named by its constant", file.Name)
				}
			}
			return true
		})
	})
	names := Names()
	if declared := len(names) - 2*len(slices.Concat(actions(), swarmActions(), quorumActions())); len(places) != declared {
		t.Errorf("%d points are in place, %d are on the list: %v", len(places), declared, places)
	}
	for constant, n := range places {
		if n != 1 {
			t.Errorf("%s is in %d places", constant, n)
		}
	}
	slices.Sort(names)
	if twice := len(names) - len(slices.Compact(names)); twice > 0 {
		t.Errorf("%d names are on the list twice", twice)
	}
}

// An action that package plan knows and the list does not would end an armed daemon.
func TestEachActionIsKnown(t *testing.T) {
	var want, have []string
	walk(t, "../../reconciler/plan", func(file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "action" && f.Recv != nil {
				want = append(want, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	})
	for _, a := range slices.Concat(actions(), swarmActions(), quorumActions()) {
		have = append(have, reflect.TypeOf(a).Name())
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("package plan has the actions %v, the list has %v", want, have)
	}
}

func isName(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

func walk(t *testing.T, root string, each func(*ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err == nil {
			each(file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
