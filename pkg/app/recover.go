package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/status"
)

// This file is about a Swarm whose quorum is lost for good. What it does is for a person alone: the daemon has no way here.

// Recovery is what a person says of a Swarm that has lost its quorum.
type Recovery struct {
	// Lost are the managers, by name or address, that are gone for good.
	Lost []string
	// WithoutConsul goes on although Consul does not say who is there.
	WithoutConsul bool
}

// Peer is another manager of the Swarm that is to be recovered.
type Peer struct {
	Name    string `json:"name,omitempty"` // "" where nobody knows
	Address string `json:"address"`        // host:port
	Answers bool   `json:"answers"`
	Present bool   `json:"present"`
}

// String names a manager as a person may name it.
func (p Peer) String() string {
	if p.Name == "" {
		return p.Address
	}
	return p.Name + " (" + p.Address + ")"
}

// is reports whether a person means this one.
func (p Peer) is(said string) bool {
	return said != "" && (said == p.Name || said == p.Address || said == host(p.Address))
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

// loss is all that is known when a person asks for a recovery.
type loss struct {
	engine docker.Loss
	store  error // why Consul does not say who is there; nil where it does
	others []Peer
}

// answerTime is how long another manager may take to answer a connection, and electionTime how long managers that reach each other
// may take to elect a leader.
const (
	answerTime   = 3 * time.Second
	electionTime = 15 * time.Second
)

// Recover makes this machine's engine the only manager of its Swarm, if that has lost its quorum and a person has named every other
// manager that does not answer as lost. It returns the managers that were given up, and with an error those that would be.
func (o *Operator) Recover(ctx context.Context, r Recovery) ([]Peer, error) {
	engine, err := docker.New(docker.Config{Host: o.cfg.Docker.Host, StateDir: o.cfg.StateDir}, o.log, nil)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	survivor := docker.NewSurvivor(engine)
	l, err := o.loss(ctx, survivor)
	if err != nil {
		return nil, err
	}
	if err := l.refuse(r); err != nil {
		return l.others, fmt.Errorf("recover the Swarm: %w", err)
	}
	if err := pause(ctx, o.election); err != nil {
		return l.others, err
	}
	return l.others, survivor.ForceNewCluster(ctx) // which looks once more
}

// loss gathers what is known. The store may be gone together with the managers; then the engine alone tells who they were.
func (o *Operator) loss(ctx context.Context, survivor *docker.Survivor) (l loss, err error) {
	if l.engine, err = survivor.Look(ctx); err != nil {
		return l, err
	}
	b, err := o.bramble(ctx)
	l.store = err
	addresses := b.record.Managers
	for _, p := range l.engine.Others {
		addresses = append(addresses, p.Address)
	}
	slices.Sort(addresses)
	for _, address := range slices.Compact(addresses) {
		if host(address) == host(l.engine.Address) {
			continue
		}
		p := b.peer(address)
		p.Answers = answers(ctx, address)
		l.others = append(l.others, p)
	}
	return l, nil
}

// peer is what the store knows of the manager at an address.
func (b bramble) peer(address string) Peer {
	p := Peer{Address: address}
	i := slices.IndexFunc(b.present, func(q consul.Presence) bool { return q.Address == host(address) })
	j := slices.IndexFunc(b.reports, func(n status.Node) bool { return n.Address == host(address) && n.Leader == "" })
	switch {
	case i >= 0:
		p.Name, p.Present = b.present[i].Node, true
	case j >= 0:
		p.Name = b.reports[j].Node
	}
	// It may be there under another address.
	p.Present = p.Present || slices.ContainsFunc(b.present, func(q consul.Presence) bool { return p.Name != "" && q.Node == p.Name })
	return p
}

// answers reports whether anybody takes a connection at the address of a manager.
func answers(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: answerTime}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close() // that it was taken is all there is to know
	return true
}

// refuse says why the Swarm must not be recovered here and now; nil where a person has said all that it takes.
func (l loss) refuse(r Recovery) error {
	switch {
	case !l.engine.Manager || l.engine.State != "active":
		return fmt.Errorf("this engine is no manager (its part in a Swarm is %q%s); run it on a manager that is left", l.engine.State, because(l.engine.Err))
	case !l.engine.Leaderless:
		return fmt.Errorf("%w: nothing is lost; a manager that is gone for good is given up by brambled node rm", docker.ErrLed)
	case l.store != nil && !r.WithoutConsul:
		return fmt.Errorf("who is present is not known: %w; if Consul has gone together with the managers: --without-consul", l.store)
	case len(l.others) == 0:
		return errors.New("neither the engine nor the store names another manager, so that none can be missing; see journalctl -u docker")
	}
	for _, said := range r.Lost {
		i := slices.IndexFunc(l.others, func(p Peer) bool { return p.is(said) })
		if i < 0 {
			return fmt.Errorf("--lost %s: there is no such other manager; they are %s", said, peerNames(l.others))
		}
		if p := l.others[i]; p.Answers {
			return fmt.Errorf("--lost %s: it answers at %s; it is not lost, and with it the quorum may come back", said, p.Address)
		}
	}
	return l.unsaid(r)
}

// unsaid refuses while a manager that does not answer is present, or has not been named as lost.
func (l loss) unsaid(r Recovery) error {
	var missing []Peer
	for _, p := range l.others {
		switch {
		case p.Answers:
		case p.Present:
			return fmt.Errorf("%s is present in Consul: it is alive, and only the way to its port 2377 is cut; mend that, or stop it", p)
		case !slices.ContainsFunc(r.Lost, p.is):
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var flags []string
	for _, p := range missing {
		flags = append(flags, "--lost "+cmp.Or(p.Name, host(p.Address)))
	}
	return fmt.Errorf("%s would be given up, with all that only they know, and must never come back with their old state; if they are gone for good: %s",
		peerNames(missing), strings.Join(flags, " "))
}

func peerNames(list []Peer) string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
