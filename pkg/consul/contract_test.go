package consul_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/pkg/consul/consultest"
)

// backend is a Consul the contract is run against: the fake, and by the build tag integration a real one. What holds for
// both is what the fake may be trusted for.
type backend struct {
	address string
	ttl     time.Duration // the shortest it allows for a session
	// restart cuts every connection and keeps the data, wipe loses the data too.
	restart, wipe func(testing.TB)
	// save takes a snapshot and returns what restores it.
	save func(testing.TB) (restore func(testing.TB))
}

func TestContractFake(t *testing.T) {
	s := consultest.Start(t)
	s.MinTTL = 500 * time.Millisecond
	contract(t, backend{
		address: s.URL, ttl: s.MinTTL,
		restart: func(testing.TB) { s.Restart() },
		wipe:    func(testing.TB) { s.Wipe() },
		save: func(testing.TB) func(testing.TB) {
			image := s.Save()
			return func(testing.TB) { s.Restore(image) }
		},
	})
}

// contract runs every case below a prefix of its own. Those that break the server come last.
func contract(t *testing.T, b backend) {
	for _, c := range []struct {
		name string
		run  func(*contest)
	}{
		{"missing", caseMissing},
		{"list index", caseListIndex},
		{"blocking list", caseBlockingList},
		{"blocking get of a missing key", caseBlockingGet},
		{"check and set", caseCAS},
		{"value size", caseSize},
		{"lock", caseLock},
		{"lock delay", caseLockDelay},
		{"session behaviour delete", caseSessionDelete},
		{"session expiry", caseSessionExpiry},
		{"transaction", caseTxn},
		{"renewed key", caseRenew},
		{"witness", caseWitness},
		{"deletion", caseDeletion},
		{"watcher", caseWatcher},
		{"presence", casePresence},
		{"cluster id by two nodes at once", caseClusterRace},
		{"registrations", caseRegistrations},
		{"check that is not renewed", caseCheckExpiry},
		{"registrations of an agent that restarts", caseAgentRestart},
		{"restore", caseRestore},
		{"restart", caseRestart},
		{"wipe", caseWipe},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Without connections of their own, parked queries would be sent again behind the test's back when one breaks.
			cfg := api.DefaultConfig()
			cfg.Address, cfg.Transport.DisableKeepAlives = b.address, true
			client, err := api.NewClient(cfg)
			if err != nil {
				t.Fatal(err)
			}
			prefix := "contract/" + strings.ReplaceAll(c.name, " ", "-") + "/"
			c.run(&contest{T: t, b: b, api: client, kv: client.KV(), prefix: prefix})
		})
	}
}

// contest is one case under way.
type contest struct {
	*testing.T
	b      backend
	api    *api.Client
	kv     *api.KV
	prefix string
}

func (c *contest) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *contest) is(what string, got, want any) {
	c.Helper()
	if got != want {
		c.Errorf("%s = %v, want %v", what, got, want)
	}
}

// put writes a key and returns its ModifyIndex.
func (c *contest) put(key, value string) uint64 {
	c.Helper()
	_, err := c.kv.Put(&api.KVPair{Key: c.prefix + key, Value: []byte(value)}, nil)
	c.ok(err)
	return c.get(key).ModifyIndex
}

func (c *contest) get(key string) *api.KVPair {
	c.Helper()
	p, _, err := c.kv.Get(c.prefix+key, &api.QueryOptions{RequireConsistent: true})
	c.ok(err)
	if p == nil {
		c.Fatalf("key %s does not exist", key)
	}
	return p
}

func (c *contest) del(key string) {
	c.Helper()
	_, err := c.kv.Delete(c.prefix+key, nil)
	c.ok(err)
}

func (c *contest) list(sub string) (api.KVPairs, *api.QueryMeta) {
	c.Helper()
	pairs, meta, err := c.kv.List(c.prefix+sub, &api.QueryOptions{RequireConsistent: true})
	c.ok(err)
	return pairs, meta
}

// parked is a blocking query under way.
type parked struct {
	c    *contest
	done chan struct{}
	pair *api.KVPair
	all  api.KVPairs
	meta *api.QueryMeta
	err  error
}

// parkList blocks on the list l/, parkGet on a key. Both return when the query is most likely with the server.
func (c *contest) parkList(index uint64, wait time.Duration) *parked {
	return c.park(func(p *parked, q *api.QueryOptions) { p.all, p.meta, p.err = c.kv.List(c.prefix+"l/", q) }, index, wait)
}

func (c *contest) parkGet(key string, index uint64, wait time.Duration) *parked {
	return c.park(func(p *parked, q *api.QueryOptions) { p.pair, p.meta, p.err = c.kv.Get(c.prefix+key, q) }, index, wait)
}

