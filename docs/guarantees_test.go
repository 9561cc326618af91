// Package docs_test keeps what the documentation says of the code true.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	named   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	defined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
)

// A guarantee whose test was renamed or removed is a guarantee no more.
func TestEveryTestNamedExists(t *testing.T) {
	page, err := os.ReadFile("guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range defined.FindAllStringSubmatch(string(text), -1) {
			have[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list := named.FindAllStringSubmatch(string(page), -1)
	if len(list) < 20 {
		t.Errorf("the page names %d tests only", len(list))
	}
	for _, m := range list {
		if !have[m[1]] {
			t.Errorf("guarantees.md names %s, and there is no such test", m[1])
		}
	}
}
