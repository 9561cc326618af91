package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// Proxy stands between brambled and the engine, or Consul, outside both processes. It writes down every request, and does
// to them what a test asks for.
type Proxy struct {
	// Host is its address: as DOCKER_HOST takes it, or host:port. Log is the audit log's file.
	Host, Log string

	network, address, upstream string // address and upstream are of one network

	mu       sync.Mutex
	requests []*Request
	choose   func(*http.Request) Fault
	lifted   chan struct{} // closed when choose is replaced
	streams  map[*Request]context.CancelFunc
	log      *os.File
	close    func() error // nil while it is down
}

// SocketProxy starts a proxy in front of an engine's socket. Streams (events, logs, pulls) are passed on as
// they come, hijacked connections (attach, exec) byte by byte.
func SocketProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	return SocketProxyAt(t, upstream, "")
}

// SocketProxyAt is SocketProxy with a socket at a path of the caller's, so that a client in another mount namespace finds it.
func SocketProxyAt(t testing.TB, upstream, address string) *Proxy {
	t.Helper()
	p := newProxy(t, "unix", upstream)
	p.address = address
	if address == "" {
		p.address = filepath.Join(filepath.Dir(p.Log), "docker.sock")
	}
	p.Host = "unix://" + p.address
	p.Up(t)
	return p
}

// TCPProxy starts a proxy in front of an HTTP server at host:port, on a free port of the loopback.
func TCPProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := newProxy(t, "tcp", upstream)
	p.address = fmt.Sprintf("127.0.0.1:%d", FreePorts(t, 1)[0])
	p.Host = p.address
	p.Up(t)
	return p
}

func newProxy(t testing.TB, network, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{network: network, upstream: upstream, lifted: make(chan struct{}), streams: map[*Request]context.CancelFunc{}}
	p.Log = filepath.Join(Workspace(t, "proxy"), "audit.log")
	file, err := os.Create(p.Log)
	if err != nil {
		t.Fatalf("open audit log: %v", err)
	}
	p.log = file
	t.Cleanup(func() {
		p.Down(t)
		if t.Failed() {
			t.Logf("the end of the audit log:\n%s", Tail(p.Log, 40))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.log.Close(); err != nil {
			t.Errorf("close audit log: %v", err)
		}
		p.log = nil
	})
	return p
}

// Up lets clients in, at first or after Down, at the same address.
func (p *Proxy) Up(t testing.TB) {
	t.Helper()
	listener, err := net.Listen(p.network, p.address)
	if err != nil {
		t.Fatalf("listen on proxy's address: %v", err)
	}
	server := &http.Server{Handler: p.handler(), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	p.close = func() error {
		closed := server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return errors.Join(closed, err)
		}
		return closed
	}
}

// Down cuts all connections and refuses new ones: the file of a socket is gone.
func (p *Proxy) Down(t testing.TB) {
	t.Helper()
	if p.close == nil {
		return
	}
	if err := p.close(); err != nil {
		t.Errorf("close proxy: %v", err)
	}
	p.close = nil
}

func (p *Proxy) handler() http.Handler {
	dialer := &net.Dialer{}
	reverse := &httputil.ReverseProxy{
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "upstream"})
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			// A connection that was kept would look cut where only the server behind was started again.
			DisableCompression: true, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, p.network, p.upstream)
			},
		},
		ModifyResponse: func(resp *http.Response) error {
			p.answered(resp.Request, resp.StatusCode)
			return nil
		},
		// A server that is gone must look gone, not like a gateway that answers 502.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, fault, done := p.arrived(r)
		defer done()
		if fault == nil {
			reverse.ServeHTTP(w, r)
			return
		}
		fault(&witness{ResponseWriter: w, proxy: p, request: r}, r, reverse)
	})
}

// witness enters the answers that a fault gives itself in the audit log.
type witness struct {
	http.ResponseWriter
	proxy   *Proxy
	request *http.Request
}

// WriteHeader implements [http.ResponseWriter].
func (w *witness) WriteHeader(status int) {
	w.proxy.answered(w.request, status)
	w.ResponseWriter.WriteHeader(status)
}

// Flush implements [http.Flusher].
func (w *witness) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap lets [http.ResponseController] through.
func (w *witness) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// arrived enters a request in the audit log at its arrival, so that one that never ends is seen too, and chooses its fate.
func (p *Proxy) arrived(r *http.Request) (*http.Request, Fault, func()) {
	entry := requestOf(r)
	ctx, cancel := context.WithCancel(r.Context())
	p.mu.Lock()
	p.requests = append(p.requests, &entry)
	p.write(&entry)
	choose, lifted := p.choose, p.lifted
	if Streaming(r) {
		p.streams[&entry] = cancel
	}
	p.mu.Unlock()
	r = passing{&entry, lifted}.on(r.WithContext(ctx))
	var fault Fault
	if choose != nil {
		fault = choose(r)
	}
	return r, fault, func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.streams, &entry)
	}
}

// answered takes down the first answer; one that a fault has changed afterwards is still the server's.
func (p *Proxy) answered(r *http.Request, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if entry := call(r).entry; entry != nil && entry.Status == 0 {
		entry.Status = status
		p.write(entry)
	}
}

// write appends to the log file; a log that cannot be written shows as a short artefact, nothing depends on it.
func (p *Proxy) write(entry *Request) {
	if p.log != nil {
		_, _ = fmt.Fprintf(p.log, "%s %v\n", time.Now().Format(time.RFC3339Nano), entry)
	}
}

// Break lets choose look at each request as it arrives and say what becomes of it; a nil choose, and a nil fault, pass.
// Requests that are under way go on, unless they hang: see CutStreams.
func (p *Proxy) Break(choose func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.lifted)
	p.choose, p.lifted = choose, make(chan struct{})
}

// Play puts all requests through one fault; nil passes them again.
func (p *Proxy) Play(f Fault) { p.Break(func(*http.Request) Fault { return f }) }

// CutStreams cuts the requests that are waiting for news.
func (p *Proxy) CutStreams() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.streams {
		cancel()
	}
}

// Requests is what has passed so far, in order of arrival.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := make([]Request, len(p.requests))
	for i, r := range p.requests {
		requests[i] = *r
	}
	return requests
}

// Mutating is the part of Requests that asked for a change.
func (p *Proxy) Mutating() []Request {
	return slices.DeleteFunc(p.Requests(), func(r Request) bool { return !r.Mutating() })
}

// Forget empties Requests; the log file keeps everything.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}
