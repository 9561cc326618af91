package spec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Inventory is what the desired state names, on all nodes together: the services of each stack. A stack whose newest file
// cannot be read is in it with the services of its last readable one.
type Inventory map[string][]string

// Braked is a deletion that is large enough to be a mistake.
type Braked struct {
	// ID is the hash of the sorted removals: every node finds the same, and an approval of it lets exactly these pass.
	ID string
	// Removals are what would go, sorted: "stack web", "service web/app".
	Removals []string
	// Stacks are those of which the former file stays in force, sorted.
	Stacks []string
	// Why says which limit was met: "2 of 3 stacks".
	Why string
}

// Brake finds in the step from one inventory to another the deletions that need a person's word (safety rule 4): several
// stacks gone at once that are more than half of all, and of one stack several services that are more than half. Less is a
// command and obeyed, the deletion of the only stack too. The result is sorted by its first removal.
func Brake(before, after Inventory) []Braked {
	var out []Braked
	var gone []string
	for stack := range before {
		if _, stays := after[stack]; !stays {
			gone = append(gone, stack)
		}
	}
	slices.Sort(gone)
	if tooMany(len(gone), len(before)) {
		out = append(out, braked("stacks", len(before), gone, gone, "stack "))
	}
	for stack, services := range before {
		now, stays := after[stack]
		if !stays {
			continue
		}
		lost := slices.DeleteFunc(slices.Sorted(slices.Values(services)), func(s string) bool { return slices.Contains(now, s) })
		if tooMany(len(lost), len(services)) {
			out = append(out, braked("services of stack "+stack, len(services), lost, []string{stack}, "service "+stack+"/"))
		}
	}
	slices.SortFunc(out, func(a, b Braked) int { return cmp.Compare(a.Removals[0], b.Removals[0]) })
	return out
}

// tooMany reports whether so many of all are several and more than half.
func tooMany(gone, all int) bool { return gone > 1 && 2*gone > all }

func braked(what string, all int, gone, stacks []string, prefix string) Braked {
	b := Braked{Stacks: stacks, Why: fmt.Sprintf("%d of %d %s", len(gone), all, what)}
	for _, name := range gone {
		b.Removals = append(b.Removals, prefix+name)
	}
	b.ID = HoldID(b.Removals...)
	return b
}

// HoldID names a hold by its evidence: the same on every node and after every restart.
func HoldID(evidence ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(evidence, "\n")))
	return hex.EncodeToString(sum[:6])
}
