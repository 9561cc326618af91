package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Root is the repository's root folder, found from the working directory that go test sets.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find working directory: %v", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil &&
			strings.HasPrefix(string(mod), "module github.com/brambled/brambled\n") {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("find repository: no go.mod of brambled in any parent folder")
		}
	}
}

// Script is the path of one of the repository's helper scripts.
func Script(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Root(t), "scripts", name)
}

// Workspace makes a short-named folder for a test. t.TempDir is too deep for the sockets that live here: a
// unix socket's path ends at 108 bytes. The folder is removed when the test passes and named when it fails.
func Workspace(t testing.TB, name string) string {
	t.Helper()
	parent := os.Getenv("BRAMBLED_TEST_ARTIFACTS")
	if parent != "" {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatalf("make artefact folder: %v", err)
		}
	}
	dir, err := os.MkdirTemp(parent, "bt-"+name+"-") //nolint:usetesting // t.TempDir is too deep for a socket, and gone when a test has failed
	if err != nil {
		t.Fatalf("make workspace: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for a look at what went wrong: %s", dir)
		} else if parent == "" {
			if err := os.RemoveAll(dir); err != nil {
				t.Errorf("remove workspace: %v", err)
			}
		}
	})
	return dir
}

// Tail is the end of a file, for failure messages.
func Tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// patience is how long Eventually waits. It is far above every target in the design: a test fails on it only
// when the thing does not happen at all, and times are measured by benchmarks. On a machine with two busy cores one fault after
// another, such as Consul's and Swarm's leader losing power together, needs more than a minute of it.
const patience = 3 * time.Minute

// Eventually polls until check returns nil, and fails the test with its last error at the deadline.
func Eventually(t testing.TB, desc string, check func() error) {
	t.Helper()
	Within(t, patience, desc, check)
}

// Within is Eventually with a deadline of its own, for what is known to be slow.
func Within(t testing.TB, limit time.Duration, desc string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", desc, limit, err)
		}
		<-tick.C
	}
}

// lockedBuffer collects output that a process writes while the test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends to the buffer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(p)
	if err != nil {
		return n, fmt.Errorf("keep output: %w", err)
	}
	return n, nil
}

// String is what was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
