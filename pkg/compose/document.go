package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest file Consul KV can hold (its kv_max_value_size), in bytes.
const MaxFile = 512 << 10

// document is a file as YAML nodes: what tells the lines of things, and which keys are there at all.
type document struct {
	source string
	root   *yaml.Node
	lines  map[string]int // "services.app.ports" → line
	// services are the definitions by name: looking each up from the top would take a square of their number.
	services map[string]*yaml.Node
}

// parse reads the bytes as one YAML document whose top is a mapping.
func parse(source string, file []byte) (*document, *Problem) {
	fault := func(line int, text, hint string) (*document, *Problem) {
		return nil, &Problem{Source: source, Line: line, Text: text, Hint: hint}
	}
	switch {
	case len(bytes.TrimSpace(file)) == 0:
		return fault(0, "the file is empty", "to remove a stack, delete its key: consul kv delete "+source)
	case len(file) > MaxFile:
		return fault(0, fmt.Sprintf("the file has %d bytes; Consul KV holds %d", len(file), MaxFile), "split the stack, or put large content into an image")
	case !utf8.Valid(file) || bytes.IndexByte(file, 0) >= 0:
		return fault(0, "this is not text", "put a Compose file: consul kv put "+source+" @compose.yaml")
	}
	dec := yaml.NewDecoder(bytes.NewReader(file))
	var node, more yaml.Node
	if err := dec.Decode(&node); err != nil {
		return fault(errorLine(err), "not valid YAML: "+plainYAML(err), "check the indentation around this line")
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fault(more.Line, "a second YAML document begins", "put one document into one file")
	}
	if len(node.Content) != 1 || node.Content[0].Kind != yaml.MappingNode {
		return fault(node.Line, "this is not a Compose file: its top is no mapping", "begin with a line `services:`")
	}
	d := &document{source: source, root: node.Content[0], lines: map[string]int{}, services: map[string]*yaml.Node{}}
	if err := (&soundness{}).visit(d.root, 0); err != nil {
		return fault(err.line, err.text, err.hint)
	}
	d.index(d.root, "")
	for _, svc := range entries(find(d.root, "services")) {
		d.services[svc.key] = resolve(svc.value)
	}
	return d, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func errorLine(err error) int {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

func plainYAML(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	if _, after, ok := strings.Cut(s, ": "); ok && strings.HasPrefix(s, "line ") {
		return after
	}
	return s
}

// entry is one key of a mapping with its value, aliases and merge keys resolved.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// entries lists a mapping's keys in order; keys that come through a merge (<<) are overridden by the mapping's own.
func entries(n *yaml.Node) []entry {
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var own, merged []entry
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Tag == "!!merge" {
			for _, m := range mergeSources(v) {
				merged = append(merged, entries(m)...)
			}
			continue
		}
		seen[k.Value] = true
		own = append(own, entry{k.Value, k.Line, v})
	}
	for _, e := range merged {
		if !seen[e.key] {
			seen[e.key] = true
			own = append(own, e)
		}
	}
	return own
}

// items lists a sequence.
func items(n *yaml.Node) []*yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

func mergeSources(n *yaml.Node) []*yaml.Node {
	n = resolve(n)
	if n != nil && n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode; i++ {
		if i > 100 {
			return nil
		}
		n = n.Alias
	}
	return n
}

// find returns the value below the keys, nil where there is none.
func find(n *yaml.Node, keys ...string) *yaml.Node {
	for _, k := range keys {
		var next *yaml.Node
		for _, e := range entries(n) {
			if e.key == k {
				next = resolve(e.value)
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}

// index notes the line of every key.
func (d *document) index(n *yaml.Node, path string) {
	n = resolve(n)
	if n == nil {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for _, e := range entries(n) {
			p := join(path, e.key)
			d.lines[p] = e.line
			d.index(e.value, p)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			p := fmt.Sprintf("%s[%d]", path, i)
			d.lines[p] = c.Line
			d.index(c, p)
		}
	default: // a scalar has no keys
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// line returns the line of a key, or of the nearest thing above it.
func (d *document) line(path string) int {
	for path != "" {
		if n, ok := d.lines[path]; ok {
			return n
		}
		if i := strings.LastIndexAny(path, ".["); i >= 0 {
			path = path[:i]
		} else {
			path = ""
		}
	}
	return 0
}

// problem makes a problem of a key of this file.
func (d *document) problem(path, text, hint string) Problem {
	service := ""
	if rest, ok := strings.CutPrefix(path, "services."); ok {
		service, _, _ = strings.Cut(rest, ".")
	}
	return Problem{Source: d.source, Line: d.line(path), Service: service, Key: path, Text: text, Hint: hint}
}

// scalars calls f for every scalar value with its path; keys are no values.
func (d *document) scalars(n *yaml.Node, path string, f func(path, value string, line int)) {
	n = resolve(n)
	if n == nil {
		return
	}
	switch n.Kind {
	case yaml.ScalarNode:
		f(path, n.Value, n.Line)
	case yaml.MappingNode:
		for _, e := range entries(n) {
			d.scalars(e.value, join(path, e.key), f)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			d.scalars(c, fmt.Sprintf("%s[%d]", path, i), f)
		}
	default: // aliases are resolved, and a document is none of its own values
	}
}
