package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// Pi is one machine of the lab.
type Pi struct {
	// Name is its host name, and its node's name in Consul and brambled.
	Name string
	lab  *Lab
}

// Address is the Pi's address on the lab's LAN.
func (p *Pi) Address() string { return "192.168.77.1" + strings.TrimPrefix(p.Name, "pi") }

// Run runs a command as root on the Pi and returns its trimmed standard output. The command has an operator's Consul token.
func (p *Pi) Run(t testing.TB, command ...string) string {
	t.Helper()
	out, err := p.Try(command...)
	if err != nil {
		t.Fatalf("%s on %s: %v", strings.Join(command, " "), p.Name, err)
	}
	return out
}

// Try is Run for commands that may fail; the error carries standard error.
func (p *Pi) Try(command ...string) (string, error) { return p.feed("", command...) }

// feed is Try with standard input.
func (p *Pi) feed(input string, command ...string) (string, error) {
	cmd := exec.Command(p.lab.script, append([]string{"enter", p.Name}, command...)...)
	cmd.Env = append(os.Environ(), "BRAMBLED_LAB="+p.lab.Dir)
	stdout, stderr := &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), stdout, stderr
	err := cmd.Run()
	if err != nil {
		err = errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
	}
	return strings.TrimSpace(stdout.String()), err
}

// Consul runs the consul command on the Pi.
func (p *Pi) Consul(t testing.TB, args ...string) string {
	t.Helper()
	return p.Run(t, append([]string{"consul"}, args...)...)
}

// Put writes a key with `consul kv put` on the Pi, and tries again while Consul has no leader. One that was on its way to a leader
// which lost power is given up: Consul itself finds that out after 35 s, by the keep-alive of its connection.
func (p *Pi) Put(t testing.TB, key, value string) {
	t.Helper()
	harness.Eventually(t, "put of "+key+" on "+p.Name, func() error {
		_, err := p.feed(value, "timeout", "5", "consul", "kv", "put", key, "-")
		return err
	})
}

// Write writes a file of the Pi, and its folder where that is missing.
func (p *Pi) Write(path, content string) error {
	_, err := p.feed(content, "sh", "-c", `mkdir -p "$(dirname "$0")" && cat >"$0"`, path)
	return err
}

// HTTP reads a path of the Pi's brambled; anything but 200 is an error.
func (p *Pi) HTTP(path string) (string, error) { return p.Get(":9746" + path) }

// Get reads a URL's port and path, ":8080/", from the Pi itself; anything but 200 is an error.
func (p *Pi) Get(target string) (string, error) {
	return p.Try("curl", "-sSf", "--max-time", "5", "http://127.0.0.1"+target)
}

// PowerCut takes the Pi's power away: every process ends at once, nothing is said to anybody. What a real SD card had not yet
// written is not lost here.
func (p *Pi) PowerCut(t testing.TB) { t.Helper(); p.lab.do(t, "kill", p.Name) }

// Boot gives the power back after PowerCut. It returns when the Pi's systemd runs, not when its services do.
func (p *Pi) Boot(t testing.TB) { t.Helper(); p.lab.do(t, "boot", p.Name) }

// Cut pulls the network cable: the Pi sees that it is out.
func (p *Pi) Cut(t testing.TB) { t.Helper(); p.lab.do(t, "cut", p.Name) }

// Mute drops every packet of the Pi in both directions, which the Pi does not see: connections hang and nothing is refused. It is
// forgotten when the Pi is mended.
func (p *Pi) Mute(t testing.TB) { t.Helper(); p.lab.do(t, "mute", p.Name) }

// Deafen drops every packet that comes to the Pi, without a word; what it says is heard. Mend ends it.
func (p *Pi) Deafen(t testing.TB) { t.Helper(); p.lab.do(t, "deafen", p.Name) }

// Weaken makes the Pi's line a bad one: a fifth of its packets is lost in each direction, what it sends goes at 1 Mbit/s.
func (p *Pi) Weaken(t testing.TB) { t.Helper(); p.lab.do(t, "weaken", p.Name) }

// Mend ends Cut, Mute, Deafen and Weaken.
func (p *Pi) Mend(t testing.TB) { t.Helper(); p.lab.do(t, "mend", p.Name) }

// Pause freezes the main process of one of the Pi's services, SIGSTOP, until Resume.
func (p *Pi) Pause(t testing.TB, service string) { t.Helper(); p.signal(t, service, syscall.SIGSTOP) }

// Resume lets a service that Pause froze go on.
func (p *Pi) Resume(t testing.TB, service string) { t.Helper(); p.signal(t, service, syscall.SIGCONT) }

func (p *Pi) signal(t testing.TB, service string, sig syscall.Signal) {
	t.Helper()
	p.Run(t, "systemctl", "kill", "--kill-whom=main", fmt.Sprintf("--signal=%d", sig), service)
}

// MainPID is the process id of a service's main process, as the Pi sees it; "0" where it does not run.
func (p *Pi) MainPID(t testing.TB, service string) string {
	t.Helper()
	return p.Run(t, "systemctl", "show", "-P", "MainPID", service)
}

// Docker is the Pi's engine for a look from outside. It is good until the Pi's power is cut.
func (p *Pi) Docker(t testing.TB) *harness.Engine {
	t.Helper()
	leader, err := os.ReadFile(filepath.Join(p.lab.Dir, p.Name, "leader"))
	if err != nil {
		t.Fatalf("find %s: %v", p.Name, err)
	}
	socket := fmt.Sprintf("/proc/%s/root/run/docker.sock", strings.TrimSpace(string(leader)))
	return &harness.Engine{Host: "unix://" + socket, Socket: socket, Address: p.Address()}
}

// Install installs a package on the Pi, as an upgrade of what is there.
func (p *Pi) Install(t testing.TB, deb string) {
	t.Helper()
	content, err := os.ReadFile(deb)
	if err == nil {
		err = os.WriteFile(filepath.Join(p.lab.Dir, p.Name, "root/root/next.deb"), content, 0o600)
	}
	if err != nil {
		t.Fatalf("bring %s to %s: %v", deb, p.Name, err)
	}
	p.Run(t, "dpkg", "--force-confold", "-i", "/root/next.deb")
}

// Reimage gives the Pi, while it has no power, a new card: what its engine, Consul and brambled have kept is gone, what a person put
// on the card (settings, tokens, packages) is there again.
func (p *Pi) Reimage(t testing.TB) {
	t.Helper()
	home := filepath.Join(p.lab.Dir, p.Name)
	for _, dir := range []string{"docker", "containerd", "root/var/lib/consul", "root/var/lib/brambled"} {
		entries, err := os.ReadDir(filepath.Join(home, dir))
		if err != nil {
			t.Fatalf("give %s a new card: %v", p.Name, err)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(home, dir, e.Name())); err != nil {
				t.Fatalf("give %s a new card: %v", p.Name, err)
			}
		}
	}
}
