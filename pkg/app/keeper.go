package app

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/spec"
)

type quorumLoop = reconciler.Loop[spec.Quorum, quorum.Observed]
type quorumPass = reconciler.Pass[spec.Quorum, quorum.Observed]

const (
	// A node must be seen Ready for a sixth of the hold-down before it may become a manager, for this long at most.
	readyFor, readyPart = time.Minute, 6
	// Swarm's own certificates end after 90 days, which a Pi in a drawer outlasts, and its heartbeat after 5 s notices a power
	// cut late. Five old tasks for each slot are four too many for a card.
	certificateExpiry = 365 * 24 * time.Hour
	heartbeat         = 2 * time.Second
	taskHistory       = 1
	// Swarm's own pool of 10.0.0.0/8 covers many a home's LAN, and its networks of 254 addresses run out (moby#37338).
	swarmPool     = "10.192.0.0/10"
	swarmPoolMask = 22
)

// keeper keeps the Swarm itself for one term: its managers, settings and nodes.
type keeper struct {
	l     *leading
	loop  *quorumLoop
	seen  *docker.QuorumMemory
	votes *votes

	present []consul.Presence // as of the pass under way; only the loop's goroutine touches it
	persons *decisions        // likewise
	report  atomic.Pointer[status.Quorum]
	looked  atomic.Bool // a pass is over: a report that says nothing of the Swarm itself says that there is nothing
	forming string      // the claim that was seen last
	since   time.Time
}

func newKeeper(l *leading) *keeper {
	k := &keeper{l: l, seen: l.engine.NewQuorumMemory(), votes: newVotes(l)}
	k.loop = reconciler.New(reconciler.Options[spec.Quorum, quorum.Observed]{
		Desired: k.desired, Observe: k.observe, Plan: k.plan, Check: k.check, Apply: k.apply, Report: k.passed, Done: l.stepDone,
		Resync: placePoll,
	})
	return k
}

// desired is how the Swarm should be, as far as the store and the config say. Who is there is known after a look only, see plan.
func (k *keeper) desired() (spec.Quorum, bool) {
	now := k.l.current.Load()
	if now == nil || len(now.Cluster.Owners) == 0 {
		return spec.Quorum{}, false
	}
	return k.l.wantedQuorum(now), true
}

// wantedQuorum is what config and stacks say of the Swarm itself.
func (a *App) wantedQuorum(now *assembled) spec.Quorum {
	c := a.cfg.Swarm
	q := spec.Quorum{
		Manage: c.Manage, Managers: c.Managers, HoldDown: c.HoldDown, ReadyFor: min(readyFor, c.HoldDown/readyPart),
		Settings: spec.SwarmSettings{CertExpiry: certificateExpiry, Heartbeat: heartbeat, TaskHistory: taskHistory},
		Pools:    []string{swarmPool}, PoolMask: swarmPoolMask,
	}
	if len(now.Cluster.Owners) > 0 {
		q.Cluster = now.Cluster.Owners[0]
	}
	q.Wanted = slices.ContainsFunc(now.Cluster.Stacks, func(st spec.SwarmStack) bool { return len(st.Services) > 0 })
	return q
}

// with adds the nodes that are there, as they say themselves.
func (k *keeper) with(d spec.Quorum) spec.Quorum {
	for _, p := range k.present {
		labels := p.Labels
		if labels == nil {
			labels = map[string]string{}
		}
		d.Nodes = append(d.Nodes, spec.QuorumNode{Name: p.Node, Labels: labels})
	}
	return k.persons.apply(d)
}

func (k *keeper) plan(d spec.Quorum, o quorum.Observed) plan.Plan { return quorum.Plan(k.with(d), o) }

func (k *keeper) check(d spec.Quorum, o quorum.Observed, p plan.Plan) error {
	return quorum.Check(k.with(d), o, p)
}

