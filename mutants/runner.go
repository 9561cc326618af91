package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outcome is what became of a mutant. Only caughtByTest is success.
type outcome string

const (
	caughtByTest   outcome = "caught"
	survived       outcome = "SURVIVED"
	doesNotApply   outcome = "DOES NOT APPLY"
	doesNotCompile outcome = "DOES NOT COMPILE"
	noTest         outcome = "RUNS NO TEST"
	brokenBefore   outcome = "TEST FAILS WITHOUT IT"
)

type result struct {
	mutant  mutant
	outcome outcome
	detail  string
	took    time.Duration
}

// runner tries the mutants of a work tree.
type runner struct {
	root    string
	workers int
	names   []string
	log     io.Writer
	// home is where the copies are made; the cache folder when empty.
	home string
}

func (r runner) run() ([]result, error) {
	mutants, err := loadMutants(filepath.Join(r.root, "mutants"), r.names)
	if err != nil {
		return nil, err
	}
	if r.home == "" {
		if r.home, err = copies(r.root); err != nil {
			return nil, err
		}
	}
	release, err := lock(r.home)
	if err != nil {
		return nil, err
	}
	defer release()
	files, err := workTree(r.root)
	if err != nil {
		return nil, err
	}
	worktrees := make(chan copied, r.workers)
	for i := range r.workers {
		c := copied{root: r.root, dir: filepath.Join(r.home, fmt.Sprintf("copy%d", i+1)), files: files}
		if err := c.make(); err != nil {
			return nil, err
		}
		worktrees <- c
	}
	sound := r.baselines(mutants, worktrees)
	return r.tryAll(mutants, sound, worktrees), nil
}

// lock keeps two runs from sharing the copies.
func lock(home string) (release func(), err error) {
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, fmt.Errorf("make folder for copies: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(home, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: another run works on it: %w", home, err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing releases the lock
}

// each does work for the numbers below n, as many at once as there are copies.
func each(n int, worktrees chan copied, work func(i int, c copied)) {
	var group sync.WaitGroup
	for i := range n {
		c := <-worktrees
		group.Go(func() {
			work(i, c)
			worktrees <- c
		})
	}
	group.Wait()
}

// baselines runs each distinct test without a mutant: one that fails anyway, or runs nothing, proves nothing.
func (r runner) baselines(mutants []mutant, worktrees chan copied) map[testRun]result {
	var tests []testRun
	sound := map[testRun]result{}
	for _, m := range mutants {
		if _, seen := sound[m.test]; !seen {
			sound[m.test] = result{}
			tests = append(tests, m.test)
		}
	}
	var mu sync.Mutex
	each(len(tests), worktrees, func(i int, c copied) {
		verdict, output := r.test(c.dir, tests[i])
		after := result{outcome: survived, detail: output}
		if verdict != survived {
			after.outcome = brokenBefore
		}
		if verdict == noTest {
			after.outcome = noTest
		}
		mu.Lock()
		defer mu.Unlock()
		sound[tests[i]] = after
	})
	return sound
}

func (r runner) tryAll(mutants []mutant, sound map[testRun]result, worktrees chan copied) []result {
	results := make([]result, len(mutants))
	each(len(mutants), worktrees, func(i int, c copied) {
		m, began := mutants[i], time.Now()
		results[i] = sound[m.test]
		if results[i].outcome == survived {
			results[i] = r.try(c, m)
		}
		results[i].mutant, results[i].took = m, time.Since(began)
	})
	return results
}

// try applies one mutant to a copy, runs its test there and puts the copy right again.
func (r runner) try(c copied, m mutant) (after result) {
	defer func() {
		if err := c.make(); err != nil {
			after = result{outcome: doesNotApply, detail: fmt.Sprintf("restore the copy: %v", err)}
		}
	}()
	apply := exec.Command("git", "apply", "--recount", m.file)
	apply.Dir = c.dir
	// Without the ceiling git would find a repository around the cache folder, if there is one, and then
	// silently skip files outside of it.
	apply.Env = append(without(os.Environ(), "GIT_DIR"), "GIT_CEILING_DIRECTORIES="+filepath.Dir(c.dir))
	if out, err := apply.CombinedOutput(); err != nil {
		return result{outcome: doesNotApply, detail: string(out)}
	}
	verdict, output := r.test(c.dir, m.test, patience)
	return result{outcome: verdict, detail: output}
}

func without(env []string, name string) []string {
	var kept []string
	for _, entry := range env {
		if !strings.HasPrefix(entry, name+"=") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// limit ends a test that a mutant has made to wait for ever. That too is a test that fails.
const limit = 5 * time.Minute

// patience is what a test that waits for something is told of a mutant: most wait in vain, and half a minute of each is long.
const patience = "BRAMBLED_PATIENCE=10s"

// test runs tests in a copy. A test that fails has caught the mutant; one that passes has let it live.
func (r runner) test(dir string, t testRun, env ...string) (outcome, string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit+time.Minute)
	defer cancel()
	args := t.args()
	args = append([]string{args[0], "-v", "-count=1", "-vet=off", "-timeout", limit.String()}, args[1:]...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// A binary that was built beforehand holds no mutant.
	cmd.Env = append(without(os.Environ(), "BRAMBLED_TEST_BINARY"), env...)
	output := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	text := output.String()
	if r.log != nil {
		fmt.Fprintf(r.log, "%s: %v: %v\n%s\n", dir, t, err, text)
	}
	switch {
	case strings.Contains(text, "[build failed]") || strings.Contains(text, "[setup failed]"):
		return doesNotCompile, text
	case err == nil && !strings.Contains(text, "--- PASS: "):
		return noTest, text
	case err == nil:
		return survived, text
	case strings.Contains(text, "--- FAIL: ") || strings.Contains(text, "panic: ") || strings.Contains(text, "fatal error: "):
		return caughtByTest, text
	default:
		return doesNotCompile, text
	}
}
