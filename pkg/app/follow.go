package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/reconciler/spec"
)

// watch is the watcher on the store. It can only be made when it is known which cluster this node belongs to.
type watch struct {
	store *consul.Client
	log   *zap.Logger
	m     *consul.Metrics
	w     chan *consul.Watcher // holds the watcher once there is one
}

func newWatch(store *consul.Client, log *zap.Logger, m *consul.Metrics) *watch {
	return &watch{store: store, log: log, m: m, w: make(chan *consul.Watcher, 1)}
}

// state is what is known of the store; nothing before the watch has begun.
func (w *watch) state() consul.State {
	select {
	case x := <-w.w:
		w.w <- x
		return x.State()
	default:
		return consul.State{}
	}
}

// approve accepts a store that went back, see [consul.Watcher.Approve].
func (w *watch) approve(id string) bool {
	select {
	case x := <-w.w:
		w.w <- x
		return x.Approve(id)
	default:
		return false
	}
}

// tierPoll is how often the static tier's folder is looked at, without reading a file.
const tierPoll = 10 * time.Second

// follow keeps the desired state up with the static tier.
func (a *App) follow(ctx context.Context) {
	last := stamp(a.cfg.ManifestsDir)
	tick := time.NewTicker(tierPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.reload:
		case <-tick.C:
			if stamp(a.cfg.ManifestsDir) == last {
				continue
			}
		}
		last = stamp(a.cfg.ManifestsDir)
		a.readTier()
		a.assemble()
		a.trigger()
	}
}

// readTier reads the static tier. One that cannot be read stays in force as it was.
func (a *App) readTier() {
	t, err := readTier(a.cfg.ManifestsDir)
	a.assembling.Lock()
	defer a.assembling.Unlock()
	a.tierErr = err
	if err != nil {
		a.log.Error("static tier cannot be read, it stays as it was", zap.Error(err))
		return
	}
	a.tier = t
}

// join begins the watch on the store once the engine was looked at, because only then it is known which cluster this node
// belongs to, and follows it.
func (a *App) join(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.looked:
	}
	known := *a.labelled.Load()
	was := a.memory.get()
	expect := was.Cluster
	if len(known) == 1 && expect == "" {
		for id := range known {
			expect = id
		}
	}
	blank := len(known) == 0 && was.Cluster == "" && !a.memory.store.HadPast()
	w := consul.NewWatcher(a.store, consul.WatchOptions{Cluster: expect, LastGood: recalledSnapshot(was)}, a.watch.log, a.watch.m)
	a.watch.w <- w
	go w.Run(ctx)
	retry := time.NewTicker(5 * time.Second)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Changed():
		case <-retry.C:
			if !unvouched(w.State()) {
				continue
			}
		}
		a.stored(ctx, w.State(), blank)
	}
}

// unvouched reports whether the store answers well and no list carries a cluster id.
func unvouched(s consul.State) bool { return s.Fault != nil && s.Fault.Cause == consul.Unvouched }

// stored takes up a change in what is known of the store.
func (a *App) stored(ctx context.Context, s consul.State, blank bool) {
	a.faultApproved(s)
	if s.Snapshot != nil {
		a.presence.SetCluster(s.Snapshot.Cluster)
	}
	if s.Snapshot != nil && s.Fault == nil {
		if _, err := a.takeDrain(ctx); err != nil { // before anything of a node that is drained begins
			a.log.Debug("whether this node is drained cannot be read", zap.Error(err))
		}
		a.accepting.Lock()
		a.accept(ctx, s.Snapshot)
		a.accepting.Unlock()
	}
	if unvouched(s) && s.Snapshot == nil {
		id, created, err := a.store.EnsureCluster(ctx, func() (bool, string) {
			return blank, "this node knows of a cluster, by its last-known-good or by objects on its engine: the store lost what they belong to"
		})
		switch {
		case created:
			a.log.Info("created the cluster id", zap.String("cluster", id))
		case err != nil:
			a.log.Debug("cluster id was not created", zap.Error(err)) // the hold that stays says it aloud
		}
	}
	a.assemble()
	a.trigger()
}

