package harness

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// LongTest is a line in the table of the long tests.
type LongTest struct {
	// Note is a word on what was seen.
	Note string
}

// Long has a line about a test written to the table of the long tests when it ends, however it does. `make test-long` names
// the table's file by BRAMBLED_TEST_LONG; without it nothing is written. Seed is 0 for a test that throws no dice.
func Long(t testing.TB, rounds int, seed int64) *LongTest {
	t.Helper()
	began, l := time.Now(), &LongTest{}
	t.Cleanup(func() {
		path := os.Getenv("BRAMBLED_TEST_LONG")
		if path == "" {
			return
		}
		outcome := "passed"
		if t.Failed() {
			outcome = "FAILED"
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = fmt.Fprintf(f, "| %s | %d | %d | %s | %s | %s |\n", t.Name(), rounds, seed, time.Since(began).Round(time.Second), outcome, l.Note)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Errorf("write line of long test: %v", err)
		}
	})
	return l
}
