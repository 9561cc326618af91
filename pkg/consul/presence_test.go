package consul

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul/consultest"

	"github.com/google/go-cmp/cmp"
)

const keyPi1 = "brambled/presence/pi1"

var pi1 = Presence{Node: "pi1", Address: "10.0.0.1", Serial: "100000001", Boot: "boot-a", Instance: "state-a", Version: "1.0"}

// present runs f in a bubble with a fake Consul.
func present(t *testing.T, f func(*testing.T, *consultest.Server, *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := consultest.New()
		f(t, s, testClient(t, s))
		synctest.Wait()
	})
}

// announce starts a presenter and lets it settle.
func announce(c *Client, self Presence) (p *Presenter, stop func()) {
	p = NewPresenter(c, self, 0, zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	pass(time.Second)
	return p, func() { cancel(); <-done }
}

// says returns what pi1's key says, and requires that a session holds it.
func says(t *testing.T, s *consultest.Server) Presence {
	t.Helper()
	pair, ok := s.Get(keyPi1)
	if !ok || pair.Session == "" {
		t.Fatalf("the key is not held: %+v", pair)
	}
	var p Presence
	if err := json.Unmarshal(pair.Value, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPresence(t *testing.T) {
	for name, lose := range map[string]func(*consultest.Server){
		"the session ended":   func(s *consultest.Server) { s.Expire(s.Sessions()[0]) },
		"the key was deleted": func(s *consultest.Server) { s.Delete(keyPi1) },
		"Consul was wiped":    func(s *consultest.Server) { s.Wipe() },
		"Consul was away for a minute": func(s *consultest.Server) {
			heal := s.Break(consultest.Failure{Hang: true})
			pass(time.Minute)
			heal()
		},
	} {
		t.Run("comes back after "+name, func(t *testing.T) {
			present(t, func(t *testing.T, s *consultest.Server, c *Client) {
				p, stop := announce(c, pi1)
				defer stop()
				lose(s)
				pass(20 * time.Second)
				if got := says(t, s); !cmp.Equal(got, pi1) || p.Problem() != nil {
					t.Errorf("presence = %+v, %v", got, p.Problem())
				}
			})
		})
	}
}

// How long nobody may have seen a node counts from the begin of the last round that was answered: later would be too long for
// those who wait for it to be gone.
func TestUnseen(t *testing.T) {
	present(t, func(t *testing.T, s *consultest.Server, c *Client) {
		heal := s.Break(consultest.Failure{Hang: true})
		p, stop := announce(c, pi1)
		defer stop()
		pass(19 * time.Second)
		if got := p.Unseen(); got != 20*time.Second {
			t.Errorf("unseen since its start for %s, want 20s", got)
		}
		heal()
		pass(20 * time.Second)
		if got := p.Unseen(); got != 0 {
			t.Errorf("unseen for %s while it is seen", got)
		}
		s.Break(consultest.Failure{Hang: true})
		pass(time.Minute)
		if got := p.Unseen(); got < time.Minute || got > time.Minute+DefaultTTL/3 {
			t.Errorf("unseen for %s a minute after the last answer", got)
		}
	})
}

func TestPresenceIsQuiet(t *testing.T) {
	present(t, func(t *testing.T, s *consultest.Server, c *Client) {
		p, stop := announce(c, pi1)
		if got := says(t, s); !cmp.Equal(got, pi1) || p.Problem() != nil {
			t.Errorf("presence = %+v, %v", got, p.Problem())
		}
		before, _ := s.Get(keyPi1)
		pass(10 * time.Minute)
		if now, _ := s.Get(keyPi1); now.ModifyIndex != before.ModifyIndex || now.Session != before.Session {
			t.Errorf("the key was written again: %+v", now)
		}
		if got, err := c.Present(t.Context()); err != nil || len(got) != 1 || !cmp.Equal(got[0], pi1) {
			t.Errorf("Present = %v, %v", got, err)
		}
		stop()
		if _, ok := s.Get(keyPi1); ok || len(s.Sessions()) != 0 {
			t.Error("the key or its session is still there after a clean stop")
		}
		// Nothing delays the next start: the key went before its session.
		p, stop = announce(c, pi1)
		defer stop()
		if p.Problem() != nil {
			t.Error(p.Problem())
		}
	})
}

func TestPresenceNamesCluster(t *testing.T) {
	present(t, func(t *testing.T, s *consultest.Server, c *Client) {
		p, stop := announce(c, pi1)
		defer stop()
		p.SetCluster(testID)
		synctest.Wait()
		if got := says(t, s); got.Cluster != testID {
			t.Errorf("presence = %+v", got)
		}
	})
}

func TestPresenceOfDeadNodeEnds(t *testing.T) {
	present(t, func(t *testing.T, s *consultest.Server, c *Client) {
		_, stop := announce(c, pi1)
		s.Break(consultest.Failure{Drop: true})
		stop()
		pass(30 * time.Second)
		if _, ok := s.Get(keyPi1); ok {
			t.Error("the key outlived twice its session's time to live")
		}
	})
}

// dead leaves behind what a killed daemon leaves.
func dead(t *testing.T, s *consultest.Server, c *Client, who Presence) {
	t.Helper()
	_, stop := announce(c, who)
	heal := s.Break(consultest.Failure{Drop: true})
	stop()
	heal()
	says(t, s)
}

// other is pi1 with a difference.
func other(change func(*Presence)) Presence {
	p := pi1
	change(&p)
	return p
}

func TestPresenceNameTaken(t *testing.T) {
	for _, c := range []struct {
		name string
		twin Presence
		want string
	}{
		{"another board", other(func(p *Presence) { p.Serial, p.Address = "2", "10.0.0.2" }), "10.0.0.2"},
		{"a copy of the machine", other(func(p *Presence) { p.Boot, p.Address = "boot-b", "10.0.0.2" }), "copy of this machine at 10.0.0.2"},
		{"another state folder on this machine", other(func(p *Presence) { p.Instance = "state-b" }), "10.0.0.1"},
	} {
		t.Run(c.name+" is never fought", func(t *testing.T) {
			present(t, func(t *testing.T, s *consultest.Server, client *Client) {
				_, stopTwin := announce(client, c.twin)
				before, _ := s.Get(keyPi1)
				p, stop := announce(client, pi1)
				pass(5 * time.Minute)
				now, _ := s.Get(keyPi1)
				if now.Session != before.Session || now.ModifyIndex != before.ModifyIndex {
					t.Error("the other machine's presence was touched")
				}
				var taken *NameTakenError
				if err := p.Problem(); !errors.Is(err, ErrNameTaken) || !errors.As(err, &taken) || !cmp.Equal(taken.Holder, c.twin) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("problem = %v, want one that says %q", err, c.want)
				}
				stopTwin()
				pass(10 * time.Second)
				if got := says(t, s); !cmp.Equal(got, pi1) || p.Problem() != nil {
					t.Errorf("after the other left: %+v, %v", got, p.Problem())
				}
				stop()
			})
		})
	}
}

func TestPresenceTakesOverPredecessor(t *testing.T) {
	present(t, func(t *testing.T, s *consultest.Server, c *Client) {
		dead(t, s, c, pi1)
		now := pi1
		now.Version = "1.1"
		p, stop := announce(c, now)
		defer stop()
		if got := says(t, s); !cmp.Equal(got, now) || p.Problem() != nil || len(s.Sessions()) != 1 {
			t.Errorf("presence = %+v, %v, sessions %v", got, p.Problem(), s.Sessions())
		}
	})
}

func TestPresenceUnidentified(t *testing.T) {
	blank := Presence{Node: "pi1"}
	if blank.succeeds(blank) {
		t.Error("two machines without serial, boot id and instance were taken for one")
	}
}

func TestPresenceAfterReboot(t *testing.T) {
	present(t, func(t *testing.T, s *consultest.Server, c *Client) {
		dead(t, s, c, pi1)
		p, stop := announce(c, other(func(p *Presence) { p.Boot = "boot-b" }))
		defer stop()
		var taken *NameTakenError
		if !errors.As(p.Problem(), &taken) || !taken.Reboot {
			t.Errorf("problem = %v", p.Problem())
		}
		pass(30 * time.Second)
		if got := says(t, s); got.Boot != "boot-b" || p.Problem() != nil {
			t.Errorf("presence = %+v, %v", got, p.Problem())
		}
	})
}
