package harness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// upstream is a server with a proxy in front, and a client of the proxy.
type upstream struct {
	proxy  *harness.Proxy
	asked  atomic.Int64
	client *http.Client
}

const whole = "all that there is to say"

// ServeHTTP answers at once, or streams until the client has gone.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.asked.Add(1)
	_, _ = io.Copy(io.Discard, r.Body) // only behind the body the server hears that the client went away
	fmt.Fprint(w, whole)
	if harness.Streaming(r) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// bothWays runs a test over a socket, as in front of an engine, and over TCP, as in front of Consul.
func bothWays(t *testing.T, test func(*testing.T, *upstream)) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			u := &upstream{}
			server := httptest.NewUnstartedServer(u)
			address := server.Listener.Addr().String()
			if network == "unix" {
				address = filepath.Join(harness.Workspace(t, "up"), "s")
				listener, err := net.Listen(network, address)
				if err != nil {
					t.Fatal(err)
				}
				_ = server.Listener.Close() // nothing has used it
				server.Listener = listener
			}
			server.Start()
			t.Cleanup(server.Close)
			if network == "unix" {
				u.proxy = harness.SocketProxy(t, address)
			} else {
				u.proxy = harness.TCPProxy(t, address)
			}
			u.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(u.proxy.Host, "unix://"))
			}}}
			t.Cleanup(u.client.CloseIdleConnections)
			test(t, u)
		})
	}
}

// get sends a request and reads the whole answer.
func (u *upstream) get(ctx context.Context, method, path string) (int, string, error) {
	var content io.Reader
	if method != http.MethodGet { // no client of ours sends a body with it
		content = strings.NewReader("a body")
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://upstream"+path, content)
	if err != nil {
		return 0, "", err
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), errors.Join(err, resp.Body.Close())
}

func TestEachFaultDoesWhatItSays(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  harness.Fault
		status int    // of the answer; 0 for a connection that is cut
		body   string // what of it arrives
		asked  int64  // how often the server was asked
	}{
		{"none", nil, 200, whole, 1},
		{"answer", harness.Answer(429, "too many"), 429, "too many", 0},
		{"truncate", harness.Truncate, 0, whole[:len(whole)/2], 1},
		{"lose request", harness.LoseRequest, 0, "", 0},
		{"lose reply", harness.LoseReply, 0, "", 1},
		{"delay", harness.Delay(time.Millisecond), 200, whole, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, u *upstream) {
				u.proxy.Play(tt.fault)
				status, body, err := u.get(t.Context(), http.MethodPost, "/v1.41/containers/x/start")
				if body != tt.body || (err != nil) != (tt.status == 0) || err == nil && status != tt.status {
					t.Errorf("got %d %q, %v; want %d %q", status, body, err, tt.status, tt.body)
				}
				if got := u.asked.Load(); got != tt.asked {
					t.Errorf("the server was asked %d times, want %d", got, tt.asked)
				}
				if got := u.proxy.Mutating(); len(got) != 1 || got[0].Path != "/containers/x/start" || tt.status > 0 && got[0].Status != tt.status {
					t.Errorf("the audit log has %v", got)
				}
				u.proxy.Play(nil)
				if status, _, err := u.get(t.Context(), http.MethodGet, "/"); status != http.StatusOK || err != nil {
					t.Errorf("after the fault: %d, %v", status, err)
				}
			})
		})
	}
}

func TestSilenceEndsWhenItIsLifted(t *testing.T) {
	for name, fault := range map[string]harness.Fault{"hang": harness.Hang, "mute": harness.Mute} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, u *upstream) {
				u.proxy.Play(fault)
				ended := make(chan error, 1)
				go func() {
					_, body, err := u.get(t.Context(), http.MethodPost, "/")
					ended <- errors.Join(err, errors.New(body))
				}()
				harness.Eventually(t, "the request has arrived", func() error {
					if len(u.proxy.Requests()) == 0 {
						return errors.New("it has not")
					}
					return nil
				})
				select {
				case err := <-ended:
					t.Errorf("it was answered: %v", err)
				default:
				}
				u.proxy.Play(nil)
				if err := <-ended; !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("it ended with %v, want a cut", err)
				}
				if u.asked.Load() != 0 {
					t.Error("the server was asked")
				}
			})
		})
	}
}

func TestOnlyStreamsAreCut(t *testing.T) {
	bothWays(t, func(t *testing.T, u *upstream) {
		ended := make(chan error, 2)
		paths := []string{"/v1.41/events", "/v1/kv/brambled/?recurse=&index=7"}
		for _, path := range paths {
			go func() {
				_, _, err := u.get(t.Context(), http.MethodGet, path)
				ended <- err
			}()
		}
		harness.Eventually(t, "both streams are open", func() error {
			if n := u.asked.Load(); n < 2 {
				return fmt.Errorf("%d are", n)
			}
			return nil
		})
		u.proxy.Break(harness.Only(harness.Streaming, harness.LoseRequest))
		select {
		case err := <-ended:
			t.Fatalf("a stream ended before it was cut: %v", err)
		default:
		}
		u.proxy.CutStreams()
		for range paths {
			if err := <-ended; err == nil {
				t.Error("a stream ended well")
			}
		}
		if status, _, err := u.get(t.Context(), http.MethodGet, "/v1.41/info"); status != http.StatusOK || err != nil {
			t.Errorf("what is no stream: %d, %v", status, err)
		}
		if _, _, err := u.get(t.Context(), http.MethodGet, "/v1.41/events"); err == nil {
			t.Error("a new stream passes")
		}
	})
}

func TestADoorThatIsShutOpensAgain(t *testing.T) {
	bothWays(t, func(t *testing.T, u *upstream) {
		ended := make(chan error, 1)
		go func() {
			_, _, err := u.get(t.Context(), http.MethodGet, "/events")
			ended <- err
		}()
		harness.Eventually(t, "the stream is open", func() error {
			if u.asked.Load() == 0 {
				return errors.New("it is not")
			}
			return nil
		})
		u.proxy.Down(t)
		if err := <-ended; err == nil {
			t.Error("a stream outlives the door")
		}
		var refused *net.OpError
		if _, _, err := u.get(t.Context(), http.MethodGet, "/"); !errors.As(err, &refused) || refused.Op != "dial" {
			t.Errorf("a connection was not refused: %v", err)
		}
		u.proxy.Up(t)
		if status, _, err := u.get(t.Context(), http.MethodGet, "/"); status != http.StatusOK || err != nil {
			t.Errorf("behind the open door: %d, %v", status, err)
		}
	})
}
