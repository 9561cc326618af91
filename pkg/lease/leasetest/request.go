package leasetest

import (
	"fmt"
	"time"

	"github.com/brambled/brambled/pkg/lease"
)

// What a link asks of the server, answered at once.

func (s *Server) open(name string, ttl, lockDelay time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ttl < s.MinTTL {
		return "", fmt.Errorf("open session of %v: %w", ttl, lease.ErrTTL)
	}
	s.opened = append(s.opened, lockDelay)
	if lockDelay < time.Millisecond {
		lockDelay = 15 * time.Second // what Consul makes of none
	}
	s.made++
	v := &session{id: fmt.Sprintf("session-%d", s.made), name: name, ttl: ttl, lockDelay: lockDelay}
	s.sessions[v.id] = v
	s.arm(v)
	s.changed("%s opened %s", name, v.id)
	return v.id, nil
}

func (s *Server) renew(id string) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.sessions[id]
	if !ok {
		return 0, fmt.Errorf("renew %s: %w", id, lease.ErrSessionGone)
	}
	s.arm(v)
	s.renewed = time.Now()
	return v.ttl, nil
}

func (s *Server) destroy(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidate(id, "closed")
}

func (s *Server) acquire(id string, value []byte, seen lease.Record) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sessions[id]; !ok {
		return 0, false, fmt.Errorf("acquire with %s: %w", id, lease.ErrSessionGone)
	}
	index, holder := uint64(0), ""
	if s.key != nil {
		index, holder = s.key.index, s.key.session
	}
	if index != seen.Index || holder != "" && holder != id || time.Now().Before(s.closed) {
		return 0, false, nil
	}
	index = s.set(id, string(value))
	s.changed("%s acquired at %d", id, index)
	return index, true, nil
}

func (s *Server) rewrite(id string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil || s.key.session != id {
		return fmt.Errorf("rewrite with %s: %w", id, lease.ErrNotHeld)
	}
	s.set(id, string(value))
	s.changed("%s rewrote", id)
	return nil
}

func (s *Server) release(id string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil || s.key.session != id {
		return
	}
	s.set("", string(value))
	s.changed("%s released", id)
}

// look returns the key, and what becomes readable when anything changes.
func (s *Server) look() (lease.Record, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		return lease.Record{Cursor: max(s.gone, 1)}, s.moved
	}
	return lease.Record{Index: s.key.index, Session: s.key.session, Value: []byte(s.key.value), Cursor: s.key.index}, s.moved
}
