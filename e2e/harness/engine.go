package harness

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Engine is a Docker Engine for tests.
type Engine struct {
	// Host is its address as DOCKER_HOST takes it, Socket the file behind it.
	Host, Socket string
	// Address is where published ports and host-network containers are reached from the test.
	Address string
	// Gateway is the test's machine as containers see it.
	Gateway string
	// Namespace is the file of its network namespace, for nsenter --net=; empty for a borrowed engine.
	Namespace string
	// Dir holds its data and its logs; empty for a borrowed engine.
	Dir string
}

// StartDockerd starts a Docker Engine of its own for this test, in a network namespace of its own: tests run
// side by side, publish the same ports and never meet the machine's engine. Flags are added to dockerd's.
func StartDockerd(t testing.TB, flags ...string) *Engine {
	t.Helper()
	if host := os.Getenv("BRAMBLED_TEST_DOCKER_HOST"); host != "" {
		return borrowEngine(host)
	}
	dir := Workspace(t, "engine")
	// The script ends the engine when its standard input closes, and that happens however this process ends.
	cmd := exec.Command(Script(t, "dockerd"), "run", dir)
	cmd.Env = append(os.Environ(), "BRAMBLED_DOCKERD_FLAGS="+strings.Join(flags, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("connect to dockerd script: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("connect to dockerd script: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start dockerd script: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(lifeline.Close(), cmd.Wait()); err != nil {
			t.Errorf("stop dockerd: %v\n%s", err, stderr)
		}
		if t.Failed() {
			t.Logf("the end of dockerd's log:\n%s", Tail(dir+"/dockerd.log", 15))
		}
	})
	engine := readEngine(stdout)
	if engine.Host == "" {
		t.Fatalf("start dockerd: %s\n%s", stderr, Tail(dir+"/dockerd.log", 20))
	}
	engine.Dir = dir
	return engine
}

// readEngine reads the settings that the script prints once the engine answers.
func readEngine(stdout io.Reader) *Engine {
	engine := &Engine{}
	lines := bufio.NewScanner(stdout)
	for engine.Namespace == "" && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch name {
		case "DOCKER_HOST":
			engine.Host, engine.Socket = value, strings.TrimPrefix(value, "unix://")
		case "ENGINE_ADDRESS":
			engine.Address = value
		case "ENGINE_GATEWAY":
			engine.Gateway = value
		case "ENGINE_NETNS":
			engine.Namespace = value
		}
	}
	return engine
}

func borrowEngine(host string) *Engine {
	address := os.Getenv("BRAMBLED_TEST_DOCKER_ADDRESS")
	if address == "" {
		address = "127.0.0.1"
	}
	return &Engine{Host: host, Socket: strings.TrimPrefix(host, "unix://"), Address: address, Gateway: address}
}

// Docker runs the docker command against the engine and returns its trimmed standard output.
func (e *Engine) Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := e.TryDocker(args...)
	if err != nil {
		t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// TryDocker is Docker for commands that may fail; the error carries standard error.
func (e *Engine) TryDocker(args ...string) (string, error) {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	return output(cmd)
}

// Compose runs Docker Compose v2 against the engine and returns its trimmed standard output.
func (e *Engine) Compose(t testing.TB, args ...string) string {
	t.Helper()
	command, err := output(exec.Command(Script(t, "docker-compose")))
	if err != nil {
		t.Fatalf("get docker compose: %v", err)
	}
	words := append(strings.Fields(command), args...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	out, err := output(cmd)
	if err != nil {
		t.Fatalf("docker compose %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// output runs a command and returns its trimmed standard output; the error carries standard error.
func output(cmd *exec.Cmd) (string, error) {
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
	}
	return strings.TrimSpace(string(out)), err
}

// LoadHello builds the hello image and loads it as brambled/hello:1 and brambled/hello:2.
func (e *Engine) LoadHello(t testing.TB) {
	t.Helper()
	cmd := exec.Command(Script(t, "hello"))
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	if _, err := output(cmd); err != nil {
		t.Fatalf("load hello image: %v", err)
	}
}

// Kill kills dockerd as a crash would. Its containers go on running until Again.
func (e *Engine) Kill(t testing.TB) { t.Helper(); e.script(t, "kill") }

// Again starts dockerd after Kill, on the same data. Without --live-restore it ends the containers that
// outlived it and starts those whose restart policy says so, as after every crash of dockerd.
func (e *Engine) Again(t testing.TB, flags ...string) {
	t.Helper()
	e.script(t, "again", flags...)
}

func (e *Engine) script(t testing.TB, verb string, flags ...string) {
	t.Helper()
	if e.Dir == "" {
		t.Fatalf("%s dockerd: the engine of BRAMBLED_TEST_DOCKER_HOST is not this test's", verb)
	}
	cmd := exec.Command(Script(t, "dockerd"), verb, e.Dir)
	cmd.Env = append(os.Environ(), "BRAMBLED_DOCKERD_FLAGS="+strings.Join(flags, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s dockerd: %v\n%s", verb, err, out)
	}
}
