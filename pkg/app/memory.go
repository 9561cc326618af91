package app

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// memory is last-known-good as the daemon works with it: changed at once, and written by a goroutine of its own, because a
// cheap card can take seconds to sync.
type memory struct {
	store *lastgood.Store
	log   *zap.Logger
	wake  chan struct{} // holds one token while there is something to write

	mu      sync.Mutex
	state   lastgood.State
	changes uint64        // so many changes were made
	tried   uint64        // of these, so many were written, or could not be
	turn    chan struct{} // closed after each attempt to write, and made anew
}

func newMemory(store *lastgood.Store, state lastgood.State, log *zap.Logger) *memory {
	return &memory{store: store, log: log, wake: make(chan struct{}, 1), state: state, turn: make(chan struct{})}
}

// get returns what is remembered now. It must not be changed.
func (m *memory) get() lastgood.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// change has what is remembered changed and, if that returns true, written. What the state refers to is shared with those
// who read it: it is replaced as a whole, never changed in place.
func (m *memory) change(change func(*lastgood.State) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.state
	if !change(&next) {
		return
	}
	m.state = next
	m.changes++
	select {
	case m.wake <- struct{}{}:
	default: // one is pending already, and it will take the newest state
	}
}

// patience is how long a change waits for its way to the disk before it takes effect all the same.
const patience = 2 * time.Second

// settle waits until what is remembered was written: what takes effect shall be known after a power cut. A disk that hangs
// or is full must not keep a change from the cluster, so it does not wait for long: a state older than what runs does no harm.
func (m *memory) settle(ctx context.Context) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	m.mu.Lock()
	goal := m.changes
	m.mu.Unlock()
	for {
		m.mu.Lock()
		tried, turn := m.tried, m.turn
		m.mu.Unlock()
		if tried >= goal {
			return
		}
		select {
		case <-turn:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// run writes what changed until ctx ends, and tries again what could not be written.
func (m *memory) run(ctx context.Context) {
	var again <-chan time.Time
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-again:
		}
		if err := m.write(); err != nil {
			if failures++; failures == 1 {
				m.log.Error("last-known-good cannot be written, brambled goes on from memory", zap.Error(err))
			}
			again = time.After(min(time.Second<<min(failures, 6), time.Minute))
			continue
		}
		if failures > 0 {
			m.log.Info("last-known-good is written again")
		}
		failures, again = 0, nil
	}
}

func (m *memory) write() error {
	m.mu.Lock()
	state, changes := m.state, m.changes
	m.mu.Unlock()
	err := m.store.Save(state)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried = changes
	close(m.turn)
	m.turn = make(chan struct{})
	return err
}

// recalledSnapshot is the store as it was remembered; nil where no cluster is known.
func recalledSnapshot(s lastgood.State) *consul.Snapshot {
	if s.Cluster == "" {
		return nil
	}
	list := func(in []lastgood.Entry) []consul.Entry {
		out := make([]consul.Entry, 0, len(in))
		for _, e := range in {
			out = append(out, consul.Entry{Key: e.Key, Value: e.Value, ModifyIndex: e.ModifyIndex})
		}
		return out
	}
	return &consul.Snapshot{
		Cluster: s.Cluster, Vouched: maps.Clone(s.Vouched),
		Stacks: list(s.Stacks), Vars: list(s.Vars), Secrets: list(s.Secrets),
	}
}

// rememberSnapshot puts the lists that are in force into the state and reports whether that changed it.
func rememberSnapshot(s *lastgood.State, snap *consul.Snapshot) bool {
	list := func(in []consul.Entry) []lastgood.Entry {
		out := make([]lastgood.Entry, 0, len(in))
		for _, e := range in {
			out = append(out, lastgood.Entry{Key: e.Key, Value: e.Value, ModifyIndex: e.ModifyIndex})
		}
		return out
	}
	same := func(a, b []lastgood.Entry) bool {
		return slices.EqualFunc(a, b, func(x, y lastgood.Entry) bool {
			return x.Key == y.Key && x.ModifyIndex == y.ModifyIndex && bytes.Equal(x.Value, y.Value)
		})
	}
	stacks, vars, secrets := list(snap.Stacks), list(snap.Vars), list(snap.Secrets)
	if s.Cluster == snap.Cluster && maps.Equal(s.Vouched, snap.Vouched) && same(s.Stacks, stacks) && same(s.Vars, vars) && same(s.Secrets, secrets) {
		return false
	}
	s.Cluster, s.Vouched, s.Stacks, s.Vars, s.Secrets = snap.Cluster, maps.Clone(snap.Vouched), stacks, vars, secrets
	return true
}

// readable is a version of a stack that can be read, in the form that lasts.
func readable(f stackFile) lastgood.Readable {
	return lastgood.Readable{
		Owner: f.Env.Owner, Stack: f.Name, File: f.File, Vars: f.Env.Vars, PerNode: f.Env.PerNode, Secrets: f.Env.Secrets, Index: f.Index,
	}
}

// recall gives the assembler the versions of stacks whose newest could not be read when they were remembered.
func (a *assembler) recall(list []lastgood.Readable, env compose.Env, prefix string) {
	for _, r := range list {
		e := env
		e.Owner, e.Vars, e.PerNode, e.Secrets, e.Static = r.Owner, r.Vars, r.PerNode, r.Secrets, isStatic(r.Owner)
		if !isStatic(r.Owner) {
			e.Cluster = r.Owner
		}
		f := stackFile{Name: r.Stack, Source: prefix + "stacks/" + r.Stack, File: r.File, Index: r.Index, Env: e}
		if loaded, err := compose.Load(f.Name, f.Source, f.File, f.Env); err == nil {
			a.good[key(f)] = good{f, loaded}
		}
	}
}

