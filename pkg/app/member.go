package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

type memberLoop = reconciler.Loop[spec.Quorum, quorum.Member]
type memberPass = reconciler.Pass[spec.Quorum, quorum.Member]

// member keeps this node's own part in the Swarm: it joins when the store invites, and leaves where that is ours to do.
type member struct {
	a    *App
	loop *memberLoop
	path string

	waits atomic.Pointer[[]plan.Wait] // of the newest pass that could look

	stranded time.Time  // since when the engine is; only the loop's goroutine touches it
	persons  *decisions // likewise

	mu   sync.Mutex
	note memberNote
}

// memberNote is what this node must remember of its part in a Swarm: an engine that is a worker does not know which Swarm it is in.
type memberNote struct {
	Swarm string `json:"swarm,omitempty"`
	// Node is the engine's id as a node of that Swarm: in trouble the engine forgets it.
	Node string `json:"node,omitempty"`
	// Left is when this node last left a Swarm because its certificate had expired, by the wall clock: after a jump of it the wait
	// is shorter or an hour at most.
	Left time.Time `json:"left,omitzero"`
}

func newMember(a *App) *member {
	m := &member{a: a, path: filepath.Join(a.cfg.StateDir, "swarm.json")}
	m.recall()
	m.loop = reconciler.New(reconciler.Options[spec.Quorum, quorum.Member]{
		Desired: m.desired, Observe: m.observe, Plan: m.plan, Check: m.check, Apply: m.apply, Report: m.passed, Done: a.stepDone,
		Resync: placePoll,
	})
	return m
}

// recall reads the note. Without it a worker is taken for one of an unknown Swarm, and is left where it is.
func (m *member) recall() {
	text, err := os.ReadFile(m.path)
	if err == nil {
		err = json.Unmarshal(text, &m.note)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.a.log.Warn("the note about this node's Swarm cannot be read", zap.String("file", m.path), zap.Error(err))
	}
}

// remember writes the note, whole or not at all.
func (m *member) remember(change func(*memberNote)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.note
	change(&next)
	if next == m.note {
		return nil
	}
	text, err := json.Marshal(next)
	if err == nil {
		err = renameio.WriteFile(m.path, text, 0o600, renameio.WithTempDir(filepath.Dir(m.path)))
	}
	if err != nil {
		return fmt.Errorf("note this node's Swarm: %w", err)
	}
	m.note = next
	return nil
}

func (m *member) noted() memberNote {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.note
}

func (m *member) desired() (spec.Quorum, bool) {
	now := m.a.current.Load()
	if now == nil {
		return spec.Quorum{}, false
	}
	return m.a.wantedQuorum(now), true
}

func (m *member) observe(ctx context.Context, facts reconciler.Facts) (quorum.Member, error) {
	record, err := m.a.store.SwarmRecord(ctx)
	if err != nil {
		return quorum.Member{}, err
	}
	m.learn(record)
	n, err := m.a.engine.SwarmNode(ctx)
	if err != nil {
		return quorum.Member{}, err
	}
	if err := m.remember(func(was *memberNote) { was.learn(n) }); err != nil {
		return quorum.Member{}, err
	}
	out := quorum.Member{
		Node: m.a.cfg.Node, Address: m.a.cfg.Address, State: quorum.State(n.State), ID: m.id(n), Swarm: m.in(n), Manager: n.Manager, Err: n.Err,
		Expired: n.Expired, Record: quorumRecord(record), Busy: facts.Busy, Failures: quorumFailures(facts),
	}
	out.StrandedFor = m.strandedFor(n.Stranded)
	if left := m.noted().Left; !left.IsZero() {
		out.Left = max(time.Since(left), 1)
	}
	return out, nil
}

// learn takes over what the engine knows of its part.
func (n *memberNote) learn(from docker.SwarmNode) {
	if from.Control {
		n.Swarm = from.Swarm
	}
	switch {
	case from.ID != "":
		n.Node = from.ID
	case quorum.State(from.State) == quorum.Inactive:
		n.Node = ""
	}
}

// strandedFor is for how long this daemon has seen its engine stranded without a break.
func (m *member) strandedFor(stranded bool) time.Duration {
	switch {
	case !stranded:
		m.stranded = time.Time{}
		return 0
	case m.stranded.IsZero():
		m.stranded = time.Now()
	}
	return max(time.Since(m.stranded), 1)
}

// id is this engine's as a node of its Swarm, as it was noted where the engine does not know it.
func (m *member) id(n docker.SwarmNode) string {
	if n.ID == "" && quorum.State(n.State) == quorum.Errored {
		return m.noted().Node
	}
	return n.ID
}

// in is the id of the Swarm that the engine is in: a manager knows it, a worker as it was noted.
func (m *member) in(n docker.SwarmNode) string {
	switch {
	case n.Swarm != "":
		return n.Swarm
	case quorum.State(n.State) == quorum.Inactive:
		return ""
	}
	return m.noted().Swarm
}

// part is what this node says of its part in a Swarm.
func (a *App) part(n docker.SwarmNode, known bool) consul.SwarmPart {
	if !known {
		return consul.SwarmPart{Swarm: n.ID}
	}
	return consul.SwarmPart{Swarm: n.ID, Manager: n.Control, State: n.State, In: a.member.in(n), Knows: strings.Join(n.Knows, ",")}
}

func (m *member) apply(ctx context.Context, action plan.Action) error {
	switch a := action.(type) {
	case plan.JoinSwarm:
		return m.join(ctx, a)
	case plan.LeaveSwarm:
		return m.leave(ctx, a)
	default:
		return fmt.Errorf("unknown action %T", a)
	}
}

// join notes the Swarm before it is joined: a daemon that dies in between would not know which one it is in.
func (m *member) join(ctx context.Context, a plan.JoinSwarm) error {
	record, err := m.a.store.SwarmRecord(ctx)
	if err != nil {
		return err
	}
	if record.ID != a.Swarm || record.Token == "" {
		return fmt.Errorf("the store invites to Swarm %q meanwhile: not joined", record.ID)
	}
	if err := m.remember(func(n *memberNote) { n.Swarm = a.Swarm }); err != nil {
		return err
	}
	err = m.a.engine.JoinSwarm(ctx, a, record.Token)
	m.a.place.look()
	return err
}

// leave notes the time first where a certificate has expired: it is not done again within the hour.
func (m *member) leave(ctx context.Context, a plan.LeaveSwarm) error {
	n, err := m.a.engine.SwarmNode(ctx)
	if err != nil {
		return err
	}
	if n.Expired {
		if err := m.remember(func(n *memberNote) { n.Left = time.Now() }); err != nil {
			return err
		}
	}
	err = m.a.engine.Apply(ctx, a)
	m.a.place.look()
	return err
}

// passed takes the account of a pass. One that failed, as all do while the store is away, knows nothing better than the one before.
func (m *member) passed(p memberPass) {
	if p.Err != nil {
		m.a.log.Debug("pass over this node's part in the Swarm failed", zap.Error(p.Err))
		return
	}
	if was := m.waits.Swap(&p.Plan.Waits); was == nil || !slices.Equal(*was, p.Plan.Waits) {
		m.a.trigger() // that loop makes the report
	}
}

// report is what is wrong with this node's part in the Swarm. That it reaches no quorum is known without the store.
func (m *member) report() *status.Quorum {
	var waits []plan.Wait
	if w := m.waits.Load(); w != nil {
		waits = *w
	}
	return status.MemberQuorum(m.a.place.leaderless(), waits)
}