// assemble works out the desired state from the newest files.
func (a *App) assemble() {
	a.assembling.Lock()
	defer a.assembling.Unlock()
	owners, files := sources(a.cfg, a.tier, a.force.snap)
	if a.tierErr != nil && len(a.tier.Files) == 0 {
		owners = owners[1:] // never read: the static tier speaks for nothing
	}
	next := a.assembler.assemble(a.cfg.Node, owners, files)
	next.Holds = slices.Clone(a.force.holds)
	next.Desired.Retry = slices.Clone(a.retry)
	next.Desired.Healing = spec.Healing(a.cfg.Heal)
	next.Desired.Prepull = a.prepulls.mine(a.place.get().ID)
	switch {
	case a.force.recalled:
		next.Desired.Recalled = []string{a.force.snap.Cluster}
	case a.force.snap != nil:
		next.Cluster.Owners = []string{a.force.snap.Cluster}
	}
	for i := range next.Desired.Stacks {
		st := &next.Desired.Stacks[i]
		if id := a.force.kept[st.Name]; id != "" && st.Held == "" && !isStatic(st.Owner) {
			st.Held = "its deletion is held by the deletion brake (" + id + ")"
			next.Cluster.hold(st.Name, st.Held)
		}
	}
	next.Kept = a.force.kept
	if a.force.snap != nil && a.memory.get().Drain.Drained {
		next.Desired.Drained = []string{a.force.snap.Cluster}
	}
	supplement(&next.Desired, a.memory.get())
	a.memory.change(func(s *lastgood.State) bool { return rememberReadable(s, a.assembler, next) })
	a.logErrors(next)
	a.current.Store(&next)
}

// sources are the files that make up the desired state, and the owners it speaks for, the static tier's first.
func sources(cfg config.Config, t tier, snap *consul.Snapshot) (owners []string, files []stackFile) {
	env := staticEnv(cfg, t)
	owners = append(owners, env.Owner)
	for _, f := range t.Files {
		files = append(files, stackFile{Name: f.Name, Source: f.Path, File: f.Content, Env: env})
	}
	if snap == nil {
		return owners, files
	}
	return append(owners, snap.Cluster), append(files, stored(cfg, t, snap)...)
}

// stored are the store's files alone.
func stored(cfg config.Config, t tier, snap *consul.Snapshot) []stackFile {
	env := storeEnv(cfg.Node, staticEnv(cfg, t), snap)
	var files []stackFile
	for _, s := range snap.Stacks {
		files = append(files, stackFile{Name: s.Key, Source: cfg.Prefix + "stacks/" + s.Key, File: s.Value, Index: s.ModifyIndex, Env: env})
	}
	return files
}

// staticEnv is what files of the static tier may refer to.
func staticEnv(cfg config.Config, t tier) compose.Env {
	return compose.Env{
		Node: cfg.Node, NodeIP: cfg.Address, Labels: cfg.Labels, Owner: staticOwner(cfg.ManifestsDir), Prefix: cfg.Prefix,
		Vars: t.Vars, Secrets: t.Secrets, Static: true,
	}
}

// storeEnv is what files of the store may refer to. A node's own variables come over those for all.
func storeEnv(node string, env compose.Env, snap *consul.Snapshot) compose.Env {
	env.Owner, env.Cluster, env.Static = snap.Cluster, snap.Cluster, false
	env.Vars, env.PerNode, env.Secrets = map[string]string{}, map[string]bool{}, map[string][]byte{}
	own := map[string]string{}
	for _, v := range snap.Vars {
		of, name, perNode := strings.Cut(v.Key, "/")
		switch {
		case !perNode:
			env.Vars[v.Key] = string(v.Value)
		case of == node:
			own[name] = string(v.Value)
			fallthrough
		default:
			env.PerNode[name] = true
		}
	}
	maps.Copy(env.Vars, own)
	for _, s := range snap.Secrets {
		env.Secrets[s.Key] = s.Value
	}
	return env
}

// logErrors says once of each stack that it cannot be read.
func (a *App) logErrors(next assembled) {
	old := a.current.Load()
	for name, err := range next.Errors {
		if old == nil || old.Errors[name] == nil || old.Errors[name].Error() != err.Error() {
			a.log.Error("stack is held", zap.String("stack", name), zap.Error(err))
		}
	}
}

// desired is asked for once at the start of each pass, by the loop. The pass keeps to what it got: its report must not name
// the index of a file that it has not planned.
func (a *App) desired() (spec.Desired, bool) {
	a.passing = a.current.Load()
	if a.passing == nil {
		return spec.Desired{Node: a.cfg.Node}, false
	}
	return a.passing.Desired, true
}
