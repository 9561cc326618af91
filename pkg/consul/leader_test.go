package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/lease"
)

// candidate runs an elector on a fake Consul. The terms it wins come out of the channel.
func candidate(t *testing.T, c *Client, node string) (terms <-chan *lease.Term, stop func()) {
	t.Helper()
	e, err := lease.New(NewLeaderLock(c), lease.Identity{Node: node, Boot: "b", Instance: "i"}, lease.Options{}, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	won := make(chan *lease.Term, 10)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx, func(ctx context.Context, term *lease.Term) {
			won <- term
			<-ctx.Done()
		})
	}()
	return won, func() { cancel(); <-done }
}

// sessions returns the live sessions as Consul's API shows them.
func sessions(t *testing.T, s *consultest.Server) (out []struct{ LockDelay time.Duration }) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://consul/v1/session/list", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is in memory
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The write of a leader passes only while its term holds the lock, whoever kept the fence and for how long.
func TestLeaderIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := consultest.New()
		s.MinTTL = lease.ShortTTL
		c := testClient(t, s)
		first, stop := candidate(t, c, "pi1")
		second, stopSecond := candidate(t, c, "pi2")
		defer func() { stopSecond(); s.Wipe() }()
		pass(30 * time.Second)
		if len(second) > 0 {
			first, second, stop, stopSecond = second, first, stopSecond, stop
		}
		term := <-first
		kept, err := term.Fence()
		if err != nil {
			t.Fatal(err)
		}
		write := func(f lease.Fence, value string) error {
			return c.FencedBy(context.Background(), f, Write{Key: "swarm/id", Value: []byte(value)})
		}
		if err := write(kept, "1"); err != nil {
			t.Fatal(err)
		}
		if live := sessions(t, s); len(live) != 1 || live[0].LockDelay != time.Second {
			t.Errorf("sessions = %+v, want one with a lock-delay of a second", live)
		}
		stop()
		if err := write(kept, "2"); !errors.Is(err, ErrConflict) {
			t.Errorf("a write with the fence of a term that was handed over = %v", err)
		}
		pass(2 * time.Second)
		next := <-second
		if next.Check() != nil || next.Number() <= term.Number() {
			t.Errorf("term %d: %v, after term %d", next.Number(), next.Check(), term.Number())
		}
		if err := write(kept, "3"); !errors.Is(err, ErrConflict) {
			t.Errorf("a write with the fence of a former term = %v", err)
		}
		now, err := next.Fence()
		if err != nil {
			t.Fatal(err)
		}
		if err := write(now, "4"); err != nil {
			t.Error(err)
		}
		if got, _ := s.Get("brambled/swarm/id"); string(got.Value) != "4" {
			t.Errorf("the key says %s", got.Value)
		}
	})
}

// A leader that does nothing costs Consul a few reads and renewals, a candidate one query that waits.
func TestLeaderIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := consultest.New()
		s.MinTTL = lease.ShortTTL
		c := testClient(t, s)
		_, stop := candidate(t, c, "pi1")
		_, stopSecond := candidate(t, c, "pi2")
		defer func() { stop(); stopSecond(); s.Wipe() }()
		pass(time.Minute)
		writes, reads := s.Requests("PUT txn"), s.Requests("GET ")
		pass(10 * time.Minute)
		if n := s.Requests("PUT txn") - writes; n != 0 {
			t.Errorf("%d writes in ten minutes", n)
		}
		if n := s.Requests("GET ") - reads; n > 600/5*3+2*30+20 {
			t.Errorf("%d reads in ten minutes", n)
		}
	})
}
