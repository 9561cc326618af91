package compose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	Source  string // "brambled/stacks/web", "compose.yaml"
	Line    int    // 0 where there is none
	Service string // "" outside of a service
	Key     string // "services.app.build", as it is written
	Text    string // what is wrong
	Hint    string // what to do
}

// Error is the problem on one line: where, what, and what to do.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": " + p.Text)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is all that is wrong with a file, in the order of lines.
type Problems []Problem

// Error is one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted returns the problems in the order of the file, each once.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
	ps = slices.Compact(ps)
	if extra := len(ps) - maxProblems; extra > 0 {
		more := Problem{Source: ps[0].Source, Line: ps[maxProblems].Line, Text: fmt.Sprintf("and %d more problems", extra)}
		ps = append(ps[:maxProblems:maxProblems], more)
	}
	return ps
}

// err returns nil where there is no problem.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.sorted()
}
