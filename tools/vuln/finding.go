package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// finding is one vulnerability that the scanner saw, with the nearest proof that it matters.
type finding struct {
	ID      string
	Summary string
	Module  string
	Version string
	// Fixed is the version without it; empty when there is none.
	Fixed string
	// Called is the vulnerable function that the code reaches; empty when it is only imported or required.
	Called string
}

// message is the part of the scanner's JSON stream that matters here.
type message struct {
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV          string  `json:"osv"`
		FixedVersion string  `json:"fixed_version"`
		Trace        []frame `json:"trace"`
	} `json:"finding"`
}

// frame is a step from the vulnerable function, which comes first, to our code.
type frame struct {
	Module   string `json:"module"`
	Version  string `json:"version"`
	Package  string `json:"package"`
	Function string `json:"function"`
	Receiver string `json:"receiver"`
}

// parseFindings reads the report and keeps one finding for each vulnerability and module, a called one first.
func parseFindings(report io.Reader) ([]finding, error) {
	summaries := map[string]string{}
	found := map[string]finding{}
	for decoder := json.NewDecoder(report); ; {
		var m message
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("decode report: %w", err)
		}
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 {
			continue
		}
		at := m.Finding.Trace[0]
		f := finding{ID: m.Finding.OSV, Module: at.Module, Version: at.Version, Fixed: m.Finding.FixedVersion}
		if at.Function != "" {
			f.Called = strings.TrimPrefix(strings.Join([]string{at.Package, at.Receiver, at.Function}, "."), ".")
			f.Called = strings.ReplaceAll(f.Called, "..", ".")
		}
		key := f.ID + " " + f.Module
		if old, seen := found[key]; !seen || old.Called == "" {
			found[key] = f
		}
	}
	findings := make([]finding, 0, len(found))
	for _, key := range slices.Sorted(maps.Keys(found)) {
		f := found[key]
		f.Summary = summaries[f.ID]
		findings = append(findings, f)
	}
	return findings, nil
}

// parseAllow reads lines of "ID reason"; # starts a comment. An entry without a reason is an error.
func parseAllow(text string) (map[string]string, error) {
	allowed := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		id, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if id == "" {
			continue
		}
		if reason = strings.TrimSpace(reason); reason == "" {
			return nil, fmt.Errorf("line %d: %s has no reason", n, id)
		}
		allowed[id] = reason
	}
	return allowed, nil
}

// verdict is what to print, and how many findings are not to be accepted.
type verdict struct {
	text   string
	failed int
}

// stdlib is the scanner's name for the standard library, whose fixes come with a newer Go. An entry of that
// name in the allow file stands for all its findings.
const stdlib = "stdlib"

func orNone(version string) string {
	if version == "" {
		return "no version yet"
	}
	return version
}

// judge fails on called vulnerabilities that have a fix. What has none cannot be acted on here and is shown.
func judge(findings []finding, allowed map[string]string) verdict {
	var out strings.Builder
	v, called := verdict{}, 0
	used := map[string]bool{}
	for _, f := range findings {
		if f.Called == "" {
			continue
		}
		called++
		id := f.ID
		if _, named := allowed[id]; !named && f.Module == stdlib {
			id = stdlib
		}
		reason, accepted := allowed[id]
		used[id] = accepted
		where := fmt.Sprintf("%s %s %s: %s, called as %s", f.ID, f.Module, f.Version, f.Summary, f.Called)
		switch {
		case accepted:
			fmt.Fprintf(&out, "vuln: accepted (fixed in %s): %s: %s\n", orNone(f.Fixed), where, reason)
		case f.Fixed == "":
			fmt.Fprintf(&out, "vuln: no fix yet: %s\n", where)
		default:
			v.failed++
			fmt.Fprintf(&out, "vuln: FIX with %s: %s\n", f.Fixed, where)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(allowed)) {
		if !used[id] && id != stdlib {
			fmt.Fprintf(&out, "vuln: allow.txt names %s, which is not called any more: remove it\n", id)
		}
	}
	fmt.Fprintf(&out, "vuln: %d called, %d to fix, %d only imported or required\n", called, v.failed, len(findings)-called)
	v.text = out.String()
	return v
}
