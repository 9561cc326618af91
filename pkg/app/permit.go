package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
)

// The keys of the permits: rollouts/<stack>/<service>, rollouts/.static/<stack>/<service> for the static tier, and one for all
// voters.
const (
	rolloutKeys    = "rollouts/"
	staticRollouts = ".static/"
	votersRollout  = ".voters"
)

const (
	// withoutStore is how long the store must have been away until the static tier goes on without permits.
	withoutStore = time.Minute
	// holderPoll is how often it is looked whether the holders of permits are there, while there are any but this node.
	holderPoll = 5 * time.Second
	// permitTries is how often a check-and-set is done anew because somebody else was faster.
	permitTries = 5
)

// permitStore is what the permits need of the store.
type permitStore interface {
	WatchPrefix(ctx context.Context, prefix string, index uint64) (consul.List, error)
	Get(ctx context.Context, key string) (consul.Entry, bool, error)
	PutCAS(ctx context.Context, key string, value []byte, index uint64) error
	DeleteCAS(ctx context.Context, key string, index uint64) error
	Present(ctx context.Context) ([]consul.Presence, error)
}

// permits follow the store's records of who may disrupt what, and carry out what a plan says of them. They decide nothing.
type permits struct {
	store permitStore
	node  string
	log   *zap.Logger
	news  func() // another pass would see something else
	say   chan struct{}
	meet  chan struct{} // holds one token when other nodes hold a permit

	mu       sync.Mutex
	known    bool
	answered time.Time // the last time, or when this process began; on the monotonic clock
	told     bool      // that the static tier goes on without
	records  map[string]node.Record
	away     []string
	says     []plan.Permit // of the newest plan, not carried out yet
	// wrote counts our own writes. An answer to a question that was asked before one of them may be older than it: believed, it
	// would show a permit that has been given back.
	wrote  int
	cancel context.CancelFunc // of the question that is asked now
}

func newPermits(store permitStore, nodeName string, news func(), log *zap.Logger) *permits {
	return &permits{
		store: store, node: nodeName, news: news, log: log, answered: time.Now(), records: map[string]node.Record{},
		say: make(chan struct{}, 1), meet: make(chan struct{}, 1),
	}
}

// run follows the records and carries out what is said until ctx ends.
func (p *permits) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { p.follow(ctx) })
	wg.Go(func() { p.speak(ctx) })
	wg.Go(func() { p.attend(ctx) })
	wg.Wait()
}

// facts are what a plan is to know. With that, what a former plan had to say is void: it knew less.
func (p *permits) facts(owners []string) node.Permits {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says = nil
	out := node.Permits{Known: p.known, Away: p.away}
	if !p.known {
		if time.Since(p.answered) >= withoutStore {
			out.Without = slices.DeleteFunc(slices.Clone(owners), func(o string) bool { return !isStatic(o) })
		}
		return out
	}
	out.Records = make(map[plan.PermitKey]node.Record, len(p.records))
	for key, r := range p.records {
		out.Records[parseRollout(key, owners)] = r
	}
	return out
}

// parseRollout is what a key below rollouts/ is the permit of. One of an owner that is not known belongs to nobody yet.
func parseRollout(key string, owners []string) plan.PermitKey {
	if key == votersRollout {
		return plan.Voters()
	}
	rest, static := strings.CutPrefix(key, staticRollouts)
	var out plan.PermitKey
	if i := slices.IndexFunc(owners, func(o string) bool { return isStatic(o) == static }); i >= 0 {
		out.Owner = owners[i]
	}
	out.Stack, out.Service, _ = strings.Cut(rest, "/")
	return out
}

// rolloutKey is the key of a permit below rollouts/.
func rolloutKey(k plan.PermitKey) string {
	switch {
	case k == plan.Voters():
		return votersRollout
	case isStatic(k.Owner):
		return staticRollouts + k.Name()
	}
	return k.Name()
}

// want takes in what the newest plan says.
func (p *permits) want(says []plan.Permit) {
	says = slices.DeleteFunc(slices.Clone(says), func(s plan.Permit) bool { return s.Do == plan.KeepPermit })
	p.mu.Lock()
	p.says = says
	p.mu.Unlock()
	if len(says) > 0 {
		signal(p.say)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is pending already
	}
}

