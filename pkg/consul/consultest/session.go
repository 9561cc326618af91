package consultest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// minTTL is Consul's session_ttl_min by default.
const minTTL = 10 * time.Second

// session is one session; its timer is the leader's.
type session struct {
	ID, Name, Node, Behavior, TTL string
	NodeChecks                    []string
	LockDelay                     time.Duration
	CreateIndex, ModifyIndex      uint64

	ttl   time.Duration
	timer *time.Timer
}

// session handles what is under /v1/session/.
func (s *Server) session(w http.ResponseWriter, r *http.Request, path string) {
	verb, id, _ := strings.Cut(path, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch verb {
	case "create":
		s.create(w, r)
	case "renew":
		held, ok := s.world.sessions[id]
		if !ok {
			http.Error(w, fmt.Sprintf("Session id '%s' not found", id), http.StatusNotFound)
			return
		}
		held.arm(s)
		reply(w, http.StatusOK, []*session{held})
	case "destroy":
		s.invalidate(id)
		reply(w, http.StatusOK, true)
	case "info":
		meta(w, s.world.index, false)
		list := []*session{}
		if held, ok := s.world.sessions[id]; ok {
			list = append(list, held)
		}
		reply(w, http.StatusOK, list)
	case "list", "node":
		meta(w, s.world.index, false)
		list := []*session{}
		for _, key := range slices.Sorted(maps.Keys(s.world.sessions)) {
			list = append(list, s.world.sessions[key])
		}
		reply(w, http.StatusOK, list)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var in struct{ Name, Node, Behavior, TTL, LockDelay string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		http.Error(w, "Request decode failed: "+err.Error(), http.StatusBadRequest)
		return
	}
	next := s.world.begin()
	made := &session{
		ID: newID(), Name: in.Name, Node: "fake", Behavior: in.Behavior, TTL: in.TTL,
		LockDelay: 15 * time.Second, CreateIndex: next.index, ModifyIndex: next.index,
	}
	if made.Behavior == "" {
		made.Behavior = "release"
	}
	if in.LockDelay != "" {
		made.LockDelay, _ = time.ParseDuration(in.LockDelay)
	}
	if in.TTL != "" {
		ttl, err := time.ParseDuration(in.TTL)
		if err != nil || ttl != 0 && (ttl < s.MinTTL || ttl > 24*time.Hour) {
			http.Error(w, fmt.Sprintf("Invalid Session TTL '%d', must be between [%v=%v]", ttl, s.MinTTL, 24*time.Hour), http.StatusInternalServerError)
			return
		}
		made.ttl = ttl
	}
	next.sessions[made.ID] = made
	made.arm(s)
	s.commit(next)
	reply(w, http.StatusOK, map[string]string{"ID": made.ID})
}

// arm starts the time to live anew. Consul lets a session live twice as long as it promises.
func (v *session) arm(s *Server) {
	if v.ttl == 0 {
		return
	}
	if v.timer != nil {
		v.timer.Stop()
	}
	v.timer = time.AfterFunc(2*v.ttl, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.invalidate(v.ID)
	})
}

// invalidate ends a session and what it holds. The caller holds the lock.
func (s *Server) invalidate(id string) {
	gone, ok := s.world.sessions[id]
	if !ok {
		return
	}
	if gone.timer != nil {
		gone.timer.Stop()
	}
	next := s.world.begin()
	delete(next.sessions, id)
	for key, p := range s.world.pairs {
		if p.Session != id {
			continue
		}
		if gone.LockDelay > 0 {
			next.delays[key] = time.Now().Add(gone.LockDelay)
		}
		if gone.Behavior == "delete" {
			next.remove(key)
			continue
		}
		next.set(txnKV{Key: key, Value: p.Value, Flags: p.Flags}, p, "", p.LockIndex)
	}
	s.commit(next)
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
