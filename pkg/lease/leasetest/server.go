package leasetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/brambled/brambled/pkg/lease"
)

// firstIndex is where a fresh Consul's log stands.
const firstIndex = 20

// session is one session; its timer is the server's.
type session struct {
	id, name       string
	ttl, lockDelay time.Duration
	timer          *time.Timer
}

// key is the leader key; nil when there is none.
type key struct {
	index   uint64
	session string
	value   string
}

// Server is one Consul.
type Server struct {
	// MinTTL is session_ttl_min. Set it before the first request.
	MinTTL time.Duration

	mu       sync.Mutex
	moved    chan struct{} // closed and replaced when something changed
	index    uint64        // of the last write
	made     int           // sessions ever, also over wipes: an id is never used again
	key      *key
	gone     uint64 // index of the deletion of the key, for who waits on a missing one
	closed   time.Time
	sessions map[string]*session
	opened   []time.Duration // lock-delays of all sessions ever made
	renewed  time.Time       // when a session was last renewed
	events   []string
}

// New returns a healthy server without the key, that allows times to live of 5 s.
func New() *Server {
	return &Server{MinTTL: lease.ShortTTL, index: firstIndex, moved: make(chan struct{}), sessions: map[string]*session{}}
}

// changed wakes who waits. The caller holds the lock.
func (s *Server) changed(event string, args ...any) {
	s.events = append(s.events, fmt.Sprintf(event, args...))
	close(s.moved)
	s.moved = make(chan struct{})
}

// set writes the key; one that would not change keeps its index. The caller holds the lock.
func (s *Server) set(holder, value string) uint64 {
	if s.key != nil && s.key.session == holder && s.key.value == value {
		return s.key.index
	}
	s.index++
	s.key = &key{index: s.index, session: holder, value: value}
	return s.index
}

// arm starts a time to live anew. Consul lets a session live twice as long as it promises. The caller holds the lock.
func (s *Server) arm(v *session) {
	if v.timer != nil {
		v.timer.Stop()
	}
	v.timer = time.AfterFunc(2*v.ttl, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sessions[v.id] == v {
			s.invalidate(v.id, "expired")
		}
	})
}

// invalidate ends a session and releases what it holds. The caller holds the lock.
func (s *Server) invalidate(id, how string) {
	v, ok := s.sessions[id]
	if !ok {
		return
	}
	v.timer.Stop()
	delete(s.sessions, id)
	if s.key != nil && s.key.session == id {
		s.closed = time.Now().Add(v.lockDelay)
		s.set("", s.key.value)
	}
	s.changed("%s %s", how, id)
}

// Destroy ends the session that holds the key, as `consul session destroy` or the deregistration of a node does.
func (s *Server) Destroy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		s.invalidate(s.key.session, "destroyed by hand")
	}
}

// Delete removes the key from outside. Its session lives on, and there is no lock-delay.
func (s *Server) Delete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	s.key, s.gone = nil, s.index
	s.changed("key deleted by hand")
}

// Put writes the key from outside. Who holds it goes on holding it.
func (s *Server) Put(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	holder := ""
	if s.key != nil {
		holder = s.key.session
	}
	s.set(holder, value)
	s.changed("key written by hand")
}

// NewLeader is a change of Consul's leader: all times to live start anew.
func (s *Server) NewLeader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.sessions {
		s.arm(v)
	}
	s.changed("new leader")
}

// Wipe is a Consul that lost everything.
func (s *Server) Wipe() {
	s.Restore(Image{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.gone = firstIndex, 0
}

// Image is a snapshot.
type Image struct {
	key      *key
	sessions []session
}

// Save takes a snapshot.
func (s *Server) Save() Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	image := Image{key: s.key}
	for _, id := range slices.Sorted(maps.Keys(s.sessions)) {
		v := *s.sessions[id]
		v.timer = nil
		image.sessions = append(image.sessions, v)
	}
	return image
}

// Restore puts a snapshot back: the key with its old index, and the sessions that were alive. The log goes on.
func (s *Server) Restore(i Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.sessions {
		v.timer.Stop()
	}
	s.key, s.sessions = i.key, map[string]*session{}
	for _, v := range i.sessions {
		s.sessions[v.id] = &v
		s.arm(&v)
	}
	s.closed = time.Time{}
	s.index++
	s.changed("restored")
}

// Holder returns the session that holds the key, and the key's value and index.
func (s *Server) Holder() (session, value string, index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		return "", "", 0
	}
	return s.key.session, s.key.value, s.key.index
}

// Renewed returns when the last renewal arrived.
func (s *Server) Renewed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

// Sessions returns how many sessions are alive.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// LockDelays returns the lock-delays of all sessions that were ever made.
func (s *Server) LockDelays() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opened)
}

// Events tells what happened, one line each, for a test that failed.
func (s *Server) Events() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.events, "\n")
}

// Live tells whether a session is alive.
func (s *Server) Live(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id] != nil
}
