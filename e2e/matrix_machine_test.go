//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// bootSmall is a Pi whose state folder is a disk of its own, of so many KiB.
func bootSmall(t *testing.T, kib int) (p *pi, remount func(flags uintptr)) {
	t.Helper()
	dir := harness.Workspace(t, "small")
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=700", kib)); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	p = &pi{top: t, engine: harness.StartDockerd(t), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	p.Brambled = harness.StartBrambled(t, harness.Options{Docker: p.proxy.Host, Consul: p.consul.Address, Dir: dir, Args: []string{"--resync", "5s"}})
	return p, func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", state, "tmpfs", syscall.MS_REMOUNT|flags, fmt.Sprintf("size=%dk,mode=700", kib)); err != nil {
			t.Fatalf("remount: %v", err)
		}
	}
}

// Row 12 of the fault matrix: a state folder that is full or read-only, and a start on each.
func TestMatrixStateDisk(t *testing.T) {
	t.Parallel()
	p, remount := bootSmall(t, 256)
	p.put(t, "web", service("first"))
	p.greets(t, "web-app-1", "first")
	p.state(t, "web", "converged")

	t.Run("12 full", func(t *testing.T) {
		filler := filepath.Join(p.StateDir(), "filler")
		fillUp(t, filler)
		stuckDisk(t, p, "second")
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		mended(t, p, "second")
	})
	t.Run("12 read-only", func(t *testing.T) {
		remount(syscall.MS_RDONLY)
		stuckDisk(t, p, "third")
		remount(0)
		mended(t, p, "third")
	})
	if left, err := filepath.Glob(filepath.Join(p.StateDir(), ".lastgood*")); err != nil || len(left) > 0 {
		t.Errorf("half-written files are left: %v %v", left, err)
	}
}

// stuckDisk edits a stack while the state cannot be written: it takes effect, it is told, and a start on that disk goes well.
func stuckDisk(t *testing.T, p *pi, words string) {
	p.put(t, "web", service(words))
	p.greets(t, "web-app-1", words)
	p.hold(t, "not written")
	p.says(t, []string{"status"}, "not written")
	before := p.runs(t, "web", "web-app-1")
	p.Kill(t)
	p.Again(p.top)
	p.state(t, "web", "converged")
	p.engine.Docker(t, "rm", "-f", "web-app-1")
	p.greets(t, "web-app-1", words)
	if after := p.runs(t, "web", "web-app-1"); after["web-app-1"].ID == before["web-app-1"].ID {
		t.Error("the container was not removed, so nothing was shown")
	}
}

// mended waits until the hold is gone and the newest file is on the disk.
func mended(t *testing.T, p *pi, words string) {
	p.lifted(t)
	harness.Eventually(t, "last-known-good is on disk", func() error {
		files, err := filepath.Glob(filepath.Join(p.StateDir(), "lastgood.*"))
		if err != nil {
			return err
		}
		path := filepath.Join(p.Dir, "inspect.snap")
		if r := p.Run(t, "snapshot", "save", path); r.Code != 0 {
			return fmt.Errorf("save: %s", r.Stderr)
		}
		have := p.Run(t, "snapshot", "inspect", "--from-last-good").Stdout
		if len(files) == 0 || !strings.Contains(have, "web") {
			return fmt.Errorf("files are %v with %s for %s", files, have, words)
		}
		return nil
	})
}

// memoryGroup is a control group with a limit of memory, on either version of control groups.
type memoryGroup struct{ dir, limit, swap string }

func newMemoryGroup(t *testing.T) *memoryGroup {
	t.Helper()
	name := fmt.Sprintf("bt-memory-%d", os.Getpid())
	g := &memoryGroup{dir: filepath.Join("/sys/fs/cgroup/memory", name), limit: "memory.limit_in_bytes", swap: "memory.memsw.limit_in_bytes"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g = &memoryGroup{dir: filepath.Join("/sys/fs/cgroup", name), limit: "memory.max", swap: "memory.swap.max"}
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0o600) // it is most often on
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatalf("make a memory group: %v", err)
	}
	t.Cleanup(func() {
		harness.Eventually(t, "the memory group is empty", func() error { return os.Remove(g.dir) })
	})
	return g
}

func (g *memoryGroup) write(t *testing.T, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0o600); err != nil {
		t.Fatalf("write %s: %v", file, err)
	}
}

// killed is how many processes of the group the kernel has killed for want of memory.
func (g *memoryGroup) killed(t *testing.T) int {
	t.Helper()
	for _, file := range []string{"memory.oom_control", "memory.events"} {
		data, err := os.ReadFile(filepath.Join(g.dir, file))
		if m := regexp.MustCompile(`(?m)^oom_kill (\d+)$`).FindSubmatch(data); err == nil && m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			return n
		}
	}
	t.Fatal("the kernel does not count what it kills")
	return 0
}

