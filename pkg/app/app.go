// Package app puts the parts of the daemon together and runs them.
package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/docker"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/pkg/web"
	"github.com/brambled/brambled/reconciler"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/spec"
)

// Options are what a daemon is made from.
type Options struct {
	Config  config.Config
	Version string
	Log     *zap.Logger
	// Reload, if set, asks for the static tier to be read again.
	Reload <-chan struct{}
}

type nodeLoop = reconciler.Loop[spec.Desired, node.Observed]

// App is one daemon.
type App struct {
	cfg     config.Config
	version string
	log     *zap.Logger
	reload  <-chan struct{}

	registry *prometheus.Registry
	m        *metrics
	engine   *docker.Engine
	store    *consul.Client
	watch    *watch
	presence *consul.Presenter
	reports  *status.Publisher
	gauges   *status.Metrics
	web      *web.Server
	loop     *nodeLoop
	notify   *notifier

	elector     *lease.Elector
	leading     atomic.Pointer[leading] // nil while another leads
	place       *place
	member      *member
	prepulls    *prepulls
	permits     *permits
	registrar   *registrar
	swarmGauges *status.SwarmMetrics

	guard     *guard
	memory    *memory
	approvals *approvals
	draining  drainWatch
	renamed   *status.Hold  // the new name or labels that are not in force; nil for none
	await     chan struct{} // holds one token when the newest report may wait for a person
	accepting sync.Mutex    // one snapshot at a time is taken into force

	assembling sync.Mutex // guards what follows
	assembler  *assembler
	tierErr    error
	tier       tier
	force      inForce
	retry      []string // engine ids of containers whose failure is forgiven

	passing  *assembled // what the pass under way plans for; only the loop's goroutine touches it
	beatAt   atomic.Pointer[time.Time]
	current  atomic.Pointer[assembled]
	report   atomic.Pointer[status.Node]
	last     atomic.Pointer[nodePass] // the newest pass that looked at the engine
	looked   chan struct{}            // closed when the engine was observed for the first time
	lookOnce sync.Once
	labelled atomic.Pointer[map[string]bool] // cluster ids on the engine's objects at that time
	passed   atomic.Bool
	lastErr  atomic.Pointer[error]
}

