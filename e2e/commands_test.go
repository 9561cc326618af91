//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// The commands of a day: look before, apply, look after, remove. Exit codes are part of them.
func TestCommands(t *testing.T) {
	t.Parallel()
	p := boot(t)
	dir := t.TempDir()
	path := func(name, text string) string {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, full, text)
		return full
	}
	expect := func(code int, words string, args ...string) harness.Result {
		t.Helper()
		res := p.Run(t, args...)
		if res.Code != code || !strings.Contains(res.Stdout+res.Stderr, words) {
			t.Errorf("brambled %v: exit code %d, want %d, and %q in:\n%s%s", args, res.Code, code, words, res.Stdout, res.Stderr)
		}
		return res
	}
	file := path("web/compose.yaml", small)
	harness.Eventually(t, "the daemon has met the store", func() error {
		_, err := p.Fetch("/readyz")
		return err
	})

	expect(0, "valid", "validate", file)
	expect(4, "create web-app-1 (missing)", "plan", file)
	if got := p.containers(t, "web"); len(got) != 0 {
		t.Errorf("plan touched something: %v", got)
	}
	expect(0, "web: converged, 1 of 1 running", "apply", file)
	expect(0, "nothing to do", "plan", file)
	expect(0, "web", "status")
	expect(0, "web/app", "why", "web")
	expect(0, `"state": "converged"`, "status", "--output", "json")

	changed := path("web/new.yaml", small+"    environment: { A: b }\n")
	expect(4, "rename web-app-1 to web-app-1.prev (changed)", "plan", "--stack", "web", changed)
	expect(1, "failed", "apply", "--stack", "web", path("bad.yaml", small+"    command: [-exit, \"3\"]\n"))
	expect(3, "failed", "status", "web")
	expect(1, "did you mean image?", "apply", "--stack", "web", path("worse.yaml", small+"    imgae: x\n"))
	expect(0, "converged", "apply", "--stack", "web", changed)

	env := path("env", "A='from a file with a $dollar'\n")
	bundle := expect(0, "from a file", "bundle", path("unbundled.yaml", small+"    env_file: [env]\n"))
	if strings.Contains(bundle.Stdout, "env_file") || !strings.Contains(bundle.Stdout, "$$dollar") {
		t.Errorf("the bundle of %s is:\n%s", env, bundle.Stdout)
	}
	expect(0, "valid", "validate", "--stack", "web", path("bundled.yaml", bundle.Stdout))

	expect(0, "deleted web", "delete", "web")
	p.runs(t, "web")
	expect(1, "there is no stack web", "delete", "web")
	expect(1, "no node reports", "status", "nowhere")
	expect(2, "--output", "status", "--output", "yaml")
	expect(2, "unknown flag", "status", "--nonsense")
	expect(2, "accepts", "delete")
	expect(2, "resync", "status", "--resync", "soon")
	expect(0, "brambled ", "version")
}
