// Package dockertest provides a stateful fake of the Docker Engine API on a unix socket, with faults by switch, and a
// registry that serves, stalls or fails as told. The fake implements what pkg/docker uses, and the contract tests of
// pkg/docker hold it to what a real engine does.
package dockertest

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/events"
)

// Server is a fake engine. Its state lives through Kill and Again, as a real engine's does.
type Server struct {
	t      testing.TB
	socket string

	mu         sync.Mutex
	version    string
	containers map[string]*ctr
	networks   map[string]*netw
	volumes    map[string]*vol
	images     map[string]*Image
	store      Store
	hidden     map[Store]contents
	removal    string // how a removal under way fails, "" when it succeeds
	pulls      map[string]Pull
	swarm      *cluster
	registry   map[string]Distribution
	auths      map[string]string // the last registry credentials, by call
	meanwhile  map[string]func() // by call
	faults     []*Fault
	log        []string
	streams    map[chan events.Message]bool
	hung       chan struct{} // closed when the server is killed
	http       *http.Server
	ids        int
	ticks      int
}

// New starts a fake that speaks API 1.41 and has the networks every engine has.
func New(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "fake-docker-") //nolint:usetesting // the path of t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		t: t, socket: filepath.Join(dir, "docker.sock"), version: "1.41",
		containers: map[string]*ctr{}, networks: map[string]*netw{}, volumes: map[string]*vol{},
		images: map[string]*Image{}, pulls: map[string]Pull{}, streams: map[chan events.Message]bool{},
		swarm: newCluster(), registry: map[string]Distribution{}, auths: map[string]string{}, meanwhile: map[string]func(){},
		store: Store{ID: "FAKE", Driver: "fake"}, hidden: map[Store]contents{},
	}
	for _, name := range []string{"bridge", "host", "none"} {
		s.addNetwork(name, name, nil)
	}
	s.Again()
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	return s
}

// Host is the value for DOCKER_HOST.
func (s *Server) Host() string { return "unix://" + s.socket }

// SetVersion changes the API version, as an upgrade would. Existing connections go on.
func (s *Server) SetVersion(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = v
}

// Kill ends the server and every connection to it, as the crash of an engine with live-restore does.
func (s *Server) Kill() {
	s.mu.Lock()
	srv := s.http
	s.http = nil
	if srv != nil {
		close(s.hung)
	}
	s.mu.Unlock()
	if srv != nil {
		_ = srv.Close()
		_ = os.Remove(s.socket)
	}
}

// Again serves the socket after Kill.
func (s *Server) Again() {
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatalf("serve fake engine: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = make(chan struct{})
	s.http = &http.Server{Handler: s.handler()}
	go func(srv *http.Server) { _ = srv.Serve(l) }(s.http)
}

// CutEvents ends the event streams, as an engine under pressure may.
func (s *Server) CutEvents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.streams {
		close(c)
		delete(s.streams, c)
	}
}

// Log returns the requests so far as "METHOD /path", without version and query.
func (s *Server) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// Forget empties the log.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Count is how many requests so far began with this "METHOD /path".
func (s *Server) Count(call string) int {
	n := 0
	for _, c := range s.Log() {
		if strings.HasPrefix(c, call) {
			n++
		}
	}
	return n
}

// Meanwhile runs f once, after the next call of this "METHOD /path" was served.
func (s *Server) Meanwhile(call string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meanwhile[call] = f
}

// after runs what is to happen after a call.
func (s *Server) after(call string) {
	s.mu.Lock()
	f := s.meanwhile[call]
	delete(s.meanwhile, call)
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

// Kind is what a fault does to a request.
type Kind int

// The kinds of faults.
const (
	Fail      Kind = iota // an error instead of the call
	LoseReply             // the call is performed, and the connection breaks
	Hang                  // no answer until the caller gives up or the server is killed
)

// Fault changes the fate of matching requests.
type Fault struct {
	Match   string // regular expression on "METHOD /path"
	Skip    int    // so many matching requests pass first
	Times   int    // and so many are hit; 0 means every one
	Kind    Kind
	Status  int // of Fail; 500 when 0
	Message string

	hits int
}

// Break adds a fault. Mend removes all.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Mend removes all faults. What hangs goes on hanging.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault returns the fault that hits a request.
func (s *Server) fault(call string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if !regexp.MustCompile(f.Match).MatchString(call) {
			continue
		}
		f.hits++
		if f.hits > f.Skip && (f.Times == 0 || f.hits <= f.Skip+f.Times) {
			return f
		}
	}
	return nil
}

