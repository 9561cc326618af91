package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/status"
)

// Operator does what the commands ask for, through the same store and engine as the daemon.
type Operator struct {
	cfg   config.Config
	store *consul.Client
	log   *zap.Logger

	election time.Duration // how long a Swarm without a leader is given to elect one
}

// NewOperator returns an operator; it does not connect.
func NewOperator(cfg config.Config, log *zap.Logger) (*Operator, error) {
	store, err := consul.New(storeConfig(cfg))
	if err != nil {
		return nil, err
	}
	return &Operator{cfg: cfg, store: store, log: log, election: electionTime}, nil
}

func storeConfig(c config.Config) consul.Config {
	return consul.Config{
		Address: c.Consul.Address, Token: c.Consul.Token, TokenFile: c.Consul.TokenFile,
		CAFile: c.Consul.CAFile, CertFile: c.Consul.CertFile, KeyFile: c.Consul.KeyFile, Prefix: c.Prefix,
	}
}

// File is a Compose file of a person's, and the stack it is for.
type File struct {
	Path, Stack string
	Content     []byte
}

// ReadFile reads a Compose file; "-" is standard input. The stack is named by the caller, else by the file's top-level name,
// else by the file, or by its folder where the file has one of Compose's usual names.
func ReadFile(path, stack string) (File, error) {
	f := File{Path: path, Stack: stack}
	var err error
	if path == "-" {
		f.Path = "standard input"
		f.Content, err = readAll(os.Stdin)
	} else {
		f.Content, err = os.ReadFile(path)
	}
	if err != nil {
		return f, fmt.Errorf("read %s: %w", f.Path, err)
	}
	if f.Stack == "" {
		f.Stack = stackName(path, f.Content)
	}
	if f.Stack == "" {
		return f, fmt.Errorf("%s: which stack is this? Give --stack NAME, or write a top-level `name:`", f.Path)
	}
	return f, nil
}

func stackName(path string, content []byte) string {
	var named struct {
		Name string `yaml:"name"`
	}
	if yaml.Unmarshal(content, &named) == nil && named.Name != "" {
		return named.Name
	}
	if path == "-" {
		return ""
	}
	base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if base != "compose" && base != "docker-compose" {
		return strings.ToLower(base)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	return strings.ToLower(filepath.Base(filepath.Dir(abs)))
}

// env is what files may refer to: the store's variables and secrets, or none where the store does not answer.
func (o *Operator) env(ctx context.Context) (compose.Env, error) {
	env := compose.Env{Node: o.cfg.Node, NodeIP: o.cfg.Address, Labels: o.cfg.Labels, Prefix: o.cfg.Prefix, Owner: "preview"}
	snap, err := o.snapshot(ctx)
	if err != nil {
		return env, err
	}
	return storeEnv(o.cfg.Node, env, snap), nil
}

// snapshot reads the three lists once. A prefix without a cluster id is taken as it is: nothing is changed by it here.
func (o *Operator) snapshot(ctx context.Context) (*consul.Snapshot, error) {
	s := &consul.Snapshot{}
	for prefix, into := range map[string]*[]consul.Entry{"stacks/": &s.Stacks, "vars/": &s.Vars, "secrets/": &s.Secrets} {
		l, err := o.store.List(ctx, prefix)
		if err != nil {
			return nil, err
		}
		if l.Filtered {
			return nil, fmt.Errorf("read %s%s: the token may not read every key; see deploy/consul for the policy", o.cfg.Prefix, prefix)
		}
		for _, e := range l.Entries {
			if e.Key == consul.ClusterKey {
				s.Cluster = strings.TrimSpace(string(e.Value))
			} else {
				*into = append(*into, e)
			}
		}
	}
	return s, nil
}

// Validate loads files as the daemon would and returns what is wrong with each.
func (o *Operator) Validate(ctx context.Context, files []File) []error {
	env, err := o.env(ctx)
	var errs []error
	if err != nil {
		errs = append(errs, fmt.Errorf("variables and secrets were not checked against the store: %w", err))
	}
	for _, f := range files {
		if _, err := compose.Load(f.Stack, f.Path, f.Content, env); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// ErrHeld is a change that did not take place because of a hold or a problem that a person must look at.
var ErrHeld = errors.New("held")

// Put validates a file and writes it, unless somebody else changed the stack meanwhile. It returns the key's index.
func (o *Operator) Put(ctx context.Context, f File) (uint64, error) {
	env, err := o.env(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := compose.Load(f.Stack, f.Path, f.Content, env); err != nil {
		return 0, err
	}
	key := "stacks/" + f.Stack
	old, exists, err := o.store.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	if exists && string(old.Value) == string(f.Content) {
		return old.ModifyIndex, nil
	}
	if err := o.store.PutCAS(ctx, key, f.Content, old.ModifyIndex); err != nil {
		return 0, fmt.Errorf("write stack %s: %w; look at what changed and apply again", f.Stack, err)
	}
	now, _, err := o.store.Get(ctx, key)
	return now.ModifyIndex, err
}

// Delete removes a stack. Its volumes stay.
func (o *Operator) Delete(ctx context.Context, stack string) error {
	old, exists, err := o.store.Get(ctx, "stacks/"+stack)
	if err != nil {
		return err
	}
	if !exists {
		return fmt.Errorf("there is no stack %s in %sstacks/", stack, o.cfg.Prefix)
	}
	return o.store.DeleteCAS(ctx, "stacks/"+stack, old.ModifyIndex)
}

// Reports are the newest reports of all nodes, sorted by node, and the leader's of what Swarm runs. Where the store does not answer, it is this node's alone,
// from the daemon itself.
func (o *Operator) Reports(ctx context.Context) ([]status.Node, error) {
	l, err := o.store.List(ctx, "status/")
	if err == nil {
		return decodeReports(l.Entries), nil
	}
	n, localErr := o.localReport(ctx)
	if localErr != nil {
		return nil, errors.Join(err, localErr)
	}
	return []status.Node{n}, nil
}

func decodeReports(entries []consul.Entry) []status.Node {
	var out []status.Node
	for _, e := range entries {
		var n status.Node
		if json.Unmarshal(e.Value, &n) == nil { // another version's that this one cannot read is left out
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b status.Node) int { return strings.Compare(a.Node, b.Node) })
	return out
}

// Follow calls show with the reports of all nodes, first at once and then whenever one changed, until show returns true or
// ctx ends.
func (o *Operator) Follow(ctx context.Context, show func([]status.Node) (done bool)) error {
	var index uint64
	for failures := 0; ; {
		l, err := o.store.WatchPrefix(ctx, "status/", index)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			index = 0
			if failures++; failures > 5 {
				return err
			}
			if err := pause(ctx, time.Duration(failures)*time.Second); err != nil {
				return err
			}
			continue
		}
		failures, index = 0, l.Index
		if show(o.present(ctx, decodeReports(l.Entries))) {
			return nil
		}
	}
}

// present drops the reports of nodes that are away: they will not take up anything now. Where nobody is known to be
// present, all stay.
func (o *Operator) present(ctx context.Context, nodes []status.Node) []status.Node {
	there, err := o.store.Present(ctx)
	if err != nil || len(there) == 0 {
		return nodes
	}
	return slices.DeleteFunc(nodes, func(n status.Node) bool {
		return n.Leader == "" && !slices.ContainsFunc(there, func(p consul.Presence) bool { return p.Node == n.Node })
	})
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
