package lease

import (
	"context"
	"errors"
	"time"
)

// Key is the leader key, below the prefix of all keys.
const Key = "leader"

// Record is the leader key as one consistent read saw it.
type Record struct {
	Index   uint64 // the key's ModifyIndex; 0 when there is no such key
	Session string // that holds it, if any
	Value   []byte
	// Cursor is what the next Read waits on. It is never 0.
	Cursor uint64
}

// Sessions are what the lock is held with. A session has no health check; only its time to live ends it, and what it holds
// is released then.
type Sessions interface {
	// Open makes a session. The error is ErrTTL where the servers allow no such time to live.
	Open(ctx context.Context, name string, ttl, lockDelay time.Duration) (id string, err error)
	// Renew restarts the session's time to live and returns it, as the server has it. The error is ErrSessionGone where there
	// is no such session.
	Renew(ctx context.Context, id string) (ttl time.Duration, err error)
	// Close destroys a session; that it does not exist is no error. What it still holds is released, under a lock-delay.
	Close(ctx context.Context, id string) error
}

// Lock is the leader key.
type Lock interface {
	// Acquire writes the key and takes it for a session, if it is still as it was seen, and returns its new index. It takes a
	// key again that the session has. Not held and no error means that somebody has it, that it changed since it was seen, or
	// that a lock-delay runs. The error is ErrSessionGone where there is no such session.
	Acquire(ctx context.Context, session string, value []byte, seen Record) (index uint64, held bool, err error)
	// Rewrite changes the value while the session holds the key, else the error is ErrNotHeld.
	Rewrite(ctx context.Context, session string, value []byte) error
	// Release writes the key and gives it up, if the session holds it; that it does not is no error.
	Release(ctx context.Context, session string, value []byte) error
}

// Reader reads the leader key, consistently.
type Reader interface {
	// Read returns the key at once for cursor 0. With the cursor of a record it returns when the key may have changed since, or
	// after some seconds. Calls that wait are limited in their rate, and are not made concurrently.
	Read(ctx context.Context, cursor uint64) (Record, error)
}

// Store is one leader key with what it takes to hold it.
type Store interface {
	Sessions
	Lock
	Reader
}

// What callers of a Store branch on.
var (
	ErrTTL         = errors.New("the servers allow no such time to live of a session")
	ErrSessionGone = errors.New("the session does not exist")
	ErrNotHeld     = errors.New("the session does not hold the lock")
)
