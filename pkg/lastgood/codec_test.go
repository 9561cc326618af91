package lastgood

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/brambled/brambled/reconciler/spec"
)

// sample has something in every field.
func sample() State {
	return State{
		Node: "pi1", Address: "192.0.2.1", Labels: map[string]string{"role": "edge"},
		Cluster: "0123456789abcdef", Vouched: map[string]uint64{"stacks/": 3, "vars/": 3, "secrets/": 3},
		Stacks:      []Entry{{Key: "web", Value: []byte("services: {}\n"), ModifyIndex: 7}},
		Vars:        []Entry{{Key: "A", Value: []byte("\x00\xff"), ModifyIndex: 8}},
		Secrets:     []Entry{{Key: "key", Value: []byte("hush"), ModifyIndex: 9}},
		ReportIndex: 10, WentBack: "its report was gone",
		Readable: []Readable{{
			Owner: "0123456789abcdef", Stack: "web", Index: 7, File: []byte("services: {}\n"),
			Vars: map[string]string{"A": "b"}, PerNode: map[string]bool{"A": true}, Secrets: map[string][]byte{"key": []byte("hush")},
		}},
		Healthy: []Healthy{{
			Owner: "0123456789abcdef", Stack: "web",
			Service: spec.Service{
				Name: "app", Replicas: 1, Restart: spec.Always,
				Container: spec.Container{Hash: "1:aa", Image: "hello:1", Files: []spec.File{{Target: "/run/secrets/key", Digest: "d", Secret: true}}},
			},
			Networks: []spec.Network{{Name: "web_default", Hash: "1:bb"}}, Volumes: []spec.Volume{{Name: "web_data", Hash: "1:cc"}},
			ImageID: "sha256:00", Files: map[string][]byte{"d": []byte("hush")},
		}},
		Done:     []Done{{Owner: "0123456789abcdef", Stack: "web", Service: "init", Replica: 1, Hash: "1:dd"}},
		Approved: []string{"0123456789ab"},
	}
}

func encoded(t testing.TB, s State) []byte {
	t.Helper()
	data, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	got, err := Decode(encoded(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Every later brambled must read what this one has written: a Pi's memory outlives an upgrade.
func TestSchemaOneIsRead(t *testing.T) {
	path := filepath.Join("testdata", "schema1")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, encoded(t, sample()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Cut at every byte, and each byte zeroed or with a bit flipped: all of it is told from a sound file, and none is taken for a
// newer version.
func TestEveryDamageIsSeen(t *testing.T) {
	whole := encoded(t, sample())
	damaged := func(what string, at int, data []byte) {
		t.Helper()
		if _, err := Decode(data); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s at byte %d of %d: %v", what, at, len(whole), err)
		}
	}
	for i := range whole {
		damaged("cut", i, whole[:i])
		damaged("zeroed from here", i, append(bytes.Clone(whole[:i]), make([]byte, len(whole)-i)...))
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1 << bit
			damaged("bit flipped", i, flipped)
		}
	}
	damaged("longer", len(whole), append(bytes.Clone(whole), 0))
}

func TestNewerSchema(t *testing.T) {
	data := seal([]byte(`{"stacks":"in another form"}`), header{schema: Schema + 1, generation: 5})
	_, err := Decode(data)
	if newer, ok := errors.AsType[*NewerError](err); !ok || newer.Schema != Schema+1 {
		t.Errorf("error is %v", err)
	}
}

// What a newer brambled of the same schema has added is no reason to read nothing.
func TestUnknownFieldIsNoDamage(t *testing.T) {
	data := seal([]byte(`{"node":"pi1","mood":"good"}`), header{schema: Schema, generation: 1})
	if s, err := Decode(data); err != nil || s.Node != "pi1" {
		t.Errorf("state is %+v: %v", s, err)
	}
}

func FuzzDecode(f *testing.F) {
	whole := encoded(f, sample())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\x00", 4096)))
	f.Add([]byte(magic + " 1 1 2 00\n{}"))
	for _, body := range []string{`{"healthy":[{},{"stack":"a"}]}`, `{"done":[{"replica":2},{"replica":1}]}`, `{"stacks":[{"key":"b"},{"key":"a"}]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Decode(data); err == nil && len(data) == 0 {
			t.Error("nothing at all is taken for a state")
		}
		// The checksum keeps the fuzzer out of what is behind it.
		s, err := Decode(seal(data, header{schema: Schema}))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("error is of no known kind: %v", err)
			}
			return
		}
		again, err := Decode(encoded(t, s))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if diff := cmp.Diff(s, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second)\n%s", diff)
		}
	})
}
