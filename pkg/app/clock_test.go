package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wall is what makes a decision depend on the date: a Pi boots with a wrong one, and steps later. Differences of two
// time.Now are monotonic and do not.
var wall = regexp.MustCompile(`\.Unix(Milli|Micro|Nano)?\(|time\.(Unix|UnixMilli|Parse|ParseInLocation|Date)\(|\.Round\(0\)|\.(UTC|Local|In|Truncate|ModTime|YearDay|Weekday)\(|SetToCurrentTime\(`)

// dated are the lines that may know the date, because nothing is decided by it.
var dated = map[string]string{
	"pkg/app/metrics.go":    "a metric for people",
	"pkg/consul/metrics.go": "a metric for people",
	"pkg/app/permit.go":     "since when a permit is held, for people",
	"pkg/app/votes.go":      "since when a permit is held, for people",
	"pkg/app/manifests.go":  "the stamp of a file, compared with itself only",
}

// Row 29 of the fault matrix: a clock that jumps by an hour or fifty years moves nothing, because nothing asks it.
func TestNothingIsDecidedByTheDate(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	for _, top := range []string{"pkg", "cmd", "reconciler"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if at := wall.FindIndex(text); at != nil {
				seen[name] = true
				if dated[name] == "" {
					t.Errorf("%s asks the date: %s; use a difference of two time.Now, or say here why nothing is decided by it", name, text[at[0]:at[1]])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range dated {
		if !seen[name] {
			t.Errorf("%s does not ask the date any more: take it out of the list", name)
		}
	}
}
