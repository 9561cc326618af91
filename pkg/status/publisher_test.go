package status

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// shelf is a store with one value in it.
type shelf struct {
	mu    sync.Mutex
	value []byte
	puts  int
	err   error
}

func (s *shelf) put(_ context.Context, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.value, s.puts = b, s.puts+1
	return nil
}

func (s *shelf) get(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, s.err
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shelf) state(t *testing.T) (Node, int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var n Node
	if s.value != nil {
		if err := json.Unmarshal(s.value, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n, s.puts
}

// publishing runs a publisher on a shelf within a bubble.
func publishing(t *testing.T, s *shelf, resume bool, f func(*Publisher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := NewPublisher(s.put, zap.NewNop())
		if resume {
			p.Resume(s.get)
		}
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		synctest.Wait()
		f(p)
		cancel()
		<-done
	})
}

func settle() {
	<-time.After(2 * slowest) // of the bubble's clock
	synctest.Wait()
}

func report(why string) Node {
	return Node{Node: "pi1", Stacks: []Stack{{Name: "web", Services: []Service{{Name: "app", Why: why}}}}}
}

func TestPublishWritesOnlyChanges(t *testing.T) {
	s := &shelf{}
	publishing(t, s, false, func(p *Publisher) {
		for range 10 {
			n := report("is running")
			n.Stacks[0].Services[0].Progress = time.Now().String()
			p.Publish(n)
			settle()
		}
		if n, puts := s.state(t); puts != 1 || n.Counter != 1 {
			t.Errorf("%d writes, counter %d; only progress has changed", puts, n.Counter)
		}
		p.Publish(report("waits"))
		settle()
		n, puts := s.state(t)
		if puts != 2 || n.Counter != 2 || n.Stacks[0].Services[0].Why != "waits" {
			t.Errorf("after a change: %d writes, %+v", puts, n)
		}
		p.Again()
		settle()
		if n, puts := s.state(t); puts != 3 || n.Counter != 3 {
			t.Errorf("written again: %d writes, counter %d", puts, n.Counter)
		}
	})
}

// A burst of changes makes one write at once and one with the last of them.
func TestPublishFolds(t *testing.T) {
	s := &shelf{}
	publishing(t, s, false, func(p *Publisher) {
		p.Publish(report("0"))
		synctest.Wait()
		for i := range 50 {
			p.Publish(report(string(rune('a' + i%26))))
			<-time.After(interval / 100)
		}
		p.Publish(report("last"))
		synctest.Wait()
		if _, puts := s.state(t); puts != 1 {
			t.Errorf("%d writes within the interval", puts)
		}
		settle()
		if n, puts := s.state(t); puts != 2 || n.Stacks[0].Services[0].Why != "last" {
			t.Errorf("%d writes, last %+v", puts, n)
		}
	})
}

// While the store is away nothing is lost, and what is written after it is the newest.
func TestPublishRetries(t *testing.T) {
	s := &shelf{err: errors.New("no leader")}
	publishing(t, s, false, func(p *Publisher) {
		p.Publish(report("old"))
		settle()
		p.Publish(report("new"))
		s.fail(nil)
		settle()
		if n, puts := s.state(t); puts != 1 || n.Counter != 1 || n.Stacks[0].Services[0].Why != "new" {
			t.Errorf("%d writes, %+v", puts, n)
		}
	})
}

// A daemon that is started again goes on with the counter and writes nothing if nothing changed.
func TestPublishResumes(t *testing.T) {
	old := report("is running")
	old.Counter = 41
	s := &shelf{value: encode(old), err: errors.New("not up yet")}
	publishing(t, s, true, func(p *Publisher) {
		p.Publish(report("is running"))
		settle()
		s.fail(nil)
		settle()
		if _, puts := s.state(t); puts != 0 {
			t.Errorf("%d writes of what is there already", puts)
		}
		p.Publish(report("waits"))
		settle()
		if n, puts := s.state(t); puts != 1 || n.Counter != 42 {
			t.Errorf("%d writes, counter %d", puts, n.Counter)
		}
	})
	garbage := &shelf{value: []byte("garbage")}
	publishing(t, garbage, true, func(p *Publisher) {
		p.Publish(report("is running"))
		settle()
		if n, puts := garbage.state(t); puts != 1 || n.Node != "pi1" {
			t.Errorf("%d writes over garbage, %+v", puts, n)
		}
	})
}
