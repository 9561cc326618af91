package consul_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/consul"
)

// The cases here run brambled's own parts as a whole against the server.

func (c *contest) client() *consul.Client {
	c.Helper()
	client, err := consul.New(consul.Config{Address: c.b.address, Prefix: c.prefix})
	c.ok(err)
	return client
}

func allowed() (bool, string) { return true, "" }

// watch runs a watcher until the case ends.
func (c *contest) watch(client *consul.Client) *consul.Watcher {
	w := consul.NewWatcher(client, consul.WatchOptions{}, zap.NewNop(), consul.NewMetrics(nil))
	var done sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	done.Go(func() { w.Run(ctx) })
	c.Cleanup(func() { stop(); done.Wait() })
	return w
}

// sees waits until the snapshot is sound and holds these stacks.
func (c *contest) sees(w *consul.Watcher, stacks ...string) {
	c.Helper()
	c.eventually("a sound snapshot with the stacks", func() bool {
		st := w.State()
		if st.Fault != nil || st.Snapshot == nil || len(st.Snapshot.Stacks) != len(stacks) {
			return false
		}
		for i, e := range st.Snapshot.Stacks {
			if e.Key != stacks[i] {
				return false
			}
		}
		return true
	})
}

func (c *contest) holds(w *consul.Watcher, cause consul.Cause) {
	c.Helper()
	c.eventually("a hold for "+string(cause), func() bool { f := w.State().Fault; return f != nil && f.Cause == cause })
}

func caseWatcher(c *contest) {
	client := c.client()
	c.put("stacks/web", "services: {}") // before there is a cluster
	w := c.watch(client)
	c.holds(w, consul.Unvouched)
	id, created, err := client.EnsureCluster(c.Context(), allowed)
	c.ok(err)
	c.is("created", created, true)
	c.sees(w, "web")
	c.is("cluster", w.State().Snapshot.Cluster, id)
	c.put("stacks/db", "services: {}")
	c.sees(w, "db", "web")
	restore := c.b.save(c)
	c.put("stacks/db", "newer")
	c.eventually("the change is seen", func() bool { return string(w.State().Snapshot.Stacks[0].Value) == "newer" })
	restore(c)
	c.holds(w, consul.Regressed)
	c.put("stacks/db", "newest")
	c.sees(w, "db", "web")
	c.b.restart(c)
	c.del("stacks/db")
	c.sees(w, "web")
	c.del("stacks/web")
	c.sees(w)
	c.put("stacks/web", "services: {}")
	c.sees(w, "web")
	c.b.wipe(c)
	c.holds(w, consul.Unvouched)
	c.is("the last sound snapshot stays", len(w.State().Snapshot.Stacks), 1)
}

func casePresence(c *contest) {
	client := c.client()
	me := consul.Presence{Node: "pi1", Address: "10.0.0.1", Serial: "1", Boot: "a", Instance: "x"}
	run := func(p consul.Presence) (*consul.Presenter, func()) {
		pr := consul.NewPresenter(client, p, consul.DefaultTTL, zap.NewNop())
		ctx, stop := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { pr.Run(ctx) })
		return pr, func() { stop(); done.Wait() }
	}
	first, stop := run(me)
	c.eventually("presence is held", func() bool { return first.Problem() == nil })
	twin := me
	twin.Serial, twin.Address = "2", "10.0.0.2"
	second, stopTwin := run(twin)
	c.eventually("the second of the name says so", func() bool { return errors.Is(second.Problem(), consul.ErrNameTaken) })
	stopTwin()
	first.SetCluster("3f9a1c2b")
	c.eventually("presence names the cluster", func() bool {
		all, err := client.Present(c.Context())
		return err == nil && len(all) == 1 && all[0].Cluster == "3f9a1c2b" && all[0].Address == me.Address
	})
	stop()
	all, err := client.Present(c.Context())
	c.ok(err)
	c.is("present after a clean stop", len(all), 0)

	// What a killed daemon leaves: its session is alive for seconds, and is taken over at once.
	left := c.session("delete", consul.DefaultTTL, 1000000)
	value := `{"node":"pi1","address":"10.0.0.1","serial":"1","boot_id":"a","instance":"x"}`
	ok, _, err := c.kv.Acquire(pair(c.prefix+"presence/pi1", value, left), nil)
	c.ok(err)
	c.is("acquire", ok, true)
	again, stop := run(me)
	defer stop()
	c.eventually("a dead predecessor is taken over", func() bool { return again.Problem() == nil })
	c.is("held by another session", c.get("presence/pi1").Session != left, true)
}

