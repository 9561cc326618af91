package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/status"
)

// source is a daemon that is as it is told to be.
type source struct {
	node           status.Node
	healthy, ready error
}

func (s *source) Status() status.Node { return s.node }
func (s *source) Healthy() error      { return s.healthy }
func (s *source) Ready() error        { return s.ready }

const hostile = `<script>alert("x")</script>`

func newSource() *source {
	return &source{node: status.Node{
		Schema: status.Schema, Node: "pi1", Version: "1.0", Holds: []status.Hold{
			{Scope: "stack bad", Cause: "bad input", Detail: "brambled/stacks/bad:3: unknown key " + hostile, Lifts: "by itself when it is corrected"},
		},
		Stacks: []status.Stack{
			{Name: "aaa", State: status.Converged, Why: "aaa is converged", Services: []status.Service{{Name: "app", State: status.Running, Desired: 1, Running: 1, Image: "app:1"}}},
			{Name: hostile, State: status.Failed, Why: "it waits for " + hostile, Waits: []string{hostile}, Services: []status.Service{
				{Name: hostile, State: status.Failed, Image: hostile, Why: hostile, Progress: hostile},
			}},
			{Name: "bad", State: status.Held, Source: hostile, Revision: hostile, Error: hostile, Services: []status.Service{}},
		},
	}}
}

func server(t *testing.T, src Source) *Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector())
	m := status.NewMetrics(reg, "1.0")
	m.Set(src.Status())
	s, err := New(Options{Listen: "127.0.0.1:0", Source: src, Registry: reg, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.l.Close() })
	return s
}

func get(s *Server, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestAnswers(t *testing.T) {
	s := server(t, newSource())
	for _, tt := range []struct {
		path     string
		code     int
		kind     string
		contains []string
	}{
		{"/", 200, "text/html", []string{"brambled on pi1", "held: brambled on pi1", "prefers-color-scheme", "by itself when it is corrected"}},
		{"/healthz", 200, "text/plain", []string{"ok"}},
		{"/readyz", 200, "text/plain", []string{"ok"}},
		{"/metrics", 200, "text/plain", []string{`brambled_stacks{state="held"} 1`, `brambled_stack_error{stack="bad"} 1`, `brambled_holds{cause="bad input"} 1`}},
		{"/api/v1/status", 200, "application/json", []string{`"schema": 1`, `"node": "pi1"`, `"cause": "bad input"`}},
		{"/api/v1/stacks/aaa", 200, "application/json", []string{`"state": "converged"`}},
		{"/api/v1/stacks/none", 404, "application/json", []string{`"error": "there is no stack none on this node"`}},
		{"/api/v1/stacks/%3Cscript%3E", 404, "application/json", []string{`there is no stack \u003cscript\u003e`}},
		{"/nothing", 404, "application/json", []string{`"error": "there is nothing at /nothing"`}},
		{"/debug/pprof/", 404, "application/json", nil},
	} {
		t.Run(tt.path, func(t *testing.T) {
			w := get(s, http.MethodGet, tt.path)
			if w.Code != tt.code || !strings.HasPrefix(w.Header().Get("Content-Type"), tt.kind) {
				t.Errorf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			for _, c := range tt.contains {
				if !strings.Contains(w.Body.String(), c) {
					t.Errorf("no %q in\n%s", c, w.Body)
				}
			}
			for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
				if w.Header().Get(h) == "" {
					t.Errorf("no header %s", h)
				}
			}
		})
	}
}

// A stack's name, an image or an error is anybody's text; on the page it is never markup.
func TestPageEscapes(t *testing.T) {
	body := get(server(t, newSource()), http.MethodGet, "/").Body.String()
	if strings.Contains(body, "<script") {
		t.Errorf("a script got onto the page:\n%s", body)
	}
	if strings.Count(body, "&lt;script&gt;") < 9 {
		t.Errorf("not all of the texts are shown:\n%s", body)
	}
}

// What is wrong comes first, and nothing is loaded from elsewhere.
func TestPageOrder(t *testing.T) {
	body := get(server(t, newSource()), http.MethodGet, "/").Body.String()
	last := -1
	for _, part := range []string{"Held: stack bad", ">bad <", "alert", ">aaa <"} {
		i := strings.LastIndex(body, part)
		if i < last {
			t.Errorf("%q stands too far up:\n%s", part, body)
		}
		last = i
	}
	for _, part := range []string{"http://", "https://", "src=", "<link", "@import", "url("} {
		if strings.Contains(body, part) {
			t.Errorf("the page has %q:\n%s", part, body)
		}
	}
}

// The policy allows exactly the style sheet that is sent: a browser would drop it otherwise.
func TestPolicyMatchesStyle(t *testing.T) {
	w := get(server(t, newSource()), http.MethodGet, "/")
	_, rest, _ := strings.Cut(w.Body.String(), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s does not allow the style", policy)
	}
}

func TestReadOnly(t *testing.T) {
	s := server(t, newSource())
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "X"} {
		for _, path := range []string{"/", "/metrics", "/healthz", "/api/v1/status", "/api/v1/stacks/aaa", "/nothing"} {
			w := get(s, method, path)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
	if w := get(s, http.MethodHead, "/api/v1/status"); w.Code != http.StatusOK {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestProbes(t *testing.T) {
	src := newSource()
	src.healthy, src.ready = errors.New("the loop has not been around for 2m"), errors.New("the first pass is not done: the engine is away")
	s := server(t, src)
	for path, want := range map[string]error{"/healthz": src.healthy, "/readyz": src.ready} {
		if w := get(s, http.MethodGet, path); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), want.Error()) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if body := get(s, http.MethodGet, "/").Body.String(); !strings.Contains(body, "the engine is away") {
		t.Errorf("the page does not say what is missing:\n%s", body)
	}
}

func TestStatusRoundTrip(t *testing.T) {
	src := newSource()
	var n status.Node
	if err := json.Unmarshal(get(server(t, src), http.MethodGet, "/api/v1/status").Body.Bytes(), &n); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(src.node.Stable(), n.Stable()); !status.Same(src.node, n) {
		t.Errorf("(-sent +got)\n%s", diff)
	}
}

func TestMetricsParse(t *testing.T) {
	w := get(server(t, newSource()), http.MethodGet, "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil || families["brambled_build_info"] == nil || families["brambled_stack_converged"] == nil {
		t.Errorf("%d families, %v", len(families), err)
	}
}

// Run answers on a port of the system's choice and ends with its context.
func TestRun(t *testing.T) {
	s := server(t, newSource())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	res, err := http.Get("http://" + s.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "ok\n" {
		t.Errorf("answer %q", body)
	}
	if _, err := New(Options{Listen: s.Addr(), Source: newSource(), Registry: prometheus.NewRegistry(), Log: zap.NewNop()}); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a port that is taken: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
