//go:build e2e

package images_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// load builds images of images/ where they have changed, and loads them into an engine as brambled/NAME:dev.
func load(t testing.TB, e *harness.Engine, names ...string) {
	t.Helper()
	cmd := exec.Command(harness.Script(t, "images"), names...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", strings.Join(names, ", "), err, &stderr)
	}
	for archive := range strings.Lines(string(out)) {
		e.Docker(t, "load", "-q", "-i", strings.TrimSpace(archive))
	}
}

// startConsul starts a Consul that other images ask, alone and in memory, at an address of the network lan.
func startConsul(t testing.TB, e *harness.Engine, address string) {
	t.Helper()
	e.Docker(t, "run", "--detach", "--name", "consul", "--network", "lan", "--ip", address, "--entrypoint", "consul", "brambled/consul:dev",
		"agent", "-dev", "-client", "0.0.0.0")
	harness.Eventually(t, "Consul answers", func() error { _, err := e.TryDocker("exec", "consul", "consul", "info"); return err })
}
