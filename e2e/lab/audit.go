package lab

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Term is one time as leader, as somebody outside learnt of it from the leader key.
type Term struct {
	// Number is the key's ModifyIndex at its acquisition: later terms have higher numbers.
	Number uint64
	// Node is the Pi that has the term.
	Node string
	// Seen is when the key was first seen with it. Consul gave the lock then or a moment before.
	Seen time.Time
}

// Call is one request that changes the Swarm, as it reached the engine of a Pi.
type Call struct {
	Time    time.Time
	Pi      string
	Request string
	// Status is the engine's answer; 0 while there is none.
	Status int
}

// TermOf is the term in which a call was made, the zero Term if its Pi had none that it could act in.
func TermOf(terms []Term, c Call, lag time.Duration) Term {
	terms = inOrder(terms)
	if i := termOf(terms, c, lag); i >= 0 {
		return terms[i]
	}
	return Term{}
}

// OneActs returns where a record shows two terms acting: a call by a Pi that has not the newest term that was acquired before,
// or by an older term after the first call of a newer one. Each call is given to the newest term that its Pi can have.
//
// The watch on the key is told a moment after the lock was given. So a call may come up to lag before its own term was seen: that
// cannot hide a call that is late, only one that is early.
func OneActs(terms []Term, calls []Call, lag time.Duration) error {
	terms = inOrder(terms)
	calls = slices.Clone(calls)
	slices.SortStableFunc(calls, func(a, b Call) int { return a.Time.Compare(b.Time) })
	var errs []error
	acting := -1 // index of the newest term that has made a call
	for _, c := range calls {
		i := termOf(terms, c, lag)
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("%s %s of %s: %s", c.Time.Format(clockTime), c.Request, c.Pi, newest(terms, c.Time)))
		case i < acting:
			errs = append(errs, fmt.Errorf("%s %s of %s in term %d: term %d has acted before",
				c.Time.Format(clockTime), c.Request, c.Pi, terms[i].Number, terms[acting].Number))
		default:
			acting = i
		}
	}
	return errors.Join(errs...)
}

const clockTime = "15:04:05.000"

// inOrder sorts terms by number. A term that a slow watch learnt of after its successor was there before it all the same.
func inOrder(terms []Term) []Term {
	terms = slices.Clone(terms)
	slices.SortFunc(terms, func(a, b Term) int { return cmp.Compare(a.Number, b.Number) })
	for i := len(terms) - 2; i >= 0; i-- {
		if next := terms[i+1].Seen; terms[i].Seen.After(next) {
			terms[i].Seen = next
		}
	}
	return terms
}

// termOf finds the term in which a call was made, -1 if its Pi had none that it could act in.
func termOf(terms []Term, c Call, lag time.Duration) int {
	now := seenBy(terms, c.Time)
	if now >= 0 && terms[now].Node == c.Pi {
		return now
	}
	if next := now + 1; next < len(terms) && terms[next].Node == c.Pi && !terms[next].Seen.After(c.Time.Add(lag)) {
		return next
	}
	return -1
}

// seenBy is the newest term that was seen by a moment, -1 if none was.
func seenBy(terms []Term, at time.Time) int {
	now := -1
	for i, t := range terms {
		if !t.Seen.After(at) {
			now = i
		}
	}
	return now
}

func newest(terms []Term, at time.Time) string {
	if i := seenBy(terms, at); i >= 0 {
		return fmt.Sprintf("the newest term is %d of %s, since %s", terms[i].Number, terms[i].Node, terms[i].Seen.Format(clockTime))
	}
	return "nobody had a term yet"
}
