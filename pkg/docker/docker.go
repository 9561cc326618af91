// Package docker is the adapter to the Docker Engine: it observes containers, networks, volumes and images as the planner
// knows them, on a manager the Swarm too, and applies the planners' actions. It is the only importer of the Docker client.
//
// Nothing is decided here. Every action is idempotent: what is done already is success, so that a lost reply or a crash
// between two calls does no harm. Events are hints that something changed, never the truth: what counts is the next list.
//
// A Swarm knows one service, config and secret of a name: that is what makes a create safe to repeat, for what carries our owner
// and hash, and nothing else, counts as made. An update carries the version that was observed, and a removal cannot be fenced.
//
// The engine may be gone, be restarted or become another version at any time. A lost connection makes the next call build a
// new client and negotiate the API version anew. Every call has a deadline, but for event and pull streams.
//
// API 1.41 (Engine 20.10) and newer are supported. What an older engine lacks is reported by container in
// node.Observed.Unsupported and refused at create; nothing is dropped silently.
package docker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/moby/moby/client"
)

// Config is what an [Engine] needs to know. Zero durations and counts mean the defaults.
type Config struct {
	Host     string // "unix:///var/run/docker.sock" when empty
	StateDir string // configs and secrets are kept in its folder "files"; it is on the engine's own host
	// AuthDir is the folder of the Docker config file with registry credentials; "" is the user's own.
	AuthDir string

	CallTimeout    time.Duration // of a list and most others: 30 s
	InspectTimeout time.Duration // of one inspection, which hangs behind a stuck container: 5 s
	ChangeTimeout  time.Duration // of a create, start or remove, which writes to a slow card: 5 min
	PullIdle       time.Duration // a pull without progress for this long is given up: 2 min
	PullParallel   int           // pulls at a time: 3
	PullRetry      time.Duration // after the first failure; doubles up to 5 min: 5 s

	// Now is the monotonic clock; time.Now when nil.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.CallTimeout, 30*time.Second)
	def(&c.InspectTimeout, 5*time.Second)
	def(&c.ChangeTimeout, 5*time.Minute)
	def(&c.PullIdle, 2*time.Minute)
	def(&c.PullRetry, 5*time.Second)
	if c.PullParallel <= 0 {
		c.PullParallel = 3
	}
	if c.Host == "" {
		c.Host = client.DefaultDockerHost
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Engine is one Docker Engine. Its methods may be called at the same time.
type Engine struct {
	cfg     Config
	log     *zap.Logger
	metrics *metrics
	conns   *connector
	files   *fileStore
	cache   *inspections
	images  *images
	pulls   *puller
	notify  atomic.Pointer[func()]
	observe sync.Mutex // one pass observes at a time
	store   storeMemory

	leftovers *leftovers
	pins      *pinner
	swarm     *swarmMemory
}

// New returns an adapter. It does not connect: the engine may come up later.
func New(cfg Config, log *zap.Logger, reg prometheus.Registerer) (*Engine, error) {
	cfg = cfg.withDefaults()
	if cfg.StateDir == "" {
		return nil, fmt.Errorf("docker: state_dir is not set")
	}
	m := newMetrics(reg)
	conns, err := newConnector(cfg.Host, m)
	if err != nil {
		return nil, err
	}
	files, err := newFiles(filepath.Join(cfg.StateDir, "files"))
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: log, metrics: m, conns: conns, files: files, cache: newInspections(cfg.Now),
		leftovers: newLeftovers(filepath.Join(cfg.StateDir, "volumes"))}
	e.images = newImages()
	e.pulls = newPuller(e)
	e.pins, e.swarm = newPinner(e), newSwarmMemory()
	return e, nil
}

// Close ends the pulls and the questions to registries that run. Nothing else outlives its call.
func (e *Engine) Close() {
	e.pulls.close()
	e.pins.close()
	e.conns.close()
}

// Ready asks the engine for an answer. It notices when another version answers than the one that was negotiated with.
func (e *Engine) Ready(ctx context.Context) error {
	return e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		pong, err := c.Ping(ctx, client.PingOptions{})
		if err == nil && pong.APIVersion != c.server {
			e.conns.lost(c)
			_, err = e.conns.get(ctx)
		}
		return err
	})
}

// Info describes an engine.
type Info struct {
	Version    string // "20.10.24+dfsg1"
	APIVersion string // the negotiated one
	ID         string // changes with the data directory
	Driver     string // storage driver; a change of it hides every container and image
	Name       string // host name
}

// Info asks the engine who it is.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	var out Info
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.Info(ctx, client.InfoOptions{})
		if err != nil {
			return err
		}
		i := res.Info
		out = Info{Version: i.ServerVersion, APIVersion: c.version, ID: i.ID, Driver: i.Driver, Name: i.Name}
		return nil
	})
	if err != nil {
		return Info{}, fmt.Errorf("ask the engine for its version: %w", err)
	}
	return out, nil
}

// Calls is how many requests were sent to the engine so far.
func (e *Engine) Calls() uint64 { return e.conns.calls.Load() }

func (e *Engine) wake() {
	if f := e.notify.Load(); f != nil {
		(*f)()
	}
}
