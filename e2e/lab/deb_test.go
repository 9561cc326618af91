//go:build e2e

package lab_test

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// What is in the package, who owns it and with which rights. That it installs, starts, upgrades and leaves workloads alone is in
// TestCluster.
func TestPackage(t *testing.T) {
	list := dpkg(t, "-c")
	for _, want := range []string{
		"-rwxr-xr-x root/root ./usr/bin/brambled",
		"-rw-r--r-- root/root ./lib/systemd/system/brambled.service",
		"-rw-r--r-- root/root ./etc/brambled/brambled.yaml",
		"drwxr-xr-x root/root ./etc/brambled/manifests/",
		"-rw-r--r-- root/root ./usr/share/doc/brambled/copyright",
		"-rw-r--r-- root/root ./usr/share/doc/brambled/consul/server.hcl",
		"-rw-r--r-- root/root ./usr/share/doc/brambled/consul/policy/brambled.hcl",
		"-rw-r--r-- root/root ./usr/share/doc/brambled/docker/daemon.json",
		"-rw-r--r-- root/root ./usr/share/doc/brambled/stacks/hello/compose.yaml",
	} {
		if !slices.Contains(list, want) {
			t.Errorf("%q is not in the package; it has\n%s", want, strings.Join(list, "\n"))
		}
	}
	for _, line := range list {
		if path := line[strings.LastIndexByte(line, ' ')+1:]; strings.HasPrefix(path, "./var/lib/") {
			t.Errorf("%s belongs to the daemon, dpkg would remove it", path)
		}
	}
	if got := strings.Join(dpkg(t, "-I", "conffiles"), "\n"); got != "/etc/brambled/brambled.yaml" {
		t.Errorf("conffiles are %q, want the settings: an upgrade must keep what a person changed", got)
	}
	control := strings.Join(dpkg(t, "-I", "control"), "\n")
	for _, want := range []string{"Package: brambled\n", "Architecture: " + debianArch() + "\n", "Recommends: docker.io | docker-ce"} {
		if !strings.Contains(control+"\n", want) {
			t.Errorf("the package does not say %q:\n%s", want, control)
		}
	}
	// brambled must come up without an engine, and with one from any source.
	if strings.Contains(control, "Depends:") {
		t.Errorf("the package depends on another:\n%s", control)
	}
}

func debianArch() string {
	if runtime.GOARCH == "arm" {
		return "armhf"
	}
	return runtime.GOARCH
}

// dpkg asks dpkg-deb about the package of this checkout. Of a list of files size and time are left out.
func dpkg(t *testing.T, verb string, args ...string) []string {
	t.Helper()
	out, err := exec.Command(harness.Script(t, "deb")).Output()
	if err != nil {
		t.Fatalf("build the package: %v", err)
	}
	file := filepath.Join(harness.Root(t), strings.TrimSpace(string(out)))
	out, err = exec.Command("dpkg-deb", append([]string{verb, file}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg-deb %s: %v\n%s", verb, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if verb == "-c" {
		for i, line := range lines {
			f := strings.Fields(line)
			lines[i] = f[0] + " " + f[1] + " " + f[len(f)-1]
		}
	}
	return lines
}
