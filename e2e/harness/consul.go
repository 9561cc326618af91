package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Consul is a real Consul server for tests.
type Consul struct {
	*Process
	// Address is host:port of its HTTP API.
	Address string
	// Dir holds its data and its log.
	Dir    string
	binary string
}

// consulConfig shortens what only a test wants short. Everything else is Consul's default.
type consulConfig struct {
	Bootstrap   bool           `json:"bootstrap"`
	Server      bool           `json:"server"`
	NodeName    string         `json:"node_name"`
	DataDir     string         `json:"data_dir"`
	BindAddr    string         `json:"bind_addr"`
	ClientAddr  string         `json:"client_addr"`
	LogLevel    string         `json:"log_level"`
	SessionTTL  string         `json:"session_ttl_min"`
	NoUpdate    bool           `json:"disable_update_check"`
	LeaveOnTerm bool           `json:"leave_on_terminate"`
	Performance map[string]int `json:"performance"`
	Ports       map[string]int `json:"ports"`
}

// StartConsul starts a server of its own on free ports of the loopback. It keeps its data on disk, so that
// Kill and Again are a crash and a restart; removing DataDir in between is a Consul that lost everything.
func StartConsul(t testing.TB) *Consul {
	t.Helper()
	binary, err := output(exec.Command(Script(t, "consul")))
	if err != nil {
		t.Fatalf("get consul: %v", err)
	}
	ports := FreePorts(t, 3)
	c := &Consul{Address: fmt.Sprintf("127.0.0.1:%d", ports[0]), Dir: Workspace(t, "consul"), binary: binary}
	config := consulConfig{
		Bootstrap: true, Server: true, NodeName: "test", DataDir: c.DataDir(), BindAddr: "127.0.0.1",
		ClientAddr: "127.0.0.1", LogLevel: "info", SessionTTL: "2s", NoUpdate: true,
		Performance: map[string]int{"raft_multiplier": 1},
		Ports: map[string]int{
			"http": ports[0], "server": ports[1], "serf_lan": ports[2],
			"serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1, "https": -1,
		},
	}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatalf("write consul config: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "config.json"), data, 0o644); err != nil {
		t.Fatalf("write consul config: %v", err)
	}
	c.Again(t)
	return c
}

// DataDir is where the server keeps its state.
func (c *Consul) DataDir() string { return filepath.Join(c.Dir, "data") }

// Again starts the server, at first or after Kill, and waits until it has elected itself.
func (c *Consul) Again(t testing.TB) {
	t.Helper()
	cmd := exec.Command(c.binary, "agent", "-config-file", filepath.Join(c.Dir, "config.json"))
	c.Process = startProcess(t, c.Dir, "consul", cmd)
	Eventually(t, "Consul elects a leader", func() error {
		if err := c.alive(); err != nil {
			t.Fatalf("start consul: %v", err)
		}
		// A write is the proof: the leader is known a moment before it accepts one.
		_, err := c.request(http.MethodPut, "/v1/kv/harness-probe", []byte("x"))
		return err
	})
	if _, err := c.request(http.MethodDelete, "/v1/kv/harness-probe", nil); err != nil {
		t.Fatalf("remove probe key: %v", err)
	}
}

// Put writes a key, as `consul kv put` does.
func (c *Consul) Put(t testing.TB, key, value string) {
	t.Helper()
	if _, err := c.request(http.MethodPut, "/v1/kv/"+key, []byte(value)); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Delete removes a key, as `consul kv delete` does.
func (c *Consul) Delete(t testing.TB, key string) {
	t.Helper()
	if _, err := c.request(http.MethodDelete, "/v1/kv/"+key, nil); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

// Get reads a key's value, and whether it exists.
func (c *Consul) Get(t testing.TB, key string) (string, bool) {
	t.Helper()
	data, err := c.request(http.MethodGet, "/v1/kv/"+key+"?raw", nil)
	if errors.Is(err, errNotFound) {
		return "", false
	}
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return string(data), true
}

// Index is the ModifyIndex of a key that is there.
func (c *Consul) Index(t testing.TB, key string) uint64 {
	t.Helper()
	data, err := c.request(http.MethodGet, "/v1/kv/"+key, nil)
	var entries []struct{ ModifyIndex uint64 }
	if err := errors.Join(err, json.Unmarshal(data, &entries)); err != nil || len(entries) != 1 {
		t.Fatalf("get index of %s: %v", key, err)
	}
	return entries[0].ModifyIndex
}

// Keys lists the keys below a prefix.
func (c *Consul) Keys(t testing.TB, prefix string) []string {
	t.Helper()
	data, err := c.request(http.MethodGet, "/v1/kv/"+prefix+"?keys", nil)
	if errors.Is(err, errNotFound) {
		return nil
	}
	var keys []string
	if err := errors.Join(err, json.Unmarshal(data, &keys)); err != nil {
		t.Fatalf("list keys below %s: %v", prefix, err)
	}
	return keys
}

// CLI runs the consul command against the server and returns its trimmed standard output.
func (c *Consul) CLI(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(c.binary, args...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+c.Address)
	out, err := output(cmd)
	if err != nil {
		t.Fatalf("consul %s: %v", strings.Join(args, " "), err)
	}
	return out
}

var errNotFound = errors.New("not found")

func (c *Consul) request(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, "http://"+c.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask consul: %w", err)
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read consul's answer: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, errNotFound
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("consul answered %s: %s", resp.Status, strings.TrimSpace(string(data)))
	}
	return data, nil
}

// given are the ports that this process has handed out: tests run side by side.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePorts finds ports of the loopback that nobody listens on, all different. Another process may take one
// before it is used; then the thing fails to start and says so.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	ports := make([]int, 0, n)
	for len(ports) < n {
		// Held open until all are found, so that none is given twice.
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("find free port: %v", err)
		}
		defer listener.Close() //nolint:errcheck // nothing was served on it
		if port := listener.Addr().(*net.TCPAddr).Port; !given.ports[port] {
			given.ports[port] = true
			ports = append(ports, port)
		}
	}
	return ports
}
