package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// toy is a repository with one rule, one test, and a mutant for each outcome.
var toy = map[string]string{
	"go.mod": "module example.org/toy\n\ngo 1.26\n",
	"toy.go": `package toy

// Allowed is the rule.
func Allowed(n int) bool {
	return n < 3
}
`,
	"toy_test.go": `package toy

import "testing"

func TestAllowed(t *testing.T) {
	if Allowed(3) {
		t.Error("3 is allowed")
	}
}

func TestWeak(t *testing.T) { Allowed(3) }

func TestRed(t *testing.T) { t.Fatal("always") }
`,
	"mutants/caught.patch":   patch("TestAllowed", "n < 4"),
	"mutants/endless.patch":  patch("TestAllowed", "n < 3 || func() bool { panic(n) }()"),
	"mutants/survives.patch": patch("TestWeak", "n < 4"),
	"mutants/typo.patch":     patch("TestAllowed", "n < undefined"),
	"mutants/red.patch":      patch("TestRed", "n < 4"),
	"mutants/nothing.patch":  patch("TestNoSuchThing", "n < 4"),
	"mutants/stale.patch":    strings.ReplaceAll(patch("TestAllowed", "n < 4"), "n < 3", "n < 2"),
}

func patch(test, condition string) string {
	return `# breaks: nothing above two is allowed
# test: . ^` + test + `$
--- a/toy.go
+++ b/toy.go
@@ -2,5 +2,5 @@

 // Allowed is the rule.
 func Allowed(n int) bool {
-	return n < 3
+	return ` + condition + `
 }
`
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	return root
}

func TestEachMutantGetsItsOutcome(t *testing.T) {
	root := write(t, toy)
	results, err := runner{root: root, workers: 2, home: t.TempDir()}.run()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]outcome{}
	for _, r := range results {
		got[r.mutant.name] = r.outcome
	}
	want := map[string]outcome{
		"caught": caughtByTest, "endless": caughtByTest, "survives": survived, "typo": doesNotCompile,
		"red": brokenBefore, "nothing": noTest, "stale": doesNotApply,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(root, "toy.go")); err != nil || string(text) != toy["toy.go"] {
		t.Errorf("the work tree itself was changed: %v\n%s", err, text)
	}
	var out bytes.Buffer
	if err := report(&out, results); !errors.Is(err, errSurvivors) {
		t.Errorf("report returns %v, want %v", err, errSurvivors)
	}
	for _, want := range []string{"mutants: 2 passed, 5 failed", "survives: SURVIVED", "go test -run ^TestWeak$ ./."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, &out)
		}
	}
}

func TestACopyIsPutRightAgain(t *testing.T) {
	root := write(t, toy)
	c := copied{root: root, dir: filepath.Join(t.TempDir(), "copy"), files: []string{"toy.go", "gone.go"}}
	if err := c.make(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"toy.go", "added.go", "gone.go"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte("package broken"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.make(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(c.dir, "toy.go")); err != nil || string(text) != toy["toy.go"] {
		t.Errorf("toy.go is not restored: %v\n%s", err, text)
	}
	for _, name := range []string{"added.go", "gone.go"} {
		if _, err := os.Stat(filepath.Join(c.dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still in the copy", name)
		}
	}
}

func TestHeadersAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"--- a/x\n":                            "want a line \"# breaks: RULE\"",
		"# breaks: x\n# test: ./pkg/x\n":       "want a package, a regular expression",
		"# breaks: x\n# test: ./pkg/x A B C\n": "want a package, a regular expression",
	} {
		if _, err := parseMutant(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("header %q: error is %v, want %s", text, err, want)
		}
	}
	m, err := parseMutant("# breaks: rule 1\n# test: pkg/docker ^TestX$ integration\n--- a/x\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (testRun{pkg: "./pkg/docker", pattern: "^TestX$", tags: "integration"}); m.test != want {
		t.Errorf("test is %+v, want %+v", m.test, want)
	}
}

// A change of the code next to a mutant would otherwise be noticed by the slow run alone.
func TestTheMutantsOfThisRepositoryApply(t *testing.T) {
	mutants, err := loadMutants(".", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		check := exec.Command("git", "apply", "--check", "--recount", m.file)
		check.Dir = ".."
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not apply any more; write it anew: %s", m.name, out)
		}
	}
}