var versioned = regexp.MustCompile(`^/v1\.\d+`)

// handler strips the version, keeps the log and applies faults.
func (s *Server) handler() http.Handler {
	mux := s.routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := strings.TrimPrefix(versioned.FindString(r.URL.Path), "/v")
		r.URL.Path = versioned.ReplaceAllString(r.URL.Path, "")
		r.URL.RawPath = ""
		call := r.Method + " " + r.URL.Path
		s.mu.Lock()
		s.log = append(s.log, call)
		version, hung := s.version, s.hung
		s.mu.Unlock()
		w.Header().Set("Api-Version", version)
		w.Header().Set("Ostype", "linux")
		if asked != "" && newer(asked, version) {
			fail(w, http.StatusBadRequest, "client version "+asked+" is too new. Maximum supported API version is "+version)
			return
		}
		f := s.fault(call)
		switch {
		case f == nil:
			mux.ServeHTTP(w, r)
			s.after(call)
		case f.Kind == Hang:
			select {
			case <-r.Context().Done():
			case <-hung:
			}
		case f.Kind == LoseReply:
			mux.ServeHTTP(&discard{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		default:
			status := f.Status
			if status == 0 {
				status = http.StatusInternalServerError
			}
			fail(w, status, f.Message)
		}
	})
}

// newer compares API versions, which all are 1.x.
func newer(a, b string) bool {
	x, y := strings.TrimPrefix(a, "1."), strings.TrimPrefix(b, "1.")
	return len(x) > len(y) || len(x) == len(y) && x > y
}

// discard takes a reply that is lost.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]string{"message": message})
}

// routes are the calls that pkg/docker makes, and a few that its tests make as a person at the engine would.
func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	m.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) {
		s.serveInfo(w)
	})
	m.HandleFunc("GET /events", s.serveEvents)
	m.HandleFunc("GET /containers/json", s.listContainers)
	m.HandleFunc("POST /containers/create", s.createContainer)
	m.HandleFunc("GET /containers/{id}/json", s.withContainer(s.inspectContainer))
	m.HandleFunc("POST /containers/{id}/start", s.withContainer(s.startContainer))
	m.HandleFunc("POST /containers/{id}/stop", s.withContainer(s.stopContainer))
	m.HandleFunc("POST /containers/{id}/kill", s.withContainer(s.killContainer))
	m.HandleFunc("POST /containers/{id}/rename", s.withContainer(s.renameContainer))
	m.HandleFunc("POST /containers/{id}/update", s.withContainer(s.updateContainer))
	m.HandleFunc("POST /containers/{id}/wait", s.withContainer(s.waitContainer))
	m.HandleFunc("DELETE /containers/{id}", s.withContainer(s.removeContainer))
	m.HandleFunc("GET /networks", s.listNetworks)
	m.HandleFunc("POST /networks/create", s.createNetwork)
	m.HandleFunc("DELETE /networks/{id}", s.withNetwork(s.removeNetwork))
	m.HandleFunc("POST /networks/{id}/connect", s.withNetwork(s.connect))
	m.HandleFunc("POST /networks/{id}/disconnect", s.disconnect)
	m.HandleFunc("GET /volumes", s.listVolumes)
	m.HandleFunc("POST /volumes/create", s.createVolume)
	m.HandleFunc("DELETE /volumes/{id}", s.removeVolume)
	m.HandleFunc("POST /images/create", s.pullImage)
	m.HandleFunc("GET /images/", s.inspectImage)
	s.swarmRoutes(m)
	return m
}
