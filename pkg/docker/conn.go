package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"
)

// conn is a client whose API version was negotiated with the engine that runs now.
type conn struct {
	*client.Client
	version string // negotiated
	server  string // the engine's own, by which another engine is told
}

// atLeast reports whether the engine speaks this API version.
func (c *conn) atLeast(version string) bool { return speaks(c.version, version) }

// connector hands out the connection. The client negotiates on its first request only and goes on with its highest version
// when that fails, so a new one is built, and has to negotiate, after every loss.
type connector struct {
	host  string
	base  *http.Transport
	calls atomic.Uint64

	metrics *metrics
	turn    chan struct{} // held while connecting; a channel, because whoever waits for it has a deadline
	mu      sync.Mutex
	conn    *conn // nil: to be built
}

func newConnector(host string, m *metrics) (*connector, error) {
	u, err := client.ParseHostURL(host)
	if err != nil || (u.Scheme != "unix" && u.Scheme != "tcp") {
		return nil, fmt.Errorf("docker.host %q: write unix:///path/to/docker.sock or tcp://address:port", host)
	}
	c := &connector{host: host, metrics: m, turn: make(chan struct{}, 1)}
	c.base = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, u.Scheme, u.Host)
		},
		// No limit of connections: a stop that takes minutes must not keep another call waiting.
		MaxIdleConns: 16, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second,
		DisableCompression: true,
	}
	return c, nil
}

func (c *connector) close() { c.base.CloseIdleConnections() }

// get returns the connection, making one where there is none.
func (c *connector) get(ctx context.Context) (*conn, error) {
	if conn := c.current(); conn != nil {
		return conn, nil
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if conn := c.current(); conn != nil {
		return conn, nil // somebody else was first
	}
	return c.connect(ctx)
}

func (c *connector) current() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// connect builds a client and negotiates.
func (c *connector) connect(ctx context.Context) (*conn, error) {
	// The client is not told the host: it accepts a transport of ours only when it need not configure it.
	cli, err := client.New(client.WithHTTPClient(&http.Client{Transport: (*transport)(c), CheckRedirect: client.CheckRedirect}))
	if err != nil {
		return nil, fmt.Errorf("make docker client: %w", err)
	}
	c.base.CloseIdleConnections() // they lead to the engine that was
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pong, err := cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true})
	if err != nil {
		return nil, err
	}
	if v := cli.ClientVersion(); !speaks(v, minAPI) {
		return nil, fmt.Errorf("the engine speaks API %s; brambled needs %s (Docker Engine 20.10) or newer", v, minAPI)
	}
	fresh := &conn{Client: cli, version: cli.ClientVersion(), server: pong.APIVersion}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = fresh
	return fresh, nil
}

// minAPI is the oldest API brambled is tested with.
const minAPI = "1.41"

// lost drops a connection after which nothing is known of the engine, so that the next call negotiates.
func (c *connector) lost(old *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == old {
		c.conn = nil
	}
}

// call runs f with the connection and a deadline. A connection that failed is dropped.
func (e *Engine) call(ctx context.Context, timeout time.Duration, f func(context.Context, *conn) error) error {
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := e.conns.get(callCtx)
	if err == nil {
		if err = f(callCtx, c); err != nil && unusable(err) {
			e.conns.lost(c)
		}
	}
	switch {
	case err == nil:
		e.metrics.up.Set(1)
		return nil
	case ctx.Err() != nil:
		return ctx.Err() // the caller gave up, the engine did nothing wrong
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the engine did not answer within %s", timeout)
	case client.IsErrConnectionFailed(err):
		e.metrics.up.Set(0)
		return &UnreachableError{Host: e.cfg.Host, Err: err}
	}
	return plain(err)
}

// unusable reports whether an error means that the engine is gone, or is not the one that was negotiated with.
func unusable(err error) bool {
	if client.IsErrConnectionFailed(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "client version") && (strings.Contains(text, "too new") || strings.Contains(text, "too old"))
}

// transport counts requests and sends the fields that only old engines know.
type transport connector

// oldFields are body fields that the current client no longer has but that engines before API 1.44 need.
type oldFields struct{}

func withOldField(ctx context.Context, name string, value any) context.Context {
	return context.WithValue(ctx, oldFields{}, map[string]any{name: value})
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.calls.Add(1)
	t.metrics.calls.WithLabelValues(req.Method).Inc()
	if fields, ok := req.Context().Value(oldFields{}).(map[string]any); ok && req.Body != nil {
		var err error
		if req, err = addFields(req, fields); err != nil {
			return nil, err
		}
	}
	return t.base.RoundTrip(req)
}

// addFields merges top-level fields into a JSON body.
func addFields(req *http.Request, fields map[string]any) (*http.Request, error) {
	body := map[string]any{}
	dec := json.NewDecoder(req.Body)
	dec.UseNumber()
	err := dec.Decode(&body)
	_ = req.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	maps.Copy(body, fields)
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write request body: %w", err)
	}
	req = req.Clone(req.Context())
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	return req, nil
}
