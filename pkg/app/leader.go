package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
	"github.com/brambled/brambled/reconciler/swarm"
)

type swarmLoop = reconciler.Loop[spec.Cluster, swarm.Observed]
type swarmPass = reconciler.Pass[spec.Cluster, swarm.Observed]

// swarmReportKey is where the leader reports what Swarm runs.
const swarmReportKey = "status/swarm"

// leading is this daemon as leader, for one term. Every effect asks the term first (safety rule 7).
type leading struct {
	*App
	term    *lease.Term
	loop    *swarmLoop
	quorum  *keeper
	reports *status.Publisher
	passing *assembled // what the pass under way plans for; only the loop's goroutine touches it
	report  atomic.Pointer[status.Node]
	ask     *ask

	mu    sync.Mutex
	retry []string // hashes of services whose failure is forgiven
}

// stand makes this daemon a candidate, and now and then the leader.
func (a *App) stand(ctx context.Context) { a.elector.Run(ctx, a.lead) }

// newElector wires the election: any node may lead, and one that is no manager of a Swarm makes room for one that is.
func (a *App) newElector() (*lease.Elector, error) {
	self := lease.Identity{Node: a.cfg.Node, Boot: bootID(), Instance: a.cfg.StateDir}
	return lease.New(consul.NewLeaderLock(a.store), self, lease.Options{
		TTL: a.cfg.SessionTTL, Preferred: a.manages, Yield: a.managerElsewhere,
	}, a.log, a.registry)
}

// lead is one term. It returns when ctx ends.
func (a *App) lead(ctx context.Context, term *lease.Term) {
	l := &leading{App: a, term: term}
	l.ask = newAsk(l.fenced, a.log.Named("prepull"))
	l.loop = reconciler.New(reconciler.Options[spec.Cluster, swarm.Observed]{
		Desired: l.desired, Observe: l.observe, Plan: swarm.Plan, Check: swarm.Check, Apply: l.apply,
		Report: l.passed, Done: l.done, Resync: a.cfg.Resync,
	})
	l.quorum = newKeeper(l)
	l.reports = status.NewPublisher(l.writeReport, a.log.Named("status"))
	l.reports.Resume(func(ctx context.Context) ([]byte, error) {
		e, _, err := a.store.Get(ctx, swarmReportKey)
		return e.Value, err
	})
	a.leading.Store(l)
	defer a.leading.Store(nil)
	defer a.swarmGauges.Set(status.Node{})
	var wg sync.WaitGroup
	wg.Go(func() { l.resume(ctx) })
	wg.Go(func() { l.reports.Run(ctx) })
	wg.Go(func() { l.ask.run(ctx) })
	wg.Go(func() { l.loop.Run(ctx) })
	wg.Go(func() { l.quorum.loop.Run(ctx) })
	wg.Go(func() { l.quorum.votes.run(ctx) })
	wg.Wait()
}

// trigger asks for a pass of this node's loop and, where this daemon leads, of the leader's.
func (a *App) trigger() {
	a.loop.Trigger()
	a.place.look()
	if l := a.leading.Load(); l != nil {
		l.loop.Trigger()
		l.quorum.loop.Trigger()
	}
}

// resumePoll is how soon a term that becomes valid, or valid again, is put to use.
const resumePoll = time.Second

