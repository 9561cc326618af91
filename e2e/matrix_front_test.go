//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// answer is an error as the engine gives it.
func answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"message":"`+message+`"}`)
}

// matrix is a Pi that looks again every few seconds.
type matrix struct {
	*pi
	flags []string // of dockerd
}

func bootMatrix(t *testing.T, flags []string, opts harness.Options) *matrix {
	t.Helper()
	p := &pi{top: t, engine: harness.StartDockerd(t, flags...), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	opts.Docker, opts.Consul = p.proxy.Host, p.consul.Address
	opts.Args = append(opts.Args, "--resync", "5s")
	p.Brambled = harness.StartBrambled(t, opts)
	return &matrix{pi: p, flags: flags}
}

// again starts dockerd as it was started first, and more flags.
func (m *matrix) again(more ...string) { m.engine.Again(m.top, append(m.flags, more...)...) }

// api sends one request to the engine as a person's tool would, past the proxies.
func (m *matrix) api(ctx context.Context, client *http.Client, method, path string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return err
}

func (m *matrix) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", m.engine.Socket)
		},
	}}
}

// count is how many requests with this method and path (a suffix) brambled has sent since the proxy forgot.
func (m *matrix) count(method, suffix string) int {
	n := 0
	for _, r := range m.proxy.Requests() {
		if r.Method == method && len(r.Path) >= len(suffix) && r.Path[len(r.Path)-len(suffix):] == suffix {
			n++
		}
	}
	return n
}

// nothingMade asserts that brambled has made and taken nothing since the proxy forgot.
func (m *matrix) nothingMade(t *testing.T) {
	t.Helper()
	if n := m.count("POST", "/containers/create"); n > 0 {
		t.Errorf("%d containers were created anew: %v", n, m.proxy.Mutating())
	}
	m.nothingTaken(t)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// says waits until a command prints the words: what it shows comes by way of the store.
func (p *pi) says(t *testing.T, command []string, words ...string) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("brambled %s says %q", strings.Join(command, " "), words), func() error {
		out := p.Run(t, command...)
		for _, w := range words {
			if !strings.Contains(out.Stdout, w) {
				return fmt.Errorf("it ends with %d and says\n%s%s", out.Code, out.Stdout, out.Stderr)
			}
		}
		return nil
	})
}
