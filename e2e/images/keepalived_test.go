//go:build e2e

package images_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

const vip = "172.30.7.50"

// vrrpPi stands for a Pi: a web server whose network it shares with keepalived, as both share the host's on a real one.
type vrrpPi struct {
	*harness.Engine
	name, address, pid string
}

// keeper is the name of its container with keepalived.
func (p *vrrpPi) keeper() string { return "keepalived-" + p.name }

// keepalived starts it anew, as brambled does.
func (p *vrrpPi) keepalived(t *testing.T) {
	t.Helper()
	p.Docker(t, "run", "--detach", "--name", p.keeper(), "--network", "container:"+p.name, "--cap-add", "NET_ADMIN",
		"--env", "KEEPALIVED_VIP="+vip+"/24", "--env", "KEEPALIVED_PEERS=172.30.7.11 172.30.7.12",
		"--env", "KEEPALIVED_ADDRESS="+p.address, "--env", "KEEPALIVED_CHECK=http://127.0.0.1:8080/healthz", "brambled/keepalived:dev")
}

// holds says whether the address is on this Pi, looked at from outside: keepalived may be dead.
func (p *vrrpPi) holds(t *testing.T) bool {
	t.Helper()
	out, err := exec.Command("nsenter", "--net=/proc/"+p.pid+"/ns/net", "ip", "-o", "-4", "addr", "show").CombinedOutput()
	if err != nil {
		t.Fatalf("look at the addresses of %s: %v\n%s", p.name, err, out)
	}
	return strings.Contains(string(out), " "+vip+"/24 ")
}

