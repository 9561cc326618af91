package consultest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maxValue is Consul's kv_max_value_size.
const maxValue = 512 * 1024

// Server is one Consul, its state and its ailments.
type Server struct {
	// URL is where it listens; empty without Start.
	URL string
	// MinTTL is session_ttl_min. Set it before the first request.
	MinTTL time.Duration

	mu       sync.Mutex
	world    *world
	moved    chan struct{} // closed and replaced when anything changed that a parked request may care about
	failures []*Failure
	filters  []*filter
	indexes  map[string]uint64 // what lists under a prefix report as their index instead of the truth
	requests map[string]int
	services map[string]*Service        // of the agent, by id
	parked   map[string]<-chan struct{} // by key, the news that the last reader of it waits for
	waiting  atomic.Int32               // requests that a failure keeps waiting
	incarn   int                        // goes up when the process "restarts": parked requests of older ones are cut
}

// New returns a healthy server that is reached through Transport.
func New() *Server {
	return &Server{
		MinTTL: minTTL, world: newWorld(firstIndex), moved: make(chan struct{}),
		services: map[string]*Service{},
		indexes:  map[string]uint64{}, requests: map[string]int{}, parked: map[string]<-chan struct{}{},
	}
}

// Start returns a healthy server that listens on a loopback port until the test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := New()
	h := httptest.NewServer(s)
	tb.Cleanup(func() {
		s.Restart() // or parked requests would keep the listener from closing
		h.CloseClientConnections()
		h.Close()
	})
	s.URL = h.URL
	return s
}

