//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// recovery is how long everything may take to be well again. Backoffs reach half a minute, and the machine is shared.
const recovery = 2 * time.Minute

// converges waits until everything is as persons want it, and does what a person has to do for it.
func (s *soak) converges() {
	s.top.Helper()
	if s.lost {
		s.putBack()
	}
	s.wish.signs++
	s.putStack(sign)
	harness.Within(s.top, recovery, "everything is as it is wanted", func() error {
		if ended, err := s.Exited(); ended {
			s.top.Fatalf("brambled ended by itself: %v", err)
		}
		return errors.Join(s.reported(), s.actual(), s.stored())
	})
}

// putBack restores the store from last-known-good.
func (s *soak) putBack() {
	s.top.Helper()
	harness.Within(s.top, recovery, "the store is restored", func() error {
		if out := s.Run(s.top, "snapshot", "restore", "--from-last-good", "--force"); out.Code != 0 {
			return fmt.Errorf("exit code %d: %s%s", out.Code, out.Stdout, out.Stderr)
		}
		return nil
	})
	s.lost = false
}

// reported compares what brambled says of itself: to who asks it, and in the store. The one in the store is what a store that went
// back is known by, so every second round begins before it is written.
func (s *soak) reported() error {
	live, err := s.Fetch("/api/v1/status")
	if err != nil {
		return err
	}
	reports := map[string]string{"live": live}
	if s.wish.signs%2 == 0 {
		reports["written"], _ = s.consul.Get(s.top, "brambled/status/nodes/pi1")
	}
	for where, text := range reports {
		var r report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return fmt.Errorf("the %s report is %q: %w", where, text, err)
		}
		if err := s.allWell(r); err != nil {
			return fmt.Errorf("by the %s report %w", where, err)
		}
	}
	return nil
}

func (s *soak) allWell(r report) error {
	if len(r.Holds) > 0 {
		return fmt.Errorf("holds are %+v", r.Holds)
	}
	var names []string
	for _, st := range r.Stacks {
		names = append(names, st.Name)
		if st.State == "failed" {
			s.retry(st.Name)
		}
		if st.State != "converged" {
			return fmt.Errorf("stack %s is %s (%s): %+v", st.Name, st.State, st.Error, st.Services)
		}
		if index := s.index("stacks/" + st.Name); st.Name == sign && st.Index != index {
			return fmt.Errorf("stack %s is reported at index %d, and is at %d", st.Name, st.Index, index)
		}
	}
	if !slices.Equal(names, s.wish.names()) {
		return fmt.Errorf("the stacks are %v", names)
	}
	return nil
}

// retry does what a person does about a failure, of which there is a reason only where the round had one.
func (s *soak) retry(stack string) {
	s.top.Helper()
	if !slices.ContainsFunc(slices.Collect(maps.Keys(s.touched)), func(name string) bool { return strings.HasPrefix(name, stack+"-") }) {
		s.top.Fatalf("stack %s failed, and nobody had touched it", stack)
	}
	s.retries++
	s.Run(s.top, "retry", stack)
}

// ours are the containers of brambled's by name, the strangers left out.
func (s *soak) ours() map[string]container {
	s.top.Helper()
	out := map[string]container{}
	var list []struct{ ID string }
	if err := s.ask("/containers/json?all=1&filters="+url.QueryEscape(`{"label":["brambled.stack"]}`), &list); err != nil {
		s.top.Fatal(err)
	}
	for _, l := range list {
		var c container
		if _, strange := s.strangers[l.ID]; strange || s.ask("/containers/"+l.ID+"/json", &c) != nil {
			continue // not ours, or removed meanwhile
		}
		out[strings.TrimPrefix(c.Name, "/")] = c
	}
	return out
}

// ask asks the engine past the proxy. The docker command would do, but is started in a tenth of a second, a hundred times a round.
func (s *soak) ask(path string, into any) error {
	s.top.Helper()
	req, err := http.NewRequestWithContext(s.top.Context(), http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.docker.Do(req)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %w", path, data, err)
	}
	return json.Unmarshal(data, into)
}

