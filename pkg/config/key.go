package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// key is one setting.
type key struct {
	name string // "consul.token_file"
	help string
	kind reflect.Type
}

// keys are all settings, in the order of the struct they are read from.
func keys() []key { return keysOf(reflect.TypeFor[Config](), "") }

func keysOf(t reflect.Type, prefix string) []key {
	var out []key
	for f := range t.Fields() {
		name := prefix + f.Tag.Get("mapstructure")
		switch {
		case f.Tag.Get("mapstructure") == "-": // found out, not set
		case f.Type.Kind() == reflect.Struct:
			out = append(out, keysOf(f.Type, name+".")...)
		default:
			out = append(out, key{name, f.Tag.Get("help"), f.Type})
		}
	}
	return out
}

// flag is the key as a flag: consul.token_file is --consul-token-file.
func (k key) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.name) }

// env is the key as a variable of brambled's own: BRAMBLED_CONSUL_TOKEN_FILE.
func (k key) env() string { return "BRAMBLED_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_")) }

// tool is the variable that Consul's or Docker's own tools read, "" where there is none.
func (k key) tool() string {
	switch k.name {
	case "consul.address":
		return "CONSUL_HTTP_ADDR"
	case "consul.token":
		return "CONSUL_HTTP_TOKEN"
	case "consul.token_file":
		return "CONSUL_HTTP_TOKEN_FILE"
	case "consul.ca_file":
		return "CONSUL_CACERT"
	case "consul.cert_file":
		return "CONSUL_CLIENT_CERT"
	case "consul.key_file":
		return "CONSUL_CLIENT_KEY"
	case "docker.host":
		return "DOCKER_HOST"
	}
	return ""
}

// wanted is what a value of the key must be, for errors.
func (k key) wanted() string {
	switch k.kind {
	case reflect.TypeFor[time.Duration]():
		return "is no duration; write one such as 30s or 5m"
	case reflect.TypeFor[bool]():
		return "is no switch; write true or false"
	case reflect.TypeFor[int]():
		return "is no whole number"
	case reflect.TypeFor[map[string]string]():
		return "are no labels; write name: value in the file, name=value,... in a flag or variable"
	}
	return "is no text; write one value"
}

// flagType is how --help shows the value.
func (k key) flagType() string {
	switch k.kind {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[bool]():
		return "bool"
	case reflect.TypeFor[int]():
		return "int"
	case reflect.TypeFor[map[string]string]():
		return "labels"
	}
	return "string"
}

// text is a flag's value: it is judged together with all other settings, so that all that is wrong is said at once.
type text struct{ value, kind string }

// String implements pflag.Value.
func (t *text) String() string { return t.value }

// Set implements pflag.Value.
func (t *text) Set(s string) error {
	t.value = s
	return nil
}

// Type implements pflag.Value.
func (t *text) Type() string { return t.kind }

// Flags registers a flag for each key.
func Flags(set *pflag.FlagSet) {
	for _, k := range keys() {
		f := set.VarPF(&text{kind: k.flagType()}, k.flag(), "", k.help)
		if k.kind == reflect.TypeFor[bool]() {
			f.NoOptDefVal = "true"
		}
	}
}

// nearest is the known name that is most like one that is not known, "" when none is like it.
func nearest(name string, known []string) string {
	best, least := "", len(name)/2+1
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be changed, added or dropped to make one word of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// parseLabels reads labels from one string, as a flag or the environment gives them.
func parseLabels(text string) (map[string]string, bool) {
	out := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, false
		}
		out[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return out, true
}

// names are the keys' names.
func names(list []key) []string {
	var out []string
	for _, k := range list {
		out = append(out, k.name)
	}
	return out
}

// sections are the names that have keys below them.
func sections() []string {
	var out []string
	for _, k := range keys() {
		if s, _, ok := strings.Cut(k.name, "."); ok && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// place is a line of the file.
func place(path string, line int) string { return path + ":" + strconv.Itoa(line) }
