package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/failpoint"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

type nodePass = reconciler.Pass[spec.Desired, node.Observed]

// observe looks at the engine and adds the loop's own facts.
func (a *App) observe(ctx context.Context, facts reconciler.Facts) (node.Observed, error) {
	var want docker.Want
	if a.passing != nil {
		want = docker.WantOf(a.passing.Desired)
	}
	o, err := a.engine.Observe(ctx, want)
	if err != nil {
		return o, err
	}
	failpoint.Hit(failpoint.PassObserved)
	o.Busy, o.Remedies, o.CutOff = facts.Busy, facts.Remedies, a.presence.Unseen()
	if a.passing != nil {
		o.Permits = a.permits.facts(a.passing.Desired.Owners)
	}
	o.Failures = make(map[string]node.Failure, len(facts.Failures))
	for key, f := range facts.Failures {
		o.Failures[key] = node.Failure{Step: f.Step, Err: f.Err, Hash: f.For, Count: f.Count, RetryIn: f.RetryIn}
	}
	a.lookOnce.Do(func() {
		ids := clusterIDs(o)
		a.labelled.Store(&ids)
		close(a.looked)
	})
	return o, a.engineGuard(ctx, o)
}

// look asks for another pass over this node's containers.
func (a *App) look() { a.loop.Trigger() }

// check judges a plan. It is the last thing before a plan's first step.
func (a *App) check(d spec.Desired, o node.Observed, p plan.Plan) error {
	err := node.Check(d, o, p)
	if !p.Empty() {
		failpoint.Hit(failpoint.PassPlanned)
	}
	return err
}

// clusterIDs are the clusters that objects on this engine belong to.
func clusterIDs(o node.Observed) map[string]bool {
	ids := map[string]bool{}
	add := func(owner string) {
		if owner != "" && !strings.HasPrefix(owner, staticPrefix) {
			ids[owner] = true
		}
	}
	for _, c := range o.Containers {
		add(c.Owner)
	}
	for _, n := range o.Networks {
		add(n.Owner)
	}
	for _, v := range o.Volumes {
		add(v.Owner)
	}
	return ids
}

// passReport takes the account of a pass: metrics, log, status. It is called by the loop and does not block.
func (a *App) passReport(p nodePass) {
	outcome := outcomeOK
	switch {
	case errors.Is(p.Err, reconciler.ErrRefused):
		outcome = outcomeRefused
	case p.Err != nil:
		outcome = outcomeError
	}
	a.m.pass(outcome, p.Took, len(p.Observed.Busy))
	if p.Err == nil {
		a.permits.want(p.Plan.Permits)
		a.passed.Store(true)
		a.last.Store(&p)
		if p.Ready && a.memory.prove(p.Desired, p.Observed) {
			a.assemble()
		}
	}
	lasts := a.failing()
	a.logPass(p.Err)
	a.registrar.news()
	if a.passing == nil {
		return
	}
	n := status.Build(a.input(p, a.passing))
	a.report.Store(&n)
	a.gauges.Set(n)
	a.wakeDecisions()
	if (p.Err == nil || heldPass(p.Err) || lasts) && a.settled() {
		a.reports.Publish(n)
	}
	failpoint.Hit(failpoint.PassReported)
}

// failing reports whether the pass before failed: an engine that is away for longer than one pass is news for the other Pis.
func (a *App) failing() bool {
	err := a.lastErr.Load()
	return err != nil && *err != nil
}

// settled reports whether a report is worth writing: before the store was read once, it would only say that nothing is
// known yet, and every restart would be written.
func (a *App) settled() bool {
	s := a.watch.state()
	return s.Snapshot != nil || s.Fault != nil
}

// logPass logs the first of a row of equal errors, and the end of the row.
func (a *App) logPass(err error) {
	old := a.lastErr.Load()
	switch {
	case err != nil && (old == nil || *old == nil || (*old).Error() != err.Error()):
		a.log.Warn("pass failed, what runs is left as it is", zap.Error(err))
	case err == nil && old != nil && *old != nil:
		a.log.Info("passes succeed again")
	}
	a.lastErr.Store(&err)
}

