package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/reconciler/spec"
)

// fileStore keeps configs and secrets where the engine can bind them from. A file is named by its content, mode and owner
// ([spec.FileDigest]) and never changes, so that dockerd finds it at boot, before brambled runs.
type fileStore struct {
	dir    string
	mu     sync.Mutex
	opened bool
}

func newFiles(dir string) (*fileStore, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find folder for configs and secrets: %w", err)
	}
	return &fileStore{dir: abs}, nil
}

// open makes the folder before the first write; whoever only looks writes nothing. Only root may enter it: the files' own
// modes are those that the container sees.
func (s *fileStore) open() error {
	if s.opened {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make folder for configs and secrets: %w", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return fmt.Errorf("close folder for configs and secrets: %w", err)
	}
	if err := s.sweep(); err != nil {
		return err
	}
	s.opened = true
	return nil
}

// sweep removes what a crash left half written.
func (s *fileStore) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list configs and secrets: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return fmt.Errorf("remove left-over: %w", err)
			}
		}
	}
	return nil
}

// write puts a file in place, unless it is there and sound.
func (s *fileStore) write(f spec.File) error {
	if f.Digest == "" || f.Digest != filepath.Base(f.Digest) || strings.HasPrefix(f.Digest, ".") {
		return fmt.Errorf("file %s: digest %q is not valid", f.Target, f.Digest)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	path := filepath.Join(s.dir, f.Digest)
	if sound(path, f) {
		return nil
	}
	if spec.FileDigest(f.Content, f.Mode, f.UID, f.GID) != f.Digest {
		return fmt.Errorf("file %s: its content is not known to this process and not in the store", f.Target)
	}
	if err := replace(path, f); err != nil {
		return fmt.Errorf("write file for %s: %w", f.Target, err)
	}
	failpoint.Hit(failpoint.FileRenamed)
	return syncDir(s.dir)
}

// sound reports whether the file on disk is what its name says: a card may have lost or damaged it.
func sound(path string, f spec.File) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != fs.FileMode(f.Mode).Perm() {
		return false
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != f.UID || int(st.Gid) != f.GID) {
		return false
	}
	b, err := os.ReadFile(path)
	return err == nil && spec.FileDigest(b, f.Mode, f.UID, f.GID) == f.Digest
}

func replace(path string, f spec.File) error {
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer t.Cleanup() //nolint:errcheck // a no-op after the rename; before it the error at hand counts
	if _, err := t.Write(f.Content); err != nil {
		return err
	}
	failpoint.Hit(failpoint.FileTemp)
	// Owner first: the mode may take away the right to change it.
	if f.UID != os.Getuid() || f.GID != os.Getgid() {
		if err := t.Chown(f.UID, f.GID); err != nil {
			return err
		}
	}
	if err := t.Chmod(fs.FileMode(f.Mode).Perm()); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}

// syncDir makes a rename last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// list returns the digests, sorted.
func (s *fileStore) list() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list configs and secrets: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

func (s *fileStore) remove(digest string) error {
	if digest == "" || digest != filepath.Base(digest) || strings.HasPrefix(digest, ".") {
		return fmt.Errorf("digest %q is not valid", digest)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(filepath.Join(s.dir, digest)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
