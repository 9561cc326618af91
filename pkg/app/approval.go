package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/node"
)

// The keys of a person's decisions: approvals/<hold id>, and approvals/retry/<stack>.
const (
	approvalKeys = "approvals/"
	retryKeys    = "retry/"
)

// holdID is what the id of a hold looks like; it becomes a key and a file name.
var holdID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// approvals are what persons decided: in the store for all nodes, or in a folder of this node's for when the store is away.
type approvals struct {
	dir string

	mu     sync.Mutex
	stored map[string]uint64 // ModifyIndex by key below approvals/
}

func newApprovals(stateDir string) *approvals {
	return &approvals{dir: filepath.Join(stateDir, "approvals"), stored: map[string]uint64{}}
}

// given reports whether a hold was approved after what it is about was last written: one that was approved, put back and
// is to go again is a new decision.
func (a *approvals) given(id string, newest uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index, ok := a.stored[id]; ok && index > newest {
		return true
	}
	// One of this node's own counts once: it has no index that would tell its age.
	return holdID.MatchString(id) && os.Remove(filepath.Join(a.dir, id)) == nil
}

// learn takes in what is below approvals/ in the store, and reports whether that is news.
func (a *approvals) learn(list []consul.Entry) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range list {
		if a.stored[e.Key] != e.ModifyIndex {
			a.stored[e.Key], news = e.ModifyIndex, true
		}
	}
	return news
}

// local reports whether a decision lies in this node's own folder.
func (a *approvals) local() bool {
	entries, err := os.ReadDir(a.dir)
	return err == nil && len(entries) > 0
}

// retries are the stacks to be tried again, with the index of the request.
func (a *approvals) retries() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]uint64{}
	for key, index := range a.stored {
		if stack, ok := strings.CutPrefix(key, retryKeys); ok {
			out[stack] = index
		}
	}
	return out
}

// approveLocally leaves a decision for the daemon of this machine.
func approveLocally(stateDir, id string) error {
	dir := newApprovals(stateDir).dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("approve on this node: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, id), nil, 0o600); err != nil {
		return fmt.Errorf("approve on this node: %w", err)
	}
	return nil
}

// approvalPoll is how often a node that waits for a person looks into its own folder.
const approvalPoll = 2 * time.Second

// decisions follows what persons decide, while there is something to decide. Nobody else is asked for it: an idle bramble
// makes no queries for it.
func (a *App) decisions(ctx context.Context) error {
	renamed := make(chan struct{})
	go a.localDecisions(ctx, renamed)
	go a.storedDecisions(ctx, renamed)
	select {
	case <-ctx.Done():
		return nil
	case <-renamed:
		a.memory.settle(ctx)
		return errRenamed
	}
}

func (a *App) storedDecisions(ctx context.Context, renamed chan<- struct{}) {
	var index uint64
	for failures := 0; ctx.Err() == nil; {
		if !a.awaiting() {
			select {
			case <-ctx.Done():
				return
			case <-a.await:
			}
			continue
		}
		l, err := a.store.WatchPrefix(ctx, approvalKeys, index)
		if err != nil {
			index = 0
			if failures++; errors.Is(pause(ctx, min(time.Duration(failures)*time.Second, 15*time.Second)), context.Canceled) {
				return
			}
			continue
		}
		failures, index = 0, l.Index
		if a.approvals.learn(l.Entries) && a.decided(ctx) {
			sendOrEnd(ctx, renamed)
		}
	}
}

func sendOrEnd(ctx context.Context, c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	case <-ctx.Done():
	}
}

func (a *App) localDecisions(ctx context.Context, renamed chan<- struct{}) {
	tick := time.NewTicker(approvalPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if a.awaiting() && a.approvals.local() && a.decided(ctx) {
			sendOrEnd(ctx, renamed)
		}
	}
}

// awaiting reports whether the newest report has something that a person must decide.
func (a *App) awaiting() bool {
	n := a.report.Load()
	if n == nil {
		return false
	}
	for _, h := range n.Holds {
		if h.ID != "" {
			return true
		}
	}
	if l := a.leading.Load(); l != nil {
		if led := l.report.Load(); led != nil && hasFailed(*led) {
			return true
		}
	}
	return hasFailed(*n)
}

// hasFailed reports whether a service failed, which a person may want to be tried again.
func hasFailed(n status.Node) bool {
	return slices.ContainsFunc(n.Stacks, func(st status.Stack) bool {
		return slices.ContainsFunc(st.Services, func(s status.Service) bool { return s.State == status.Failed })
	})
}

// wakeDecisions looks for what a person decided, where something waits for that.
func (a *App) wakeDecisions() {
	if !a.awaiting() {
		return
	}
	select {
	case a.await <- struct{}{}:
	default: // it is awake already
	}
}

// decided looks again at what was held, and reports whether the daemon must be started again for it.
func (a *App) decided(ctx context.Context) (restart bool) {
	s := a.watch.state()
	a.faultApproved(s)
	if s.Fault == nil && s.Snapshot != nil {
		a.accepting.Lock()
		a.accept(ctx, s.Snapshot)
		a.accepting.Unlock()
	}
	a.retryAsked()
	a.engineApproved()
	a.drainApproved(ctx)
	a.assemble()
	a.trigger()
	return a.renameApproved()
}

