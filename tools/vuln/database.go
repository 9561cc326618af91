package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The module that carries the database. Its own dependencies are none of ours, so it is not in go.mod: it is
// downloaded as a module by the Go client and compared with this sum. To update: go list -m
// golang.org/x/vulndb@latest, then the Sum that `go mod download -json` prints.
const (
	pinnedModule = "golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018"
	pinnedSum    = "h1:mfngRv0Yoh0VApsXKEN82CjD99kl7mtparN3bs3JnqI="
)

// pinnedDate is when the pinned database was published: the middle of the module's version.
func pinnedDate() time.Time {
	parts := strings.Split(pinnedModule, "-")
	date, err := time.Parse("20060102150405", parts[len(parts)-2])
	if err != nil {
		return time.Time{}
	}
	return date
}

// pinnedDatabase lays the module's reports out as a database that govulncheck reads, once per version, and
// returns its folder.
func pinnedDatabase() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	_, version, _ := strings.Cut(pinnedModule, "@")
	dir := filepath.Join(cache, "brambled", "vulndb-"+version)
	if _, err := os.Stat(filepath.Join(dir, "index", "db.json")); err == nil {
		return dir, nil
	}
	module, err := download()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	// Laid out beside its place and renamed, so that a run that was cut off leaves nothing half done.
	part, err := os.MkdirTemp(filepath.Dir(dir), "vulndb-part-")
	if err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	err = layOut(filepath.Join(module, "data", "osv"), part, pinnedDate())
	if err == nil {
		err = os.Rename(part, dir)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	return dir, nil
}

// download gets the pinned module through the Go client and returns its folder.
func download() (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", pinnedModule).Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w: %s", pinnedModule, err, out)
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("download %s: %w", pinnedModule, err)
	}
	if module.Sum != pinnedSum {
		return "", fmt.Errorf("download %s: its sum is %s, want %s", pinnedModule, module.Sum, pinnedSum)
	}
	return module.Dir, nil
}

// The index files of the database, version 1.
type (
	indexDB struct {
		Modified time.Time `json:"modified"`
	}
	indexModule struct {
		Path  string      `json:"path"`
		Vulns []indexVuln `json:"vulns"`
	}
	indexVuln struct {
		ID       string    `json:"id"`
		Modified time.Time `json:"modified"`
		Aliases  []string  `json:"aliases,omitempty"`
	}
)

// report is the part of an OSV entry that the indexes are made of.
type report struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
	} `json:"affected"`
}

// layOut writes the database: the reports as they are, and the three indexes by which they are found. The
// optional "fixed" of the module index is left out: with it the scanner saves itself some reading, no more.
func layOut(reports, dir string, published time.Time) error {
	files, err := filepath.Glob(filepath.Join(reports, "*.json"))
	if err != nil {
		return fmt.Errorf("find reports: %w", err)
	}
	if len(files) == 0 {
		return fmt.Errorf("find reports: none in %s", reports)
	}
	for _, sub := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("make database folder: %w", err)
		}
	}
	byModule := map[string][]indexVuln{}
	var vulns []indexVuln
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read report: %w", err)
		}
		var r report
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("read report %s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ID", r.ID+".json"), data, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		vulns = append(vulns, indexVuln{ID: r.ID, Modified: r.Modified, Aliases: r.Aliases})
		for _, module := range modulesOf(r) {
			byModule[module] = append(byModule[module], indexVuln{ID: r.ID, Modified: r.Modified})
		}
	}
	modules := make([]indexModule, 0, len(byModule))
	for _, path := range slices.Sorted(maps.Keys(byModule)) {
		modules = append(modules, indexModule{Path: path, Vulns: byModule[path]})
	}
	return errors.Join(
		writeIndex(dir, "modules", modules),
		writeIndex(dir, "vulns", vulns),
		writeIndex(dir, "db", indexDB{Modified: published}),
	)
}

func modulesOf(r report) []string {
	names := map[string]bool{}
	for _, affected := range r.Affected {
		names[affected.Package.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func writeIndex(dir, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode index %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index", name+".json"), data, 0o644); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}
