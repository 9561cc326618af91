package plan

import (
	"cmp"
	"fmt"
	"strings"
)

// PermitKey names the service whose disruption needs a permit; all voters of the cluster share [Voters] besides.
type PermitKey struct{ Owner, Stack, Service string }

// Voters is the key of the permit that all voters share.
func Voters() PermitKey { return PermitKey{Service: ".voters"} }

// String names the service with its owner.
func (k PermitKey) String() string { return k.Owner + "/" + k.Name() }

// Name is the service as a person knows it: "web/app".
func (k PermitKey) Name() string { return strings.TrimPrefix(k.Stack+"/"+k.Service, "/") }

// ParsePermitKey reads what String wrote. An owner may have slashes in it, a stack and a service have none.
func ParsePermitKey(text string) PermitKey {
	rest, service := cutLast(text)
	owner, stack := cutLast(rest)
	return PermitKey{owner, stack, service}
}

func cutLast(text string) (before, after string) {
	i := strings.LastIndexByte(text, '/')
	return text[:max(i, 0)], text[i+1:]
}

// Compare orders keys: by owner, stack and service, the voters' after all others. Who needs several asks in this order, so
// that no two nodes ever wait for each other.
func (k PermitKey) Compare(other PermitKey) int {
	if a, b := k == Voters(), other == Voters(); a != b {
		return map[bool]int{true: 1, false: -1}[a]
	}
	return cmp.Or(cmp.Compare(k.Owner, other.Owner), cmp.Compare(k.Stack, other.Stack), cmp.Compare(k.Service, other.Service))
}

// PermitDo is what a statement says of a permit.
type PermitDo string

// The statements.
const (
	AskPermit     PermitDo = "ask"            // to disrupt the service on this node
	KeepPermit    PermitDo = "keep"           // the disruption is under way: nothing is written
	ReturnPermit  PermitDo = "give back"      // the service is well on this node, or not going to be disrupted
	FailPermit    PermitDo = "record failure" // and give the permit back
	ForgetFailure PermitDo = "forget failure" // of a version that is no longer desired
)

// Permit is a statement about one permit. Carrying it out is a check-and-set; what comes of it is observed.
type Permit struct {
	Do  PermitDo
	Key PermitKey
	// For is the version that is rolled out; of the voters' permit, the key of the service that needs it.
	For string
	// Limit is how many nodes may have the permit that is asked for; 0 is any number.
	Limit int
	Err   string // of a failure
}

// String is the statement as the plan shows it.
func (s Permit) String() string {
	text := fmt.Sprintf("permit for %s: %s (%s)", s.Key.Name(), s.Do, s.For)
	if s.Err != "" {
		text += ": " + s.Err
	}
	return text
}