// Row 39 of the fault matrix: the kernel kills the daemon for want of memory. It works within a bound that a Pi can give; and
// when it is killed all the same, what runs goes on and the next start finds it.
func TestMatrixMemory(t *testing.T) {
	t.Parallel()
	g := newMemoryGroup(t)
	g.write(t, g.limit, "64M")
	p := boot(t)
	p.put(t, "web", service("good day"))
	before := p.runs(t, "web", "web-app-1")
	p.Kill(t)
	p.Wrap = []string{"sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, g.dir}
	p.Again(p.top)
	for i := range 20 {
		p.put(t, fmt.Sprintf("many%d", i), "x-brambled: { nodes: all }\nservices:\n  app: { image: \"brambled/hello:1\" }\n")
	}
	for i := range 20 {
		p.state(t, fmt.Sprintf("many%d", i), "converged")
	}
	if n := g.killed(t); n > 0 {
		t.Errorf("64 MiB do not suffice for 21 stacks: killed %d times", n)
	}
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")

	g.write(t, "cgroup.procs", strconv.Itoa(p.PID()))
	squeeze(t, g, p)
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	p.Again(p.top)
	p.state(t, "web", "converged")
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
}

// squeeze fills the group's memory with a neighbour until the kernel kills the daemon, then gives the memory back.
func squeeze(t *testing.T, g *memoryGroup, p *pi) {
	t.Helper()
	// The one that asks for more is not the one that dies: the daemon is the only process, and the limit comes down to it.
	for limit := 32; limit > 0; limit /= 2 {
		_ = os.WriteFile(filepath.Join(g.dir, g.limit), []byte(fmt.Sprintf("%dM", limit)), 0o600) // refused while it cannot be met
		_, _ = p.Fetch("/metrics")
		if ended, _ := p.Exited(); ended {
			break
		}
	}
	harness.Eventually(t, "the kernel kills the daemon", func() error {
		_ = os.WriteFile(filepath.Join(g.dir, g.limit), []byte("1M"), 0o600)
		_, _ = p.Fetch("/metrics")
		if ended, _ := p.Exited(); !ended {
			return fmt.Errorf("it lives")
		}
		return nil
	})
	if g.killed(t) == 0 {
		t.Error("the daemon ended for another reason")
	}
	g.write(t, g.limit, "64M")
}

// dates are what the engine says of times.
var dates = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT`)

// Row 29 of the fault matrix: an engine whose clock is in 1970, or fifty years ahead, or jumps between two answers. Nothing
// is made anew because of it, and repairs go on. (The daemon itself asks no date: TestNothingIsDecidedByTheDate.)
func TestMatrixClock(t *testing.T) {
	t.Parallel()
	m := bootMatrix(t, nil, harness.Options{})
	m.put(t, "web", twoServices)
	before := m.runs(t, "web", "web-app-1", "web-db-1")
	m.state(t, "web", "converged")
	for _, year := range []string{"1970", "2076", "0001"} {
		t.Run("29 the engine's year is "+year, func(t *testing.T) {
			m.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
				if r.Method != http.MethodGet || filepath.Base(r.URL.Path) == "events" {
					engine.ServeHTTP(w, r)
					return
				}
				rec := httptest.NewRecorder()
				engine.ServeHTTP(rec, r)
				body := dates.ReplaceAll(rec.Body.Bytes(), []byte(year+"-01-01T"))
				rec.Header().Del("Content-Length")
				maps.Copy(w.Header(), rec.Header())
				w.WriteHeader(rec.Code)
				_, _ = bytes.NewReader(body).WriteTo(w)
			})
			defer m.proxy.Play(nil)
			m.proxy.Forget()
			m.Kill(t)
			m.Again(m.top)
			m.state(t, "web", "converged")
			n := m.passes(t)
			harness.Eventually(t, "three more passes", func() error {
				if now := m.passes(t); now < n+3 {
					return fmt.Errorf("%d of %d", now-n, 3)
				}
				return nil
			})
			if calls := m.proxy.Mutating(); len(calls) > 0 {
				t.Errorf("something was changed: %v", calls)
			}
			m.engine.Docker(t, "rm", "-f", "web-app-1")
			m.runs(t, "web", "web-app-1", "web-db-1")
			same(t, before, m.containers(t, "web"), "web-db-1")
			m.state(t, "web", "converged")
		})
	}
}