func (a *App) input(p nodePass, cur *assembled) status.Input {
	in := status.Input{
		Node: a.cfg.Node, Address: a.cfg.Address, Version: a.version,
		Desired: p.Desired, Observed: p.Observed, Plan: p.Plan, Err: p.Err,
		Errors: cur.Errors, Index: cur.Index, Source: cur.Source, Kept: cur.Kept,
		Holds: slices.Clone(cur.Holds), Quorum: a.member.report(),
	}
	s := a.watch.state()
	// Remembered while the store has not been read: a daemon that is started again has nothing new to report.
	in.Cluster = a.memory.get().Cluster
	if s.Snapshot != nil {
		in.Cluster = s.Snapshot.Cluster
	}
	if s.Fault != nil {
		in.Holds = append(in.Holds, storeHold(*s.Fault))
	}
	if a.renamed != nil {
		in.Holds = append(in.Holds, *a.renamed)
	}
	if h := a.draining.hold.Load(); h != nil {
		in.Holds = append(in.Holds, *h)
	}
	if err := a.memory.store.Err(); err != nil {
		in.Holds = append(in.Holds, status.Hold{Scope: "state folder", Cause: "not written", Detail: err.Error(), Lifts: "by itself when it can be written; until then brambled goes on from memory"})
	}
	if err := a.presence.Problem(); err != nil && a.settled() {
		in.Holds = append(in.Holds, presenceHold(err))
	}
	if a.tierErr != nil {
		in.Holds = append(in.Holds, status.Hold{Scope: "static tier", Cause: "unreadable", Detail: a.tierErr.Error(), Lifts: "when the file can be read"})
	}
	for name, l := range cur.Loaded {
		for _, svc := range l.Services {
			if !svc.Here {
				in.Elsewhere = append(in.Elsewhere, status.Away{Stack: name, Service: svc.Name, Nodes: svc.Nodes, Why: svc.Why, Swarm: svc.Swarm})
			}
		}
	}
	return in
}

// storeHold is the hold of a store that cannot be read soundly.
func storeHold(f consul.Fault) status.Hold {
	h := status.Hold{Scope: "store", Cause: string(f.Cause), Detail: f.Detail, Lifts: "by itself when Consul's answers are sound again"}
	switch f.Cause {
	case consul.Regressed:
		h.ID = f.ID
		h.Lifts = "by itself when the newer keys are put back (brambled snapshot restore --from-last-good), or to take the store as it is now: brambled approve " + f.ID
	case consul.Unvouched:
		h.Lifts = "by itself when Consul's answers are sound again; a store that was wiped: brambled snapshot restore --from-last-good"
	default:
	}
	return h
}

// stepDone logs and counts each step that was applied.
func (a *App) stepDone(lane string, s plan.Step, took time.Duration, err error) {
	failpoint.Hit(failpoint.PassStep)
	action := strings.ToLower(reflect.TypeOf(s.Action).Name())
	a.m.step(action, err)
	fields := []zap.Field{zap.String("lane", lane), zap.Stringer("step", s.Action), zap.String("reason", string(s.Reason)), zap.Duration("took", took)}
	if err != nil {
		a.log.Warn("step failed", append(fields, zap.Error(err))...)
		return
	}
	a.log.Info("step applied", fields...)
}

// Status is the newest report.
func (a *App) Status() status.Node {
	if n := a.report.Load(); n != nil {
		return *n
	}
	return status.Node{Node: a.cfg.Node, Version: a.version}
}

// stuck is how long the loop may take to get around: an observation has deadlines of its own that are shorter.
const stuck = 2 * time.Minute

// Healthy reports whether the daemon itself works; an engine or a store that is down is no fault of it.
func (a *App) Healthy() error {
	if at := a.beatAt.Load(); at != nil && time.Since(*at) > stuck {
		return fmt.Errorf("the loop has not come around for %s", time.Since(*at).Round(time.Second))
	}
	return nil
}

// beat is called by the loop whenever it comes around.
func (a *App) beat() {
	now := time.Now()
	a.beatAt.Store(&now)
	a.notify.beat()
}

// Ready reports whether the engine could be looked at and the first pass is done.
func (a *App) Ready() error {
	if !a.passed.Load() {
		return fmt.Errorf("the first pass is not done%s", suffix(a.lastErr.Load()))
	}
	if err := a.lastErr.Load(); err != nil && *err != nil {
		return *err
	}
	return nil
}

func suffix(err *error) string {
	if err == nil || *err == nil {
		return ""
	}
	return ": " + (*err).Error()
}