func (c *contest) park(ask func(*parked, *api.QueryOptions), index uint64, wait time.Duration) *parked {
	p := &parked{c: c, done: make(chan struct{})}
	q := &api.QueryOptions{RequireConsistent: true, WaitIndex: index, WaitTime: wait}
	go func() {
		defer close(p.done)
		ask(p, q)
	}()
	select {
	case <-p.done:
	case <-time.After(100 * time.Millisecond):
	}
	return p
}

func (p *parked) waits() {
	p.c.Helper()
	select {
	case <-p.done:
		p.c.Fatalf("a query that should wait returned: %v %v %v %v", p.pair, p.all, p.meta, p.err)
	default:
	}
}

func (p *parked) returns() {
	p.c.Helper()
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.c.Fatal("a query that should return still waits")
	}
}

func (c *contest) session(behavior string, ttl, delay time.Duration) string {
	c.Helper()
	e := &api.SessionEntry{Behavior: behavior, LockDelay: delay}
	if ttl > 0 {
		e.TTL = ttl.String()
	}
	id, _, err := c.api.Session().CreateNoChecks(e, nil)
	c.ok(err)
	c.Cleanup(func() { _, _ = c.api.Session().Destroy(id, nil) })
	return id
}

func (c *contest) acquire(key, session string) bool {
	c.Helper()
	held, _, err := c.kv.Acquire(&api.KVPair{Key: c.prefix + key, Value: []byte("v"), Session: session}, nil)
	c.ok(err)
	return held
}

