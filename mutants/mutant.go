package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one patch and the test that must catch it.
type mutant struct {
	name   string
	file   string
	breaks string
	test   testRun
}

// testRun names tests: one package, a regular expression, and build tags where the test needs them.
type testRun struct {
	pkg, pattern, tags string
}

// String is the command a reader can type.
func (t testRun) String() string { return "go " + strings.Join(t.args(), " ") }

func (t testRun) args() []string {
	args := []string{"test", "-run", t.pattern}
	if t.tags != "" {
		args = append(args, "-tags", t.tags)
	}
	return append(args, t.pkg)
}

// loadMutants reads the patches of a folder, in order of name; with names, only those.
func loadMutants(dir string, names []string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, fmt.Errorf("find patches: %w", err)
	}
	slices.Sort(files)
	var mutants []mutant
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".patch")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read patch: %w", err)
		}
		m, err := parseMutant(string(text))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		m.name = name
		if m.file, err = filepath.Abs(file); err != nil {
			return nil, fmt.Errorf("find patch: %w", err)
		}
		mutants = append(mutants, m)
	}
	if len(mutants) == 0 {
		return nil, fmt.Errorf("find patches: none in %s that fits %v", dir, append([]string{"*.patch"}, names...))
	}
	return mutants, nil
}

// parseMutant reads the header, the lines before the diff.
func parseMutant(text string) (mutant, error) {
	var m mutant
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ": ")
		if !strings.HasPrefix(line, "# ") || !found {
			continue
		}
		switch key {
		case "breaks":
			m.breaks = value
		case "test":
			fields := strings.Fields(value)
			if len(fields) != 2 && len(fields) != 3 {
				return m, fmt.Errorf("header \"# test: %s\": want a package, a regular expression and, where needed, build tags", value)
			}
			m.test = testRun{pkg: "./" + strings.TrimPrefix(fields[0], "./"), pattern: fields[1]}
			if len(fields) == 3 {
				m.test.tags = fields[2]
			}
		}
	}
	if m.breaks == "" || m.test.pkg == "" {
		return m, fmt.Errorf("header: want a line \"# breaks: RULE\" and a line \"# test: PACKAGE REGEXP [TAGS]\"")
	}
	return m, nil
}
