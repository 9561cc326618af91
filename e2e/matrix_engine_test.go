//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// twoServices is a stack with a port and a volume, of services that do not wait for each other.
const twoServices = `x-brambled: { nodes: all }
services:
  app:
    image: brambled/hello:1
    environment: { GREETING: "good day" }
    ports: ["8080:8080"]
  db:
    image: brambled/hello:1
    volumes: [data:/data]
volumes: { data: {} }
`

// Rows 8, 9, 16, 17, 18, 24 and 43 of the fault matrix: what the engine, and the way to it, can do to brambled. One engine
// with live-restore serves all.
func TestMatrixEngine(t *testing.T) {
	t.Parallel()
	m := bootMatrix(t, []string{"--live-restore"}, harness.Options{})
	m.put(t, "web", twoServices)
	m.runs(t, "web", "web-app-1", "web-db-1")
	m.state(t, "web", "converged")

	for _, row := range []struct {
		name string
		run  func(*testing.T, *matrix)
	}{
		{"8 kill -9 of dockerd changes nothing that runs", engineKilled},
		{"8 a restart of dockerd recreates nothing", engineRestarted},
		{"9 an event stream that is cut costs a bounded number of looks", eventsCut},
		{"9 a silent event stream: the resync repairs", eventsSwallowed},
		{"9 2000 events are no 2000 passes", eventBurst},
		{"16 each lost reply comes out as one", lostReplies},
		{"17 a name that a stranger takes between look and create", nameSnatched},
		{"18 a removal that does not end", removalStuck},
		{"24 converged means silent", silent},
		{"43 the engine's version rises and falls", versionMoves},
		{"43 another storage driver hides everything", storeSwitched},
	} {
		if !t.Run(row.name, func(t *testing.T) { row.run(t, m) }) {
			t.Fatal("the rows that follow need a Pi that is sound")
		}
	}
}

// saysEngineAway waits until brambled lives, is not ready, and tells that the engine is away.
func (m *matrix) saysEngineAway(t *testing.T) {
	t.Helper()
	m.hold(t, "engine unreachable")
	if ended, err := m.Exited(); ended {
		t.Fatalf("brambled ended with the engine: %v", err)
	}
	if _, err := m.Fetch("/readyz"); err == nil {
		t.Error("it says that it is ready without an engine")
	}
	if _, err := m.Fetch("/healthz"); err != nil {
		t.Errorf("an engine that is down is no fault of brambled: %v", err)
	}
	m.says(t, []string{"status"}, "is docker.service running?")
}

// lookedAnew waits until brambled has negotiated, listed and subscribed with the engine that came up.
func (m *matrix) lookedAnew(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "brambled asks the new engine for its version, for everything and for events", func() error {
		if p, l, e := m.count("HEAD", "/_ping")+m.count("GET", "/_ping"), m.count("GET", "/containers/json"), m.count("GET", "/events"); p == 0 || l == 0 || e == 0 {
			return fmt.Errorf("%d pings, %d lists, %d subscriptions", p, l, e)
		}
		_, err := m.Fetch("/readyz")
		return err
	})
	m.lifted(t)
	m.state(t, "web", "converged")
}

func engineKilled(t *testing.T, m *matrix) {
	before := m.containers(t, "web")
	pid := m.PID()
	m.engine.Kill(t)
	m.saysEngineAway(t)
	m.proxy.Forget()
	m.again()
	m.lookedAnew(t)
	same(t, before, m.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1", "web-db-1")
	if calls := m.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("containers that ran all along were touched: %v", calls)
	}
	if m.PID() != pid {
		t.Error("brambled is another process")
	}
	m.engine.Docker(t, "rm", "-f", "web-app-1") // and it is at work again
	m.answers(t, "8080", "good day from")
}

// engineRestarted stops dockerd as systemd does and starts it without live-restore: it ends its containers and starts them
// itself, by their restart policy.
func engineRestarted(t *testing.T, m *matrix) {
	before := m.runs(t, "web", "web-app-1", "web-db-1")
	stopEngine(t, m)
	m.saysEngineAway(t)
	m.proxy.Forget()
	m.engine.Again(m.top)
	m.lookedAnew(t)
	m.answers(t, "8080", "good day from")
	after := m.runs(t, "web", "web-app-1", "web-db-1")
	for name, c := range before {
		if after[name].ID != c.ID {
			t.Errorf("%s was %s, is %s", name, c.ID, after[name].ID)
		}
	}
	m.nothingMade(t)
}