// resume asks for a pass when a term becomes valid: while it is not, nothing is planned.
func (l *leading) resume(ctx context.Context) {
	tick := time.NewTicker(resumePoll)
	defer tick.Stop()
	for valid := true; ; {
		was := valid
		if valid = l.term.Check() == nil; valid && !was {
			l.loop.Trigger()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// desired is what the cluster should run. A state that is only remembered changes nothing in the Swarm: whoever leads has read
// the store.
func (l *leading) desired() (spec.Cluster, bool) {
	l.passing = l.current.Load()
	if l.passing == nil || len(l.passing.Cluster.Owners) == 0 {
		return spec.Cluster{}, false
	}
	d := l.passing.Cluster.Cluster
	l.mu.Lock()
	d.Retry = slices.Clone(l.retry)
	l.mu.Unlock()
	return d, true
}

// observe looks at the Swarm, at who is there, and at what the nodes report.
func (l *leading) observe(ctx context.Context, facts reconciler.Facts) (swarm.Observed, error) {
	var want docker.SwarmWant
	if l.passing != nil {
		want = docker.SwarmWantOf(l.passing.Cluster.Cluster)
	}
	if err := l.term.Check(); err != nil {
		return swarm.Observed{}, err
	}
	o, err := l.engine.ObserveSwarm(ctx, want)
	if err != nil {
		return o, err
	}
	o.Busy = facts.Busy
	o.Failures = make(map[string]swarm.Failure, len(facts.Failures))
	for key, f := range facts.Failures {
		o.Failures[key] = swarm.Failure{Step: f.Step, Err: f.Err, Hash: f.For, Count: f.Count, RetryIn: f.RetryIn}
	}
	if !o.Control {
		return o, nil
	}
	return o, l.lookAround(ctx, &o)
}

// lookAround adds what the other nodes say.
func (l *leading) lookAround(ctx context.Context, o *swarm.Observed) error {
	there, err := l.store.Present(ctx)
	if err != nil {
		return err
	}
	list, err := l.store.List(ctx, "status/nodes/")
	if err != nil {
		return err
	}
	hosts := map[string]string{} // host name in the Swarm by brambled's name of the node
	o.Present = map[string]bool{}
	for _, p := range there {
		for _, n := range o.Nodes {
			if p.Swarm != "" && n.ID == p.Swarm {
				hosts[p.Node], o.Present[n.Name] = n.Name, true
			}
		}
	}
	o.Prepulls, o.Elsewhere = map[string]map[string]swarm.Prepull{}, map[string]swarm.Elsewhere{}
	for _, n := range decodeReports(list.Entries) {
		if !slices.ContainsFunc(there, func(p consul.Presence) bool { return p.Node == n.Node }) {
			continue
		}
		takeReport(o, n, hosts[n.Node])
	}
	return nil
}

// takeReport takes what one present node reports into account: how its containers are, and the images it was asked to pull.
func takeReport(o *swarm.Observed, n status.Node, host string) {
	for _, st := range n.Stacks {
		for _, svc := range st.Services {
			if svc.State == status.Elsewhere {
				continue
			}
			e := o.Elsewhere[st.Name+"/"+svc.Name]
			e.Running, e.Healthy = e.Running+svc.Running, e.Healthy+svc.Healthy
			if svc.State == status.Done {
				e.Completed++
			}
			o.Elsewhere[st.Name+"/"+svc.Name] = e
		}
	}
	for _, img := range n.Images {
		if o.Prepulls[img.Ref] == nil {
			o.Prepulls[img.Ref] = map[string]swarm.Prepull{}
		}
		o.Prepulls[img.Ref][host] = swarm.Prepull{Here: img.Here, Err: img.Error}
	}
}

// apply performs a step, if the term is still valid at this moment.
func (l *leading) apply(ctx context.Context, a plan.Action) error {
	if err := l.term.Check(); err != nil {
		return err
	}
	return l.engine.Apply(ctx, a)
}

// done logs and counts a step. A retry that was carried out is over: another failure is another decision.
func (l *leading) done(lane string, s plan.Step, took time.Duration, err error) {
	l.stepDone(lane, s, took, err)
	if u, ok := s.Action.(plan.UpdateService); ok && err == nil && s.Reason == plan.ReasonRetry {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.retry = slices.DeleteFunc(l.retry, func(hash string) bool { return hash == u.Service.Hash })
	}
}

// passed takes the account of a pass: which images the nodes should pull, the report, the gauges.
func (l *leading) passed(p swarmPass) {
	if p.Err != nil {
		l.log.Debug("pass over the Swarm failed", zap.Error(p.Err))
	}
	if !p.Ready || errors.Is(p.Err, lease.ErrSuspended) || errors.Is(p.Err, lease.ErrEnded) {
		return // nobody knows better than the leader before, or the next one
	}
	if p.Err == nil {
		l.ask.want(swarm.Prepulling(p.Desired, p.Observed), p.Observed.Nodes)
	}
	n := status.BuildSwarm(status.SwarmInput{
		Leader: l.cfg.Node, Term: l.term.Number(), Version: l.version, Cluster: p.Desired.Owners[0],
		Desired: p.Desired, Observed: p.Observed, Plan: p.Plan, Err: p.Err,
		Errors: l.passing.Errors, Index: l.passing.Index, Source: l.passing.Source, Quorum: l.quorum.report.Load(),
	})
	l.report.Store(&n)
	l.wakeDecisions()
	if !l.quorum.looked.Load() {
		return // half of it would be written, and then the whole
	}
	l.swarmGauges.Set(n)
	if len(n.Stacks) > 0 || n.Quorum != nil || l.reported() {
		l.reports.Publish(n)
	}
}

// reported tells whether a former report is there that must not stay as it is.
func (l *leading) reported() bool { return l.reports.Written() }

// writeReport writes the leader's report, fenced: nobody writes it after his term.
func (l *leading) writeReport(ctx context.Context, report []byte) error {
	return l.fenced(ctx, consul.Write{Key: swarmReportKey, Value: report})
}

func (l *leading) fenced(ctx context.Context, writes ...consul.Write) error {
	fence, err := l.term.Fence()
	if err != nil {
		return err
	}
	return l.store.FencedBy(ctx, fence, writes...)
}

// forgive lets the failed services of a stack be tried again once.
func (l *leading) forgive(stack string) int {
	n := l.report.Load()
	cur := l.current.Load()
	if n == nil || cur == nil {
		return 0
	}
	reported, _ := n.Stack(stack)
	st, _ := cur.Cluster.Stack(stack)
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.retry)
	for _, s := range reported.Services {
		if svc, ok := st.Service(s.Name); ok && s.State == status.Failed {
			l.retry = append(l.retry, svc.Hash)
		}
	}
	return len(l.retry) - before
}
