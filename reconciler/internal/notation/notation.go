// Package notation reads the lines in which the tests of the planners write down desired and observed state: bare words
// and key=value fields, one object a line. What the words mean is said by the package that uses it (nodetest, swarmtest).
//
// It panics on what it cannot read: the text is a test's own.
package notation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Line is a parsed line: its bare words in order, and its fields.
type Line struct {
	Words  []string
	Fields map[string]string
}

// Parse reads a line. In the value of a field "_" is written for a blank, but for the fields whose values are names.
func Parse(text string, names ...string) Line {
	l := Line{Fields: map[string]string{}}
	for w := range strings.FieldsSeq(text) {
		k, v, ok := strings.Cut(w, "=")
		switch {
		case !ok:
			l.Words = append(l.Words, w)
		case slices.Contains(names, k):
			l.Fields[k] = v
		default:
			l.Fields[k] = strings.ReplaceAll(v, "_", " ")
		}
	}
	return l
}

// Lines yields the lines that say something.
func Lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		l, _, _ = strings.Cut(l, "#")
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// Has reports whether a bare word is in the line.
func (l Line) Has(word string) bool { return slices.Contains(l.Words, word) }

// List is a field's values, parted by commas; "-" is none.
func (l Line) List(key string) []string {
	if l.Fields[key] == "" || l.Fields[key] == "-" {
		return nil
	}
	return strings.Split(l.Fields[key], ",")
}

// Number is a field's value.
func (l Line) Number(key string, otherwise int) int {
	v, ok := l.Fields[key]
	if !ok {
		return otherwise
	}
	return Number(v)
}

// Duration is a field's value.
func (l Line) Duration(key string, otherwise time.Duration) time.Duration {
	v, ok := l.Fields[key]
	if !ok {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(fmt.Sprintf("%s=%s: %v", key, v, err))
	}
	return d
}

// Number reads a number.
func Number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("number %q: %v", s, err))
	}
	return n
}

// Hash is the hash that the notation gives to an image and revision; one with a schema ("2:app:1") is taken as it is.
func Hash(s string) string {
	if v, _, ok := strings.Cut(s, ":"); ok {
		if _, err := strconv.Atoi(v); err == nil {
			return s
		}
	}
	return "1:" + s
}

// Or is s, or another value where it is empty.
func Or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
