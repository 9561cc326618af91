package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	swarmapi "github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

// Survivor is the engine of a manager that may be the last one of its Swarm. It is for a person's command alone: no part of the daemon
// makes one, and no action leads to what it can do.
type Survivor struct{ e *Engine }

// NewSurvivor returns the survivor that an engine may be.
func NewSurvivor(e *Engine) *Survivor { return &Survivor{e} }

// Peer is a manager that an engine knows.
type Peer struct{ ID, Address string } // host:port

// Loss is how a manager sees its Swarm.
type Loss struct {
	State   string // "active" where the engine takes part
	Manager bool   // with or without quorum
	// Leaderless is true where the managers that reach each other are no quorum.
	Leaderless bool
	Err        string // what the engine says
	Address    string // its own as a manager, host:port
	Others     []Peer // the other managers, as it last knew them, sorted by address
}

// Look asks the engine how it sees its Swarm.
func (s *Survivor) Look(ctx context.Context) (Loss, error) {
	info, err := s.e.swarmInfo(ctx)
	if err != nil {
		return Loss{}, fmt.Errorf("ask the engine for its Swarm: %w", err)
	}
	l := Loss{
		State: string(info.LocalNodeState), Manager: info.ControlAvailable, Err: info.Error,
		Leaderless: controls(info) && strings.Contains(info.Error, "does not have a leader"),
	}
	for _, p := range info.RemoteManagers {
		if p.NodeID != "" && p.NodeID == info.NodeID || hostOf(p.Addr) == info.NodeAddr {
			l.Address = p.Addr
		} else {
			l.Others = append(l.Others, Peer{p.NodeID, p.Addr})
		}
	}
	if l.Address == "" && info.NodeAddr != "" {
		l.Address = net.JoinHostPort(info.NodeAddr, strings.TrimPrefix(swarmPort, ":"))
	}
	slices.SortFunc(l.Others, func(a, b Peer) int { return cmp.Compare(a.Address, b.Address) })
	return l, nil
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// ErrLed is a Swarm that has a leader, in which nobody is to be given up.
var ErrLed = errors.New("the Swarm has a leader")

// ForceNewCluster makes this engine the only manager of its Swarm, with all that it knows of it. The other managers are given up: what
// only they knew is lost, and with their old state they must never come back. It looks once more before it does.
func (s *Survivor) ForceNewCluster(ctx context.Context) error {
	now, err := s.Look(ctx)
	switch {
	case err != nil:
		return err
	case !now.Manager || !now.Leaderless:
		return fmt.Errorf("force a new cluster: %w, or this engine is no manager (%s)", ErrLed, now.State)
	case now.Address == "":
		return errors.New("force a new cluster: the engine does not know its own address")
	}
	return s.e.call(ctx, s.e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		// The spec is empty: what is not set in it stays as the Swarm has it.
		_, err := c.SwarmInit(ctx, client.SwarmInitOptions{ListenAddr: now.Address, AdvertiseAddr: now.Address, ForceNewCluster: true, Spec: swarmapi.Spec{}})
		return err
	})
}
