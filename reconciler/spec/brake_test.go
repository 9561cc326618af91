package spec_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/brambled/brambled/reconciler/spec"
)

func inventory(text string) spec.Inventory {
	inv := spec.Inventory{}
	for part := range strings.FieldsSeq(text) {
		stack, services, _ := strings.Cut(part, ":")
		inv[stack] = nil
		if services != "" {
			inv[stack] = strings.Split(services, ",")
		}
	}
	return inv
}

func TestBrake(t *testing.T) {
	for _, c := range []struct{ name, before, after, want string }{
		{"nothing changes", "a:x b:x", "a:x b:x", ""},
		{"the only stack is a command", "a:x,y,z", "", ""},
		{"one of two", "a:x b:x", "a:x", ""},
		{"both", "a:x b:x", "", "2 of 2 stacks [stack a stack b] keeps [a b]"},
		{"half is not more than half", "a:x b:x c:x d:x", "a:x b:x", ""},
		{"more than half", "a:x b:x c:x d:x", "d:x", "3 of 4 stacks [stack a stack b stack c] keeps [a b c]"},
		{"replaced by as many others", "a:x b:x", "c:x d:x", "2 of 2 stacks [stack a stack b] keeps [a b]"},
		{"the only service", "a:x", "a:y", ""},
		{"one of two services", "a:x,y", "a:x", ""},
		{"two of three services", "a:x,y,z", "a:x", "2 of 3 services of stack a [service a/y service a/z] keeps [a]"},
		{"all services", "a:x,y b:z", "a b:z", "2 of 2 services of stack a [service a/x service a/y] keeps [a]"},
		{"half of the services", "a:x,y,z,w", "a:x,y", ""},
		{"both kinds", "a:x,y b:x c:x d:x e:x", "a:z", "2 of 2 services of stack a [service a/x service a/y] keeps [a]; 4 of 5 stacks [stack b stack c stack d stack e] keeps [b c d e]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, b := range spec.Brake(inventory(c.before), inventory(c.after)) {
				got = append(got, fmt.Sprintf("%s %v keeps %v", b.Why, b.Removals, b.Stacks))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The id is that of the removals alone: a node that knows of other stacks, or lists services in another order, finds the
// same, and any other removal has another.
func TestBrakeID(t *testing.T) {
	id := func(before, after string) string {
		got := spec.Brake(inventory(before), inventory(after))
		if len(got) != 1 {
			t.Fatalf("%s to %s: %v", before, after, got)
		}
		return got[0].ID
	}
	if id("a:x b:y c:z", "c:z") != id("b:y,z a:q c:z", "c:q") {
		t.Error("the same removals have two ids")
	}
	if id("a:x b:y", "") == id("a:x c:y", "") {
		t.Error("two removals have one id")
	}
	if id("a:x,y", "a") == id("b:x,y", "b") {
		t.Error("services of two stacks have one id")
	}
}

// TestRule4Brake: whatever is not held is little, or nothing at all is left; and what is held would really go.
func TestRule4Brake(t *testing.T) {
	held, obeyed := 0, 0
	draw := func(t *rapid.T, label string) spec.Inventory {
		inv := spec.Inventory{}
		for _, stack := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 0, 5, rapid.ID).Draw(t, label) {
			inv[stack] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z", "w"}), 0, 4, rapid.ID).Draw(t, label+" "+stack)
		}
		return inv
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := draw(t, "before"), draw(t, "after")
		kept := maps.Clone(after) // what is in force while the brake holds
		for _, b := range spec.Brake(before, after) {
			held++
			for _, s := range b.Stacks {
				kept[s] = before[s]
			}
			for _, r := range b.Removals {
				kind, name, _ := strings.Cut(r, " ")
				stack, service, _ := strings.Cut(name, "/")
				_, stays := after[stack]
				if kind == "stack" && stays || kind == "service" && slices.Contains(after[stack], service) {
					t.Errorf("%s is held, and it is there", r)
				}
			}
		}
		gone := 0
		for stack, services := range before {
			now, stays := kept[stack]
			if !stays {
				gone++
				continue
			}
			lost := slices.DeleteFunc(slices.Clone(services), func(s string) bool { return slices.Contains(now, s) })
			if len(lost) > 1 && 2*len(lost) > len(services) {
				t.Errorf("%v of %v go from stack %s unasked", lost, services, stack)
			}
			obeyed += len(lost)
		}
		if gone > 1 && 2*gone > len(before) {
			t.Errorf("%d of %d stacks go unasked", gone, len(before))
		}
		obeyed += gone
	})
	if held == 0 || obeyed == 0 {
		t.Errorf("%d held, %d obeyed: the rule was not put to the test", held, obeyed)
	}
}