// follow keeps up with the records.
func (p *permits) follow(ctx context.Context) {
	var index uint64
	for failures := 0; ctx.Err() == nil; {
		ask, cancel := context.WithCancel(ctx)
		asked := p.asking(cancel)
		l, err := p.store.WatchPrefix(ask, rolloutKeys, index)
		cancel()
		if err == nil && l.Filtered {
			err = errors.New("the token may not read every permit; see deploy/consul for the policy")
		}
		switch {
		case !p.stands(asked): // ask again
			index = 0
		case err != nil:
			index = 0
			p.lost(err)
			if failures++; pause(ctx, min(time.Duration(failures)*time.Second, 15*time.Second)) != nil {
				return
			}
		default:
			failures, index = 0, l.Index
			p.learn(asked, l.Entries)
		}
	}
}

// asking notes that a question is asked now, and how to break it off.
func (p *permits) asking(cancel context.CancelFunc) (asked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = cancel
	return p.wrote
}

// stands reports whether nothing was written by us since a question was asked.
func (p *permits) stands(asked int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrote == asked
}

// lost notes that the store does not answer.
func (p *permits) lost(err error) {
	p.mu.Lock()
	first := p.known
	p.known = false
	without := !p.told && time.Since(p.answered) >= withoutStore
	p.told = p.told || without
	p.mu.Unlock()
	if first {
		p.log.Info("permits are not known while Consul does not answer", zap.Error(err))
	}
	if without {
		p.log.Warn("Consul has been away for long: the static tier goes on without permits")
	}
	if first || without {
		p.news()
	}
}

// learn takes in an answer, unless we have written since it was asked for.
func (p *permits) learn(asked int, entries []consul.Entry) {
	records := make(map[string]node.Record, len(entries))
	for _, e := range entries {
		records[e.Key] = decodeRecord(e.Key, e.Value)
	}
	p.mu.Lock()
	if p.wrote != asked {
		p.mu.Unlock()
		return
	}
	changed := !p.known || !maps.EqualFunc(records, p.records, sameRecord)
	p.records, p.known, p.answered, p.told = records, true, time.Now(), false
	meet := len(p.others()) > 0
	p.mu.Unlock()
	if meet {
		signal(p.meet)
	}
	if changed {
		p.news()
	}
}

// decodeRecord reads a record. One that cannot be read stays as it is: it may say that somebody is in the middle of something.
func decodeRecord(key string, value []byte) node.Record {
	var r node.Record
	if err := json.Unmarshal(value, &r); err != nil {
		return node.Record{Damaged: fmt.Sprintf("the record %s%s cannot be read (%v); if no node is being updated: consul kv delete, with the prefix, or brambled retry", rolloutKeys, key, err)}
	}
	return r
}

func sameRecord(a, b node.Record) bool {
	same := a.Failed == b.Failed || a.Failed != nil && b.Failed != nil && *a.Failed == *b.Failed
	return same && a.Damaged == b.Damaged && slices.Equal(a.Holders, b.Holders)
}

// speak carries out what the newest plan says, whenever there is something.
func (p *permits) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.say:
		}
		for ctx.Err() == nil && p.carry(ctx) {
		}
	}
}

// carry carries out one statement, and reports whether there was one. What is given back counts as given back from before the
// write: the next plan must not build on it.
func (p *permits) carry(ctx context.Context) bool {
	p.mu.Lock()
	if len(p.says) == 0 {
		p.mu.Unlock()
		return false
	}
	s := p.says[0]
	key := rolloutKey(s.Key)
	p.says = p.says[1:]
	p.wrote++
	if s.Do != plan.AskPermit {
		p.records[key], _ = p.records[key].Carry(s, p.node, "")
	}
	p.mu.Unlock()

	r, done, err := p.write(ctx, key, s)
	p.mu.Lock()
	p.wrote++
	switch {
	case err != nil:
		p.known = false // the write may have taken place all the same
		if p.cancel != nil {
			p.cancel()
		}
	case r.Empty() && r.Damaged == "":
		delete(p.records, key)
	default:
		p.records[key] = r
	}
	p.mu.Unlock()
	switch {
	case err != nil:
		p.log.Warn("permit could not be written", zap.Stringer("permit", s), zap.Error(err))
	case done:
		p.log.Info("permit", zap.String("service", s.Key.Name()), zap.String("do", string(s.Do)), zap.String("for", s.For), zap.String("error", s.Err))
	}
	p.news()
	return true
}

