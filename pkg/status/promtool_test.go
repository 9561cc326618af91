//go:build integration

package status

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Prometheus's own tool has nothing to say against the names, types and help texts.
func TestPromtool(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	NewMetrics(reg, "1.2.3").Set(twoNodes()[0])
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, reg))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics (Debian package prometheus): %v\n%s", err, out)
	}
}
