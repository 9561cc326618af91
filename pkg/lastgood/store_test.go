package lastgood

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"
)

type folder struct {
	*testing.T
	dir string
}

func newFolder(t *testing.T) folder { return folder{t, filepath.Join(t.TempDir(), "state")} }

func (f folder) open() (*Store, State, []error) {
	return Open(f.dir, zaptest.NewLogger(f), nil)
}

// saves writes states that differ, named by the node.
func (f folder) saves(s *Store, nodes ...string) {
	f.Helper()
	for _, n := range nodes {
		if err := s.Save(State{Node: n}); err != nil {
			f.Fatalf("save %s: %v", n, err)
		}
	}
}

func (f folder) wants(node string, problems int) *Store {
	f.Helper()
	s, state, errs := f.open()
	if state.Node != node || len(errs) != problems {
		f.Fatalf("read %q with problems %v, want %q and %d", state.Node, errs, node, problems)
	}
	return s
}

// newest is the path of the file that was written last.
func (f folder) files(s *Store) []string {
	f.Helper()
	slots := []int{0, 1, 2}
	slices.SortFunc(slots, func(a, b int) int { return int(s.slots[b]) - int(s.slots[a]) })
	var out []string
	for _, i := range slots {
		out = append(out, s.path(i))
	}
	return out
}

func (f folder) write(path string, data []byte) {
	f.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f folder) content(path string) string {
	f.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return string(data)
}

func (f folder) names() []string {
	f.Helper()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestFirstStart(t *testing.T) {
	f := newFolder(t)
	s := f.wants("", 0)
	if s.HadPast() {
		t.Error("a folder that does not exist is taken for a past")
	}
	if _, err := os.Stat(f.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking has made something: %v", err)
	}
	f.saves(s, "a")
	if f.wants("a", 0).HadPast() {
		t.Error("a node that was killed at its first start is taken for one that was in a cluster")
	}
	if err := s.Save(State{Node: "a", Cluster: "c1"}); err != nil {
		t.Fatal(err)
	}
	if !f.wants("a", 0).HadPast() {
		t.Error("a cluster is no past")
	}
}

// Variables and secrets are in it.
func TestOnlyTheOwnerReads(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a", "b", "c", "d")
	for _, path := range f.files(s) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v: %v", path, info.Mode(), err)
		}
	}
	if info, err := os.Stat(f.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v: %v", info.Mode(), err)
	}
}

// Whatever a card does to the newest file, the one before it counts; when it does so to all, nothing is made up.
func TestDamagedGenerations(t *testing.T) {
	damages := map[string]func(f folder, path string){
		"truncated": func(f folder, path string) { f.write(path, []byte(f.content(path)[:40])) },
		"empty":     func(f folder, path string) { f.write(path, nil) },
		"zeroed":    func(f folder, path string) { f.write(path, make([]byte, len(f.content(path)))) },
		"flipped": func(f folder, path string) {
			data := []byte(f.content(path))
			data[len(data)-3] ^= 4
			f.write(path, data)
		},
		"a folder": func(f folder, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				f.Fatal(err)
			}
		},
		"a loop": func(f folder, path string) {
			if err := errors.Join(os.Remove(path), os.Symlink(path, path)); err != nil {
				f.Fatal(err)
			}
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			s, _, _ := f.open()
			f.saves(s, "a", "b", "c", "d")
			files := f.files(s)
			for i, left := range []string{"c", "b", ""} {
				damage(f, files[i])
				s := f.wants(left, i+1)
				if !s.HadPast() {
					t.Error("a damaged past is none")
				}
			}
			s = f.wants("", 3)
			if name == "a folder" { // nobody knows what is in it: it is not removed
				if err := s.Save(State{Node: "e"}); err == nil || s.Err() == nil {
					t.Errorf("nothing is said: %v", err)
				}
				return
			}
			f.saves(s, "e", "f", "g")
			f.wants("g", 0)
		})
	}
}

// The file that a new generation takes the place of is never written into: a power cut would leave half of either.
func TestAGenerationIsReplacedAsAWhole(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a", "b", "c")
	oldest := f.files(s)[2]
	before := f.content(oldest)
	held, err := os.Open(oldest)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // it was only read
	f.saves(s, "d")
	if now := f.content(oldest); now == before {
		t.Fatal("the new generation is elsewhere, and nothing was shown")
	}
	if still, err := io.ReadAll(held); err != nil || string(still) != before {
		t.Errorf("the old generation was written into: %q, %v", still, err)
	}
}

// The sound files are the last to be written over.
func TestADamagedFileIsReplacedFirst(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a", "b", "c")
	files := f.files(s)
	f.write(files[1], nil)
	s = f.wants("c", 1)
	f.saves(s, "d")
	f.write(files[0], nil)
	f.write(filepath.Join(f.dir, filepath.Base(files[1])), nil)
	f.wants("a", 2)
}

// An idle daemon writes no byte, also when it was asked to, and also after a restart.
func TestWrittenOnlyOnChange(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a")
	before := f.names()
	f.saves(s, "a")
	s = f.wants("a", 0)
	f.saves(s, "a")
	if after := f.names(); !slices.Equal(before, after) {
		t.Errorf("files were %v and are %v", before, after)
	}
}

// A downgrade does not destroy what the newer version will need again, and does not act on what it cannot read.
func TestNewerVersionIsPutAside(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a", "b", "c")
	newest := f.files(s)[0]
	text := string(seal([]byte(`{"node":{"name":"n"}}`), header{schema: Schema + 1, generation: 9}))
	f.write(newest, []byte(text))
	s = f.wants("b", 1)
	f.saves(s, "d", "e", "f", "g")
	f.wants("g", 0)
	aside := filepath.Join(f.dir, fmt.Sprintf("lastgood-schema%d.%s", Schema+1, newest[len(newest)-1:]))
	if got := f.content(aside); got != text {
		t.Errorf("%s is %q", aside, got)
	}
}

// Power failed in the middle of a write.
func TestLeftOversAreSwept(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a")
	f.write(filepath.Join(f.dir, ".lastgood.1123"), []byte("half"))
	f.write(filepath.Join(f.dir, "lock"), nil)
	s = f.wants("a", 0)
	f.saves(s, "b")
	if names := f.names(); !slices.Equal(names, []string{"lastgood.0", "lastgood.1", "lock"}) {
		t.Errorf("files are %v", names)
	}
}

// A folder that cannot be written leaves the generations as they were, is told, and is written when it can be again.
func TestUnwritableFolder(t *testing.T) {
	f := newFolder(t)
	s, _, _ := f.open()
	f.saves(s, "a")
	if err := errors.Join(os.Rename(f.dir, f.dir+".off"), os.WriteFile(f.dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(State{Node: "b"}); err == nil || !strings.Contains(err.Error(), f.dir) {
		t.Errorf("error is %v", err)
	}
	if s.Err() == nil {
		t.Error("the error is not kept for those who ask")
	}
	if err := errors.Join(os.Remove(f.dir), os.Rename(f.dir+".off", f.dir)); err != nil {
		t.Fatal(err)
	}
	f.wants("a", 0)
	f.saves(s, "b")
	if s.Err() != nil {
		t.Errorf("the error stays: %v", s.Err())
	}
	f.wants("b", 0)
}
