package lastgood

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/failpoint"
)

// generations is how many files there are.
const generations = 3

// Store writes states to the files of one folder.
type Store struct {
	dir  string
	log  *zap.Logger
	m    *metrics
	past bool

	saving sync.Mutex // one write at a time

	mu     sync.Mutex          // guards what follows; it is not held while the card is waited for
	newest uint64              // the highest generation there is, of any schema
	slots  [generations]uint64 // the generation in each file; 0 where there is none that is sound
	newer  [generations]int    // the schema of a file of a newer brambled; 0 for none
	swept  bool
	saved  [sha256.Size]byte // of the body that was written last
	err    error
}

// Open reads what the folder holds: the newest generation that is sound, and a problem for each file that is not. It changes
// nothing, so it may be used beside a daemon. reg may be nil.
func Open(dir string, log *zap.Logger, reg prometheus.Registerer) (*Store, State, []error) {
	s := &Store{dir: dir, log: log, m: newMetrics(reg)}
	var best State
	var bestGeneration uint64
	var problems []error
	for i := range generations {
		state, h, err := s.read(i)
		switch newer, isNewer := errors.AsType[*NewerError](err); {
		case errors.Is(err, os.ErrNotExist):
			continue
		case isNewer:
			s.newer[i] = newer.Schema
			s.newest = max(s.newest, h.generation)
		case err == nil:
			s.slots[i] = h.generation
			s.newest = max(s.newest, h.generation)
			if h.generation > bestGeneration {
				best, bestGeneration = state, h.generation
			}
		}
		s.past = s.past || err != nil || state.Cluster != ""
		if err != nil {
			problems = append(problems, err)
		}
	}
	if bestGeneration > 0 {
		s.saved = bodySum(best)
	}
	s.m.generation.Set(float64(bestGeneration))
	return s, best, problems
}

func (s *Store) path(slot int) string {
	return filepath.Join(s.dir, fmt.Sprintf("lastgood.%d", slot))
}

func (s *Store) read(slot int) (State, header, error) {
	data, err := os.ReadFile(s.path(slot))
	if err != nil {
		return State{}, header{}, fmt.Errorf("read last-known-good: %w", err)
	}
	state, h, err := decode(data)
	if err != nil {
		return state, h, fmt.Errorf("read last-known-good %s: %w", s.path(slot), err)
	}
	if h.generation == 0 {
		return state, h, fmt.Errorf("read last-known-good %s: %w: it has no generation", s.path(slot), ErrDamaged)
	}
	return state, h, nil
}

func bodySum(s State) [sha256.Size]byte {
	body, err := json.Marshal(s)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(body)
}

// HadPast reports whether this node belonged to a cluster, or may have: a file names one, or cannot be read. Such a node does
// not found a cluster. A node that was killed at its first start, with nothing on disk but who it is, still may.
func (s *Store) HadPast() bool { return s.past }

// Err is why the newest state is not on disk; nil when it is.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Save writes a state, unless it is the one that was written last. After an error the generations on disk are as they were.
func (s *Store) Save(state State) error {
	body, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode last-known-good: %w", err)
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	unchanged := s.err == nil && s.newest > 0 && sha256.Sum256(body) == s.saved
	s.mu.Unlock()
	if unchanged {
		return nil
	}
	slot := s.oldest()
	failpoint.Hit(failpoint.LastGoodBefore)
	err = s.write(slot, body)
	failpoint.Hit(failpoint.LastGoodAfter)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if err != nil {
		s.m.failed()
		return err
	}
	s.newest++
	s.slots[slot], s.newer[slot], s.saved = s.newest, 0, sha256.Sum256(body)
	s.m.wrote(s.newest)
	return nil
}

// oldest is the slot whose loss costs the least: one without a sound file, else the one with the lowest generation.
func (s *Store) oldest() int {
	slot := 0
	for i, g := range s.slots {
		if g < s.slots[slot] {
			slot = i
		}
	}
	return slot
}

func (s *Store) write(slot int, body []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("write last-known-good: %w", err)
	}
	if err := s.sweep(); err != nil {
		return fmt.Errorf("write last-known-good: %w", err)
	}
	if err := s.putAside(slot); err != nil {
		return fmt.Errorf("write last-known-good: %w", err)
	}
	data := seal(body, header{schema: Schema, generation: s.newest + 1})
	if err := replace(s.path(slot), data); err != nil {
		return fmt.Errorf("write last-known-good: %w", err)
	}
	failpoint.Hit(failpoint.LastGoodRenamed)
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("write last-known-good: %w", err)
	}
	return nil
}

// replace puts a file in the place of another, which stays as it was until the new one is on the disk as a whole.
func replace(path string, data []byte) error {
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer t.Cleanup() //nolint:errcheck // a no-op after the rename; before it the error at hand counts
	failpoint.Hit(failpoint.LastGoodTemp)
	if _, err := t.Write(data); err != nil {
		return err
	}
	failpoint.Hit(failpoint.LastGoodWritten)
	return t.CloseAtomicallyReplace()
}

// sweep removes, once, what a power cut left half written.
func (s *Store) sweep() error {
	if s.swept {
		return nil
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".lastgood.") {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	s.swept = true
	return nil
}

// putAside gives a newer brambled's file another name instead of writing over it.
func (s *Store) putAside(slot int) error {
	if s.newer[slot] == 0 {
		return nil
	}
	aside := filepath.Join(s.dir, fmt.Sprintf("lastgood-schema%d.%d", s.newer[slot], slot))
	if err := os.Rename(s.path(slot), aside); err != nil {
		return err
	}
	s.log.Warn("last-known-good of a newer brambled was put aside", zap.String("file", aside))
	s.newer[slot] = 0
	return nil
}

// syncDir makes a rename last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
