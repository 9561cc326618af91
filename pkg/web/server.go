// Package web is the daemon's HTTP server: metrics, health, the status page and the API. It only answers questions; no
// request changes anything, and no answer holds the value of a variable, an environment or a secret.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/status"
)

// Source is what the server tells about. It is asked at each request and must not block.
type Source interface {
	Status() status.Node
	// Healthy is nil while the daemon itself works: its loop gets around. An engine or a store that is away is no fault of it.
	Healthy() error
	// Ready is nil once the first pass is done and while the engine answers, else it says what is missing.
	Ready() error
}

// Options are what a server is made from.
type Options struct {
	Listen   string
	Source   Source
	Registry prometheus.Gatherer
	Log      *zap.Logger
}

// Server listens from New on, so that a port that is taken is an error at once, and answers in Run.
type Server struct {
	opts     Options
	l        net.Listener
	http     *http.Server
	template *template.Template
	policy   string
}

// grace is how long a request under way may take when the daemon ends.
const grace = 2 * time.Second

// New listens.
func New(opts Options) (*Server, error) {
	t, policy, err := parsePage()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; is another brambled running? Choose another address with --listen", opts.Listen, err)
	}
	s := &Server{opts: opts, l: l, template: t, policy: policy}
	s.http = &http.Server{
		Handler:           s.handler(),
		ErrorLog:          zap.NewStdLog(opts.Log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	return s, nil
}

// Addr is the address it listens on.
func (s *Server) Addr() string { return s.l.Addr().String() }

// Run answers until ctx ends, and returns when the requests under way are done or cut off.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := s.http.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // a client that does not end its request is cut off
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop serving: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	src := s.opts.Source
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{
		ErrorLog: zap.NewStdLog(s.opts.Log), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8,
	}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { probe(w, src.Healthy()) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { probe(w, src.Ready()) })
	mux.HandleFunc("/api/v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, src.Status()) })
	mux.HandleFunc("/api/v1/stacks/{name}", s.stack)
	mux.HandleFunc("/{$}", s.page)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusNotFound, problem{"there is nothing at " + r.URL.Path})
	})
	return s.readOnly(mux)
}

// readOnly refuses every method that could change something, and sets the headers that keep a browser from doing more than
// showing what it gets.
func (s *Server) readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			reply(w, http.StatusMethodNotAllowed, problem{"this server only answers questions; a stack is changed by its key in Consul"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// problem is what a request that cannot be answered gets.
type problem struct {
	Error string `json:"error"`
}

func probe(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client may be gone
}

func (s *Server) stack(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	st, ok := s.opts.Source.Status().Stack(name)
	if !ok {
		reply(w, http.StatusNotFound, problem{"there is no stack " + name + " on this node"})
		return
	}
	reply(w, http.StatusOK, st)
}
