//go:build e2e && long

package lab_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

// attempt is a line of gisprobe.
type attempt struct {
	Kind   string
	Number int
	Begun  time.Time
	Ended  time.Time
	Err    string
}

// probe is a visitor on the LAN who asks for a map and inserts a row twice a second.
type probe struct {
	mapURL, database string
	binary           string
	lab              *lab.Lab

	mu   sync.Mutex
	seen []attempt
	stop func()
}

// buildProbe builds gisprobe, which is also the stand-in for GeoServer.
func buildProbe(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gisprobe")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./e2e/lab/gisprobe")
	cmd.Dir, cmd.Env = harness.Root(t), append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build gisprobe: %v\n%s", err, out)
	}
	return binary
}

// try runs a verb of gisprobe on the LAN.
func (p *probe) try(verb string, args ...string) (string, error) {
	out, err := p.lab.Visitor(append([]string{p.binary, verb}, args...)...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// watch begins; it ends with the test at the latest.
func (p *probe) watch(t *testing.T) {
	t.Helper()
	cmd := p.lab.Visitor(p.binary, "watch", p.mapURL, p.database)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start gisprobe: %v", err)
	}
	done := make(chan struct{})
	go func() { defer close(done); p.read(out) }()
	p.stop = sync.OnceFunc(func() {
		if err := cmd.Process.Signal(interrupt); err != nil {
			t.Errorf("stop gisprobe: %v", err)
		}
		<-done
		if err := cmd.Wait(); err != nil {
			t.Errorf("gisprobe: %v", err)
		}
	})
	t.Cleanup(p.stop)
}

func (p *probe) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a attempt
		if json.Unmarshal(lines.Bytes(), &a) == nil {
			p.mu.Lock()
			p.seen = append(p.seen, a)
			p.mu.Unlock()
		}
	}
}

// since are the attempts of a kind that ended after a moment.
func (p *probe) since(kind string, begin time.Time) (found []attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.seen {
		if a.Kind == kind && a.Ended.After(begin) {
			found = append(found, a)
		}
	}
	return found
}

// steady is how many of the last requests of a kind must have gone well before all counts as well again.
const steady = 6

// well reports whether both kinds of request go well again.
func (p *probe) well(begin time.Time) error {
	for _, kind := range []string{"map", "sql"} {
		all := p.since(kind, begin)
		if len(all) < steady {
			return fmt.Errorf("%d requests of %s so far", len(all), kind)
		}
		for _, a := range all[len(all)-steady:] {
			if a.Err != "" {
				return fmt.Errorf("%s: %s", kind, a.Err)
			}
		}
	}
	return nil
}

// account is a line of the table: how many requests of a kind failed since a moment, and the longest time between two that went well.
func (p *probe) account(kind string, begin time.Time) (failed int, gap time.Duration) {
	last := begin
	for _, a := range p.since(kind, begin) {
		if a.Err != "" {
			failed++
			continue
		}
		gap = max(gap, a.Ended.Sub(last))
		last = a.Ended
	}
	return failed, gap
}

// committed are the rows whose insertion was acknowledged.
func (p *probe) committed() (numbers []int) {
	for _, a := range p.since("sql", time.Time{}) {
		if a.Err == "" {
			numbers = append(numbers, a.Number)
		}
	}
	return numbers
}

// gaps collects the lines of the table.
type gaps struct {
	lines         []string
	maps, inserts time.Duration // the longest of all
}

func (g *gaps) add(what string, p *probe, begin time.Time) {
	mapFailed, mapGap := p.account("map", begin)
	sqlFailed, sqlGap := p.account("sql", begin)
	g.maps, g.inserts = max(g.maps, mapGap), max(g.inserts, sqlGap)
	g.lines = append(g.lines, fmt.Sprintf("| %s | %d | %.1f | %d | %.1f |", what, mapFailed, mapGap.Seconds(), sqlFailed, sqlGap.Seconds()))
}

func (g *gaps) String() string {
	return "| what happens | maps that failed | longest gap, s | inserts that failed | longest gap, s |\n|---|---|---|---|---|\n" + strings.Join(g.lines, "\n")
}
