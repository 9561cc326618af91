package leasetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/lease"
)

// Backend is a store the contract is run against.
type Backend struct {
	Store  lease.Store
	TTL    time.Duration     // the shortest it allows for a session
	Put    func(string)      // writes the key from outside
	Delete func()            // deletes it
	Live   func(string) bool // tells whether a session exists
}

// Contract is what every lease.Store must keep. Each case gets a store of its own, without the key.
func Contract(t *testing.T, fresh func(testing.TB) Backend) {
	for _, c := range []struct {
		name string
		run  func(*contest)
	}{
		{"missing key", caseMissing},
		{"time to live", caseTTL},
		{"acquire", caseAcquire},
		{"acquire again", caseAgain},
		{"acquire without a session", caseNoSession},
		{"rewrite", caseRewrite},
		{"release", caseRelease},
		{"lock-delay", caseLockDelay},
		{"expiry", caseExpiry},
		{"watch", caseWatch},
		{"watch of a missing key", caseWatchMissing},
		{"by hand", caseByHand},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c.run(&contest{T: t, Backend: fresh(t), ctx: ctx})
		})
	}
}

// contest is one case under way.
type contest struct {
	*testing.T
	Backend
	ctx context.Context
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

func (c *contest) fails(what string, got, want error) {
	c.Helper()
	if !errors.Is(got, want) {
		c.Errorf("%s = %v, want %v", what, got, want)
	}
}

// lasting is a time to live that no case outlasts.
const lasting = time.Minute

func (c *contest) open(ttl, lockDelay time.Duration) string {
	c.Helper()
	id, err := c.Store.Open(c.ctx, "contract", ttl, lockDelay)
	c.ok(err)
	c.Cleanup(func() { _ = c.Store.Close(context.Background(), id) })
	return id
}

func (c *contest) read() lease.Record {
	c.Helper()
	rec, err := c.Store.Read(c.ctx, 0)
	c.ok(err)
	if rec.Cursor == 0 {
		c.Fatal("a record has the cursor 0")
	}
	return rec
}

func (c *contest) acquire(session, value string, seen lease.Record) bool {
	c.Helper()
	index, held, err := c.Store.Acquire(c.ctx, session, []byte(value), seen)
	c.ok(err)
	if held {
		now := c.read()
		c.is("index of the acquired key", index, now.Index)
		c.is("its session", now.Session, session)
		c.is("its value", string(now.Value), value)
	}
	return held
}

// eventually asks again and again until a condition holds.
func (c *contest) eventually(what string, f func() bool) {
	c.Helper()
	for !f() {
		select {
		case <-c.ctx.Done():
			c.Fatalf("never: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func caseMissing(c *contest) {
	rec := c.read()
	c.is("index", rec.Index, uint64(0))
	c.is("session", rec.Session, "")
	one := c.open(lasting, time.Second)
	c.is("acquire what was seen otherwise", c.acquire(one, "a", lease.Record{Index: 7}), false)
	c.is("acquire", c.acquire(one, "a", rec), true)
	c.is("acquire as a missing key again", c.acquire(one, "b", rec), false)
	c.ok(c.Store.Release(c.ctx, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", nil))
	c.is("holder after a release by nobody", c.read().Session, one)
}

func caseTTL(c *contest) {
	_, err := c.Store.Open(c.ctx, "contract", c.TTL/2, time.Second)
	c.fails("a time to live that is too short", err, lease.ErrTTL)
	id := c.open(lasting, time.Second)
	ttl, err := c.Store.Renew(c.ctx, id)
	c.ok(err)
	c.is("time to live of a session", ttl, lasting)
	c.ok(c.Store.Close(c.ctx, id))
	_, err = c.Store.Renew(c.ctx, id)
	c.fails("renewing a closed session", err, lease.ErrSessionGone)
	c.is("it exists", c.Live(id), false)
	c.ok(c.Store.Close(c.ctx, id))
}

func caseAcquire(c *contest) {
	one, two := c.open(lasting, time.Second), c.open(lasting, time.Second)
	free := c.read()
	c.is("acquire", c.acquire(one, "a", free), true)
	held := c.read()
	c.is("acquire what another holds", c.acquire(two, "b", held), false)
	c.is("its value", string(c.read().Value), "a")
	c.is("its index", c.read().Index, held.Index)
}

func caseAgain(c *contest) {
	one := c.open(lasting, time.Second)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	first := c.read()
	c.is("acquire again with another value", c.acquire(one, "b", first), true)
	c.is("the index is higher", c.read().Index > first.Index, true)
	c.is("acquire again as it was", c.acquire(one, "c", first), false)
}

func caseNoSession(c *contest) {
	one := c.open(lasting, time.Second)
	c.ok(c.Store.Close(c.ctx, one))
	_, held, err := c.Store.Acquire(c.ctx, one, []byte("a"), c.read())
	c.fails("acquire without a session", err, lease.ErrSessionGone)
	c.is("held", held, false)
	c.is("index", c.read().Index, uint64(0))
}

func caseRewrite(c *contest) {
	one, two := c.open(lasting, time.Second), c.open(lasting, time.Second)
	c.fails("rewrite of a missing key", c.Store.Rewrite(c.ctx, one, []byte("a")), lease.ErrNotHeld)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	before := c.read()
	c.ok(c.Store.Rewrite(c.ctx, one, []byte("b")))
	c.is("value", string(c.read().Value), "b")
	c.is("holder", c.read().Session, one)
	c.is("the index is higher", c.read().Index > before.Index, true)
	c.fails("rewrite by another", c.Store.Rewrite(c.ctx, two, []byte("c")), lease.ErrNotHeld)
	c.is("value", string(c.read().Value), "b")
}

func caseRelease(c *contest) {
	one, two := c.open(lasting, 15*time.Second), c.open(lasting, time.Second)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	before := c.read()
	c.ok(c.Store.Release(c.ctx, two, []byte("x")))
	c.is("holder after a release by another", c.read().Session, one)
	c.ok(c.Store.Release(c.ctx, one, []byte("bye")))
	after := c.read()
	c.is("holder", after.Session, "")
	c.is("value", string(after.Value), "bye")
	c.is("the index is higher", after.Index > before.Index, true)
	c.fails("rewrite after the release", c.Store.Rewrite(c.ctx, one, []byte("x")), lease.ErrNotHeld)
	c.ok(c.Store.Close(c.ctx, one))
	c.is("no lock-delay after a release and its session's end", c.acquire(two, "b", c.read()), true)
}

func caseLockDelay(c *contest) {
	one, two := c.open(lasting, 2*time.Second), c.open(lasting, time.Second)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	c.ok(c.Store.Close(c.ctx, one))
	free := c.read()
	c.is("holder after the session's end", free.Session, "")
	c.is("value", string(free.Value), "a")
	c.is("acquire within the lock-delay", c.acquire(two, "b", free), false)
	c.is("index", c.read().Index, free.Index)
	c.eventually("the lock-delay ends", func() bool { return c.acquire(two, "b", free) })
}

func caseExpiry(c *contest) {
	one := c.open(c.TTL, time.Millisecond)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	before := c.read()
	c.eventually("the session expires", func() bool { return c.read().Session == "" })
	after := c.read()
	c.is("value", string(after.Value), "a")
	c.is("the index is higher", after.Index > before.Index, true)
	_, err := c.Store.Renew(c.ctx, one)
	c.fails("renewing an expired session", err, lease.ErrSessionGone)
	c.is("it exists", c.Live(one), false)
}

// watch is a read that waits.
func (c *contest) watch(cursor uint64) (done <-chan lease.Record) {
	out := make(chan lease.Record, 1)
	go func() {
		rec, err := c.Store.Read(c.ctx, cursor)
		if err != nil {
			c.Errorf("watch: %v", err)
		}
		out <- rec
	}()
	return out
}

func (c *contest) waits(done <-chan lease.Record) {
	c.Helper()
	select {
	case rec := <-done:
		c.Fatalf("a read that should wait returned %+v", rec)
	case <-time.After(500 * time.Millisecond):
	}
}

func (c *contest) returns(done <-chan lease.Record) lease.Record {
	c.Helper()
	select {
	case rec := <-done:
		return rec
	case <-time.After(10 * time.Second): // less than a watch waits
		c.Fatal("a read that should return still waits")
		return lease.Record{}
	}
}

func caseWatch(c *contest) {
	one := c.open(lasting, time.Millisecond)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	now := c.read()
	w := c.watch(now.Cursor)
	c.waits(w)
	c.ok(c.Store.Release(c.ctx, one, []byte("b")))
	rec := c.returns(w)
	c.is("holder", rec.Session, "")
	c.is("value", string(rec.Value), "b")
	c.is("an old cursor returns at once", c.returns(c.watch(now.Cursor)).Index, rec.Index)
	c.is("acquire", c.acquire(one, "c", rec), true)
	rec = c.returns(c.watch(rec.Cursor))
	w = c.watch(rec.Cursor)
	c.waits(w)
	c.ok(c.Store.Close(c.ctx, one))
	c.is("holder after the session's end", c.returns(w).Session, "")
	rec = c.read()
	w = c.watch(rec.Cursor)
	c.waits(w)
	c.Delete()
	c.is("index after a delete", c.returns(w).Index, uint64(0))
}

func caseWatchMissing(c *contest) {
	one := c.open(lasting, time.Millisecond)
	w := c.watch(c.read().Cursor)
	c.waits(w)
	c.is("acquire", c.acquire(one, "a", lease.Record{}), true)
	c.is("holder", c.returns(w).Session, one)
}

func caseByHand(c *contest) {
	one := c.open(lasting, time.Second)
	c.is("acquire", c.acquire(one, "a", c.read()), true)
	before := c.read()
	c.Put("junk")
	c.is("holder after a put", c.read().Session, one)
	c.is("the index is higher", c.read().Index > before.Index, true)
	c.Delete()
	c.is("index after a delete", c.read().Index, uint64(0))
	two := c.open(lasting, time.Second)
	c.is("no lock-delay after a delete", c.acquire(two, "b", c.read()), true)
	_, err := c.Store.Renew(c.ctx, one)
	c.ok(err)
}
