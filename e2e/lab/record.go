package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brambled/brambled/e2e/harness"
)

// Record is what is written down outside of brambled, by one clock: every request to the engines that changes the Swarm, and who
// held the leader key when.
type Record struct {
	t   testing.TB // the test that the lab lives as long as
	lab *Lab

	mu      sync.Mutex
	proxies map[string][]*harness.Proxy // by Pi, one for each boot
	terms   map[uint64]Term
}

const (
	auditSocket = "/run/audit.sock"
	leaderKey   = "kv/brambled/leader"
)

// Record puts a proxy between brambled and the engine of each Pi, and watches the leader key on each of Consul's servers. It
// returns when brambled runs again on each; of a Pi whose power was cut call Attach after the boot. The watchdog is off, since it would end
// a daemon that is frozen for longer than half a minute before it can be resumed.
func (l *Lab) Record(t testing.TB) *Record {
	t.Helper()
	r := &Record{t: t, lab: l, proxies: map[string][]*harness.Proxy{}, terms: map[uint64]Term{}}
	ctx, cancel := context.WithCancel(t.Context())
	var watches sync.WaitGroup
	t.Cleanup(func() { cancel(); watches.Wait() })
	for _, p := range l.Pis[:3] {
		watches.Go(func() { r.watch(ctx, p) })
	}
	for _, p := range l.Pis {
		r.Attach(p)
		p.Run(t, "sh", "-c", `printf 'docker: { host: "unix://%s" }\n' `+auditSocket+` >>/etc/brambled/brambled.yaml
			mkdir -p /etc/systemd/system/brambled.service.d
			printf '[Service]\nWatchdogSec=0\n' >/etc/systemd/system/brambled.service.d/frozen.conf
			systemctl daemon-reload && systemctl restart brambled`)
	}
	return r
}

// Attach makes the proxy of a Pi that has booted: its socket is in memory.
func (r *Record) Attach(p *Pi) {
	r.t.Helper()
	leader, err := os.ReadFile(filepath.Join(r.lab.Dir, p.Name, "leader"))
	if err != nil {
		r.t.Fatalf("find %s: %v", p.Name, err)
	}
	run := fmt.Sprintf("/proc/%s/root", strings.TrimSpace(string(leader)))
	proxy := harness.SocketProxyAt(r.t, run+"/run/docker.sock", run+auditSocket)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proxies[p.Name] = append(r.proxies[p.Name], proxy)
}

// ofSwarm are the objects that a leader changes. A node makes networks too, of its own containers.
var ofSwarm = regexp.MustCompile(`^/(services|configs|secrets|networks)\b`)

// Calls are the calls so far that change the Swarm, in order.
func (r *Record) Calls() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	var calls []Call
	for pi, proxies := range r.proxies {
		for _, proxy := range proxies {
			for _, q := range proxy.Mutating() {
				if ofSwarm.MatchString(q.Path) {
					calls = append(calls, Call{Time: q.Time, Pi: pi, Request: q.String(), Status: q.Status})
				}
			}
		}
	}
	slices.SortFunc(calls, func(a, b Call) int { return a.Time.Compare(b.Time) })
	return calls
}

// Terms are the terms so far, in order.
func (r *Record) Terms() []Term {
	r.mu.Lock()
	defer r.mu.Unlock()
	return inOrder(slices.Collect(maps.Values(r.terms)))
}

// watch follows the leader key as one server knows it. A stale read asks that server alone: it answers without a leader of Consul
// too, never ahead of the others, and the first of the three to know counts.
func (r *Record) watch(ctx context.Context, p *Pi) {
	client := p.consul()
	defer client.CloseIdleConnections()
	for index := "0"; ctx.Err() == nil; {
		next, err := r.readLeader(ctx, client, index)
		if err != nil { // the Pi is off, or its Consul is
			index = "0"
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		index = next
	}
}

// readLeader waits for a change of the leader key and takes it down.
func (r *Record) readLeader(ctx context.Context, client *http.Client, index string) (string, error) {
	// A server that lost power says nothing any more: ask again sooner than the connection would tell.
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	body, header, err := r.lab.ask(ctx, client, "operator", http.MethodGet, leaderKey+"?stale&wait=5s&index="+index, "")
	seen := time.Now()
	if err != nil {
		return "", err
	}
	entry, err := leaderEntry(body)
	if err != nil {
		return "", err
	}
	var claim struct {
		Node string
		Term uint64
	}
	if err := json.Unmarshal(entry.Value, &claim); err != nil {
		return "", fmt.Errorf("read leader key %q: %w", entry.Value, err)
	}
	switch {
	case claim.Term != 0:
		r.note(Term{claim.Term, claim.Node, seen})
	case entry.Session != "": // just acquired: the value names its term a moment later
		r.note(Term{entry.ModifyIndex, claim.Node, seen})
	}
	return header.Get("X-Consul-Index"), nil
}

func (r *Record) note(t Term) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.terms[t.Number]; !ok || t.Seen.Before(known.Seen) {
		r.terms[t.Number] = t
	}
}

