// Command vuln runs govulncheck over the repository and judges what it finds.
//
// It fails when code that is really called has a known vulnerability with a fix available, unless allow.txt
// gives the reason why the fix cannot be taken. Called vulnerabilities without a fix are printed.
//
// The live vulnerability database is asked first. A machine that cannot reach it gets the database that a
// pinned version of the Go module golang.org/x/vulndb carries, and is told how old that is.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	repo := flag.String("repo", ".", "folder of the module to check")
	scanner := flag.String("govulncheck", "govulncheck", "path of govulncheck")
	allowFile := flag.String("allow", "allow.txt", "findings that are accepted, with their reasons")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	if err := run(*repo, *scanner, *allowFile, patterns); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(repo, scanner, allowFile string, patterns []string) error {
	text, err := os.ReadFile(allowFile)
	if err != nil {
		return fmt.Errorf("read allow file: %w", err)
	}
	allowed, err := parseAllow(string(text))
	if err != nil {
		return fmt.Errorf("read %s: %w", allowFile, err)
	}
	output, source, err := scanLiveOrPinned(repo, scanner, patterns)
	if err != nil {
		return err
	}
	findings, err := parseFindings(bytes.NewReader(output))
	if err != nil {
		return fmt.Errorf("read govulncheck's report: %w", err)
	}
	verdict := judge(findings, allowed)
	fmt.Printf("vuln: database: %s\n%s", source, verdict.text)
	if verdict.failed > 0 {
		return fmt.Errorf("%d called vulnerabilities have a fix: update the modules named above, or give the reason not to in tools/vuln/allow.txt", verdict.failed)
	}
	return nil
}

// errNoDatabase says that the scan could not even start for want of a database.
var errNoDatabase = errors.New("the vulnerability database is out of reach")

// scanLiveOrPinned returns govulncheck's report and the database that it rests on.
func scanLiveOrPinned(repo, scanner string, patterns []string) (output []byte, source string, err error) {
	output, err = scan(repo, scanner, nil, patterns)
	if err == nil {
		return output, "live", nil
	}
	if !errors.Is(err, errNoDatabase) {
		return nil, "", err
	}
	dir, err := pinnedDatabase()
	if err != nil {
		return nil, "", fmt.Errorf("lay out the pinned database: %w", err)
	}
	output, err = scan(repo, scanner, []string{"-db", "file://" + filepath.ToSlash(dir)}, patterns)
	return output, "pinned, of " + pinnedDate().Format("2006-01-02") + " (the live one is out of reach)", err
}

func scan(repo, scanner string, flags, patterns []string) ([]byte, error) {
	args := append([]string{"-C", repo, "-format", "json"}, flags...)
	cmd := exec.Command(scanner, append(args, patterns...)...)
	stdout, stderr := &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	// The scanner has no exit code for this case, only these words.
	case strings.Contains(stderr.String(), "fetching vulnerabilities"):
		return nil, fmt.Errorf("%w: %s", errNoDatabase, strings.TrimSpace(stderr.String()))
	default:
		return nil, fmt.Errorf("run govulncheck: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
}
