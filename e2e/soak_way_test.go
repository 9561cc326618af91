//go:build e2e

package e2e

import (
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// faults are all kinds of trouble.
func faults() []fault {
	all := ways("engine", func(s *soak) *harness.Proxy { return s.proxy }, engineErrors)
	all = append(all, ways("Consul", func(s *soak) *harness.Proxy { return s.way }, consulErrors)...)
	all = append(all, processFaults()...)
	all = append(all, storeFaults()...)
	all = append(all, userFaults()...)
	return append(all, personFaults()...)
}

var engineErrors = []harness.Fault{
	harness.Answer(http.StatusInternalServerError, `{"message":"an error of the test"}`),
	harness.Answer(http.StatusTooManyRequests, `{"message":"too many requests"}`),
	harness.Answer(http.StatusServiceUnavailable, `{"message":"not now"}`),
}

var consulErrors = []harness.Fault{
	harness.Answer(http.StatusInternalServerError, "rpc error making call: No cluster leader"),
	harness.Answer(http.StatusInternalServerError, "an error of the test"),
	harness.Answer(http.StatusForbidden, "Permission denied: token with AccessorID 'x' lacks permission 'key:read'"),
	harness.Answer(http.StatusTooManyRequests, "rate limit exceeded, try again later"),
	harness.Answer(http.StatusServiceUnavailable, "Your IP is issuing too many concurrent connections"),
}

// ways are the troubles of a connection: the same to the engine and to Consul.
func ways(to string, proxy func(*soak) *harness.Proxy, errors []harness.Fault) []fault {
	always := func(*http.Request) bool { return true }
	broken := func(kind string, match func(*http.Request) bool, f func(*soak) harness.Fault) fault {
		return fault{kind: to + ": " + kind, group: "way to " + to, strike: func(s *soak) func() {
			p := proxy(s)
			p.Break(harness.Only(s.fitful(match), f(s)))
			p.CutStreams()
			return func() { p.Break(nil) }
		}}
	}
	just := func(f harness.Fault) func(*soak) harness.Fault { return func(*soak) harness.Fault { return f } }
	return []fault{
		{kind: to + ": connections refused", group: "way to " + to, strike: func(s *soak) func() {
			proxy(s).Down(s.top)
			return func() { proxy(s).Up(s.top) }
		}},
		broken("requests lost", always, just(harness.LoseRequest)),
		broken("replies lost", always, just(harness.LoseReply)),
		broken("replies of changes lost", harness.Changing, just(harness.LoseReply)),
		broken("answers cut in the middle", always, just(harness.Truncate)),
		broken("silence", always, just(harness.Hang)),
		broken("streams cut", harness.Streaming, just(harness.LoseRequest)),
		broken("streams silent", harness.Streaming, just(harness.Mute)),
		broken("errors", always, func(s *soak) harness.Fault { return errors[s.rng.IntN(len(errors))] }),
		broken("delay", always, func(s *soak) harness.Fault {
			return harness.Delay(time.Duration(50+s.rng.IntN(1500)) * time.Millisecond)
		}),
	}
}

// fitful lets a fault meet every request that matches, or every other one at random.
func (s *soak) fitful(match func(*http.Request) bool) func(*http.Request) bool {
	if s.rng.IntN(2) == 0 {
		return match
	}
	var mu sync.Mutex
	coin := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
	return func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return match(r) && coin.IntN(2) == 0
	}
}

// processFaults are what happens to the processes and to the disk.
func processFaults() []fault {
	return []fault{
		{kind: "dockerd: kill -9", group: "dockerd", takes: "engine", strike: func(s *soak) func() {
			s.engine.Kill(s.top)
			return func() { s.again() }
		}},
		{kind: "Consul: kill -9", group: "consul", takes: "consul", strike: func(s *soak) func() {
			s.consul.Kill(s.top)
			return func() { s.consul.Again(s.top) }
		}},
		{kind: "Consul: frozen", group: "consul", takes: "consul", strike: func(s *soak) func() {
			s.consul.Freeze(s.top)
			return func() { s.consul.Thaw(s.top) }
		}},
		{kind: "brambled: kill -9", group: "daemon", strike: func(s *soak) func() {
			s.Kill(s.top)
			return func() { s.Again(s.top) }
		}},
		{kind: "brambled: SIGTERM", group: "daemon", strike: func(s *soak) func() {
			// Not its exit code: with a lane under way it ends by its own deadline.
			s.Term(s.top, 30*time.Second)
			return func() { s.Again(s.top) }
		}},
		{kind: "brambled: frozen", group: "daemon", strike: func(s *soak) func() {
			s.Freeze(s.top)
			return func() { s.Thaw(s.top) }
		}},
		{kind: "state folder: disk full", group: "disk", strike: func(s *soak) func() {
			fill := filepath.Join(s.StateDir(), "fill")
			fillUp(s.top, fill)
			return func() {
				if err := syscall.Unlink(fill); err != nil {
					s.top.Fatal(err)
				}
			}
		}},
		{kind: "state folder: read-only", group: "disk", strike: func(s *soak) func() {
			s.remount(syscall.MS_RDONLY)
			return func() { s.remount(0) }
		}},
	}
}

// remount makes the small disk read-only, or writable again.
func (s *soak) remount(flag uintptr) {
	s.top.Helper()
	harness.Eventually(s.top, "the state folder is mounted again", func() error {
		return syscall.Mount("", s.StateDir(), "", syscall.MS_REMOUNT|flag, "") // busy while a file is being written
	})
}