// says waits until keepalived's health is good and its state is this.
func (p *vrrpPi) says(t *testing.T, state string) {
	t.Helper()
	harness.Eventually(t, p.name+" is "+state, func() error {
		out, err := p.TryDocker("exec", p.keeper(), "healthcheck")
		if err == nil && out != state {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
}

func bootVRRP(t *testing.T) (e *harness.Engine, pi1, pi2 *vrrpPi) {
	e = harness.StartDockerd(t)
	e.LoadHello(t)
	load(t, e, "keepalived")
	e.Docker(t, "network", "create", "--subnet", "172.30.7.0/24", "lan")
	e.Docker(t, "run", "--detach", "--name", "client", "--network", "lan", "--ip", "172.30.7.99", "--entrypoint", "sleep",
		"brambled/keepalived:dev", "infinity")
	pis := [2]*vrrpPi{}
	for i := range pis {
		p := &vrrpPi{Engine: e, name: fmt.Sprint("pi", i+1), address: fmt.Sprint("172.30.7.1", i+1)}
		p.start(t)
		pis[i] = p
	}
	return e, pis[0], pis[1]
}

// start boots the Pi with its web server, without keepalived.
func (p *vrrpPi) start(t *testing.T) {
	t.Helper()
	p.Docker(t, "run", "--detach", "--name", p.name, "--network", "lan", "--ip", p.address, "--env", "GREETING="+p.name, "brambled/hello:1")
	p.pid = p.Docker(t, "inspect", "--format", "{{.State.Pid}}", p.name)
}

// servedBy waits until a third machine that asks the address is answered by this Pi.
func (p *vrrpPi) servedBy(t *testing.T) {
	t.Helper()
	harness.Eventually(t, p.name+" answers at the virtual address", func() error {
		out, err := p.TryDocker("exec", "client", "busybox", "wget", "-q", "-T", "1", "-O", "-", "http://"+vip+":8080/")
		if err == nil && !strings.HasPrefix(out, p.name+" ") {
			err = fmt.Errorf("the answer is %q", out)
		}
		return err
	})
}

// The virtual address is on one Pi, follows every kind of end, and is taken from nobody who serves.
func TestKeepalived(t *testing.T) {
	t.Parallel()
	e, pi1, pi2 := bootVRRP(t)

	// The first alone, so that it is known who has it; the other would be elected by nothing but its order.
	pi2.keepalived(t)
	pi2.servedBy(t)
	pi1.keepalived(t)
	pi1.says(t, "BACKUP")
	pi2.says(t, "MASTER")
	only(t, pi2, pi1)

	// Stopped, as for an update: the address is taken off and goes to the other.
	e.Docker(t, "stop", pi2.keeper())
	if pi2.holds(t) {
		t.Error("keepalived is stopped and has left the address behind")
	}
	pi1.servedBy(t)
	// It comes back and takes nothing.
	e.Docker(t, "start", pi2.keeper())
	pi2.says(t, "BACKUP")
	only(t, pi1, pi2)
	pi1.servedBy(t)

	// The service beside it is sick: the address leaves, keepalived goes on.
	e.Docker(t, "exec", "client", "busybox", "wget", "-q", "-O", "-", "--post-data", "", "http://"+pi1.address+":8080/sick")
	pi1.says(t, "FAULT")
	pi2.servedBy(t)
	only(t, pi2, pi1)
	e.Docker(t, "restart", pi1.name)
	pi1.pid = e.Docker(t, "inspect", "--format", "{{.State.Pid}}", pi1.name)
	e.Docker(t, "rm", "--force", pi1.keeper())
	pi1.keepalived(t)
	pi1.says(t, "BACKUP")

	// Killed without a word, the service lives on and so does the address: the other takes it, the next keepalived takes it off.
	e.Docker(t, "kill", "--signal", "KILL", pi2.keeper())
	if !pi2.holds(t) {
		t.Error("a killed keepalived has left no address behind: the test tests nothing")
	}
	pi1.says(t, "MASTER")
	pi1.servedBy(t)
	e.Docker(t, "start", pi2.keeper())
	pi2.says(t, "BACKUP")
	only(t, pi1, pi2)

	// The Pi loses its power.
	e.Docker(t, "kill", "--signal", "KILL", pi1.keeper(), pi1.name)
	pi2.servedBy(t)
	e.Docker(t, "rm", "--force", pi1.keeper(), pi1.name)
	pi1.start(t)
	pi1.keepalived(t)
	pi1.says(t, "BACKUP")
	only(t, pi2, pi1)
	pi2.servedBy(t)
}

// only fails unless one has the address and the other has not.
func only(t *testing.T, one, other *vrrpPi) {
	t.Helper()
	if !one.holds(t) || other.holds(t) {
		t.Errorf("%s has the address: %v, %s: %v", one.name, one.holds(t), other.name, other.holds(t))
	}
}

// A setting that is missing or wrong is one line that names it, and nothing starts.
func TestKeepalivedRefuses(t *testing.T) {
	t.Parallel()
	e := harness.StartDockerd(t)
	load(t, e, "keepalived")
	good := map[string]string{"VIP": "10.0.0.50/24", "ADDRESS": "10.0.0.11", "PEERS": "10.0.0.11 10.0.0.12"}
	for _, tt := range []struct{ name, value string }{
		{"VIP", ""},
		{"VIP", "10.0.0.50"},
		{"VIP", "10.0.0.256/24"},
		{"VIP", "10.0.0.11/24"},
		{"VIP", "10.0.0.50/24\n10.0.0.51/24"},
		{"ADDRESS", ""},
		{"ADDRESS", "pi1"},
		{"PEERS", ""},
		{"PEERS", "10.0.0.11"},
		{"PEERS", "10.0.0.12 10.0.0.13"},
		{"PEERS", "10.0.0.11 10.0.0.12 10.0.0.12"},
		{"PEERS", "10.0.0.11 10.0.0.50"},
		{"PEERS", "10.0.0.11 pi2"},
		{"ROUTER_ID", "256"},
		{"STARTUP_DELAY", "soon"},
		{"INTERFACE", "eth0 }"},
		{"CHECK", "http://127.0.0.1/\" }"},
	} {
		args := []string{}
		for name, value := range good {
			if name != tt.name {
				args = append(args, "--env", "KEEPALIVED_"+name+"="+value)
			}
		}
		refused(t, e, "brambled/keepalived:dev", "KEEPALIVED_"+tt.name, tt.value, args...)
	}
}

// refused runs an image with one setting wrong: it must end with 64 and one line that names the setting.
func refused(t *testing.T, e *harness.Engine, image, name, value string, args ...string) {
	t.Helper()
	line := append([]string{"run", "--rm", "--env", name + "=" + value, "--entrypoint", "timeout"}, args...)
	out, err := e.TryDocker(append(line, image, "30", "entrypoint")...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 64 {
		t.Errorf("%s=%q: it ended with %v and said %q, want exit code 64", name, value, err, out)
		return
	}
	_, said, _ := strings.Cut(err.Error(), "\n")
	if out != "" || strings.Contains(strings.ReplaceAll(said, value, ""), "\n") || !strings.Contains(said, name) || !strings.Contains(said, "for example") {
		t.Errorf("%s=%q: it said %q %q, want one line that names it and has an example", name, value, out, said)
	}
}