// Transport returns a way to the server that needs no socket.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	defer func() {
		p := recover()
		if cut, ok := p.(error); ok && errors.Is(cut, http.ErrAbortHandler) {
			resp, err = nil, io.EOF
		} else if p != nil {
			panic(p)
		}
	}()
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	t.s.ServeHTTP(rec, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp = rec.Result()
	resp.Request = req
	return resp, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	s.mu.Lock()
	s.requests[r.Method+" "+path]++
	incarnation := s.incarn
	s.mu.Unlock()
	if s.ailing(w, r, path) {
		return
	}
	switch {
	case strings.HasPrefix(path, "kv/") && r.Method == http.MethodGet:
		s.read(w, r, strings.TrimPrefix(path, "kv/"), incarnation)
	case strings.HasPrefix(path, "kv/"):
		s.write(w, r, strings.TrimPrefix(path, "kv/"))
	case strings.HasPrefix(path, "session/"):
		s.session(w, r, strings.TrimPrefix(path, "session/"))
	case strings.HasPrefix(path, "agent/"):
		s.agent(w, r, strings.TrimPrefix(path, "agent/"))
	case path == "txn":
		s.txn(w, r)
	case path == "status/leader":
		reply(w, http.StatusOK, "127.0.0.1:8300")
	default:
		http.Error(w, "consultest does not model "+r.URL.Path, http.StatusNotFound)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func meta(w http.ResponseWriter, index uint64, filtered bool) {
	h := w.Header()
	h.Set("X-Consul-Index", strconv.FormatUint(index, 10))
	h.Set("X-Consul-KnownLeader", "true")
	h.Set("X-Consul-LastContact", "0")
	if filtered {
		h.Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
}

// found is what a read sees at one moment.
type found struct {
	index   uint64
	entries []*Pair
	hidden  bool // entries were left out by a filter that tells
	denied  bool
}

// read is a GET under kv/, blocking when an index is sent, by the rules of Consul's blockingquery.go.
func (s *Server) read(w http.ResponseWriter, r *http.Request, key string, incarnation int) {
	q := r.URL.Query()
	recurse := q.Has("recurse")
	sent, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	if wait <= 0 {
		wait = 5 * time.Minute
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	missing := false
	for {
		s.mu.Lock()
		got, moved, world := s.look(key, recurse), s.moved, s.world
		s.mu.Unlock()
		if got.denied {
			http.Error(w, "Permission denied: token lacks permission 'key:read' on "+strconv.Quote(key), http.StatusForbidden)
			return
		}
		// A key that stays missing is no news, whatever other keys do to the index.
		if !recurse && len(got.entries) == 0 {
			if missing {
				sent = got.index
			}
			missing = true
		}
		if sent == 0 || got.index > sent || s.park(r, key, moved, timeout.C, world) {
			answer(w, got)
			return
		}
		if r.Context().Err() != nil {
			return
		}
		s.mu.Lock()
		dead := s.incarn != incarnation
		s.mu.Unlock()
		if dead {
			panic(http.ErrAbortHandler)
		}
		if s.ailing(w, r, strings.TrimPrefix(r.URL.Path, "/v1/")) {
			return
		}
	}
}

// park waits until something moved. It tells whether the reader is to be answered as things stand: the time is up, or a
// snapshot was restored under it.
func (s *Server) park(r *http.Request, key string, moved <-chan struct{}, timeout <-chan time.Time, before *world) bool {
	s.mu.Lock()
	s.parked[key] = moved
	s.mu.Unlock()
	select {
	case <-timeout:
		return true
	case <-r.Context().Done():
		return false
	case <-moved:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.world.era != before.era
	}
}

// answer sends what was seen last. After a restored snapshot that is the state that is gone: so does Consul.
func answer(w http.ResponseWriter, got found) {
	meta(w, got.index, got.hidden)
	if len(got.entries) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	reply(w, http.StatusOK, got.entries)
}

func (s *Server) look(key string, recurse bool) found {
	var got found
	if !recurse {
		got.index = s.world.tableIndex
		if p, ok := s.world.pairs[key]; ok {
			got.index, got.entries = p.ModifyIndex, []*Pair{p.clone()}
		}
		got.denied = s.filtered(key) != nil
		return got
	}
	got.index, got.entries = s.world.list(key)
	kept := got.entries[:0]
	for _, p := range got.entries {
		f := s.filtered(p.Key)
		if f == nil {
			kept = append(kept, p)
			continue
		}
		got.hidden = got.hidden || f.tells
	}
	got.entries = kept
	for prefix, index := range s.indexes {
		if strings.HasPrefix(key, prefix) {
			got.index = index
		}
	}
	return got
}

// write is a PUT or DELETE under kv/.
func (s *Server) write(w http.ResponseWriter, r *http.Request, key string) {
	q := r.URL.Query()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if len(body) > maxValue {
		http.Error(w, fmt.Sprintf("Request body(%d bytes) too large, max size: %d bytes.", len(body), maxValue), http.StatusRequestEntityTooLarge)
		return
	}
	op := txnKV{Key: key, Value: body, Verb: "set"}
	op.Index, _ = strconv.ParseUint(q.Get("cas"), 10, 64)
	switch {
	case r.Method == http.MethodDelete && q.Has("recurse"):
		op.Verb = "delete-tree"
	case r.Method == http.MethodDelete && q.Has("cas"):
		op.Verb = "delete-cas"
	case r.Method == http.MethodDelete:
		op.Verb = "delete"
	case q.Has("cas"):
		op.Verb = "cas"
	case q.Has("acquire"):
		op.Verb, op.Session = "lock", q.Get("acquire")
	case q.Has("release"):
		op.Verb, op.Session = "unlock", q.Get("release")
	}
	s.mu.Lock()
	next := s.world.begin()
	_, err = next.apply(op)
	if err == nil {
		s.commit(next)
	}
	s.mu.Unlock()
	_, refused := errors.AsType[refusal](err)
	if err != nil && !refused {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, !refused)
}

// commit makes a changed world the current one and wakes who is parked. The caller holds the lock.
func (s *Server) commit(next *world) {
	s.world = next
	s.wake()
}

func (s *Server) wake() {
	close(s.moved)
	s.moved = make(chan struct{})
}
