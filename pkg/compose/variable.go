package compose

import "strings"

// varRef is one use of a variable in a value.
type varRef struct {
	name string
	// fallback is true where the expression stands in for a missing value.
	fallback bool
	// message is the text of ${NAME:?text}, and refused is true where that text has to be shown.
	message string
	refused bool
}

// tangled reports whether a value would keep Compose busy for minutes: its time to interpolate one grows with the square of
// the references in it, and faster with their depth.
func tangled(value string) bool {
	refs, depth := 0, 0
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '}' && depth > 0:
			depth--
		case value[i] == '{' && i > 0 && value[i-1] == '$':
			refs++
			depth++
		}
		if depth > 20 || refs > 1000 {
			return true
		}
	}
	return false
}

// lookup returns the value of a variable.
type lookup func(string) (string, bool)

// variables scans a value the way Compose interpolates it and calls use for each variable that is read. The operand of an
// operator is only scanned where it is used.
func variables(value string, look lookup, use func(varRef)) {
	for i := 0; i < len(value); {
		j := strings.IndexByte(value[i:], '$')
		if j < 0 || i+j+1 >= len(value) {
			return
		}
		i += j + 1
		switch c := value[i]; {
		case c == '$':
			i++ // an escaped dollar
		case c == '{':
			end := closing(value, i)
			if end < 0 {
				return // compose-go names the malformed expression
			}
			braced(value[i+1:end], look, use)
			i = end + 1
		case nameByte(c, true):
			k := i
			for k < len(value) && nameByte(value[k], false) {
				k++
			}
			use(varRef{name: value[i:k]})
			i = k
		}
	}
}

// braced handles what stands between ${ and }. A colon before the operator makes an empty value count as a missing one.
func braced(expr string, look lookup, use func(varRef)) {
	k := 0
	for k < len(expr) && nameByte(expr[k], k == 0) {
		k++
	}
	name, op := expr[:k], expr[k:]
	if name == "" {
		return
	}
	value, there := look(name)
	operator, empty := strings.CutPrefix(op, ":")
	there = there && !(empty && value == "")
	ref := varRef{name: name, fallback: op != ""}
	operand := ""
	if operator != "" {
		operand = operator[1:]
	}
	switch {
	case operator == "":
	case operator[0] == '?':
		ref.fallback, ref.message, ref.refused = false, operand, !there
	case operator[0] == '-' && !there, operator[0] == '+' && there:
		defer variables(operand, look, use)
	}
	use(ref)
}

// closing returns the index of the brace that closes the one at start.
func closing(s string, start int) int {
	depth := 0
	for i := start; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func nameByte(c byte, first bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || !first && c >= '0' && c <= '9'
}