// New wires a daemon; nothing is started.
func New(opts Options) (*App, error) {
	a := &App{
		cfg: opts.Config, version: opts.Version, log: opts.Log, reload: opts.Reload,
		registry: prometheus.NewRegistry(), notify: newNotifier(), assembler: newAssembler(), looked: make(chan struct{}),
		approvals: newApprovals(opts.Config.StateDir), await: make(chan struct{}, 1),
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.m = newMetrics(a.registry)
	a.gauges = status.NewMetrics(a.registry, opts.Version)
	a.swarmGauges = status.NewSwarmMetrics(a.registry)
	a.place, a.prepulls = newPlace(), newPrepulls()
	if err := a.wireAdapters(); err != nil {
		return nil, err
	}
	a.loop = reconciler.New(reconciler.Options[spec.Desired, node.Observed]{
		Desired: a.desired, Observe: a.observe, Plan: node.Plan, Check: a.check, Apply: a.engine.Apply,
		Report: a.passReport, Done: a.stepDone,
		Resync: opts.Config.Resync, Beat: a.beat, BeatEvery: a.notify.every(),
	})
	a.member = newMember(a)
	server, err := web.New(web.Options{Listen: opts.Config.Listen, Source: a, Registry: a.registry, Log: a.log.Named("web")})
	if err != nil {
		return nil, err
	}
	a.web = server
	return a, nil
}

func (a *App) wireAdapters() error {
	c := a.cfg
	engine, err := docker.New(docker.Config{Host: c.Docker.Host, StateDir: c.StateDir}, a.log.Named("docker"), a.registry)
	if err != nil {
		return err
	}
	a.engine = engine
	requests := consul.NewMetrics(a.registry)
	store := storeConfig(c)
	store.Metrics = requests
	a.store, err = consul.New(store)
	if err != nil {
		return err
	}
	a.permits = newPermits(a.store, c.Node, a.look, a.log.Named("permits"))
	a.watch = newWatch(a.store, a.log.Named("consul"), requests)
	return nil
}

// recall takes up what this node remembers: who it is, and what it ran.
func (a *App) recall() error {
	store, was, problems := lastgood.Open(a.cfg.StateDir, a.log.Named("lastgood"), a.registry)
	for _, err := range problems {
		a.log.Error("last-known-good is damaged", zap.Error(err))
	}
	a.memory = newMemory(store, was, a.log.Named("lastgood"))
	a.guard = newGuard(a.engine, a.cfg.StateDir, a.log.Named("guard"))
	a.identify(was)
	a.assembling.Lock()
	a.assembler.recall(was.Readable, staticEnv(a.cfg, a.tier), a.cfg.Prefix)
	a.assembling.Unlock()
	if snap := recalledSnapshot(was); snap != nil {
		a.setForce(inForce{snap: snap, recalled: true, inventory: a.inventory(snap, nil)})
	}
	c := a.cfg
	self := consul.Presence{Node: c.Node, Address: c.Address, Serial: serial(), Boot: bootID(), Instance: c.StateDir, Version: a.version, Cluster: was.Cluster, Labels: c.Labels}
	elector, err := a.newElector()
	if err != nil {
		return err
	}
	a.elector = elector
	a.presence = consul.NewPresenter(a.store, self, c.SessionTTL, a.log.Named("presence"))
	a.registrar = newRegistrar(a.store, a.runningHere, a.presence.Changed(), a.log.Named("catalog"))
	a.reports = status.NewPublisher(a.writeReport, a.log.Named("status"))
	a.reports.Resume(func(ctx context.Context) ([]byte, error) {
		e, _, err := a.store.Get(ctx, a.reportKey())
		return e.Value, err
	})
	return nil
}

func (a *App) reportKey() string { return "status/nodes/" + a.cfg.Node }

// stopTimeout is how long the parts may take to end; systemd's TimeoutStopSec is longer.
const stopTimeout = 8 * time.Second

// Run runs the daemon until ctx ends. No workload is stopped with it.
func (a *App) Run(ctx context.Context) error {
	release, err := lockState(a.cfg.StateDir, a.log)
	if err != nil {
		return err
	}
	defer release()
	defer a.engine.Close()
	a.readTier()
	if err := a.recall(); err != nil {
		return err
	}
	a.assemble()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for name, run := range a.parts() {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	a.log.Info("started", zap.String("version", a.version), zap.String("node", a.cfg.Node), zap.String("address", a.web.Addr()))
	a.notify.ready()
	<-ctx.Done()
	a.notify.stopping()
	a.wait(&wg)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// parts are what runs side by side. None waits for another, and a store or an engine that is down ends none of them.
func (a *App) parts() map[string]func(context.Context) error {
	plain := func(f func(context.Context)) func(context.Context) error {
		return func(ctx context.Context) error { f(ctx); return nil }
	}
	return map[string]func(context.Context) error{
		"web":      a.web.Run,
		"loop":     plain(a.loop.Run),
		"events":   plain(func(ctx context.Context) { a.engine.Events(ctx, a.trigger) }),
		"desired":  plain(a.follow),
		"watch":    plain(a.join),
		"presence": plain(a.presence.Run),
		"named":    plain(a.named),
		"status":   plain(a.reports.Run),
		"memory":   plain(a.memory.run),
		"persons":  a.decisions,
		"tidy":     plain(a.tidy),
		"leader":   plain(a.stand),
		"place":    plain(a.followPlace),
		"member":   plain(a.member.loop.Run),
		"prepull":  plain(a.followPrepulls),
		"drain":    plain(a.followDrain),
		"catalog":  plain(a.registrar.run),
		"permits":  plain(a.permits.run),
	}
}

// wait waits for the parts to end, but not for one that hangs on a call to a dead engine.
func (a *App) wait(wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case <-done:
		a.log.Info("stopped")
	case <-limit.C:
		a.log.Warn("stopped while a call was still under way")
	}
}

// staticOwner is the owner label of the static tier: fixed for this installation, and there before any cluster is.
func isStatic(owner string) bool { return strings.HasPrefix(owner, staticPrefix) }

func staticOwner(manifests string) string {
	abs, err := filepath.Abs(manifests)
	if err != nil {
		abs = manifests
	}
	return staticPrefix + abs
}

const staticPrefix = "static:"
