package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sampleReport = `
{"config": {"scanner_name": "govulncheck"}}
{"osv": {"id": "GO-2026-0001", "summary": "called and fixed"}}
{"osv": {"id": "GO-2026-0002", "summary": "called, no fix"}}
{"osv": {"id": "GO-2026-0004", "summary": "in Go itself"}}
{"osv": {"id": "GO-2026-0003", "summary": "only imported"}}
{"finding": {"osv": "GO-2026-0001", "fixed_version": "v1.2.3", "trace": [{"module": "example.org/a", "version": "v1.2.2"}]}}
{"finding": {"osv": "GO-2026-0001", "fixed_version": "v1.2.3", "trace": [{"module": "example.org/a", "version": "v1.2.2", "package": "example.org/a/b", "function": "Do", "receiver": "*T"}]}}
{"finding": {"osv": "GO-2026-0002", "trace": [{"module": "example.org/c", "version": "v0.1.0", "package": "example.org/c", "function": "Run"}]}}
{"finding": {"osv": "GO-2026-0003", "fixed_version": "v9.0.0", "trace": [{"module": "example.org/d", "version": "v8.0.0", "package": "example.org/d"}]}}
{"finding": {"osv": "GO-2026-0004", "fixed_version": "v1.26.9", "trace": [{"module": "stdlib", "version": "v1.26.8", "package": "net/http", "function": "Get"}]}}
`

func TestOnlyCalledVulnerabilitiesWithAFixFail(t *testing.T) {
	findings, err := parseFindings(strings.NewReader(sampleReport))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, allow string
		failed      int
		want        []string
	}{
		{"nothing allowed", "", 2, []string{"FIX with v1.2.3: GO-2026-0001", "example.org/a/b.*T.Do", "no fix yet: GO-2026-0002", "3 called, 2 to fix, 1 only"}},
		{"allowed with a reason", "GO-2026-0001 needs a newer Go # see go.mod\nstdlib comes with Go", 0, []string{"accepted (fixed in v1.2.3): GO-2026-0001", "needs a newer Go", "3 called, 0 to fix"}},
		{"Go itself allowed", "stdlib comes with Go", 1, []string{"FIX with v1.2.3: GO-2026-0001", "accepted (fixed in v1.26.9): GO-2026-0004"}},
		{"allowed in vain", "GO-2026-0003 was called once", 2, []string{"GO-2026-0003, which is not called any more"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			allowed, err := parseAllow(tc.allow)
			if err != nil {
				t.Fatal(err)
			}
			got := judge(findings, allowed)
			if got.failed != tc.failed {
				t.Errorf("%d findings fail, want %d", got.failed, tc.failed)
			}
			for _, want := range tc.want {
				if !strings.Contains(got.text, want) {
					t.Errorf("verdict lacks %q:\n%s", want, got.text)
				}
			}
		})
	}
}

func TestAnAllowedFindingNeedsAReason(t *testing.T) {
	_, err := parseAllow("# comment\n\nGO-2026-0001 # why?\n")
	if err == nil || !strings.Contains(err.Error(), "line 3: GO-2026-0001 has no reason") {
		t.Errorf("error is %v, want line 3: GO-2026-0001 has no reason", err)
	}
}

func TestTheDatabaseIsIndexedByModule(t *testing.T) {
	reports, dir := t.TempDir(), t.TempDir()
	entry := `{"id": "GO-2026-0001", "modified": "2026-01-02T03:04:05Z", "aliases": ["CVE-2026-1"],
		"affected": [{"package": {"name": "example.org/a"}}, {"package": {"name": "example.org/a"}}, {"package": {"name": "stdlib"}}]}`
	if err := os.WriteFile(filepath.Join(reports, "GO-2026-0001.json"), []byte(entry), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := layOut(reports, dir, time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"index/db.json":        `{"modified":"2026-01-03T00:00:00Z"}`,
		"index/modules.json":   `[{"path":"example.org/a","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z"}]},{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z"}]}]`,
		"index/vulns.json":     `[{"id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z","aliases":["CVE-2026-1"]}]`,
		"ID/GO-2026-0001.json": entry,
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is\n%s\nwant\n%s", file, got, want)
		}
		if !json.Valid(got) {
			t.Errorf("%s is not JSON", file)
		}
	}
	if err := layOut(t.TempDir(), t.TempDir(), time.Time{}); err == nil {
		t.Error("a database without reports is no error")
	}
}

func TestThePinnedDateIsInTheVersion(t *testing.T) {
	if pinnedDate().Year() < 2026 {
		t.Errorf("date of %s is %v", pinnedModule, pinnedDate())
	}
}
