//go:build e2e

package images_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// front is HAProxy with a Consul to ask and web servers in the place of GeoServers.
type front struct {
	*harness.Engine
	named string // the web server's binary
}

// serve starts a web server that answers with its name.
func (f front) serve(t *testing.T, name, network, port string) {
	t.Helper()
	args := append([]string{"run", "--detach", "--name", name}, strings.Fields(network)...)
	f.Docker(t, append(args, "--volume", f.named+":/named:ro", "--entrypoint", "/named", "brambled/hello:1", name, port)...)
}

// register puts a service into Consul's catalog.
func (f front) register(t *testing.T, service, id, address string) {
	t.Helper()
	f.Docker(t, "exec", "consul", "consul", "services", "register", "-name", service, "-id", id, "-address", address, "-port", "8080")
}

// get asks HAProxy and returns the name of who has answered.
func (f front) get(args ...string) (string, error) {
	out, err := f.TryDocker(append([]string{"exec", "haproxy", "busybox", "wget", "-q", "-T", "5", "-O", "-"}, args...)...)
	return out, err
}

// answer waits until each of some requests in a row goes well and exactly these have answered.
func (f front) answer(t *testing.T, what string, names []string, args ...string) {
	t.Helper()
	harness.Eventually(t, what, func() error {
		seen := map[string]bool{}
		for range 8 {
			name, err := f.get(args...)
			if err != nil {
				return err
			}
			seen[name] = true
		}
		for _, name := range names {
			if !seen[name] || len(seen) != len(names) {
				return fmt.Errorf("it was answered by %v, want %v", seen, names)
			}
		}
		return nil
	})
}

func startFront(t *testing.T) front {
	t.Helper()
	f := front{harness.StartDockerd(t), filepath.Join(t.TempDir(), "named")}
	build := exec.Command("go", "build", "-o", f.named, "./named")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build named: %v\n%s", err, out)
	}
	f.LoadHello(t)
	load(t, f.Engine, "consul", "haproxy")
	f.Docker(t, "network", "create", "--subnet", "172.30.9.0/24", "lan")
	f.Docker(t, "run", "--detach", "--name", "haproxy", "--network", "lan", "--ip", "172.30.9.20", "--env", "HAPROXY_DNS=172.30.9.2:8600", "brambled/haproxy:dev")
	return f
}

// HAProxy comes up alone, finds who serves by Consul's DNS, and leads each request to those who may have it, without a reload.
func TestHAProxyGIS(t *testing.T) {
	t.Parallel()
	f := startFront(t)
	const mapURL, restURL = "http://127.0.0.1/geoserver/wms?request=GetMap", "http://127.0.0.1/geoserver/rest/styles"
	harness.Eventually(t, "it is healthy with nobody behind it, and has nothing to offer", func() error {
		if _, err := f.TryDocker("exec", "haproxy", "healthcheck"); err != nil {
			return err
		}
		if _, err := f.get("http://127.0.0.1:8404/healthz"); err == nil {
			return errors.New("keepalived would take the address here")
		}
		return nil
	})
	startConsul(t, f.Engine, "172.30.9.2")
	for i, name := range []string{"one", "two"} {
		address := fmt.Sprint("172.30.9.1", i+1)
		f.serve(t, name, "--network lan --ip "+address, "8080")
		f.register(t, "geoserver", name, address)
	}
	f.answer(t, "maps come from both", []string{"one", "two"}, mapURL)
	master := f.Docker(t, "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", "haproxy")

	// Changes go to the writer alone, and follow it.
	if name, err := f.get("--post-data", "x", restURL); err == nil {
		t.Errorf("there is no writer, and %s takes changes", name)
	}
	f.serve(t, "writer-on-one", "--network container:one", "8731")
	f.answer(t, "one takes the changes", []string{"one"}, "--post-data", "x", restURL)
	f.answer(t, "one shows the pages of administration", []string{"one"}, "http://127.0.0.1/geoserver/web/")
	f.answer(t, "a POST that asks for a map goes to both", []string{"one", "two"}, "--post-data", "x", "http://127.0.0.1/geoserver/wms")
	f.Docker(t, "rm", "--force", "writer-on-one")
	f.serve(t, "writer-on-two", "--network container:two", "8731")
	f.answer(t, "two takes the changes now", []string{"two"}, "--post-data", "x", restURL)

	// One dies and stays in the catalog; a new one comes.
	f.Docker(t, "kill", "one")
	f.answer(t, "maps come from the one that lives", []string{"two"}, mapURL)
	f.serve(t, "three", "--network lan --ip 172.30.9.13", "8080")
	f.register(t, "geoserver", "three", "172.30.9.13")
	f.answer(t, "maps come from the new one too", []string{"two", "three"}, mapURL)

	f.register(t, "pgpool", "two", "172.30.9.12")
	f.answer(t, "what comes to the port of the database is passed on", []string{"two"}, "http://127.0.0.1:5432/")
	if _, err := f.get("http://127.0.0.1:8404/healthz"); err != nil {
		t.Errorf("keepalived is told that nothing is served: %v", err)
	}
	if out := f.Docker(t, "exec", "haproxy", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8404/metrics"); !strings.Contains(out, "haproxy_backend_status") {
		t.Error("there are no metrics")
	}

	// Consul dies: who is known serves on.
	f.Docker(t, "kill", "consul")
	f.answer(t, "maps come without Consul", []string{"two", "three"}, mapURL)
	if now := f.Docker(t, "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", "haproxy"); now != master {
		t.Errorf("HAProxy was started again: %s, before %s", now, master)
	}
}

// A setting that is missing or wrong is one line that names it, and nothing starts.
func TestHAProxyRefuses(t *testing.T) {
	t.Parallel()
	e := harness.StartDockerd(t)
	load(t, e, "haproxy")
	for _, tt := range []struct{ mode, name, value string }{
		{"gis", "HAPROXY_MAP_PORT", "0"},
		{"gis", "HAPROXY_SQL_PORT", "http"},
		{"gis", "HAPROXY_MAP_SERVICE", "Geo Server"},
		{"gis", "HAPROXY_MAP_CHECK", "/ \n quit"},
		{"gis", "HAPROXY_DNS", "127.0.0.1"},
		{"gis", "HAPROXY_SLOTS", "100"},
		{"gis", "HAPROXY_LOG_LEVEL", "all"},
		{"consul", "HAPROXY_VIP", ""},
		{"consul", "HAPROXY_VIP", "consul"},
		{"consul", "HAPROXY_CONSUL_SERVERS", ""},
		{"consul", "HAPROXY_CONSUL_SERVERS", "10.0.0.11 10.0.0.11"},
		{"consul", "HAPROXY_CONSUL_TLS", "maybe"},
	} {
		args := []string{"--env", "HAPROXY_MODE=" + tt.mode}
		for name, value := range map[string]string{"HAPROXY_VIP": "10.0.0.60", "HAPROXY_CONSUL_SERVERS": "10.0.0.11"} {
			if name != tt.name {
				args = append(args, "--env", name+"="+value)
			}
		}
		refused(t, e, "brambled/haproxy:dev", tt.name, tt.value, args...)
	}
	refused(t, e, "brambled/haproxy:dev", "HAPROXY_MODE", "both")
}