// actual compares what runs.
func (s *soak) actual() error {
	have := s.ours()
	for name := range s.wish.containers() {
		if _, ok := have[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if err := s.wish.is(name, have[name]); err != nil {
			return err
		}
		for _, m := range have[name].Mounts {
			if content, err := os.ReadFile(m.Source); m.Destination == "/run/secrets/key" && string(content) != s.wish.secret {
				return fmt.Errorf("the secret of %s is %q: %w", name, content, err)
			}
		}
	}
	return nil
}

// stored compares the store with what persons have put there.
func (s *soak) stored() error {
	for key, want := range s.wish.keys() {
		if have, ok := s.consul.Get(s.top, "brambled/"+key); have != want {
			return fmt.Errorf("the store has %s: %v, as\n%s\nnot\n%s", key, ok, have, want)
		}
	}
	return nil
}

// index is when a key was last written: a report at another one speaks of another store.
func (s *soak) index(key string) uint64 {
	s.top.Helper()
	body, err := harness.Fetch("http://" + s.consul.Address + "/v1/kv/brambled/" + key)
	var list []struct{ ModifyIndex uint64 }
	if err == nil {
		err = json.Unmarshal([]byte(body), &list)
	}
	if err != nil || len(list) != 1 {
		return 0 // it is missing, and that is for others to say
	}
	return list[0].ModifyIndex
}

// invariants are what must hold whatever happened.
func (s *soak) invariants(before map[string]container) {
	s.top.Helper()
	after := s.ours()
	byID := map[string]string{}
	for name, c := range before {
		if !s.touched[name] {
			same(s.top, before, after, name)
			byID[c.ID] = name
		}
	}
	for _, r := range s.proxy.Mutating() {
		if why := s.wrong(r, byID); why != "" {
			s.top.Errorf("%v: %s", r, why)
		}
	}
	s.strangersSame()
	if content, err := os.ReadFile(s.marker); err != nil || string(content) != "marked" {
		s.top.Errorf("the named volume was touched: %q, %v", content, err)
	}
	if err := s.lastGood.problem(); err != nil {
		s.top.Errorf("last-known-good: %v", err)
	}
	log := readFile(s.top, s.Log)
	for _, bad := range []string{"panic:", "fatal error:", "plan refused", "DATA RACE"} {
		if strings.Contains(log, bad) {
			s.top.Errorf("the log has %q:\n%s", bad, log[strings.Index(log, bad):][:500])
		}
	}
}

// taking are the calls that end or remove something.
var taking = regexp.MustCompile(`^(DELETE /containers/|POST /containers/[^/]+/(stop|kill|restart|pause|rename|update)|DELETE /networks/)`)

// wrong says what is wrong about a call: it is about a stranger, removes a volume, or takes something from who gave no reason.
func (s *soak) wrong(r harness.Request, untouched map[string]string) string {
	kind, target, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
	target, _, _ = strings.Cut(target, "/")
	for id, c := range s.strangers {
		if target == id || target == strings.TrimPrefix(c.Name, "/") {
			return "it is about a stranger"
		}
	}
	if slices.Contains(s.gone, target) {
		return "it is about a stranger that was here"
	}
	if r.Method == http.MethodDelete && kind == "volumes" {
		return "it removes a volume"
	}
	name, known := untouched[target]
	if _, byName := s.wish.containers()[target]; byName && !s.touched[target] {
		name, known = target, true
	}
	if known && taking.MatchString(r.Method+" "+r.Path) {
		return "nobody gave a reason to touch " + name
	}
	return ""
}

// strangersSame asserts that the strangers are as they were.
func (s *soak) strangersSame() {
	s.top.Helper()
	for id, was := range s.strangers {
		var is container
		if err := s.ask("/containers/"+id+"/json", &is); err != nil {
			s.top.Errorf("a stranger is gone: %v", err)
		}
		if is.ID != id || is.State.Pid != was.State.Pid || is.State.StartedAt != was.State.StartedAt || fmt.Sprint(is.NetworkSettings) != fmt.Sprint(was.NetworkSettings) {
			s.top.Errorf("a stranger was touched: %+v, it was %+v", is, was)
		}
	}
}

// mark leaves something in the named volume.
func (s *soak) mark() {
	s.top.Helper()
	s.marker = filepath.Join(s.engine.Docker(s.top, "volume", "inspect", "--format", "{{.Mountpoint}}", "web_data"), "marker")
	write(s.top, s.marker, "marked")
}

// idles waits for a stretch of looks at the engine in which nothing is changed, on the engine, on disk and in the store. The looks
// are asked for by events that concern nobody, as a resync takes its time.
func (s *soak) idles() {
	s.top.Helper()
	var files map[string]string
	keys := ""
	harness.Within(s.top, recovery, "converged means silent", func() error {
		calls := s.proxy.Mutating()
		if looks := s.count("GET", "/containers/json"); keys != "" && len(calls) == 0 && looks < 3 {
			err := s.api(s.top.Context(), s.docker, http.MethodPost, "/images/brambled/hello:2/tag?repo=poke&tag=1")
			return errors.Join(err, fmt.Errorf("%d looks yet", looks))
		}
		nowFiles, nowKeys := s.disk(s.top), s.store(s.top)
		if keys == nowKeys && maps.Equal(files, nowFiles) && len(calls) == 0 {
			return nil
		}
		files, keys = nowFiles, nowKeys
		s.proxy.Forget()
		return fmt.Errorf("calls are %v", calls)
	})
}

// usage is what brambled has taken of the machine.
type usage struct{ goroutines, files, kib int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %d KiB of memory", u.goroutines, u.files, u.kib)
}

var (
	goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)
	rss        = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`)
)

func (s *soak) usage() usage {
	s.top.Helper()
	body, err := s.Fetch("/metrics")
	if err != nil {
		s.top.Fatal(err)
	}
	number := func(pattern *regexp.Regexp, text string) int {
		n, err := strconv.Atoi(slices.Concat(pattern.FindStringSubmatch(text), []string{"", ""})[1])
		if err != nil {
			s.top.Fatalf("%v is not in %s", pattern, text)
		}
		return n
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		s.top.Fatal(err)
	}
	return usage{number(goroutines, body), len(open), number(rss, readFile(s.top, fmt.Sprintf("/proc/%d/status", s.PID())))}
}

// What brambled may take beyond what it took at first, and of memory in all. Connections that were kept are given up after half a
// minute.
const (
	moreGoroutines = 15
	moreFiles      = 10
	mostKiB        = 96 << 10
)

// bounded waits until brambled holds no more than it did at first: what a fault left behind has ended.
func (s *soak) bounded() {
	s.top.Helper()
	harness.Within(s.top, recovery, "brambled gives back what it took", func() error {
		now := s.usage()
		if now.goroutines > s.base.goroutines+moreGoroutines || now.files > s.base.files+moreFiles || now.kib > mostKiB {
			return fmt.Errorf("it has %v, it had %v", now, s.base)
		}
		return nil
	})
}