// entry is a key as Consul shows it.
type entry struct {
	ModifyIndex uint64
	Session     string
	Value       []byte
}

func leaderEntry(body string) (entry, error) {
	var entries []entry
	if err := json.Unmarshal([]byte(body), &entries); err != nil || len(entries) != 1 {
		return entry{}, fmt.Errorf("read leader key %q: %w", body, err)
	}
	return entries[0], nil
}

// DestroyLeaderSession ends the leader's session as an operator would, and without a word to the leader.
func (l *Lab) DestroyLeaderSession(t testing.TB) {
	t.Helper()
	client := l.Pis[0].consul()
	defer client.CloseIdleConnections()
	body, _, err := l.ask(t.Context(), client, "operator", http.MethodGet, leaderKey, "")
	if err != nil {
		t.Fatal(err)
	}
	e, err := leaderEntry(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = l.ask(t.Context(), client, "management", http.MethodPut, "session/destroy/"+e.Session, ""); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request to the agent behind a client, with the token of that name.
func (l *Lab) ask(ctx context.Context, client *http.Client, as, method, target, value string) (string, http.Header, error) {
	token, err := os.ReadFile(filepath.Join(l.Dir, "secrets", as))
	if err != nil {
		return "", nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:8500/v1/"+target, strings.NewReader(value))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("X-Consul-Token", strings.TrimSpace(string(token)))
	res, err := client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read to its end
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, target, res.Status, body)
	}
	return string(body), res.Header, err
}

// consul is a client of the Pi's Consul agent, from this process.
func (p *Pi) consul() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: p.dial}}
}

// dial connects from inside the Pi's network, which outlives a power cut.
func (p *Pi) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type outcome struct {
		conn net.Conn
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		// Never unlocked: the thread is in another network and ends with this goroutine.
		runtime.LockOSThread()
		conn, err := p.dialHere(ctx, network, address)
		done <- outcome{conn, err}
	}()
	o := <-done
	return o.conn, o.err
}

func (p *Pi) dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	id, err := os.ReadFile(filepath.Join(p.lab.Dir, "id"))
	if err != nil {
		return nil, err
	}
	ns, err := os.Open("/run/netns/" + strings.TrimSpace(string(id)) + "-" + p.Name)
	if err != nil {
		return nil, err
	}
	defer ns.Close() //nolint:errcheck // only read
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the network of %s: %w", p.Name, err)
	}
	// An address in numbers is dialled by this very thread.
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Editor changes a key again and again, so that a leader always has something to do.
type Editor struct {
	key, file string
	stop      func()

	mu   sync.Mutex
	away map[string]bool // Pis that are not asked
	last int             // the newest edit that was taken
}

// Edit puts a file under a key every interval, with $EDIT in it replaced by a number that grows, on the first Pi that is not Away.
func (l *Lab) Edit(t testing.TB, key, file string, every time.Duration) *Editor {
	t.Helper()
	e := &Editor{key: key, file: file, away: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	e.stop = func() { cancel(); <-ended }
	t.Cleanup(e.stop)
	go func() {
		defer close(ended)
		clients := map[*Pi]*http.Client{}
		for _, p := range l.Pis {
			clients[p] = p.consul()
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 1; ctx.Err() == nil; n++ {
			e.edit(ctx, l, clients, n)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return e
}

// edit makes one edit. One that fails is not tried again: the next one comes soon.
func (e *Editor) edit(ctx context.Context, l *Lab, clients map[*Pi]*http.Client, n int) {
	for _, p := range l.Pis {
		if e.isAway(p) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 3*time.Second)
		_, _, err := l.ask(limited, clients[p], "operator", http.MethodPut, "kv/"+e.key, strings.ReplaceAll(e.file, "$EDIT", strconv.Itoa(n)))
		cancel()
		if err == nil {
			e.mu.Lock()
			e.last = n
			e.mu.Unlock()
		}
		return
	}
}

func (e *Editor) isAway(p *Pi) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.away[p.Name]
}

// Away tells which Pis are not to be asked for now.
func (e *Editor) Away(pis ...*Pi) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = map[string]bool{}
	for _, p := range pis {
		e.away[p.Name] = true
	}
}

// Stop ends the edits and returns the number of the newest one that Consul took.
func (e *Editor) Stop() int {
	e.stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}
