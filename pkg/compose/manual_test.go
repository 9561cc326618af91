package compose

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestManual keeps docs/compose.md as the table says. `go generate ./pkg/compose` writes it anew.
func TestManual(t *testing.T) {
	const page = "../../docs/compose.md"
	frame, err := os.ReadFile("testdata/manual.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(frame), "<!-- table -->\n", manualTables(), 1)
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(have)); diff != "" {
		t.Errorf("docs/compose.md is stale; run go generate ./pkg/compose (-want +have):\n%s", diff)
	}
}

func manualTables() string {
	rows := append(append([]Row{}, topRows...), Rows()...)
	var b strings.Builder
	for _, s := range []struct{ title, kind string }{
		{"Top level", ""}, {"Services", "service."}, {"Networks", "network."}, {"Volumes", "volume."}, {"Configs", "config."}, {"Secrets", "secret."},
	} {
		fmt.Fprintf(&b, "### %s\n\n| key | containers | Swarm services | shows in | in the service | hint |\n|---|---|---|---|---|---|\n", s.title)
		for _, r := range rows {
			key, ok := strings.CutPrefix(r.Path, s.kind)
			if !ok || s.kind == "" && strings.Contains(key, ".") {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", key, r.Container, r.Swarm, manualPlace(r), swarmPlace(r), manualHint(r))
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// manualPlace is where a row shows, for people.
func manualPlace(r Row) string {
	place := strings.NewReplacer("t_n", "NETWORK", "t_default", "NETWORK", "t_z", "NETWORK", "outside", "NAME", "thing", "NAME").Replace(r.Inspect)
	switch {
	case strings.HasPrefix(place, "spec."):
		return "brambled"
	case strings.HasPrefix(place, "file:"):
		path, field, _ := strings.Cut(strings.TrimPrefix(place, "file:"), ":")
		return fmt.Sprintf("`file:%s` (%s)", path, field)
	case place == "":
		return ""
	}
	var parts []string
	for p := range strings.SplitSeq(place, " | ") {
		parts = append(parts, "`"+strings.ReplaceAll(p, "~", ".")+"`")
	}
	return strings.Join(parts, " or ")
}

// swarmPlace is where a row shows in a Swarm service, for people. What is said more than once is said short.
func swarmPlace(r Row) string {
	in, ok := r.InSwarm()
	kind, _, _ := strings.Cut(in.Service, ".")
	switch {
	case !ok:
		return ""
	case kind == "spec":
		return "brambled"
	case kind == "network" || kind == "object":
		return "the " + strings.Replace(kind, "object", "config or secret", 1)
	}
	place := strings.NewReplacer("TaskTemplate.", "", ".0.", ".", "~", ".").Replace(in.Service)
	return "`" + place + "`"
}

func manualHint(r Row) string {
	var out []string
	if r.Hint != "" {
		out = append(out, r.Hint)
	}
	if r.Engine != "" {
		out = append(out, "needs an engine of API "+r.Engine+" or later")
	}
	if r.Kernel {
		out = append(out, "needs support by the kernel or the storage driver")
	}
	return strings.ReplaceAll(strings.Join(out, "; "), "|", "\\|")
}
