package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/failpoint"
)

const presenceKeys = "presence/"

// DefaultTTL is a session's time to live unless configured otherwise: the least that Consul allows by default.
const DefaultTTL = 10 * time.Second

// Presence is what a node says of itself while it is there.
type Presence struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Serial  string `json:"serial,omitempty"`  // of the board, or the machine id where there is none
	Boot    string `json:"boot_id,omitempty"` // of the kernel
	// Instance names the state folder. Two daemons on one machine have two; one that was killed and started again has the
	// one of its predecessor, and the lock on the folder is the proof that the predecessor is gone.
	Instance string `json:"instance,omitempty"`
	Version  string `json:"version,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	// Labels are those of the node's config file.
	Labels map[string]string `json:"labels,omitempty"`
	SwarmPart
}

// SwarmPart is the part that this machine's engine has in a Swarm.
type SwarmPart struct {
	// Swarm is the engine's id as a node of a Swarm, "" where it is in none. Manager tells that it is a manager that can change
	// the Swarm.
	Swarm   string `json:"swarm,omitempty"`
	Manager bool   `json:"manager,omitempty"`
	// State is the engine's own word: "inactive", "pending", "active", "error", "locked"; "" where it did not answer.
	State string `json:"swarm_state,omitempty"`
	// In is the id of the Swarm, "" where that is not known.
	In string `json:"swarm_id,omitempty"`
	// Knows are the managers that the engine knows, host:port, sorted, parted by commas.
	Knows string `json:"swarm_managers,omitempty"`
}

// succeeds tells whether the holder can only be a dead predecessor of this very process. After a reboot the answer is no,
// although the board is the same: a cloned machine would look alike, and the old session ends by itself while a Pi boots.
func (p Presence) succeeds(holder Presence) bool {
	return p.Serial+p.Boot+p.Instance != "" &&
		p.Node == holder.Node && p.Serial == holder.Serial && p.Boot == holder.Boot && p.Instance == holder.Instance
}

// ErrNameTaken is a node name that another machine uses.
var ErrNameTaken = errors.New("node name is taken")

// NameTakenError says which machine uses this node's name. It is an ErrNameTaken.
type NameTakenError struct {
	Holder Presence
	// Reboot is set where the holder has this machine's serial: most likely the session of the time before a reboot, which
	// ends within twice its time to live.
	Reboot bool
}

// Error names the other machine and the way out.
func (e *NameTakenError) Error() string {
	if e.Reboot {
		return fmt.Sprintf("node name %s is still held by this machine's session of before its reboot (it ends by itself), or by a copy of this machine at %s",
			e.Holder.Node, e.Holder.Address)
	}
	return fmt.Sprintf("node name %s is taken: the machine at %s (serial %s) runs under it; give one of the two another name (node, --node)",
		e.Holder.Node, e.Holder.Address, e.Holder.Serial)
}

// Is makes errors.Is find ErrNameTaken.
func (e *NameTakenError) Is(target error) bool { return target == ErrNameTaken }

// Present lists the nodes that hold a presence key now, by name. A key that brambled did not write is left out.
func (c *Client) Present(ctx context.Context) ([]Presence, error) {
	found, err := c.List(ctx, presenceKeys)
	if err != nil {
		return nil, err
	}
	var out []Presence
	for _, e := range found.Entries {
		if p, err := parsePresence(e); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func parsePresence(e Entry) (Presence, error) {
	var p Presence
	if err := json.Unmarshal(e.Value, &p); err != nil {
		return Presence{}, fmt.Errorf("read key %s%s: %w", presenceKeys, e.Key, err)
	}
	if p.Node == "" {
		return Presence{}, fmt.Errorf("read key %s%s: it names no node", presenceKeys, e.Key)
	}
	return p, nil
}

// errAgain is a round that could not finish because something just ended; the next one can.
var errAgain = errors.New("presence is being taken over")

// round does what is missing to be present: a live session, the key held by it, the key saying what is true. It reads the
// key each time, since a wiped or restored store takes it away without a word.
func (p *Presenter) round(ctx context.Context) error {
	if err := p.ensureSession(ctx); err != nil {
		return err
	}
	self := p.describe()
	value, err := json.Marshal(self)
	if err != nil {
		return fmt.Errorf("encode presence: %w", err)
	}
	key := presenceKeys + self.Node
	have, ok, err := p.c.Get(ctx, key)
	if err != nil {
		return err
	}
	if ok && have.Session == p.session && string(have.Value) == string(value) {
		return nil
	}
	if ok && have.Session != "" && have.Session != p.session {
		return p.meet(ctx, self, have)
	}
	failpoint.Hit(failpoint.PresenceBefore)
	held, err := p.c.acquire(ctx, key, value, p.session)
	failpoint.Hit(failpoint.PresenceAfter)
	if err == nil && !held {
		return errAgain // somebody was faster, or a lock-delay runs
	}
	return err
}

// ensureSession keeps the session alive, or makes a new one where it is gone.
func (p *Presenter) ensureSession(ctx context.Context) error {
	if p.session != "" {
		alive, err := p.c.renewSession(ctx, p.session, p.ttl/3)
		if err != nil || alive {
			return err
		}
		p.log.Info("presence session was lost, making another")
		p.session = ""
	}
	id, err := p.c.createSession(ctx, "brambled presence "+p.describe().Node, p.ttl, true)
	p.session = id
	return err
}

// meet deals with a key that another session holds. A dead predecessor's session is ended; anybody else is left alone.
func (p *Presenter) meet(ctx context.Context, self Presence, have Entry) error {
	holder, err := parsePresence(have)
	if err != nil {
		return err
	}
	if !self.succeeds(holder) {
		return &NameTakenError{Holder: holder, Reboot: self.Serial != "" && self.Serial == holder.Serial}
	}
	p.log.Info("ending the presence session of the process before this one")
	if err := p.c.destroySession(ctx, have.Session); err != nil {
		return err
	}
	return errAgain
}

// leave gives the presence up at a clean stop. The key goes first, while the session proves that it is ours: a session
// that ends while it holds a key leaves a lock-delay on it.
func (p *Presenter) leave() {
	if p.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	key := presenceKeys + p.describe().Node
	err := p.c.Fenced(ctx, key, p.session, Write{Key: key, Delete: true})
	if errors.Is(err, ErrConflict) {
		err = nil // the key is not ours, or gone
	}
	if err := errors.Join(err, p.c.destroySession(ctx, p.session)); err != nil {
		// Its time to live ends it.
		p.log.Info("presence could not be given up", zap.Error(err))
	}
}