func stopEngine(t *testing.T, m *matrix) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(t, filepath.Join(m.engine.Dir, "dockerd.pid"))))
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if err != nil {
		t.Fatalf("stop dockerd: %v", err)
	}
	harness.Eventually(t, "dockerd has ended", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, after, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(after, "Z") {
			return fmt.Errorf("it runs")
		}
		return nil
	})
}

func eventsCut(t *testing.T, m *matrix) {
	m.state(t, "web", "converged")
	m.proxy.Forget()
	began := time.Now()
	m.proxy.CutStreams()
	harness.Eventually(t, "brambled has subscribed again and looked", func() error {
		requests := m.proxy.Requests()
		for i, r := range requests {
			if r.Path != "/events" || r.Status == 0 {
				continue
			}
			for _, later := range requests[i:] {
				if later.Path == "/containers/json" && later.Status == http.StatusOK {
					return nil
				}
			}
		}
		return fmt.Errorf("requests are %v", requests)
	})
	// One look because the stream ended, one because the next began, one that was under way; and the resyncs.
	looks := m.count("GET", "/containers/json")
	if resyncs := int(time.Since(began)/(4*time.Second)) + 1; looks > 3+resyncs {
		t.Errorf("%d full lists after one cut, and %d resyncs", looks, resyncs)
	}
	m.engine.Docker(t, "rm", "-f", "web-db-1") // events come again
	m.runs(t, "web", "web-app-1", "web-db-1")
	m.state(t, "web", "converged")
	if n := m.count("GET", "/events"); n != 1 {
		t.Errorf("%d subscriptions after one cut", n)
	}
}