// write does a statement's check-and-set, and returns the record as it is then.
func (p *permits) write(ctx context.Context, key string, s plan.Permit) (r node.Record, done bool, err error) {
	for range permitTries {
		e, _, err := p.store.Get(ctx, rolloutKeys+key)
		if err != nil {
			return r, false, err
		}
		if r = (node.Record{}); e.ModifyIndex > 0 {
			r = decodeRecord(key, e.Value)
		}
		next, ok := r.Carry(s, p.node, time.Now().UTC().Format(time.RFC3339))
		if !ok || r.Damaged != "" || sameRecord(r, next) {
			return r, false, nil
		}
		if err = putRecord(ctx, p.store, key, next, e.ModifyIndex); !errors.Is(err, consul.ErrConflict) {
			return next, err == nil, err
		}
	}
	return r, false, fmt.Errorf("write %s%s: %w, %d times in a row", rolloutKeys, key, consul.ErrConflict, permitTries)
}

// putRecord writes a record that is still at an index. One that says nothing is none.
func putRecord(ctx context.Context, store permitStore, key string, r node.Record, index uint64) error {
	if r.Empty() {
		return store.DeleteCAS(ctx, rolloutKeys+key, index)
	}
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return store.PutCAS(ctx, rolloutKeys+key, value, index)
}

// others are the nodes besides this one that hold a permit, sorted.
func (p *permits) others() []string {
	var out []string
	for _, r := range p.records {
		for _, h := range r.Holders {
			if h.Node != p.node && h.Node != node.OfSwarm {
				out = append(out, h.Node)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// attend looks whether the other holders are there, for as long as there are any.
func (p *permits) attend(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		others := p.others()
		p.mu.Unlock()
		if len(others) == 0 {
			select {
			case <-ctx.Done():
			case <-p.meet:
			}
			continue
		}
		if there, err := p.store.Present(ctx); err == nil {
			p.missed(there)
		}
		if pause(ctx, holderPoll) != nil {
			return
		}
	}
}

// missed takes in who is there.
func (p *permits) missed(there []consul.Presence) {
	p.mu.Lock()
	away := slices.DeleteFunc(p.others(), func(name string) bool {
		return slices.ContainsFunc(there, func(x consul.Presence) bool { return x.Node == name })
	})
	changed := !slices.Equal(away, p.away)
	p.away = away
	p.mu.Unlock()
	if changed {
		p.news()
	}
}

// freePermits forgets the failures of a stack's rollouts and takes permits back from nodes that are not there: a person has decided
// to go on. It reports how many records that changed.
func (o *Operator) freePermits(ctx context.Context, stack string) (freed int, err error) {
	there, err := o.store.Present(ctx)
	if err != nil {
		return 0, err
	}
	present := func(name string) bool {
		return name == node.OfSwarm || slices.ContainsFunc(there, func(p consul.Presence) bool { return p.Node == name })
	}
	list, err := o.store.List(ctx, rolloutKeys)
	if err != nil {
		return 0, err
	}
	for _, e := range list.Entries {
		if of := strings.TrimPrefix(e.Key, staticRollouts); !strings.HasPrefix(of, stack+"/") && e.Key != votersRollout {
			continue
		}
		was := decodeRecord(e.Key, e.Value)
		next := was.Retry(present)
		if next.Damaged = ""; sameRecord(was, next) {
			continue
		}
		if err := putRecord(ctx, o.store, e.Key, next, e.ModifyIndex); err != nil {
			return freed, fmt.Errorf("%w; ask again", err)
		}
		freed++
	}
	return freed, nil
}
