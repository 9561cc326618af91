package consultest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Failure is one way of not answering. Exactly one of Status, Drop, Hang and Late is set.
type Failure struct {
	// Path limits it to paths below /v1/ with this prefix: "kv/brambled/vars/", "session/"; empty means all.
	Path string
	// Method limits it to one HTTP method; empty means all.
	Method string
	// Status and Body are the answer: 500 with "No cluster leader", 429, 503, 403, 404.
	Status int
	Body   string
	// Drop cuts the connection.
	Drop bool
	// Hang never answers; the request ends when the client gives up or the failure is healed, then by a cut.
	Hang bool
	// Late does the request when the failure is healed, if the client still waits.
	Late bool
}

// Break makes requests fail from now on, parked ones as well, and returns what heals it.
func (s *Server) Break(f Failure) (heal func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &f
	s.failures = append(s.failures, p)
	s.wake()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failures = slices.DeleteFunc(s.failures, func(o *Failure) bool { return o == p })
		s.wake()
	}
}

// ailing answers a request that a failure is meant for, and tells whether it did.
func (s *Server) ailing(w http.ResponseWriter, r *http.Request, path string) bool {
	f, moved := s.failure(r, path)
	if f == nil {
		return false
	}
	if f.Status != 0 {
		http.Error(w, f.Body, f.Status)
		return true
	}
	late := false
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for f != nil && (f.Hang || f.Late) {
		late = f.Late
		select {
		case <-r.Context().Done():
			return true
		case <-moved:
		}
		f, moved = s.failure(r, path)
	}
	if f == nil && late {
		return false
	}
	panic(http.ErrAbortHandler)
}

// Waiting is how many requests a failure keeps waiting now.
func (s *Server) Waiting() int { return int(s.waiting.Load()) }

// Parked tells whether a reader of this key, or of the keys below it, has seen all there is and waits for news.
func (s *Server) Parked(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parked[key] == s.moved
}

func (s *Server) failure(r *http.Request, path string) (*Failure, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.failures {
		if strings.HasPrefix(path, f.Path) && (f.Method == "" || f.Method == r.Method) {
			return f, s.moved
		}
	}
	return nil, s.moved
}

type filter struct {
	prefix string
	tells  bool
}

// Filter hides the keys below a prefix, as a token that may not read them would see it: lists lack them, a single key is
// forbidden. Only where tells is set does the answer say so in X-Consul-Results-Filtered-By-ACLs: Consul masks that header
// for an anonymous token.
func (s *Server) Filter(prefix string, tells bool) (lift func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &filter{prefix: prefix, tells: tells}
	s.filters = append(s.filters, f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.filters = slices.DeleteFunc(s.filters, func(o *filter) bool { return o == f })
	}
}

func (s *Server) filtered(key string) *filter {
	for _, f := range s.filters {
		if strings.HasPrefix(key, f.prefix) {
			return f
		}
	}
	return nil
}

// ReportIndex makes lists below a prefix carry this index whatever the truth, until the returned function is called.
func (s *Server) ReportIndex(prefix string, index uint64) (truth func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexes[prefix] = index
	s.wake()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.indexes, prefix)
		s.wake()
	}
}

// ReapTombstones forgets what was deleted, as Consul does after 15 minutes: the index of a list may fall.
func (s *Server) ReapTombstones() {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.world.begin()
	next.tombstones = map[string]uint64{}
	s.commit(next)
}

// Restart cuts every connection and keeps what raft keeps.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarn++
	s.wake()
}

// Wipe is a restart with an empty data folder: no key, no session, no service, and indexes that start small again.
func (s *Server) Wipe() {
	s.WipeAgent()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.world.sessions {
		if held.timer != nil {
			held.timer.Stop()
		}
	}
	s.world = newWorld(firstIndex)
	s.incarn++
	s.wake()
}

// Image is a snapshot of the whole state.
type Image struct{ world *world }

// Save takes a snapshot.
func (s *Server) Save() Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Image{s.world}
}

// Restore puts a snapshot back. Keys and sessions return with their old indexes, the log goes on where it was, and parked
// readers are answered at once, with what they had.
func (s *Server) Restore(i Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := i.world.begin()
	next.index = s.world.index + 1
	next.era = s.world.era + 1
	for _, held := range next.sessions {
		held.arm(s)
	}
	s.commit(next)
}

// Rewind puts a snapshot, or with the zero Image an empty state, in place without anybody noticing: a parked reader goes on
// waiting for an index that the new world may never reach. That is what a client sees behind an agent that outlived its
// servers.
func (s *Server) Rewind(i Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	era := s.world.era
	s.world = newWorld(firstIndex)
	if i.world != nil {
		s.world = i.world.begin()
	}
	s.world.era = era
}

// Put writes a key from outside, as `consul kv put` does, and returns its ModifyIndex.
func (s *Server) Put(key, value string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.world.begin()
	pairs, _ := next.apply(txnKV{Verb: "set", Key: key, Value: []byte(value)})
	s.commit(next)
	return pairs[0].ModifyIndex
}

// Delete removes a key from outside.
func (s *Server) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.world.begin()
	next.remove(key)
	s.commit(next)
}

// Get returns a key's value and the session that holds it.
func (s *Server) Get(key string) (p Pair, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.world.pairs[key]; ok {
		return *have.clone(), true
	}
	return Pair{}, false
}

// Index returns the index of the last write.
func (s *Server) Index() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.index
}

// Sessions returns the ids of the live sessions.
func (s *Server) Sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.world.sessions))
}

// Expire ends a session as its time to live would.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidate(id)
}

// Requests counts the requests so far whose "METHOD path" starts so: "GET kv/brambled/stacks/".
func (s *Server) Requests(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for path, times := range s.requests {
		if strings.HasPrefix(path, prefix) {
			n += times
		}
	}
	return n
}
