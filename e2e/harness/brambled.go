package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Options says how a brambled under test is started. The zero value of each field is a sensible default.
type Options struct {
	// Node is the node's name; "pi1" when empty.
	Node string
	// Docker is the engine's address as DOCKER_HOST takes it, most often a Proxy's Host.
	Docker string
	// Consul is host:port of the Consul agent.
	Consul string
	// Prefix is the KV prefix; brambled's own default when empty.
	Prefix string
	// Address is the node's address; an address of the test networks when empty, as loopback is refused.
	Address string
	// Dir is the home of state and manifests; a new one when empty. Give the first instance's to a second.
	Dir string
	// Args are added after all others, Env to the environment.
	Args, Env []string
	// Failpoints has a daemon started that can be armed: see pkg/failpoint.
	Failpoints bool
}

// Brambled is a running daemon.
type Brambled struct {
	*Process
	// URL is the root of its HTTP server.
	URL string
	// Dir holds StateDir, ManifestsDir and the log.
	Dir string
	// Args are the flags that every command of this instance takes.
	Args []string
	// Wrap stands before the daemon's own command line at the next Again.
	Wrap   []string
	binary string
	env    []string
}

// StateDir is where the instance keeps its last-known-good.
func (b *Brambled) StateDir() string { return filepath.Join(b.Dir, "state") }

// ManifestsDir is the folder of the static tier.
func (b *Brambled) ManifestsDir() string { return filepath.Join(b.Dir, "manifests") }

// StartBrambled starts `brambled run` and waits until its HTTP server answers.
func StartBrambled(t testing.TB, opts Options) *Brambled {
	t.Helper()
	b := NewBrambled(t, opts)
	b.Again(t)
	return b
}

// NewBrambled prepares a daemon and starts nothing: Again and Launch do.
func NewBrambled(t testing.TB, opts Options) *Brambled {
	t.Helper()
	b := &Brambled{Dir: opts.Dir, env: opts.Env}
	if opts.Failpoints {
		b.binary = buildTo(t, &armed, "brambled-failpoint", "-tags", "failpoint")
	} else {
		b.binary = BuildBrambled(t)
	}
	if b.Dir == "" {
		b.Dir = Workspace(t, "brambled")
	}
	for _, dir := range []string{b.StateDir(), b.ManifestsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatalf("make folder of brambled: %v", err)
		}
	}
	listen := fmt.Sprintf("127.0.0.1:%d", FreePorts(t, 1)[0])
	b.URL = "http://" + listen
	// An empty file of settings keeps the machine's own /etc/brambled/brambled.yaml out.
	settings := filepath.Join(b.Dir, "brambled.yaml")
	if err := os.WriteFile(settings, []byte("{}\n"), 0o600); err != nil {
		t.Fatalf("write settings: %v", err)
	}
	b.Args = append(flags(opts), "--config", settings, "--state-dir", b.StateDir(), "--manifests-dir", b.ManifestsDir(), "--listen", listen)
	b.Args = append(b.Args, opts.Args...)
	return b
}

func flags(opts Options) []string {
	args := []string{"--node", orElse(opts.Node, "pi1"), "--address", orElse(opts.Address, "198.18.255.1")}
	for _, flag := range [][2]string{
		{"--docker-host", opts.Docker}, {"--consul-address", opts.Consul}, {"--prefix", opts.Prefix},
	} {
		if flag[1] != "" {
			args = append(args, flag[0], flag[1])
		}
	}
	return args
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// Again starts the daemon, at first or after Kill or Term, with the same flags and folders.
func (b *Brambled) Again(t testing.TB) {
	t.Helper()
	b.Launch(t)
	Eventually(t, "brambled serves HTTP", func() error {
		if err := b.alive(); err != nil {
			t.Fatalf("start brambled: %v", err)
		}
		_, err := b.Fetch("/metrics")
		return err
	})
}

// Launch is Again for a daemon that may not live to serve: it waits for nothing. Env is added to the environment of this one
// process.
func (b *Brambled) Launch(t testing.TB, env ...string) {
	t.Helper()
	line := slices.Concat(b.Wrap, []string{b.binary, "run"}, b.Args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(append(os.Environ(), b.env...), env...)
	if b.Process != nil {
		b.replaced = true
	}
	b.Process = startProcess(t, b.Dir, "brambled", cmd)
}

// Fetch reads a path of the daemon's HTTP server; anything but 200 is an error.
func (b *Brambled) Fetch(path string) (string, error) { return Fetch(b.URL + path) }

// Fetch reads a URL; anything but 200 is an error.
func Fetch(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", fmt.Errorf("fetch: %w", err)
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", fmt.Errorf("fetch %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return string(data), fmt.Errorf("fetch %s: %s: %s", url, resp.Status, strings.TrimSpace(string(data)))
	}
	return string(data), nil
}

// Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs another command of brambled with the instance's flags: Run(t, "status", "web").
func (b *Brambled) Run(t testing.TB, args ...string) Result {
	t.Helper()
	stdout, stderr := &lockedBuffer{}, &lockedBuffer{}
	cmd := exec.Command(b.binary, append(args, b.Args...)...)
	cmd.Env = append(os.Environ(), b.env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("run brambled %s: %v", strings.Join(args, " "), err)
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// build makes the binary once per test process.
type build struct {
	once sync.Once
	path string
	err  error
}

var theBuild, armed build

// BuildBrambled builds the daemon once, into bin/, and returns its path.
func BuildBrambled(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("BRAMBLED_TEST_BINARY"); path != "" {
		return path
	}
	return buildTo(t, &theBuild, "brambled-e2e")
}

func buildTo(t testing.TB, b *build, name string, flags ...string) string {
	t.Helper()
	root := Root(t)
	b.once.Do(func() {
		// Several test processes build at once: each into a file of its own, the rename is atomic and leaves
		// a binary that already runs alone.
		b.path = filepath.Join(root, "bin", name)
		part := fmt.Sprintf("%s.%d", b.path, os.Getpid())
		cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", part, "./cmd/brambled")...)
		cmd.Dir = root
		if _, b.err = output(cmd); b.err == nil {
			b.err = os.Rename(part, b.path)
		}
	})
	if b.err != nil {
		t.Fatalf("build brambled: %v", b.err)
	}
	return b.path
}