// observe looks at the Swarm, at the store's record of it and at who is there.
func (k *keeper) observe(ctx context.Context, facts reconciler.Facts) (quorum.Observed, error) {
	if err := k.l.term.Check(); err != nil {
		return quorum.Observed{}, err
	}
	record, err := k.l.store.SwarmRecord(ctx)
	if err != nil {
		return quorum.Observed{}, err
	}
	if k.present, err = k.l.store.Present(ctx); err != nil {
		return quorum.Observed{}, err
	}
	if err := k.learn(ctx, record); err != nil {
		return quorum.Observed{}, err
	}
	o, err := k.l.engine.ObserveQuorum(ctx, k.seen)
	if err != nil {
		return o, err
	}
	o.Node, o.Busy, o.Record = k.l.cfg.Node, facts.Busy, quorumRecord(record)
	o.Record.FormingFor = k.formingFor(record.Forming)
	if o.Control {
		_, token, err := k.l.engine.WorkerToken(ctx)
		if err != nil {
			return quorum.Observed{}, err
		}
		o.Record.TokenCurrent = token == record.Token
	}
	for _, p := range k.present {
		m := quorum.Presence{Name: p.Node, Address: p.Address, ID: p.Swarm, State: quorum.State(p.State), Swarm: p.In}
		if p.Knows != "" {
			m.Knows = strings.Split(p.Knows, ",")
		}
		o.Present = append(o.Present, m)
	}
	o.Failures = quorumFailures(facts)
	k.adopted(ctx, o)
	return o, nil
}

func quorumRecord(r consul.SwarmRecord) quorum.Record {
	return quorum.Record{
		SwarmID: r.ID, Cluster: r.Cluster, Forming: r.Forming, Managers: r.Managers, Token: r.Token != "", Removed: r.Removed, Former: r.Former,
	}
}

func quorumFailures(facts reconciler.Facts) map[string]quorum.Failure {
	out := make(map[string]quorum.Failure, len(facts.Failures))
	for key, f := range facts.Failures {
		out[key] = quorum.Failure{Step: f.Step, Err: f.Err, For: f.For, Count: f.Count, RetryIn: f.RetryIn}
	}
	return out
}

// formingFor is for how long this term has seen the claim that there is.
func (k *keeper) formingFor(node string) time.Duration {
	if k.forming != node || k.since.IsZero() {
		k.forming, k.since = node, time.Now()
	}
	return time.Since(k.since)
}

// apply performs a step, if the term is still valid at this moment. What a later leader, or a node that comes back, must know is
// written first, and fenced.
func (k *keeper) apply(ctx context.Context, a plan.Action) error {
	if err := k.l.term.Check(); err != nil {
		return err
	}
	if err := k.votes.take(ctx, a); err != nil {
		return err
	}
	switch a := a.(type) {
	case plan.ClaimSwarm:
		return k.note(ctx, func(r consul.SwarmRecord) []consul.Write { return r.Claim(a.Node) })
	case plan.PublishSwarm:
		return k.publish(ctx, a)
	case plan.DropNode:
		if err := k.note(ctx, func(r consul.SwarmRecord) []consul.Write { return r.Remove(a.ID) }); err != nil {
			return err
		}
		if err := k.l.term.Check(); err != nil {
			return err
		}
	default:
	}
	return k.l.engine.Apply(ctx, a)
}

func (k *keeper) publish(ctx context.Context, a plan.PublishSwarm) error {
	id, token, err := k.l.engine.WorkerToken(ctx)
	if err != nil {
		return err
	}
	if id != a.ID {
		return fmt.Errorf("this engine is in Swarm %s meanwhile: nothing was published", id)
	}
	return k.note(ctx, func(r consul.SwarmRecord) []consul.Write {
		return r.Publish(a.ID, a.Cluster, a.Managers, a.Removed, token)
	})
}

// note changes the record of the Swarm as it is now.
func (k *keeper) note(ctx context.Context, change func(consul.SwarmRecord) []consul.Write) error {
	r, err := k.l.store.SwarmRecord(ctx)
	if err != nil {
		return err
	}
	if writes := change(r); len(writes) > 0 {
		return k.l.fenced(ctx, writes...)
	}
	return nil
}

// passed takes the account of a pass: what the leader's report says of the Swarm itself. A pass that failed knows nothing better than
// the one before.
func (k *keeper) passed(p quorumPass) {
	k.votes.look(p)
	if !p.Ready {
		return
	}
	if first := !k.looked.Swap(true); first {
		defer k.l.loop.Trigger()
	}
	if p.Err != nil {
		k.l.log.Debug("pass over the nodes of the Swarm failed", zap.Error(p.Err))
		return
	}
	now := status.BuildQuorum(status.QuorumInput{Desired: k.with(p.Desired), Observed: p.Observed, Plan: p.Plan})
	if was := k.report.Swap(now); !reflect.DeepEqual(was, now) {
		k.l.loop.Trigger() // that loop writes the report
	}
}
