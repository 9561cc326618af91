package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// problem is one wrong setting.
type problem struct {
	key, value string
	text       string // what is wrong, and what to do
}

// at is the problem as an error that says where the value comes from.
func (p problem) at(origin string) error {
	value := strconv.Quote(p.value)
	if p.key == "consul.token" {
		value = "the value" // a log is no place for a token
	}
	if origin != "" {
		value += " (" + origin + ")"
	}
	return fmt.Errorf("%s: %s %s", p.key, value, p.text)
}

// Validate returns everything that is wrong, each with the key, the value and what to do.
func (c Config) Validate() error {
	var errs []error
	for _, p := range c.problems() {
		errs = append(errs, p.at(""))
	}
	return errors.Join(errs...)
}

// problems are sorted by key.
func (c Config) problems() []problem {
	v := &checker{}
	v.identity(c)
	v.places(c)
	v.times(c)
	v.consul(c.Consul)
	if m := c.Swarm.Managers; m < 1 || m > 7 || m%2 == 0 {
		v.bad("swarm.managers", m, "is no manager count; an even one bears no more losses than the odd one below it: use 1, 3, 5 or 7")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		v.bad("log.level", c.Log.Level, "is no level; use debug, info, warn or error")
	}
	if !slices.Contains([]string{"json", "console"}, c.Log.Format) {
		v.bad("log.format", c.Log.Format, "is no format; use json or console")
	}
	slices.SortStableFunc(v.list, func(a, b problem) int { return cmp.Compare(a.key, b.key) })
	return v.list
}

// checker gathers problems.
type checker struct{ list []problem }

func (v *checker) bad(key string, value any, text string) {
	v.list = append(v.list, problem{key, fmt.Sprint(value), text})
}

var (
	// nodeName is what is a host name, a key in KV and a Docker label at once.
	nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// prefixPart is what needs no escaping in a URL or a shell.
	prefixPart = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

func (v *checker) identity(c Config) {
	if !nodeName.MatchString(c.Node) {
		v.bad("node", c.Node, "is no node name; use lower-case letters, digits and -, 63 at most")
	}
	if c.Address != "" {
		a, err := netip.ParseAddr(c.Address)
		switch {
		case err != nil:
			v.bad("address", c.Address, "is no IP address")
		case a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast():
			v.bad("address", c.Address, "is not an address that other Pis can reach; use the one of the LAN")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		if name == "" || strings.ContainsAny(name, "=, \t\n") {
			v.bad("labels", name, "is no label name; it has no blank, comma or =")
		}
		if value := c.Labels[name]; strings.ContainsAny(value, ",\n") {
			v.bad("labels", name+"="+value, "is no label; a value has no comma or line break")
		}
	}
}

func (v *checker) places(c Config) {
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		v.bad("listen", c.Listen, "is no address; use host:port or :port")
	} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		v.bad("listen", c.Listen, "has no port from 0 to 65535")
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(c.Prefix, "/"), "/") {
		if !prefixPart.MatchString(part) {
			v.bad("prefix", c.Prefix, "is no KV prefix; use a name such as brambled/, without / in front")
			break
		}
	}
	for _, d := range []struct{ key, path string }{{"state_dir", c.StateDir}, {"manifests_dir", c.ManifestsDir}} {
		if !strings.HasPrefix(d.path, "/") {
			v.bad(d.key, d.path, "is no absolute path; begin it with /")
		}
	}
	scheme, rest, ok := strings.Cut(c.Docker.Host, "://")
	if !ok || rest == "" || !slices.Contains([]string{"unix", "tcp", "http"}, scheme) {
		v.bad("docker.host", c.Docker.Host, "is no engine address; use unix:///var/run/docker.sock or tcp://host:port")
	}
}

func (v *checker) times(c Config) {
	if c.Resync < 5*time.Second || c.Resync > time.Hour {
		v.bad("resync", c.Resync, "is out of range; use 5s to 1h")
	}
	if c.SessionTTL != 0 && (c.SessionTTL < time.Second || c.SessionTTL > 24*time.Hour) {
		v.bad("session_ttl", c.SessionTTL, "is out of range; use 0s (5s where the servers allow it, else 10s), or 1s to 24h")
	}
	if c.Heal.After < time.Second || c.Heal.After > time.Hour {
		v.bad("heal.after", c.Heal.After, "is out of range; use 1s to 1h")
	}
	if c.Heal.Budget < 0 || c.Heal.Budget > 60 {
		v.bad("heal.budget", c.Heal.Budget, "is out of range; use 1 to 60, or 0 to restart none")
	}
	if c.Swarm.HoldDown < time.Minute {
		v.bad("swarm.hold_down", c.Swarm.HoldDown, "is too short: a Pi takes a minute to boot; use 1m or more")
	}
}

func (v *checker) consul(c Consul) {
	if c.Address == "" || strings.ContainsAny(c.Address, " \t\n,") {
		v.bad("consul.address", c.Address, "is no address of a Consul agent; use host:port, https://host:port or unix:///path")
	}
	if c.CertFile != "" && c.KeyFile == "" {
		v.bad("consul.cert_file", c.CertFile, "goes with consul.key_file; set both or none")
	}
	if c.KeyFile != "" && c.CertFile == "" {
		v.bad("consul.key_file", c.KeyFile, "goes with consul.cert_file; set both or none")
	}
	if c.Token != "" && c.TokenFile != "" {
		v.bad("consul.token_file", c.TokenFile, "stands beside consul.token; set one of them")
	}
}
