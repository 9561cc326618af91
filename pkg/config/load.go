package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// LoadOptions say where settings come from.
type LoadOptions struct {
	File  string         // "" means DefaultFile, if it is there
	Flags *pflag.FlagSet // registered by Flags; nil for none
	// Env looks up a variable of the environment; nil is os.LookupEnv.
	Env func(string) (string, bool)
}

// layer is where a value was found; a higher one wins.
type layer int

const (
	layerDefault layer = iota
	layerTool
	layerFile
	layerEnv
	layerFlag
)

// source is where one setting comes from.
type source struct {
	layer  layer
	origin string // "--listen", "BRAMBLED_LISTEN", "/etc/brambled/brambled.yaml:3"
}

// Load reads the settings and checks them. The error names every wrong one and where it comes from.
func Load(opts LoadOptions) (Config, error) {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	l := &loader{opts: opts, cfg: Default(), from: map[string]source{}, wrong: map[string]bool{}}
	var errs []error
	l.file, errs = readFile(opts.File)
	for _, k := range keys() {
		value, src := l.find(k)
		if src.layer == layerDefault {
			continue
		}
		l.from[k.name] = src
		if err := l.set(k, value); err != nil {
			l.wrong[k.name] = true
			errs = append(errs, problem{k.name, fmt.Sprint(value), k.wanted()}.at(src.origin))
		}
	}
	l.finish()
	return l.cfg, errors.Join(append(errs, l.check()...)...)
}

// loader gathers one configuration.
type loader struct {
	opts  LoadOptions
	cfg   Config
	file  *file
	from  map[string]source
	wrong map[string]bool // keys whose value could not be read: the default beside it is not judged
}

// find returns the value of a key from the highest layer that has one. A variable that is empty counts as not set.
func (l *loader) find(k key) (any, source) {
	if l.opts.Flags != nil {
		if f := l.opts.Flags.Lookup(k.flag()); f != nil && f.Changed {
			return f.Value.String(), source{layerFlag, "--" + k.flag()}
		}
	}
	if v, _ := l.opts.Env(k.env()); v != "" {
		return v, source{layerEnv, k.env()}
	}
	if line, ok := l.file.lines[k.name]; ok {
		src := source{layerFile, place(l.file.path, line)}
		if k.name == "labels" {
			return l.file.labels, src
		}
		return l.file.values.Get(k.name), src
	}
	if k.tool() != "" {
		if v, _ := l.opts.Env(k.tool()); v != "" {
			return v, source{layerTool, k.tool()}
		}
	}
	return nil, source{}
}

// set puts one value into the configuration. One key at a time: a wrong one is then known by its name, and the others count.
func (l *loader) set(k key, value any) error {
	if k.kind == reflect.TypeFor[map[string]string]() {
		return l.setLabels(value)
	}
	if !k.takes(reflect.TypeOf(value)) && !(k.kind == reflect.TypeFor[time.Duration]() && fmt.Sprint(value) == "0") {
		return errors.New("wrong type")
	}
	v := viper.New()
	v.Set(k.name, value)
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: &l.cfg, WeaklyTypedInput: true, DecodeHook: mapstructure.StringToTimeDurationHookFunc(),
	})
	if err != nil {
		return err
	}
	return dec.Decode(v.AllSettings())
}

// takes reports whether a value of this type can be read as the key's. A flag and a variable are text. In the file YAML decides
// what a plain word is: 3.5 managers and a resync of 30 (of what?) are mistakes, a node named 7 is not.
func (k key) takes(value reflect.Type) bool {
	switch {
	case value == nil:
		return false
	case value.Kind() == reflect.String:
		return true
	case k.kind == reflect.TypeFor[string]():
		return slices.Contains([]reflect.Kind{reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64}, value.Kind())
	case k.kind == reflect.TypeFor[time.Duration]():
		return false
	}
	return value.Kind() == k.kind.Kind()
}

func (l *loader) setLabels(value any) error {
	if text, ok := value.(string); ok {
		labels, ok := parseLabels(text)
		if !ok {
			return errors.New("not name=value")
		}
		l.cfg.Labels = labels
		return nil
	}
	labels, ok := value.(map[string]string)
	if !ok {
		return errors.New("no map")
	}
	l.cfg.Labels = maps.Clone(labels)
	return nil
}

// finish brings what was read into its final form.
func (l *loader) finish() {
	c := &l.cfg
	c.Prefix = strings.TrimRight(c.Prefix, "/") + "/"
	// Of a token and a token file the one from the higher layer counts: a CONSUL_HTTP_TOKEN left over in a shell is no clash.
	switch token, tokenFile := l.from["consul.token"].layer, l.from["consul.token_file"].layer; {
	case token > tokenFile && tokenFile != layerDefault:
		c.Consul.TokenFile = ""
	case tokenFile > token && token != layerDefault:
		c.Consul.Token = ""
	}
	if c.Address == "" && !l.wrong["address"] {
		c.Address, c.AddressFound = DetectAddress(), true
	}
}

// check returns what is wrong with the values that could be read.
func (l *loader) check() []error {
	list := l.cfg.problems()
	for _, f := range []struct{ key, path string }{
		{"consul.token_file", l.cfg.Consul.TokenFile}, {"consul.ca_file", l.cfg.Consul.CAFile},
		{"consul.cert_file", l.cfg.Consul.CertFile}, {"consul.key_file", l.cfg.Consul.KeyFile},
	} {
		if _, err := os.Stat(f.path); f.path != "" && errors.Is(err, fs.ErrNotExist) {
			list = append(list, problem{f.key, f.path, "does not exist; correct the path"})
		}
	}
	slices.SortStableFunc(list, func(a, b problem) int { return cmp.Compare(a.key, b.key) })
	var errs []error
	for _, p := range list {
		if l.wrong[p.key] {
			continue
		}
		origin := l.from[p.key].origin
		switch {
		case origin != "":
		case p.key == "node":
			origin = "the host name; set node"
		case p.key == "address":
			origin = "found on this machine; set address"
		}
		errs = append(errs, p.at(origin))
	}
	return errs
}
