//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/failpoint"
)

// watchdog is how long the daemon may say nothing in this test; the unit gives it 30 s.
const watchdog = 4 * time.Second

// supervisor plays systemd's part of Type=notify, WatchdogSec= and Restart=always: it listens on the notify socket, and kills
// a daemon that has not fed the watchdog for its time. The machines that run these tests have no systemd as process 1.
type supervisor struct {
	socket string
	conn   *net.UnixConn
	guards sync.WaitGroup

	pings, expired atomic.Int64
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	s := &supervisor{socket: filepath.Join(harness.Workspace(t, "notify"), "notify.sock")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		t.Fatalf("listen on notify socket: %v", err)
	}
	s.conn = conn
	t.Cleanup(func() {
		_ = conn.Close()
		s.guards.Wait()
	})
	return s
}

func (s *supervisor) env() []string {
	return []string{"NOTIFY_SOCKET=" + s.socket, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds())}
}

// start starts the daemon and guards it.
func (s *supervisor) start(t *testing.T, b *harness.Brambled, env ...string) {
	t.Helper()
	b.Launch(t, env...)
	p := b.Process
	s.guards.Go(func() { s.guard(t, p) })
}

// guard reads what a process says until it is dead, and kills it when the watchdog runs out. The time begins with READY=1.
func (s *supervisor) guard(t *testing.T, p *harness.Process) {
	buf := make([]byte, 4096)
	for ready := false; ; {
		if err := s.conn.SetReadDeadline(time.Now().Add(watchdog)); err != nil {
			return
		}
		n, err := s.conn.Read(buf)
		said := string(buf[:n])
		ended, _ := p.Exited()
		switch {
		case ended || err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil && ready:
			s.expired.Add(1)
			p.Signal(t, os.Kill)
			return
		case strings.Contains(said, "READY=1"):
			ready = true
		case strings.Contains(said, "WATCHDOG=1"):
			s.pings.Add(1)
		}
	}
}

// feeds waits until the watchdog was fed some times more, and expects that it has run out no more often than it should.
func (s *supervisor) feeds(t *testing.T, expired int64) {
	t.Helper()
	goal := s.pings.Load() + 4
	harness.Eventually(t, "the watchdog is fed", func() error {
		if n := s.pings.Load(); n < goal {
			return fmt.Errorf("%d times, want %d", n, goal)
		}
		return nil
	})
	if n := s.expired.Load(); n != expired {
		t.Errorf("the watchdog ran out %d times, want %d", n, expired)
	}
}

// Row 40 of the fault matrix: a loop that hangs feeds the watchdog no more, is killed for it, and the next start is clean. One
// that is idle, or at work, feeds it.
func TestCrashWatchdog(t *testing.T) {
	t.Parallel()
	unit := readFile(t, filepath.Join(harness.Root(t), "deploy/systemd/brambled.service"))
	for _, line := range []string{"Type=notify", "WatchdogSec=30s", "Restart=always"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no %s", line)
		}
	}
	s := newSupervisor(t)
	p := &pi{top: t, engine: harness.StartDockerd(t), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.Brambled = harness.NewBrambled(t, harness.Options{Docker: p.engine.Host, Consul: p.consul.Address, Env: s.env(), Failpoints: true})
	s.start(t, p.Brambled)
	s.feeds(t, 0)
	p.put(t, "web", small)
	before := p.runs(t, "web", "web-app-1")
	s.feeds(t, 0)
	p.Kill(t)
	s.guards.Wait()

	s.start(t, p.Brambled, "BRAMBLED_FAILPOINT="+string(failpoint.PassPlanned)+":hang")
	p.put(t, "more", small)
	harness.Eventually(t, "the daemon that hangs is killed", func() error {
		if s.expired.Load() == 0 {
			return errors.New("the watchdog has not run out")
		}
		died, err := p.Killed()
		if !died {
			return errors.New("it is about to be killed")
		}
		return err
	})
	if log := readFile(t, p.Log); !strings.Contains(log, string(failpoint.PassPlanned)+" hangs") {
		t.Error("it was killed before it came to the point at which it hangs")
	}
	if got := p.containers(t, "more"); len(got) > 0 {
		t.Errorf("a loop that hangs has made %v", got)
	}

	s.guards.Wait()
	s.start(t, p.Brambled)
	p.runs(t, "more", "more-app-1")
	p.state(t, "web", "converged")
	same(t, before, p.runs(t, "web", "web-app-1"), "web-app-1")
	s.feeds(t, 1)
}
