package compose

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// index makes the table searchable.
func index(rows []Row) map[string]Row {
	m := make(map[string]Row, len(rows))
	for _, r := range rows {
		m[r.Path] = r
	}
	return m
}

// refuse finds every key that the table refuses or does not know. swarm says which services are Swarm services, uses which
// kinds of services use the rest.
func (d *document) refuse(swarm map[string]bool, uses map[string]users) Problems {
	c := &keyCheck{d: d, rows: index(append(Rows(), topRows...))}
	for _, e := range entries(d.root) {
		if strings.HasPrefix(e.key, "x-") {
			continue
		}
		row, known := c.rows[e.key]
		switch {
		case !known:
			c.unknown(e.key, e.key, "")
			continue
		case row.Container == Refused:
			c.add(e.key, "this key cannot be applied", row.Hint)
			continue
		}
		kind := map[string]string{"services": "service", "networks": "network", "volumes": "volume", "configs": "config", "secrets": "secret"}[e.key]
		if kind == "" {
			continue
		}
		for _, item := range entries(e.value) {
			if strings.HasPrefix(item.key, "x-") {
				continue
			}
			c.by = uses[join(e.key, item.key)]
			if kind == "service" {
				c.by = users{swarm: swarm[item.key], containers: !swarm[item.key]}
			}
			c.walk(item.value, kind, join(e.key, item.key))
		}
	}
	return c.found
}

type keyCheck struct {
	d     *document
	rows  map[string]Row
	by    users // of the element that is walked
	found Problems
}

// maxProblems is how many problems of one file are told: who made so many made one mistake.
const maxProblems = 100

func (c *keyCheck) add(path, text, hint string) {
	if len(c.found) > maxProblems {
		return
	}
	c.found = append(c.found, c.d.problem(path, text, hint))
}

// walk checks the keys of one mapping; kind is its place in the table, path its place in the file.
func (c *keyCheck) walk(n *yaml.Node, kind, path string) {
	n = resolve(n)
	if n == nil {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			if r := resolve(item); r != nil && r.Kind == yaml.MappingNode {
				c.walk(r, kind+"[]", fmt.Sprintf("%s[%d]", path, i))
			}
		}
		return
	}
	for _, e := range entries(n) {
		switch {
		case e.key == extension && kind != "service":
			c.add(join(path, e.key), "x-brambled does nothing here", "put it at the top of the file or into a service")
		case !strings.HasPrefix(e.key, "x-"):
			c.key(e, kind, join(path, e.key))
		}
	}
}

func (c *keyCheck) key(e entry, kind, path string) {
	row, known := c.rows[kind+"."+e.key]
	if !known {
		if c.named(kind) {
			c.walk(e.value, kind+".*", path)
			return
		}
		c.unknown(e.key, path, kind+".")
		return
	}
	switch {
	case c.by.swarm && row.Swarm == Refused:
		c.add(path, fmt.Sprintf("`%s` cannot be applied to a Swarm service", e.key), row.Hint)
	case c.by.containers && row.Container == Refused:
		c.add(path, fmt.Sprintf("`%s` cannot be applied", e.key), row.Hint)
	case !row.Deep:
		c.walk(e.value, row.Path, path)
	}
}

// named reports whether any name may stand below a key ("service.networks.*").
func (c *keyCheck) named(kind string) bool {
	for path := range c.rows {
		if strings.HasPrefix(path, kind+".*.") {
			return true
		}
	}
	return false
}

// unknown names the nearest known key.
func (c *keyCheck) unknown(key, path, prefix string) {
	if len(c.found) > maxProblems {
		return
	}
	hint := "remove it; comments begin with #, own keys with x-"
	var known []string
	for p := range c.rows {
		if rest, ok := strings.CutPrefix(p, prefix); ok && !strings.ContainsAny(rest, ".[") {
			known = append(known, rest)
		}
	}
	if near := nearest(key, known); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	c.add(path, fmt.Sprintf("unknown key `%s`", key), hint)
}

// nearest returns the candidate that is at most two edits away, "" when none is.
func nearest(word string, candidates []string) string {
	slices.Sort(candidates)
	best, at := "", 3
	for _, c := range candidates {
		if len(word) > len(c)+2 || len(c) > len(word)+2 {
			continue
		}
		if n := distance(word, c); n < at {
			best, at = c, n
		}
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
