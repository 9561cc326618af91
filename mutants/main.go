// Command mutants proves that the tests would notice if a safety rule were broken.
//
// Each *.patch of this folder breaks one rule on purpose and names the test that must then fail. The command
// applies each to a copy of the work tree, uncommitted changes included, and requires that failure. A mutant
// that survives is a rule which nothing protects. README.md describes the format.
//
//	go run ./mutants [-j 2] [-v] [NAME...]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	workers := flag.Int("j", 2, "how many mutants are tried at once")
	verbose := flag.Bool("v", false, "print the output of each test")
	flag.Parse()
	r := runner{root: ".", workers: *workers, names: flag.Args()}
	if *verbose {
		r.log = os.Stdout
	}
	results, err := r.run()
	if err == nil {
		err = report(os.Stdout, results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

var errSurvivors = errors.New("not every mutant was caught")

// report prints a table, the whole story of each mutant that was not caught, and a closing line.
func report(out io.Writer, results []result) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	caught := 0
	for _, r := range results {
		fmt.Fprintf(table, "%s\t%s\t%.1f s\t%s\n", r.mutant.name, r.outcome, r.took.Seconds(), r.mutant.breaks)
		if r.outcome == caughtByTest {
			caught++
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	for _, r := range results {
		if r.outcome != caughtByTest {
			fmt.Fprintf(out, "\n%s: %s\n  breaks: %s\n  test:   %v\n%s\n", r.mutant.name, r.outcome, r.mutant.breaks, r.mutant.test, indent(r.detail))
		}
	}
	fmt.Fprintf(out, "mutants: %d passed, %d failed\n", caught, len(results)-caught)
	if caught != len(results) {
		return errSurvivors
	}
	return nil
}

// indent shortens a test's output to its end, where the reason is.
func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-30):]
	return "    " + strings.Join(lines, "\n    ")
}

// copies is the folder of the copies. It is the same in each run, because Go's build cache knows a package by
// its folder: in a new one everything would be compiled again.
func copies(root string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("find work tree: %w", err)
	}
	return filepath.Join(cache, "brambled", "mutants", strings.ReplaceAll(strings.Trim(absolute, "/"), "/", "-")), nil
}
