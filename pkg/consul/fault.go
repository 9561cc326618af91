package consul

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Cause is why an answer could not be had or not be trusted.
type Cause string

// The causes. The first group comes and goes with Consul's health; the second needs a person when it stays.
const (
	Unreachable Cause = "unreachable" // no connection, no answer in time, or an answer cut short
	NoLeader    Cause = "no-leader"   // the servers have no quorum, or the agent knows no server
	Overloaded  Cause = "overloaded"  // 429 or 503: rate limits
	Failing     Cause = "error"       // any other error, or an answer that is not Consul's

	Forbidden Cause = "forbidden"       // the token may not do this, or no longer exists
	Filtered  Cause = "filtered"        // the list lacks keys that the token may not read
	Unvouched Cause = "no-cluster-id"   // the list is not vouched for by a .cluster key
	Foreign   Cause = "foreign-cluster" // the list is vouched for by another cluster
	Regressed Cause = "index-regressed" // a key is older than it was: the store was restored or rebuilt
)

// causes are all of them, the ones that say most about what to do first: of several faults the first is shown.
var causes = []Cause{
	Foreign, Forbidden, Filtered, Unvouched, Regressed,
	NoLeader, Overloaded, Failing, Unreachable,
}

// Causes lists all causes.
func Causes() []Cause { return slices.Clone(causes) }

// hint says what to do about a cause that a request met.
func (c Cause) hint(address string) string {
	switch c {
	case Unreachable:
		return "is the Consul agent running at " + address + "? (consul.address, CONSUL_HTTP_ADDR)"
	case NoLeader:
		return "the Consul servers have no quorum: see `consul operator raft list-peers`"
	case Forbidden:
		return "give the token the rights of brambled's policy (consul.token, consul.token_file)"
	case Overloaded:
		return "see limits.request_limits and limits.http_max_conns_per_client of the Consul agents"
	case Failing, Filtered, Unvouched, Foreign, Regressed:
	}
	return ""
}

// Error is a request to Consul that failed.
type Error struct {
	Op      string // "list", "put"
	Subject string // the key, list or session, in full
	Address string
	Cause   Cause
	Err     error
}

// Error says what was asked, what came back, and what to do.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s in Consul: %s: %v", e.Op, e.Subject, e.Cause, e.Err)
	if h := e.Cause.hint(e.Address); h != "" {
		s += "; " + h
	}
	return s
}

// Unwrap returns what the request met.
func (e *Error) Unwrap() error { return e.Err }

// CauseOf returns the cause of an error of this package, and Failing for any other.
func CauseOf(err error) Cause {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Cause
	}
	return classify(err)
}

// classify tells the causes of a failed request apart. Consul's client library gives some of them as bare text.
func classify(err error) Cause {
	text := err.Error()
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	status, isStatus := errors.AsType[api.StatusError](err)
	switch {
	case has("No cluster leader", "No known Consul servers", "not the leader", "leadership lost", "leadership transfer"):
		return NoLeader
	case isStatus && (status.Code == 403 || status.Code == 401), has("Permission denied", "ACL not found", "response code: 403"):
		return Forbidden
	case isStatus && (status.Code == 429 || status.Code == 503), has("rate limit", "response code: 429", "response code: 503"):
		return Overloaded
	case isStatus, has("Unexpected response code", "Failed request"):
		return Failing
	case isBadAnswer(err):
		return Failing
	}
	return Unreachable
}

// errNotConsul is an answer without Consul's own headers: a proxy's error page, a captive portal.
var errNotConsul = errors.New("the answer lacks Consul's headers: something else answers at that address")

// errNoLeader is an answer that was given without a leader. A consistent read should never be.
var errNoLeader = errors.New("the answer names no leader: No cluster leader")

func isBadAnswer(err error) bool {
	if errors.Is(err, errNotConsul) {
		return true
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		return false
	}
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind
}

// Fault is why the desired state cannot be read soundly at the moment. It stays until the state is sound again.
type Fault struct {
	// ID names this very fault: the same cause with the same evidence has the same id, on every node and after a restart.
	ID    string
	Cause Cause
	List  string // "stacks/", "vars/" or "secrets/"
	// Detail says what was seen, and what to do.
	Detail string
	Since  time.Time
}

// String says the fault in one line.
func (f *Fault) String() string { return fmt.Sprintf("%s: %s: %s", f.Cause, f.List, f.Detail) }

// newFault derives the id from the evidence. Faults that come and go with Consul's health have none: they are the same
// fault whichever list met it first.
func newFault(cause Cause, list, evidence, detail string) *Fault {
	sum := sha256.Sum256([]byte(string(cause) + "\x00" + evidence))
	return &Fault{ID: hex.EncodeToString(sum[:6]), Cause: cause, List: list, Detail: detail}
}

func sameFault(a, b *Fault) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID
}