// rememberReadable keeps of each stack whose newest file cannot be read the last one that could.
func rememberReadable(s *lastgood.State, a *assembler, now assembled) bool {
	var list []lastgood.Readable
	for _, st := range now.Desired.Stacks {
		if g, ok := a.good[st.Owner+"/"+st.Name]; ok && now.Errors[st.Name] != nil {
			list = append(list, readable(g.file))
		}
	}
	if slices.EqualFunc(s.Readable, list, func(x, y lastgood.Readable) bool {
		return x.Owner == y.Owner && x.Stack == y.Stack && x.Index == y.Index && bytes.Equal(x.File, y.File)
	}) {
		return false
	}
	s.Readable = list
	return true
}

// prove remembers what a pass has shown to work, and the jobs that are done, and reports whether that is news.
func (m *memory) prove(d spec.Desired, o node.Observed) (news bool) {
	proofs, jobs := node.Proven(d, o), node.Finished(d, o)
	m.change(func(s *lastgood.State) bool {
		s.Healthy, s.Done = slices.Clone(s.Healthy), slices.Clone(s.Done)
		for _, p := range proofs {
			news = rememberHealthy(s, d, p) || news
		}
		for p, replicas := range jobs {
			for _, n := range replicas {
				news = rememberDone(s, lastgood.Done{Owner: p.Owner, Stack: p.Stack, Service: p.Service, Replica: n, Hash: p.Hash}) || news
			}
		}
		news = forget(s, d) || news
		return news
	})
	return news
}

func rememberHealthy(s *lastgood.State, d spec.Desired, p node.Proof) bool {
	st, _ := d.Stack(p.Stack)
	svc, _ := st.Service(p.Service)
	svc.Fallback, svc.Done = nil, nil
	h := lastgood.Healthy{Owner: p.Owner, Stack: p.Stack, Service: svc, Volumes: st.Volumes, ImageID: p.ImageID, Files: contents(svc.Container.Files)}
	for _, n := range st.Networks {
		if slices.ContainsFunc(svc.Container.Networks, func(at spec.Attachment) bool { return at.Network == n.Name }) {
			h.Networks = append(h.Networks, n)
		}
	}
	i, known := slices.BinarySearchFunc(s.Healthy, h, lastgood.CompareHealthy)
	switch {
	case !known:
		s.Healthy = slices.Insert(s.Healthy, i, h)
	case s.Healthy[i].Service.Container.Hash == p.Hash && s.Healthy[i].ImageID == p.ImageID:
		return false
	default:
		s.Healthy[i] = h
	}
	return true
}

// contents are the contents of files by digest.
func contents(files []spec.File) map[string][]byte {
	out := make(map[string][]byte, len(files))
	for _, f := range files {
		out[f.Digest] = f.Content
	}
	return out
}

// withContents gives a remembered container the contents of its files back, which have no part in its own form on disk.
func withContents(c spec.Container, by map[string][]byte) spec.Container {
	c.Files = slices.Clone(c.Files)
	for i := range c.Files {
		c.Files[i].Content = by[c.Files[i].Digest]
	}
	return c
}

func rememberDone(s *lastgood.State, d lastgood.Done) bool {
	i, known := slices.BinarySearchFunc(s.Done, d, lastgood.CompareDone)
	switch {
	case !known:
		s.Done = slices.Insert(s.Done, i, d)
	case s.Done[i].Hash == d.Hash:
		return false
	default:
		s.Done[i] = d
	}
	return true
}

// forget drops what is remembered of services that are no longer desired. Of an owner that was not read, or of a stack that
// could not be, nothing is forgotten.
func forget(s *lastgood.State, d spec.Desired) bool {
	before := len(s.Healthy) + len(s.Done)
	gone := func(owner, stack, service, hash string) bool {
		if !d.Owned(owner) || d.Remembered(owner) {
			return false
		}
		st, ok := d.Stack(stack)
		if ok && st.Owner == owner && st.Opaque {
			return false
		}
		svc, here := st.Service(service)
		return !ok || st.Owner != owner || !here || hash != "" && svc.Container.Hash != hash
	}
	s.Healthy = slices.DeleteFunc(s.Healthy, func(h lastgood.Healthy) bool { return gone(h.Owner, h.Stack, h.Service.Name, "") })
	s.Done = slices.DeleteFunc(s.Done, func(j lastgood.Done) bool { return gone(j.Owner, j.Stack, j.Service, j.Hash) })
	return len(s.Healthy)+len(s.Done) != before
}

// supplement adds to a desired state what is remembered of its services: the version that worked last, and the jobs that are
// done.
func supplement(d *spec.Desired, s lastgood.State) {
	for i := range d.Stacks {
		st := &d.Stacks[i]
		st.Services = slices.Clone(st.Services) // the assembler keeps the original
		for j := range st.Services {
			svc := &st.Services[j]
			of := lastgood.Healthy{Owner: st.Owner, Stack: st.Name, Service: spec.Service{Name: svc.Name}}
			if k, known := slices.BinarySearchFunc(s.Healthy, of, lastgood.CompareHealthy); known {
				h := s.Healthy[k]
				svc.Fallback = &spec.Fallback{Container: withContents(h.Service.Container, h.Files), Networks: h.Networks, ImageID: h.ImageID}
			}
			svc.Done = nil
			for _, done := range s.Done {
				if done.Owner == st.Owner && done.Stack == st.Name && done.Service == svc.Name && done.Hash == svc.Container.Hash {
					svc.Done = append(svc.Done, done.Replica)
				}
			}
		}
	}
}
