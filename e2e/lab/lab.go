package lab

import (
	"bufio"
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

// Lab is a cluster of Pis.
type Lab struct {
	// Pis are its machines: pi1 is the first.
	Pis []*Pi
	// Dir is its folder, which BRAMBLED_LAB names for scripts/lab.
	Dir    string
	script string
}

// Start boots n Pis, three at least, and returns when brambled answers on each. They are removed when the test ends.
func Start(t testing.TB, n int) *Lab { t.Helper(); return start(t, n) }

// StartBlank is Start without any Consul and without images: brambled runs on each Pi and knows of nobody.
func StartBlank(t testing.TB, n int) *Lab { t.Helper(); return start(t, n, "blank") }

func start(t testing.TB, n int, kind ...string) *Lab {
	t.Helper()
	l := &Lab{Dir: harness.Workspace(t, "lab"), script: harness.Script(t, "lab")}
	for i := range n {
		l.Pis = append(l.Pis, &Pi{Name: fmt.Sprintf("pi%d", i+1), lab: l})
	}
	stderr, err := os.Create(filepath.Join(l.Dir, "lab.log"))
	if err != nil {
		t.Fatalf("make log of lab: %v", err)
	}
	defer stderr.Close() //nolint:errcheck // the script has the file too, this end writes nothing
	// The script removes the lab when its standard input closes, and that happens however this process ends.
	cmd := exec.Command(l.script, append([]string{"run", l.Dir, fmt.Sprint(n)}, kind...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = stderr
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("connect to lab: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("connect to lab: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start lab: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(lifeline.Close(), cmd.Wait()); err != nil {
			t.Errorf("remove lab: %v\n%s", err, harness.Tail(stderr.Name(), 20))
		}
	})
	if word, err := bufio.NewReader(stdout).ReadString('\n'); word != "ready\n" {
		t.Fatalf("start lab: %v\n%s", err, harness.Tail(stderr.Name(), 20))
	}
	return l
}

// Pi finds a Pi by its name.
func (l *Lab) Pi(t testing.TB, name string) *Pi {
	t.Helper()
	for _, p := range l.Pis {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no Pi %q in the lab", name)
	return nil
}

// ConsulLeader is the Pi that leads Consul now, as another one sees it.
func (l *Lab) ConsulLeader(t testing.TB) *Pi {
	t.Helper()
	var leader *Pi
	harness.Eventually(t, "Consul has a leader", func() error {
		out, err := l.Pis[0].Try("consul", "operator", "raft", "list-peers")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "leader" {
				leader = l.Pi(t, f[0])
				return nil
			}
		}
		return fmt.Errorf("none leads:\n%s", out)
	})
	return leader
}

// Visitor is a command on a machine of its own on the lab's LAN, 192.168.77.200: a client, with none of the Pis' files or rights.
func (l *Lab) Visitor(command ...string) *exec.Cmd {
	cmd := exec.Command(l.script, append([]string{"visit"}, command...)...)
	cmd.Env = append(os.Environ(), "BRAMBLED_LAB="+l.Dir)
	return cmd
}

// Package builds the package under another version and returns its path.
func (l *Lab) Package(t testing.TB, version string) string {
	t.Helper()
	cmd := exec.Command(harness.Script(t, "deb"))
	cmd.Env = append(os.Environ(), "VERSION="+version)
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build package %s: %v\n%s", version, err, stderr)
	}
	path := filepath.Join(harness.Root(t), strings.TrimSpace(string(out)))
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
	return path
}

// LeadConsul has a Pi, which is one of Consul's servers, lead Consul.
func (l *Lab) LeadConsul(t testing.TB, p *Pi) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(l.Dir, "secrets", "management"))
	if err != nil {
		t.Fatalf("read token of lab: %v", err)
	}
	harness.Eventually(t, p.Name+" leads Consul", func() error {
		now := l.ConsulLeader(t)
		if now == p {
			return nil
		}
		for line := range strings.Lines(now.Run(t, "consul", "operator", "raft", "list-peers")) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == p.Name {
				_, err = p.Try("env", "CONSUL_HTTP_TOKEN="+strings.TrimSpace(string(token)), "consul", "operator", "raft", "transfer-leader", "-id", f[1])
			}
		}
		return errors.Join(err, fmt.Errorf("%s does", now.Name))
	})
}

// Swarm forms a Swarm of the first three Pis, all managers, and returns when each is Ready. Services in it need endpoint_mode
// dnsrr and ports in host mode where the machine's kernel has no IP_VS.
func (l *Lab) Swarm(t testing.TB) {
	t.Helper()
	first := l.Pis[0]
	first.Run(t, "docker", "swarm", "init", "--advertise-addr", first.Address())
	token := first.Run(t, "docker", "swarm", "join-token", "-q", "manager")
	for _, p := range l.Pis[1:3] {
		p.Run(t, "docker", "swarm", "join", "--token", token, "--advertise-addr", p.Address(), first.Address())
	}
	harness.Eventually(t, "three Swarm managers are ready", func() error {
		out, err := first.Try("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
		if err != nil {
			return err
		}
		ready := strings.Count(out, " Ready Reachable") + strings.Count(out, " Ready Leader")
		if ready != 3 {
			return fmt.Errorf("they are\n%s", out)
		}
		return nil
	})
}

// AtOnce cuts the power of all Pis, then gives it back to all at the same moment.
func (l *Lab) AtOnce(t testing.TB) {
	t.Helper()
	for _, verb := range []string{"kill", "boot"} {
		errs := make(chan error, len(l.Pis))
		for _, p := range l.Pis {
			go func() { errs <- l.try(verb, p.Name) }()
		}
		var all error
		for range l.Pis {
			all = errors.Join(all, <-errs)
		}
		if all != nil {
			t.Fatal(all)
		}
	}
}

// do has the script act on a Pi.
func (l *Lab) do(t testing.TB, verb, pi string) {
	t.Helper()
	if err := l.try(verb, pi); err != nil {
		t.Fatal(err)
	}
}

func (l *Lab) try(verb, pi string) error {
	cmd := exec.Command(l.script, verb, pi)
	cmd.Env = append(os.Environ(), "BRAMBLED_LAB="+l.Dir)
	log, err := os.OpenFile(filepath.Join(l.Dir, "lab.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of lab: %w", err)
	}
	defer log.Close() //nolint:errcheck // written by the script
	// A file, not a pipe: the machine that boots keeps its end, and a pipe would be waited for until it ends.
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C at the terminal is for the test to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", verb, pi, err, harness.Tail(log.Name(), 10))
	}
	return nil
}
