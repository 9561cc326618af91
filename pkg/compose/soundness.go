package compose

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A file may expand to so many nodes through its aliases, and nest so deep. Without aliases, a file of the largest size
// stays below the first; no honest file comes near the second.
const (
	maxNodes = 200_000
	maxDepth = 60
)

// soundness walks a document as reading it would, through aliases and merges, and ends at the first thing that no part of
// this package could work with. It runs before all else: an alias inside of its own anchor would never end.
type soundness struct{ nodes int }

type unsound struct {
	line       int
	text, hint string
}

func (s *soundness) visit(n *yaml.Node, depth int) *unsound {
	if s.nodes++; s.nodes > maxNodes {
		return &unsound{n.Line, "aliases make this file too large", "write it out with fewer aliases"}
	}
	if depth > maxDepth {
		return &unsound{n.Line, "this is nested too deeply, or an alias stands inside of what it names", "write it out"}
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return &unsound{n.Line, fmt.Sprintf("the tag %s means nothing in one file", n.Tag), "merge the files beforehand with `brambled bundle`"}
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil {
			return &unsound{n.Line, fmt.Sprintf("the alias *%s names nothing", n.Value), "define it with &" + n.Value}
		}
		return s.visit(n.Alias, depth+1)
	}
	if n.Kind == yaml.MappingNode {
		if bad := keys(n); bad != nil {
			return bad
		}
	}
	for _, c := range n.Content {
		if bad := s.visit(c, depth+1); bad != nil {
			return bad
		}
	}
	return nil
}

// keys refuses a mapping that says one thing twice, and keys that are no text.
func keys(n *yaml.Node) *unsound {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			return &unsound{k.Line, "this key is no text", "write a name before the colon"}
		}
		if t := k.ShortTag(); t != "!!str" && t != "!!merge" {
			return &unsound{k.Line, fmt.Sprintf("the key `%s` is no text but %s", k.Value, strings.TrimPrefix(t, "!!")), "put it into quotes"}
		}
		if line, twice := first[k.Value]; twice {
			return &unsound{k.Line, fmt.Sprintf("the key `%s` is there already, at line %d", k.Value, line), "remove one of the two"}
		}
		first[k.Value] = k.Line
		if v := resolve(n.Content[i+1]); k.Tag == "!!merge" && !mergeable(v) {
			return &unsound{k.Line, "<< merges a mapping, or a list of them", "name an anchor of a mapping"}
		}
	}
	return nil
}

func mergeable(v *yaml.Node) bool {
	if v == nil || v.Kind == yaml.ScalarNode {
		return false
	}
	if v.Kind == yaml.SequenceNode {
		for _, c := range v.Content {
			if c = resolve(c); c == nil || c.Kind != yaml.MappingNode {
				return false
			}
		}
	}
	return true
}