// faultApproved lifts the fault of a store that went back where a person has approved it. It is asked at each news of the store
// too: when the approval arrived another fault may have stood in front, as for a moment after a restore.
func (a *App) faultApproved(s consul.State) {
	if s.Fault != nil && s.Fault.Cause == consul.Regressed && a.approvals.given(s.Fault.ID, 0) && a.watch.approve(s.Fault.ID) {
		a.log.Info("approved: the store as it is now counts", zap.String("id", s.Fault.ID))
	}
}

// retryAsked forgives the failures of stacks that a person asked to try again, once for each time it was asked.
func (a *App) retryAsked() {
	last := a.last.Load()
	if last == nil {
		return
	}
	for stack, index := range a.approvals.retries() {
		mark := fmt.Sprintf("%s%s@%d", retryKeys, stack, index)
		a.assembling.Lock()
		old := a.force.snap != nil && index <= entry(a.force.snap.Stacks, stack).ModifyIndex
		a.assembling.Unlock()
		if old || slices.Contains(a.memory.get().Approved, mark) {
			continue
		}
		ids := node.Failures(last.Desired, last.Observed, stack)
		a.memory.change(func(s *lastgood.State) bool {
			s.Approved = slices.DeleteFunc(slices.Clone(s.Approved), func(m string) bool { return strings.HasPrefix(m, retryKeys+stack+"@") })
			s.Approved = append(s.Approved, mark)
			slices.Sort(s.Approved)
			return true
		})
		inSwarm := 0
		if l := a.leading.Load(); l != nil {
			inSwarm = l.forgive(stack)
		}
		a.log.Info("retry", zap.String("stack", stack), zap.Int("failures", len(ids)+inSwarm))
		a.assembling.Lock()
		a.retry = append(a.retry, ids...)
		a.assembling.Unlock()
		a.loop.Forget(func(lane string) bool { return strings.HasPrefix(lane, "container "+stack+"/") })
	}
}

// ErrNoHold is an id that no node reports as a hold.
var ErrNoHold = errors.New("no node reports a hold with this id")

// Approve lifts a hold on all nodes. Where the store is away, or with local, it is for the daemon of this machine alone.
func (o *Operator) Approve(ctx context.Context, id string, local bool) (status.Hold, error) {
	if !holdID.MatchString(id) {
		return status.Hold{}, fmt.Errorf("approve %q: an id has twelve hexadecimal digits; see brambled status", id)
	}
	hold, err := o.findHold(ctx, id)
	if err != nil {
		return hold, err
	}
	if local {
		return hold, approveLocally(o.cfg.StateDir, id)
	}
	if err := o.decide(ctx, id, hold.Cause+": "+hold.Detail); err != nil {
		return hold, fmt.Errorf("%w; to approve it on this node alone: brambled approve --local %s", err, id)
	}
	return hold, nil
}

// decide writes a decision. It is told from an earlier one for the same thing by the index of its key, which Consul leaves alone
// when the value is what it was: so no two values are alike.
func (o *Operator) decide(ctx context.Context, key, what string) error {
	return o.store.Put(ctx, approvalKeys+key, []byte(what+"\n"+rand.Text()+"\n"))
}

// findHold looks in the reports of all nodes, and in the daemon's of this machine, which may not be able to write its own.
func (o *Operator) findHold(ctx context.Context, id string) (status.Hold, error) {
	nodes, err := o.Reports(ctx)
	if own, localErr := o.localReport(ctx); localErr == nil {
		nodes, err = append(nodes, own), nil
	}
	if err != nil {
		return status.Hold{}, err
	}
	for _, n := range nodes {
		for _, h := range n.Holds {
			if h.ID == id {
				return h, nil
			}
		}
	}
	return status.Hold{}, fmt.Errorf("approve %s: %w; see brambled status", id, ErrNoHold)
}

// Retry asks all nodes to try again what failed of a stack, and has its rollouts go on: failures that were recorded are forgotten, and
// nodes that are not there hold no permit any more.
func (o *Operator) Retry(ctx context.Context, stack string) error {
	nodes, err := o.Reports(ctx)
	if err != nil {
		return err
	}
	failed := func(s status.Service) bool { return s.State == status.Failed }
	asked := slices.ContainsFunc(nodes, func(n status.Node) bool {
		st, ok := n.Stack(stack)
		return ok && slices.ContainsFunc(st.Services, failed)
	})
	if asked { // first, or the node that failed would record it again
		if err := o.decide(ctx, retryKeys+stack, "retry"); err != nil {
			return err
		}
	}
	freed, err := o.freePermits(ctx, stack)
	if err != nil {
		return err
	}
	if !asked && freed == 0 {
		return fmt.Errorf("retry %s: no node reports that something of it failed, and none that is away holds a permit; see brambled status %s", stack, stack)
	}
	return nil
}