func caseClusterRace(c *contest) {
	var wg sync.WaitGroup
	ids := make([]string, 8)
	made := make([]bool, 8)
	errs := make([]error, 8)
	for i := range ids {
		client := c.client()
		wg.Go(func() { ids[i], made[i], errs[i] = client.EnsureCluster(c.Context(), allowed) })
	}
	wg.Wait()
	creators := 0
	for i := range ids {
		c.ok(errs[i])
		c.is("id", ids[i], ids[0])
		if made[i] {
			creators++
		}
	}
	c.is("creators", creators, 1)
}

// caseRenew shows that putting the same value again leaves a key's index alone, and what gives it a newer one.
func caseRenew(c *contest) {
	client := c.client()
	read := func() consul.Entry {
		e, there, err := client.Get(c.Context(), "vars/A")
		if c.ok(err); !there {
			c.Fatal("the key is gone")
		}
		return e
	}
	c.ok(client.Put(c.Context(), "vars/A", []byte("x")))
	was := read()
	c.ok(client.Put(c.Context(), "vars/A", []byte("x")))
	if now := read(); now.ModifyIndex != was.ModifyIndex {
		c.Errorf("a put of the same value: index %d, was %d", now.ModifyIndex, was.ModifyIndex)
	}
	c.ok(client.Renew(c.Context(), "vars/A", []byte("x"), was.ModifyIndex))
	if now := read(); now.ModifyIndex <= was.ModifyIndex || string(now.Value) != "x" {
		c.Errorf("renewed: %q at %d, was at %d", now.Value, now.ModifyIndex, was.ModifyIndex)
	}
	if err := client.Renew(c.Context(), "vars/A", []byte("y"), was.ModifyIndex); !errors.Is(err, consul.ErrConflict) {
		c.Errorf("renewed at an index of the past: %v", err)
	}
}

// caseWitness shows that a report vouches only for what is there at the very moment, and writes over no other.
func caseWitness(c *contest) {
	client := c.client()
	c.ok(client.Put(c.Context(), "stacks/web", []byte("x")))
	web, _, err := client.Get(c.Context(), "stacks/web")
	c.ok(err)
	write := func(at uint64) (uint64, error) {
		return client.PutWitness(c.Context(), "status/pi1", []byte(fmt.Sprint("report after ", at)), at, web)
	}
	first, err := write(0)
	c.ok(err)
	second, err := write(first)
	c.ok(err)
	if first <= web.ModifyIndex || second <= first {
		c.Errorf("the stack is at %d, its witnesses at %d and %d", web.ModifyIndex, first, second)
	}
	if _, err := write(first); !errors.Is(err, consul.ErrConflict) {
		c.Errorf("written over a report of somebody else: %v", err)
	}
	c.ok(client.Delete(c.Context(), "stacks/web"))
	if _, err := write(second); !errors.Is(err, consul.ErrConflict) {
		c.Errorf("vouched for what is gone: %v", err)
	}
	if e, _, err := client.Get(c.Context(), "status/pi1"); err != nil || e.ModifyIndex != second {
		c.Errorf("refused, and written all the same: %+v, %v", e, err)
	}
}

// caseDeletion shows by which index a list tells of a deletion, and that it does not when something was written since.
func caseDeletion(c *contest) {
	client := c.client()
	for _, key := range []string{"stacks/web", "stacks/db"} {
		c.ok(client.Put(c.Context(), key, []byte("x")))
	}
	newest := func() (index, key uint64) {
		l, err := client.List(c.Context(), consul.Stacks)
		c.ok(err)
		for _, e := range l.Entries {
			key = max(key, e.ModifyIndex)
		}
		return l.Index, key
	}
	index, key := newest()
	c.is("index of the list", index, key)
	c.ok(client.Delete(c.Context(), "stacks/db"))
	if deleted, _ := newest(); deleted <= index {
		c.Errorf("after a deletion the list is at %d, and was at %d", deleted, index)
	}
	c.ok(client.Put(c.Context(), "stacks/web", []byte("y")))
	index, key = newest()
	c.is("index of the list after a put", index, key)
}