// eventually retries until a condition holds.
func (c *contest) eventually(what string, f func() bool) {
	c.Helper()
	end := time.After(30 * time.Second)
	for !f() {
		select {
		case <-end:
			c.Fatalf("never: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func caseMissing(c *contest) {
	p, meta, err := c.kv.Get(c.prefix+"none", &api.QueryOptions{RequireConsistent: true})
	c.ok(err)
	c.is("a missing key is nil", p == nil, true)
	c.is("leader known", meta.KnownLeader, true)
	all, meta := c.list("")
	c.is("entries", len(all), 0)
	c.is("index of an empty list is at least 1", meta.LastIndex >= 1, true)
	c.is("leader known", meta.KnownLeader, true)
	c.is("filtered", meta.ResultsFilteredByACLs, false)
}

func caseListIndex(c *contest) {
	b := c.put("l/b", "1")
	a := c.put("l/a", "1")
	all, meta := c.list("l/")
	c.is("entries", len(all), 2)
	c.is("first", all[0].Key, c.prefix+"l/a")
	c.is("index is that of the newest key", meta.LastIndex, a)
	c.is("create index", all[1].CreateIndex, b)
	c.is("a put of the same value keeps the index", c.put("l/a", "1"), a)
	c.put("elsewhere", "1")
	_, meta = c.list("l/")
	c.is("index after a write elsewhere", meta.LastIndex, a)
	c.del("l/a")
	all, meta = c.list("l/")
	c.is("entries after a delete", len(all), 1)
	gone := meta.LastIndex
	c.is("a delete raises the index", gone > a, true)
	c.put("elsewhere", "2")
	_, meta = c.list("l/")
	c.is("a tombstone keeps the index", meta.LastIndex, gone)
	latest := c.put("elsewhere", "3")
	_, meta = c.list("never/")
	c.is("the index of a list that never had keys is the whole table's", meta.LastIndex >= latest, true)
}

func caseBlockingList(c *contest) {
	a := c.put("l/a", "1")
	p := c.parkList(a, time.Minute)
	c.put("elsewhere", "1")
	p.waits()
	c.put("l/b", "1")
	p.returns()
	c.ok(p.err)
	c.is("entries", len(p.all), 2)
	p = c.parkList(p.meta.LastIndex, time.Minute)
	p.waits()
	c.del("l/a")
	p.returns()
	c.ok(p.err)
	c.is("a delete wakes; entries", len(p.all), 1)
	index := p.meta.LastIndex
	p = c.parkList(index, 300*time.Millisecond)
	p.returns()
	c.ok(p.err)
	c.is("index when the wait is over", p.meta.LastIndex, index)
	c.is("entries when the wait is over", len(p.all), 1)
	p = c.parkList(1, time.Minute)
	p.returns()
	c.is("index 1 returns at once", p.meta.LastIndex, index)
	c.del("l/b")
	p = c.parkList(index, time.Minute)
	p.returns()
	c.is("the last key is gone; entries", len(p.all), 0)
	p = c.parkList(p.meta.LastIndex+1000, 300*time.Millisecond)
	p.returns()
	c.is("an index that was never reached waits, then tells the truth", p.meta.LastIndex < index+1000, true)
}

func caseBlockingGet(c *contest) {
	_, meta, err := c.kv.Get(c.prefix+"k", nil)
	c.ok(err)
	p := c.parkGet("k", meta.LastIndex, time.Minute)
	c.put("elsewhere", "1")
	c.put("elsewhere", "2")
	p.waits()
	c.put("k", "1")
	p.returns()
	c.ok(p.err)
	c.is("value", string(p.pair.Value), "1")
}

func caseCAS(c *contest) {
	cas := func(index uint64, value string) bool {
		done, _, err := c.kv.CAS(&api.KVPair{Key: c.prefix + "k", Value: []byte(value), ModifyIndex: index}, nil)
		c.ok(err)
		return done
	}
	c.is("an index for a missing key", cas(7, "0"), false)
	c.is("create", cas(0, "1"), true)
	c.is("create again", cas(0, "2"), false)
	first := c.get("k").ModifyIndex
	c.is("change", cas(first, "2"), true)
	c.is("change at an old index", cas(first, "3"), false)
	del := func(index uint64) bool {
		done, _, err := c.kv.DeleteCAS(&api.KVPair{Key: c.prefix + "k", ModifyIndex: index}, nil)
		c.ok(err)
		return done
	}
	c.is("delete at an old index", del(first), false)
	c.is("delete", del(c.get("k").ModifyIndex), true)
	c.is("delete what is gone", del(first), true)
}

func caseSize(c *contest) {
	put := func(n int) error {
		_, err := c.kv.Put(&api.KVPair{Key: c.prefix + "k", Value: make([]byte, n)}, nil)
		return err
	}
	c.ok(put(512 * 1024))
	// Whether the 413 arrives or the connection breaks first is a matter of luck.
	c.is("too large", put(512*1024+1) != nil, true)
	c.del("k")
}

func caseLock(c *contest) {
	one, two := c.session("release", 0, time.Millisecond), c.session("release", 0, time.Millisecond)
	_, _, err := c.kv.Acquire(&api.KVPair{Key: c.prefix + "k", Session: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, nil)
	c.is("a session that does not exist", err != nil && strings.Contains(err.Error(), "invalid session"), true)
	c.is("acquire", c.acquire("k", one), true)
	c.is("acquire again", c.acquire("k", one), true)
	c.is("acquire what another holds", c.acquire("k", two), false)
	c.is("lock index", c.get("k").LockIndex, uint64(1))
	c.put("k", "by anybody")
	c.is("a put leaves the lock", c.get("k").Session, one)
	c.is("but not its index", c.get("k").LockIndex, uint64(0))
	c.is("acquire again", c.acquire("k", one), true)
	release := func(session string) bool {
		done, _, err := c.kv.Release(&api.KVPair{Key: c.prefix + "k", Value: []byte("r"), Session: session}, nil)
		c.ok(err)
		return done
	}
	c.is("release by another", release(two), false)
	c.is("release", release(one), true)
	c.is("no lock-delay after a release", c.acquire("k", two), true)
	c.is("lock index of the second holder", c.get("k").LockIndex, uint64(1))
	before := c.get("k").ModifyIndex
	_, err = c.api.Session().Destroy(two, nil)
	c.ok(err)
	p := c.get("k")
	c.is("behaviour release keeps the key, free", p.Session, "")
	c.is("and moves its index", p.ModifyIndex > before, true)
}

func caseLockDelay(c *contest) {
	one, two := c.session("release", 0, 500*time.Millisecond), c.session("release", 0, time.Millisecond)
	c.is("acquire", c.acquire("k", one), true)
	_, err := c.api.Session().Destroy(one, nil)
	c.ok(err)
	c.is("acquire within the lock-delay", c.acquire("k", two), false)
	c.eventually("the lock-delay ends", func() bool { return c.acquire("k", two) })
}

func caseSessionDelete(c *contest) {
	one := c.session("delete", 0, time.Millisecond)
	c.is("acquire", c.acquire("l/k", one), true)
	_, meta := c.list("l/")
	p := c.parkList(meta.LastIndex, time.Minute)
	p.waits()
	_, err := c.api.Session().Destroy(one, nil)
	c.ok(err)
	p.returns()
	c.is("the key is gone", len(p.all), 0)
	two := c.session("delete", 0, time.Millisecond)
	c.eventually("it can be taken again", func() bool { return c.acquire("l/k", two) })
	c.is("lock index starts over", c.get("l/k").LockIndex, uint64(1))
}

func caseSessionExpiry(c *contest) {
	_, _, err := c.api.Session().CreateNoChecks(&api.SessionEntry{TTL: (c.b.ttl / 2).String()}, nil)
	c.is("a time to live that is too short", err != nil && strings.Contains(err.Error(), "Invalid Session TTL"), true)
	id := c.session("delete", c.b.ttl, time.Millisecond)
	c.is("acquire", c.acquire("k", id), true)
	entry, _, err := c.api.Session().Renew(id, nil)
	c.ok(err)
	c.is("renewed", entry.ID, id)
	c.eventually("the session expires with its key", func() bool {
		p, _, err := c.kv.Get(c.prefix+"k", nil)
		return err == nil && p == nil
	})
	entry, _, err = c.api.Session().Renew(id, nil)
	c.ok(err)
	c.is("renewing a session that is gone", entry == nil, true)
	info, _, err := c.api.Session().Info(id, nil)
	c.ok(err)
	c.is("info of a session that is gone", info == nil, true)
}

func caseTxn(c *contest) {
	lock := c.session("release", 0, time.Millisecond)
	other := c.session("release", 0, time.Millisecond)
	c.is("acquire", c.acquire("lock", lock), true)
	txn := func(ops ...*api.KVTxnOp) (bool, *api.TxnResponse) {
		all := api.TxnOps{}
		for _, o := range ops {
			o.Key = c.prefix + o.Key
			all = append(all, &api.TxnOp{KV: o})
		}
		done, resp, _, err := c.api.Txn().Txn(all, nil)
		c.ok(err)
		return done, resp
	}
	check := func(session string) *api.KVTxnOp {
		return &api.KVTxnOp{Verb: api.KVCheckSession, Key: "lock", Session: session}
	}
	set := func(key string) *api.KVTxnOp { return &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte("1")} }
	done, _ := txn(check(lock), set("a"), &api.KVTxnOp{Verb: api.KVCAS, Key: "b", Value: []byte("1")})
	c.is("with the session", done, true)
	c.is("both keys have one index", c.get("a").ModifyIndex, c.get("b").ModifyIndex)
	done, resp := txn(check(other), set("x"))
	c.is("with another session", done, false)
	c.is("errors", len(resp.Errors), 1)
	c.is("operation at fault", resp.Errors[0].OpIndex, 0)
	done, resp = txn(set("x"), &api.KVTxnOp{Verb: api.KVCAS, Key: "b", Value: []byte("2")})
	c.is("a create of what exists", done, false)
	c.is("operation at fault", resp.Errors[0].OpIndex, 1)
	p, _, err := c.kv.Get(c.prefix+"x", nil)
	c.ok(err)
	c.is("a refused transaction does nothing", p == nil, true)
	done, resp = txn(&api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: "none"}, &api.KVTxnOp{Verb: api.KVGet, Key: "a"})
	c.is("read-only", done, true)
	c.is("value", string(resp.Results[1].KV.Value), "1")
	done, _ = txn(&api.KVTxnOp{Verb: api.KVCheckNotExists, Key: "a"})
	c.is("check-not-exists of what exists", done, false)
	done, _ = txn(check(lock), &api.KVTxnOp{Verb: api.KVDelete, Key: "a"})
	c.is("delete", done, true)
}

func caseRestore(c *contest) {
	a := c.put("l/a", "old")
	restore := c.b.save(c)
	b := c.put("l/b", "1")
	newer := c.put("l/a", "new")
	p := c.parkList(newer, time.Minute)
	p.waits()
	restore(c)
	p.returns()
	c.ok(p.err)
	// The parked query is answered early from the state that is gone: nothing in it is new.
	c.is("index of the early answer", p.meta.LastIndex, newer)
	c.is("entries of the early answer", len(p.all), 2)
	all, meta := c.list("l/")
	c.is("entries", len(all), 1)
	c.is("the key's index went back", all[0].ModifyIndex, a)
	c.is("the list's index went back", meta.LastIndex < newer, true)
	c.is("the log goes on: the next write is newer than ever", c.put("l/c", "1") > b, true)
}

func caseRestart(c *contest) {
	a := c.put("l/a", "1")
	p := c.parkList(a, time.Minute)
	p.waits()
	c.b.restart(c)
	p.returns()
	c.is("a parked query ends in an error", p.err != nil, true)
	all, meta := c.list("l/")
	c.is("entries after a restart", len(all), 1)
	c.is("index after a restart", meta.LastIndex, a)
}

func caseWipe(c *contest) {
	for range 200 {
		c.put("l/a", time.Now().String())
	}
	a := c.get("l/a").ModifyIndex
	c.b.wipe(c)
	_, meta := c.list("l/")
	c.is("indexes start small again", meta.LastIndex < a, true)
	p := c.parkList(a, 300*time.Millisecond)
	c.put("l/b", "1")
	p.returns()
	c.is("a reader with the old index waits in vain, then sees a lower one", p.meta.LastIndex < a, true)
}

func pair(key, value, session string) *api.KVPair {
	return &api.KVPair{Key: key, Value: []byte(value), Session: session}
}
