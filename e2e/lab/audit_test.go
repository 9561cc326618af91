package lab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/lab"
)

// The proof that never two terms act is worth what the judge of the record is worth: it must find each kind of overlap.
func TestOneActs(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	}
	term := func(number uint64, node string, ms int) lab.Term {
		return lab.Term{Number: number, Node: node, Seen: at(ms)}
	}
	call := func(ms int, pi string) lab.Call {
		return lab.Call{Time: at(ms), Pi: pi, Request: "POST /services/x/update"}
	}
	terms := []lab.Term{term(55, "pi2", 5000), term(20, "pi1", 1000), term(90, "pi1", 9000), term(95, "pi1", 9500)}
	sound := []lab.Call{
		call(9700, "pi1"), // not in order
		call(1200, "pi1"), call(4999, "pi1"), call(5001, "pi2"), call(5100, "pi2"), call(9001, "pi1"),
	}
	if err := lab.OneActs(terms, sound, 0); err != nil {
		t.Errorf("a sound record: %v", err)
	}
	if err := lab.OneActs(terms, nil, 0); err != nil {
		t.Errorf("an empty record: %v", err)
	}
	for _, forged := range []struct {
		name string
		call lab.Call
		want string
	}{
		{"the old term acts after the new one has acted", call(5050, "pi1"), "the newest term is 55 of pi2"},
		{"the old term acts before the new one does", call(5000, "pi1"), "the newest term is 55 of pi2"},
		{"a frozen leader is resumed and writes", call(9200, "pi2"), "the newest term is 90 of pi1"},
		{"a node acts that never led", call(6000, "pi3"), "the newest term is 55 of pi2"},
		{"a node acts before anybody leads", call(10, "pi1"), "nobody had a term yet"},
		{"the new term acts before it has the lock", call(4500, "pi2"), "the newest term is 20 of pi1"},
	} {
		t.Run(forged.name, func(t *testing.T) {
			t.Parallel()
			err := lab.OneActs(terms, append([]lab.Call{forged.call}, sound...), 0)
			if err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), forged.want) {
				t.Errorf("the judge says %v, want one line with %q", err, forged.want)
			}
		})
	}
	// What the watch is told late excuses an early call, and none of the old term after it.
	early := []lab.Call{call(4990, "pi2"), call(5001, "pi2")}
	if err := lab.OneActs(terms, early, 50*time.Millisecond); err != nil {
		t.Errorf("a call right before its term was seen: %v", err)
	}
	err := lab.OneActs(terms, append(early, call(4995, "pi1")), 50*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "in term 20: term 55 has acted before") {
		t.Errorf("the old term after the new one's early call: %v", err)
	}
	if err := lab.OneActs(terms, []lab.Call{call(4900, "pi2")}, 50*time.Millisecond); err == nil {
		t.Error("a call much earlier than its term passes")
	}
	// One watch learnt of term 20 only after another had told of term 55.
	late := []lab.Term{term(20, "pi1", 5200), term(55, "pi2", 5000)}
	if err := lab.OneActs(late, []lab.Call{call(5100, "pi2"), call(5300, "pi2")}, 0); err != nil {
		t.Errorf("a term that was learnt of late: %v", err)
	}
}
