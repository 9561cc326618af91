//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/lastgood"
)

// poll reads last-known-good all the time, as a power cut would find it.
type poll struct {
	mu   sync.Mutex
	err  error
	read int
	had  bool // a sound generation was there once
}

func pollLastGood(t *testing.T, dir string) *poll {
	p := &poll{}
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended })
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				p.look(dir)
			}
		}
	}()
	return p
}

// look decodes all generations: each file is put in place whole, so each can be read.
func (p *poll) look(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "lastgood.*"))
	sound := 0
	for _, f := range files {
		data, readErr := os.ReadFile(f)
		if readErr == nil {
			_, readErr = lastgood.Decode(data)
		}
		if readErr == nil {
			sound++
		}
		err = errors.Join(err, readErr)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.had && sound == 0 {
		err = errors.Join(err, errors.New("no sound generation is left"))
	}
	p.had = p.had || sound > 0
	p.read += len(files)
	p.err = errors.Join(p.err, err)
}

// problem is what was wrong at any instant so far; that nothing was read at all is wrong too.
func (p *poll) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.read == 0 {
		return errors.New("nothing was read")
	}
	return p.err
}

// A watch that sees nothing proves nothing: each thing that must not happen is shown to the invariants' own eyes.
func TestSoakSees(t *testing.T) {
	s := &soak{
		wish: newWish(), touched: map[string]bool{"one-app-1": true}, gone: []string{"0ff"},
		strangers: map[string]container{"fee": {Name: "/mine"}},
	}
	untouched := map[string]string{"abc": "web-app-1"}
	for call, seen := range map[[2]string]bool{
		{"POST", "/containers/create"}:         false,
		{"POST", "/containers/one-app-1/stop"}: false,
		{"DELETE", "/containers/def"}:          false,
		{"POST", "/networks/def/connect"}:      false,
		{"DELETE", "/containers/abc"}:          true,
		{"POST", "/containers/abc/stop"}:       true,
		{"POST", "/containers/abc/rename"}:     true,
		{"DELETE", "/containers/web-db-1"}:     true,
		{"POST", "/containers/fee/start"}:      true,
		{"POST", "/containers/mine/update"}:    true,
		{"DELETE", "/containers/0ff"}:          true,
		{"DELETE", "/volumes/web_data"}:        true,
	} {
		if why := s.wrong(harness.Request{Method: call[0], Path: call[1]}, untouched); (why != "") != seen {
			t.Errorf("%v: %q", call, why)
		}
	}
	dir := t.TempDir()
	data, err := lastgood.Encode(lastgood.State{Cluster: "x"})
	if err != nil {
		t.Fatal(err)
	}
	p := &poll{}
	if p.problem() == nil {
		t.Error("nothing was read, and nothing is said of it")
	}
	write(t, filepath.Join(dir, "lastgood.0"), string(data))
	if p.look(dir); p.problem() != nil {
		t.Errorf("a sound file: %v", p.problem())
	}
	write(t, filepath.Join(dir, "lastgood.1"), string(data[:len(data)-1]))
	if p.look(dir); p.problem() == nil {
		t.Error("a torn file was not seen")
	}
}