func eventsSwallowed(t *testing.T, m *matrix) {
	m.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
		if filepath.Base(r.URL.Path) != "events" {
			engine.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	m.proxy.Forget()
	m.proxy.CutStreams()
	harness.Eventually(t, "brambled has subscribed to silence", func() error {
		if m.count("GET", "/events") == 0 {
			return fmt.Errorf("it has not")
		}
		return nil
	})
	m.state(t, "web", "converged")
	before := m.runs(t, "web", "web-app-1", "web-db-1")
	m.engine.Docker(t, "rm", "-f", "web-app-1")
	m.engine.Docker(t, "stop", "web-db-1")
	m.answers(t, "8080", "good day from")
	after := m.runs(t, "web", "web-app-1", "web-db-1")
	if after["web-app-1"].ID == before["web-app-1"].ID || after["web-db-1"].State.Pid == before["web-db-1"].State.Pid {
		t.Error("nothing was gone, so nothing was shown")
	}
	m.proxy.Play(nil)
	m.proxy.CutStreams()
	m.state(t, "web", "converged")
}

var passesTotal = regexp.MustCompile(`(?m)^brambled_passes_total\{outcome="ok"\} (\d+)`)

// passes is how many passes brambled has made.
func (m *matrix) passes(t *testing.T) int {
	t.Helper()
	body, err := m.Fetch("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(passesTotal.FindStringSubmatch(body)[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func eventBurst(t *testing.T, m *matrix) {
	m.state(t, "web", "converged")
	before, ours := m.passes(t), m.runs(t, "web", "web-app-1", "web-db-1")
	const events = 2000
	client := m.client()
	var wg sync.WaitGroup
	errs := make(chan error, events)
	for range 8 {
		wg.Go(func() {
			for range events / 8 {
				errs <- m.api(t.Context(), client, http.MethodPost, "/images/brambled/hello:2/tag?repo=burst&tag=1")
			}
		})
	}
	wg.Wait()
	for range events {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	m.engine.Docker(t, "rm", "-f", "web-db-1")
	m.runs(t, "web", "web-app-1", "web-db-1")
	m.state(t, "web", "converged")
	if n := m.passes(t) - before; n > events/10 {
		t.Errorf("%d passes for %d events", n, events)
	}
	same(t, ours, m.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1")
	m.engine.Docker(t, "rmi", "burst:1")
}

// kinds are the calls that change something, by what they do.
var kinds = regexp.MustCompile(`/(create|start|stop|rename|update|connect)$`)

func kindOf(r *http.Request) string {
	path := regexp.MustCompile(`^/v1\.\d+`).ReplaceAllString(r.URL.Path, "")
	object, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch verb := kinds.FindStringSubmatch(path); {
	case r.Method == http.MethodDelete:
		return object + " remove"
	case r.Method == http.MethodPost && verb != nil:
		return object + " " + verb[1]
	}
	return ""
}

// lostReplies loses the reply of the first call of each kind, through the whole life of a stack.
func lostReplies(t *testing.T, m *matrix) {
	var mu sync.Mutex
	asked, victim := map[string]int{}, map[string]string{}
	m.proxy.Break(func(r *http.Request) harness.Fault {
		kind := kindOf(r)
		if kind == "" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		call := kind + " " + r.URL.String()
		if victim[kind] == "" {
			victim[kind] = call
		}
		if asked[call]++; victim[kind] == call && asked[call] == 1 {
			return harness.LoseReply
		}
		return nil
	})
	defer m.proxy.Break(nil)
	file := "x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:1\n    environment: { N: \"1\" }\n" +
		"    volumes: [data:/data]\n    networks: [one, two]\nnetworks: { one: {}, two: {} }\nvolumes: { data: {} }\n"
	m.put(t, "lost", file)
	m.runs(t, "lost", "lost-app-1")
	m.state(t, "lost", "converged")
	m.put(t, "lost", strings.Replace(file, `"1"`, `"2"`, 1)) // both write the volume: stop first
	harness.Eventually(t, "the new revision runs", func() error {
		if c := m.containers(t, "lost")["lost-app-1"]; !strings.Contains(strings.Join(c.Config.Env, " "), "N=2") {
			return fmt.Errorf("its environment is %v", c.Config.Env)
		}
		return nil
	})
	m.runs(t, "lost", "lost-app-1")
	m.state(t, "lost", "converged")
	for _, network := range []string{"lost_one", "lost_two"} {
		if got := m.engine.Docker(t, "network", "ls", "-q", "--filter", "name="+network); strings.Contains(got, "\n") || got == "" {
			t.Errorf("networks named %s: %q", network, got)
		}
	}
	m.consul.Delete(t, "brambled/stacks/lost")
	m.runs(t, "lost")
	harness.Eventually(t, "its networks are gone", func() error {
		if left := m.engine.Docker(t, "network", "ls", "-q", "--filter", "label=brambled.stack=lost"); left != "" {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
	if got := m.engine.Docker(t, "volume", "ls", "-q", "--filter", "name=lost_data"); got != "lost_data" {
		t.Errorf("the volume is gone: %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, kind := range []string{
		"containers create", "containers start", "containers stop", "containers rename", "containers update", "containers remove",
		"networks create", "networks connect", "networks remove", "volumes create",
	} {
		if victim[kind] == "" {
			t.Errorf("no reply of %q was lost: %v", kind, victim)
		}
	}
}

func nameSnatched(t *testing.T, m *matrix) {
	var once sync.Once
	foreign := ""
	m.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
		if r.Method == http.MethodPost && r.URL.Query().Get("name") == "snatch-app-1" {
			once.Do(func() { foreign, _ = m.engine.TryDocker("run", "-d", "--name", "snatch-app-1", "brambled/hello:2") })
		}
		engine.ServeHTTP(w, r)
	})
	defer m.proxy.Play(nil)
	m.proxy.Forget()
	m.put(t, "snatch", small)
	m.says(t, []string{"why", "snatch/app"}, "snatch-app-1", "not ours")
	m.says(t, []string{"status", "snatch"}, "snatch-app-1", "not ours")
	conflict := false
	for _, r := range m.proxy.Requests() {
		conflict = conflict || r.Path == "/containers/create" && r.Status == http.StatusConflict
	}
	if !conflict {
		t.Error("no 409 was met, so nothing was shown")
	}
	if got := m.inspect(t, "name=snatch-app-1")["snatch-app-1"]; got.ID != foreign || got.State.Status != "running" {
		t.Errorf("the stranger was touched: %+v", got)
	}
	m.nothingTaken(t)
	m.engine.Docker(t, "rm", "-f", "snatch-app-1")
	m.runs(t, "snatch", "snatch-app-1")
	m.state(t, "snatch", "converged")
	m.consul.Delete(t, "brambled/stacks/snatch")
	m.runs(t, "snatch")
}

// removalStuck answers removals as an engine does that cannot let go of a container's file system.
func removalStuck(t *testing.T, m *matrix) {
	m.put(t, "stuck", small)
	m.runs(t, "stuck", "stuck-app-1")
	m.state(t, "stuck", "converged")
	before := m.runs(t, "web", "web-app-1", "web-db-1")
	var mu sync.Mutex
	tries := 0
	m.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
		switch {
		case r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/containers/"):
			mu.Lock()
			tries++
			mu.Unlock()
			answer(w, http.StatusConflict, "removal of container abc is already in progress")
		case strings.HasSuffix(r.URL.Path, "/wait"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"StatusCode":0,"Error":{"Message":"unable to remove filesystem: device or resource busy"}}`)
		default:
			engine.ServeHTTP(w, r)
		}
	})
	began := time.Now()
	m.consul.Delete(t, "brambled/stacks/stuck")
	harness.Eventually(t, "it is tried again, and told", func() error {
		mu.Lock()
		defer mu.Unlock()
		if out := m.Run(t, "why", "stuck").Stdout; tries < 2 || !strings.Contains(out, "device or resource busy") {
			return fmt.Errorf("%d tries, why says %q", tries, out)
		}
		return nil
	})
	mu.Lock()
	// The least pause between two tries is half a second.
	if most := int(time.Since(began)/(500*time.Millisecond)) + 2; tries > most {
		t.Errorf("%d tries, want at most %d: no backoff", tries, most)
	}
	mu.Unlock()
	same(t, before, m.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1", "web-db-1")
	m.state(t, "web", "converged")
	m.proxy.Play(nil)
	m.runs(t, "stuck")
}

// silent watches a converged Pi over three resyncs: the engine, the disk and the store.
func silent(t *testing.T, m *matrix) {
	m.state(t, "web", "converged")
	m.lifted(t)
	m.proven(t, "web")
	harness.Eventually(t, "the report is written", func() error {
		if v, _ := m.consul.Get(t, "brambled/status/nodes/pi1"); !strings.Contains(v, `"state":"converged"`) || strings.Contains(v, `"stuck"`) {
			return fmt.Errorf("it says %s", v)
		}
		return nil
	})
	m.settle(t)
	m.proxy.Forget()
	files, keys := m.disk(t), m.store(t)
	harness.Eventually(t, "three resyncs", func() error {
		if n := m.count("GET", "/containers/json"); n < 3 {
			return fmt.Errorf("%d lists", n)
		}
		return nil
	})
	if calls := m.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("an idle daemon made calls that change things: %v", calls)
	}
	for name, now := range m.disk(t) {
		if was := files[name]; was != now {
			t.Errorf("%s was written: %s, then %s", name, was, now)
		}
	}
	if now := m.store(t); now != keys {
		t.Errorf("keys were written:\n%s\n%s", keys, now)
	}
}

// settle waits until two looks at disk and store, a resync apart, agree.
func (m *matrix) settle(t *testing.T) {
	t.Helper()
	m.proxy.Forget()
	last := ""
	harness.Eventually(t, "disk and store are at rest", func() error {
		if m.count("GET", "/containers/json") == 0 && last != "" {
			return fmt.Errorf("no resync yet")
		}
		m.proxy.Forget()
		now := fmt.Sprint(m.disk(t), m.store(t))
		if now != last {
			last = now
			return fmt.Errorf("they change")
		}
		return nil
	})
}

// disk is each file of the state folder, with the time of its last change and its content.
func (m *matrix) disk(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(m.StateDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = info.ModTime().Format(time.RFC3339Nano)
		if !d.IsDir() {
			out[path] += " " + readFile(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var modifyIndex = regexp.MustCompile(`"(Key|ModifyIndex)": ?("[^"]*"|\d+)`)

// store is each key of brambled's with the index of its last change.
func (m *matrix) store(t *testing.T) string {
	t.Helper()
	body, err := harness.Fetch("http://" + m.consul.Address + "/v1/kv/brambled/?recurse")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(modifyIndex.FindAllString(body, -1), " ")
}

var versionOf = regexp.MustCompile(`^/v(1\.\d+)/`)

// versionMoves lets the engine speak a newer API, as after an upgrade, and its own again.
func versionMoves(t *testing.T, m *matrix) {
	var mu sync.Mutex
	spoken := map[string]int{}
	note := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if v := versionOf.FindStringSubmatch(r.URL.Path); v != nil {
			spoken[v[1]]++
		}
	}
	speaks := func(version string) {
		t.Helper()
		mu.Lock()
		clear(spoken)
		mu.Unlock()
		m.engine.Docker(t, "rm", "-f", "web-db-1")
		m.runs(t, "web", "web-app-1", "web-db-1")
		m.state(t, "web", "converged")
		mu.Lock()
		defer mu.Unlock()
		if spoken[version] == 0 {
			t.Errorf("it speaks %v, want %s", spoken, version)
		}
	}
	before := m.runs(t, "web", "web-app-1", "web-db-1")
	own := strings.TrimSpace(m.engine.Docker(t, "version", "--format", "{{.Server.APIVersion}}"))
	m.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
		note(r)
		r.URL.Path = versionOf.ReplaceAllString(r.URL.Path, "/v"+own+"/")
		engine.ServeHTTP(&newer{w, "1.47"}, r)
	})
	m.proxy.CutStreams() // an upgrade ends every connection
	speaks("1.47")
	m.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
		note(r)
		engine.ServeHTTP(w, r)
	})
	// Nothing is cut: what is left to find out by is the engine's refusal of the newer version.
	speaks(own)
	m.proxy.Play(nil)
	same(t, before, m.runs(t, "web", "web-app-1", "web-db-1"), "web-app-1")
	m.lifted(t)
}

// newer is an answer of an engine with a newer API.
type newer struct {
	http.ResponseWriter
	version string
}

// WriteHeader implements [http.ResponseWriter].
func (n *newer) WriteHeader(status int) {
	n.Header().Set("Api-Version", n.version)
	n.ResponseWriter.WriteHeader(status)
}

// Flush implements [http.Flusher].
func (n *newer) Flush() { n.ResponseWriter.(http.Flusher).Flush() }

// storeSwitched starts the engine with another storage driver, which hides all containers and images, and then on another
// data directory, as an SSD does that was not mounted.
func storeSwitched(t *testing.T, m *matrix) {
	m.proven(t, "web")
	before := m.runs(t, "web", "web-app-1", "web-db-1")
	heldBack := func(t *testing.T) string {
		t.Helper()
		id := m.hold(t, "engine-store-changed")
		if got := m.containers(t, "web"); len(got) > 0 {
			t.Fatalf("the containers are still seen: %v", got)
		}
		m.says(t, []string{"status"}, "brambled approve "+id, "data-root")
		m.says(t, []string{"why", "web/app"}, "engine-store-changed")
		return id
	}
	t.Run("it holds, over a restart of brambled too", func(t *testing.T) {
		m.engine.Kill(t)
		m.proxy.Forget()
		m.again("--storage-driver=vfs")
		id := heldBack(t)
		m.Kill(t)
		m.Again(m.top)
		if again := heldBack(t); again != id {
			t.Errorf("the hold's id was %s, is %s", id, again)
		}
		if calls := m.proxy.Mutating(); len(calls) > 0 {
			t.Errorf("it changed something: %v", calls)
		}
	})
	t.Run("it lifts when the store is back", func(t *testing.T) {
		m.engine.Kill(t)
		m.proxy.Forget()
		m.engine.Again(m.top) // without live-restore, so that the next stop ends the containers
		m.lifted(t)
		m.state(t, "web", "converged")
		after := m.runs(t, "web", "web-app-1", "web-db-1")
		for name, c := range before {
			if after[name].ID != c.ID {
				t.Errorf("%s was %s, is %s", name, c.ID, after[name].ID)
			}
		}
		m.nothingMade(t)
	})
	t.Run("an empty data directory holds too, and is taken when approved", func(t *testing.T) {
		stopEngine(t, m)
		m.proxy.Forget()
		m.engine.Again(m.top, "--data-root="+filepath.Join(m.engine.Dir, "other"))
		id := heldBack(t)
		m.engine.LoadHello(t)
		if calls := m.proxy.Mutating(); len(calls) > 0 {
			t.Errorf("it changed something: %v", calls)
		}
		m.command(t, 0, "approve", id)
		m.runs(t, "web", "web-app-1", "web-db-1")
		m.lifted(t)
		m.answers(t, "8080", "good day from")
	})
}
