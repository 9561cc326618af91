package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// file is the settings file as it was read.
type file struct {
	path   string
	values *viper.Viper
	labels map[string]string // apart from the rest, because viper makes keys lower-case
	lines  map[string]int    // of each key that is set
}

// readFile reads the file. One that was not named may be missing. Keys it does not know are errors; the others count.
func readFile(path string) (*file, []error) {
	f := &file{path: path, values: viper.New(), lines: map[string]int{}}
	if f.path == "" {
		f.path = DefaultFile
	}
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) && path == "" {
		return f, nil
	}
	if err != nil {
		return f, []error{fmt.Errorf("read settings: %w", err)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return f, []error{fmt.Errorf("%s: not valid YAML: %w", f.path, err)}
	}
	if len(doc.Content) == 0 {
		return f, nil // empty, or comments alone
	}
	errs := f.scan(doc.Content[0], "")
	f.values.SetConfigType("yaml")
	if err := f.values.ReadConfig(bytes.NewReader(content)); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", f.path, err))
	}
	return f, errs
}

// scan notes the line of each key and refuses those that are unknown.
func (f *file) scan(n *yaml.Node, prefix string) []error {
	if n.Kind != yaml.MappingNode {
		if n.Tag == "!!null" {
			return nil // a section of which all keys are commented out
		}
		return []error{fmt.Errorf("%s: expected key: value lines%s", place(f.path, n.Line), below(prefix))}
	}
	var errs []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := prefix+n.Content[i].Value, n.Content[i+1]
		switch {
		case slices.Contains(names(keys()), name):
			if value.Tag == "!!null" {
				continue // `key:` with nothing behind it is not set
			}
			f.lines[name] = n.Content[i].Line
			if name == "labels" {
				errs = append(errs, f.readLabels(value)...)
			}
		case prefix == "" && slices.Contains(sections(), name):
			errs = append(errs, f.scan(value, name+".")...)
		default:
			errs = append(errs, fmt.Errorf("%s: unknown key %s%s", place(f.path, n.Content[i].Line), name, hint(name)))
		}
	}
	return errs
}

func below(prefix string) string {
	if prefix == "" {
		return ""
	}
	return " below " + strings.TrimSuffix(prefix, ".")
}

func hint(name string) string {
	known := names(keys())
	if like := nearest(name, append(known, sections()...)); like != "" {
		return "; did you mean " + like + "?"
	}
	return "; the keys are " + strings.Join(known, ", ")
}

func (f *file) readLabels(n *yaml.Node) []error {
	if err := n.Decode(&f.labels); err != nil {
		delete(f.lines, "labels")
		return []error{fmt.Errorf("labels: the value (%s) are no labels; write name: value lines below it", place(f.path, n.Line))}
	}
	return nil
}
