//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// Each bad input is put beside a good stack. It must be named, with its line where it has one, by validate, status, why,
// the page and a metric, and nothing else may suffer.
func TestBadInput(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "good", "x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:1\n    ports: [\"8081:8080\"]\n")
	before := p.runs(t, "good", "good-app-1")

	head := "x-brambled: { nodes: all }\nservices:\n"
	cases := []struct {
		name, file string
		want       []string // what the error says
	}{
		{"bad YAML", head + "  app: [\n", []string{"brambled/stacks/bad:", "YAML"}},
		{"unknown key", head + "  app:\n    image: brambled/hello:1\n    imgae: x\n", []string{":5", "services.app.imgae", "did you mean image?"}},
		{"a key that cannot be applied", head + "  app:\n    build: .\n", []string{":4", "services.app.build", "push it"}},
		{"empty value", " ", []string{"empty", "consul kv delete"}},
		{"a name Docker refuses", head + "  app:\n    image: brambled/hello:1\n    container_name: \"-x-\"\n", []string{":5", "container_name"}},
		{"one container name twice", head + "  a:\n    image: brambled/hello:1\n    container_name: xx\n  b:\n    image: brambled/hello:1\n    container_name: xx\n", []string{"both want the container name xx"}},
		{"a port clash between stacks", head + "  app:\n    image: brambled/hello:1\n    ports: [\"8081:8080\"]\n", []string{"services.app.ports", "8081", "good/app"}},
		{"an undefined variable", head + "  app:\n    image: brambled/hello:${TAG}\n", []string{":4", "TAG has no value", "consul kv put brambled/vars/TAG"}},
		{"binary garbage", "\x00\x01\x02\xff\xfe", []string{"not text"}},
		{"a key that Swarm has not", "services:\n  app:\n    image: brambled/hello:1\n    privileged: true\n", []string{":4", "services.app.privileged", "Swarm service", "x-brambled.nodes"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p.put(t, "bad", c.file)
			p.state(t, "bad", "held")
			harness.Eventually(t, "the error is told everywhere", func() error { return told(t, p, c.want) })
			if c.name != "a port clash between stacks" { // that one is not in the file
				validateSays(t, p, c.file, c.want)
			}
			same(t, before, p.runs(t, "good", "good-app-1"), "good-app-1")
			p.state(t, "good", "converged")
			p.consul.Delete(t, "brambled/stacks/bad")
		})
	}
	t.Run("512 KiB", func(t *testing.T) {
		big := head + "  app:\n    image: brambled/hello:1\n    labels: { big: " + strings.Repeat("x", 512<<10-100) + " }\n"
		validateSays(t, p, big+strings.Repeat("#", 200), []string{"512", "Consul KV holds"})
	})
	t.Run("an image that does not exist", func(t *testing.T) {
		p.put(t, "bad", head+"  app:\n    image: brambled/absent:1\n")
		harness.Eventually(t, "why names the image", func() error {
			if out := p.Run(t, "why", "bad/app").Stdout; !strings.Contains(out, "brambled/absent:1") {
				return fmt.Errorf("why says %q", out)
			}
			return nil
		})
		p.state(t, "good", "converged")
		p.consul.Delete(t, "brambled/stacks/bad")
	})
	t.Run("what ran before goes on", func(t *testing.T) {
		p.put(t, "good", "services: [")
		p.state(t, "good", "held")
		same(t, before, p.runs(t, "good", "good-app-1"), "good-app-1")
		p.engine.Docker(t, "rm", "-f", "good-app-1")
		p.runs(t, "good", "good-app-1")
	})
}

// told looks for the words in every place a person may look.
func told(t *testing.T, p *pi, words []string) error {
	page, err := p.Fetch("/")
	if err != nil {
		return err
	}
	places := map[string]string{
		"status": p.Run(t, "status", "bad").Stdout,
		"why":    p.Run(t, "why", "bad").Stdout,
		"page":   strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&quot;", `"`, "&#43;", "+").Replace(page),
	}
	for place, text := range places {
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("%s does not say %q; it says:\n%s", place, w, text)
			}
		}
	}
	metrics, err := p.Fetch("/metrics")
	if err != nil {
		return err
	}
	if !strings.Contains(metrics, `brambled_stack_error{stack="bad"} 1`) {
		return fmt.Errorf("no metric tells of the stack's error")
	}
	return nil
}

func validateSays(t *testing.T, p *pi, file string, words []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	res := p.Run(t, "validate", path)
	if res.Code != 1 {
		t.Errorf("validate exits with %d, want 1", res.Code)
	}
	for _, w := range words {
		w = strings.Replace(w, "brambled/stacks/bad:", path+":", 1)
		if !strings.Contains(res.Stdout+res.Stderr, w) {
			t.Errorf("validate does not say %q; it says:\n%s%s", w, res.Stdout, res.Stderr)
		}
	}
}
