package config

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// load loads settings from a file's content, variables and flags.
func load(t *testing.T, file string, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "brambled.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	return Load(LoadOptions{File: path, Flags: set, Env: lookup})
}

func TestPrecedence(t *testing.T) {
	const file = "node: pi1\nconsul: { address: \"file:1\" }\n"
	env := map[string]string{}
	step := func(name, want, file string, args ...string) {
		t.Helper()
		cfg, err := load(t, file, env, args...)
		if err != nil || cfg.Consul.Address != want {
			t.Errorf("%s: %q instead of %q, %v", name, cfg.Consul.Address, want, err)
		}
	}
	step("default", "127.0.0.1:8500", "node: pi1\n")
	env["CONSUL_HTTP_ADDR"] = "tools:1"
	step("the tools' variable over the default", "tools:1", "node: pi1\n")
	step("file over the tools' variable", "file:1", file)
	env["BRAMBLED_CONSUL_ADDRESS"] = "env:1"
	step("environment over file", "env:1", file)
	step("flag over environment", "flag:1", file, "--consul-address=flag:1")
	env["BRAMBLED_CONSUL_ADDRESS"] = ""
	step("a variable that is empty counts as not set", "file:1", file)
}

// Every key can be given in each of the three ways, and arrives.
func TestEveryKeyEveryWay(t *testing.T) {
	dir := t.TempDir()
	exists := filepath.Join(dir, "file")
	if err := os.WriteFile(exists, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"node": "pi7", "address": "192.0.2.7", "labels": "role=edge", "listen": "127.0.0.1:1", "prefix": "x/",
		"consul.address": "c:1", "consul.token": "t", "consul.token_file": exists, "consul.ca_file": exists, "consul.cert_file": exists, "consul.key_file": exists,
		"docker.host": "tcp://d:1", "state_dir": "/s", "manifests_dir": "/m", "resync": "33s", "session_ttl": "11s", "brake": "false",
		"heal.after": "45s", "heal.budget": "3", "swarm.manage": "false", "swarm.managers": "5", "swarm.hold_down": "12m", "log.level": "warn", "log.format": "console",
	}
	for _, k := range keys() {
		value, ok := values[k.name]
		if !ok {
			t.Errorf("no value for %s: add one here, and the key to deploy/config/brambled.yaml", k.name)
		}
		if k.help == "" {
			t.Errorf("--%s has no help", k.flag())
		}
		t.Run(k.name, func(t *testing.T) { everyWay(t, k, value, exists) })
	}
}

func everyWay(t *testing.T, k key, value, exists string) {
	var args []string
	file := "node: pi1\n"
	if k.name == "node" {
		file = ""
	}
	// A certificate goes with its key.
	if other := map[string]string{"consul.cert_file": "key-file", "consul.key_file": "cert-file"}[k.name]; other != "" {
		args = append(args, "--consul-"+other+"="+exists)
	}
	byFlag, err := load(t, file, nil, append(args, "--"+k.flag()+"="+value)...)
	if err != nil {
		t.Errorf("as a flag: %v", err)
	}
	if nothing, _ := load(t, file, nil, args...); cmp.Equal(byFlag, nothing) {
		t.Error("it has no effect")
	}
	byEnv, err := load(t, file, map[string]string{k.env(): value}, args...)
	if diff := cmp.Diff(byFlag, byEnv); err != nil || diff != "" {
		t.Errorf("as a variable: %v\n%s", err, diff)
	}
	line := k.name + ": " + value + "\n"
	if section, name, nested := strings.Cut(k.name, "."); nested {
		line = section + ":\n  " + name + ": " + value + "\n"
	} else if k.name == "labels" {
		line = "labels: { role: edge }\n"
	}
	byFile, err := load(t, file+line, nil, args...)
	if diff := cmp.Diff(byFlag, byFile); err != nil || diff != "" {
		t.Errorf("in the file: %v\n%s", err, diff)
	}
}

func TestValues(t *testing.T) {
	cfg, err := load(t, "node: pi1\nresync: 30s\nlabels: { Role: edge, a.b: \"1\" }\nprefix: other/deep\nlog: { level: debug }\nsession_ttl: 0\n", nil, "--swarm-managers=5", "--brake=false")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Node, want.Resync, want.Labels, want.Prefix = "pi1", 30*time.Second, map[string]string{"Role": "edge", "a.b": "1"}, "other/deep/"
	want.Log.Level, want.Swarm.Managers, want.Brake = "debug", 5, false
	want.Address, want.AddressFound = cfg.Address, true
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if cfg, err = load(t, "node: pi1\n", nil, "--labels=a=b, c=d"); err != nil || !maps.Equal(cfg.Labels, map[string]string{"a": "b", "c": "d"}) {
		t.Errorf("labels from a flag: %v, %v", cfg.Labels, err)
	}
	if cfg, err = load(t, "node: pi1\nconsul:\n  #address: x\nlog:\nstate_dir:\n", nil); err != nil || cfg.StateDir != Default().StateDir {
		t.Errorf("empty sections and keys: %v", err)
	}
	if _, err = load(t, "", nil, "--node=pi1"); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// Every wrong setting is named in one error, with where it comes from and what to do.
func TestAllProblemsAreNamed(t *testing.T) {
	_, err := load(t, "node: \"Pi 1\"\naddress: 127.0.0.1\nresync: soon\nswarm:\n  managers: 2\n  hold_down: 30\nlog: { level: loud }\nbrake: maybe\nlabel: x\n",
		map[string]string{"BRAMBLED_PREFIX": "/x", "DOCKER_HOST": "ssh://pi", "BRAMBLED_LABELS": "x"},
		"--listen=nowhere", "--consul-ca-file=/does/not/exist", "--state-dir=here")
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	for i := range got {
		if _, rest, ok := strings.Cut(got[i], "/brambled.yaml"); ok { // without the folder
			before, _, _ := strings.Cut(got[i], "/")
			got[i] = before + "FILE" + rest
		}
	}
	want := []string{
		`FILE:9: unknown key label; did you mean labels?`,
		`labels: "x" (BRAMBLED_LABELS) are no labels; write name: value in the file, name=value,... in a flag or variable`,
		`resync: "soon" (FILE:3) is no duration; write one such as 30s or 5m`,
		`brake: "maybe" (FILE:8) is no switch; write true or false`,
		`swarm.hold_down: "30" (FILE:6) is no duration; write one such as 30s or 5m`,
		`address: "127.0.0.1" (FILE:2) is not an address that other Pis can reach; use the one of the LAN`,
		`consul.ca_file: "/does/not/exist" (--consul-ca-file) does not exist; correct the path`,
		`docker.host: "ssh://pi" (DOCKER_HOST) is no engine address; use unix:///var/run/docker.sock or tcp://host:port`,
		`listen: "nowhere" (--listen) is no address; use host:port or :port`,
		`log.level: "loud" (FILE:7) is no level; use debug, info, warn or error`,
		`node: "Pi 1" (FILE:1) is no node name; use lower-case letters, digits and -, 63 at most`,
		`prefix: "/x/" (BRAMBLED_PREFIX) is no KV prefix; use a name such as brambled/, without / in front`,
		`state_dir: "here" (--state-dir) is no absolute path; begin it with /`,
		`swarm.managers: "2" (FILE:5) is no manager count; an even one bears no more losses than the odd one below it: use 1, 3, 5 or 7`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWrong(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       string
	}{
		{"unknown key in a section", "node: pi1\nconsul:\n  token_fil: x\n", nil, nil, ":3: unknown key consul.token_fil; did you mean consul.token_file?"},
		{"nothing like it", "node: pi1\nxyzzyxyzzy: x\n", nil, nil, ":2: unknown key xyzzyxyzzy; the keys are node, address,"},
		{"no YAML", "node: [\n", nil, nil, "not valid YAML: yaml: line 1"},
		{"a list", "- node\n", nil, nil, ":1: expected key: value lines"},
		{"a section that is a word", "node: pi1\nlog: debug\n", nil, nil, ":2: expected key: value lines below log"},
		{"a key twice", "node: pi1\nnode: pi2\n", nil, nil, "already defined at line 1"},
		{"a list where text is due", "node: [a]\n", nil, nil, "is no text; write one value"},
		{"half a manager", "node: pi1\nswarm: { managers: 3.5 }\n", nil, nil, "is no whole number"},
		{"labels as text", "node: pi1\nlabels: x\n", nil, nil, "are no labels"},
		{"VIP-like loopback", "node: pi1\naddress: \"::1\"\n", nil, nil, "other Pis can reach"},
		{"no port", "node: pi1\n", nil, []string{"--listen=:http9"}, "has no port from 0 to 65535"},
		{"prefix of nothing", "node: pi1\n", nil, []string{"--prefix=/"}, "is no KV prefix"},
		{"certificate without key", "node: pi1\nconsul: { cert_file: /etc/passwd }\n", nil, nil, "goes with consul.key_file"},
		{"token and file in one place", "node: pi1\nconsul: { token: geheim, token_file: /etc/passwd }\n", nil, nil, "set one of them"},
		{"resync too often", "node: pi1\nresync: 1s\n", nil, nil, "use 5s to 1h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, tt.env, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// A token left over in a shell does not clash with the daemon's token file.
func TestTokenOfTheHigherLayer(t *testing.T) {
	cfg, err := load(t, "node: pi1\nconsul: { token_file: /etc/passwd }\n", map[string]string{"CONSUL_HTTP_TOKEN": "old"})
	if err != nil || cfg.Consul.Token != "" || cfg.Consul.TokenFile != "/etc/passwd" {
		t.Errorf("%+v, %v", cfg.Consul, err)
	}
	cfg, err = load(t, "node: pi1\nconsul: { token_file: /etc/passwd }\n", nil, "--consul-token=new")
	if err != nil || cfg.Consul.Token != "new" || cfg.Consul.TokenFile != "" {
		t.Errorf("%+v, %v", cfg.Consul, err)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(LoadOptions{File: "/does/not/exist.yaml"}); err == nil || !strings.Contains(err.Error(), "/does/not/exist.yaml") {
		t.Errorf("a file that was named is missing: %v", err)
	}
}

// uncomment takes the mark off defaults that are commented out: "#key: value", not "# prose".
func uncomment(content string) string {
	lines := strings.Split(content, "\n")
	for i, line := range lines {
		body := strings.TrimLeft(line, " ")
		if rest, ok := strings.CutPrefix(body, "#"); ok && rest != "" && !strings.HasPrefix(rest, " ") {
			lines[i] = line[:len(line)-len(body)] + rest
		}
	}
	return strings.Join(lines, "\n")
}

// The sample file explains every key, loads as it is, and what it shows as a default is the default.
func TestSampleFile(t *testing.T) {
	content, err := os.ReadFile("../../deploy/config/brambled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Node = "pi1"
	cfg, err := load(t, string(content), nil, "--node=pi1", "--address=192.168.1.11")
	want.Address = "192.168.1.11"
	if diff := cmp.Diff(want, cfg); err != nil || diff != "" {
		t.Errorf("as it is: %v\n%s", err, diff)
	}
	cfg, err = load(t, uncomment(string(content)), nil)
	want.Labels = map[string]string{"role": "edge"} // an example: there is none by default
	if diff := cmp.Diff(want, cfg); err != nil || diff != "" {
		t.Errorf("what it shows as default is not (-default +sample): %v\n%s", err, diff)
	}
	path := filepath.Join(t.TempDir(), "sample.yaml")
	if err := os.WriteFile(path, []byte(uncomment(string(content))), 0o600); err != nil {
		t.Fatal(err)
	}
	f, errs := readFile(path)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	lines := strings.Split(string(content), "\n")
	for _, k := range keys() {
		line, ok := f.lines[k.name]
		if !ok {
			t.Errorf("the sample does not have %s", k.name)
			continue
		}
		// The line above, or the one above a group of keys, is a reason.
		i := line - 2
		for i > 0 && !strings.HasPrefix(strings.TrimLeft(lines[i], " "), "# ") && lines[i] != "" {
			i--
		}
		if !strings.HasPrefix(strings.TrimLeft(lines[i], " "), "# ") {
			t.Errorf("the sample does not say why one would set %s", k.name)
		}
	}
}

func TestChooseAddress(t *testing.T) {
	at := func(name string, prefixes ...string) card {
		c := card{name: name, up: true}
		for _, p := range prefixes {
			c.prefixes = append(c.prefixes, netip.MustParsePrefix(p))
		}
		return c
	}
	down := at("eth1", "10.9.0.2/24")
	down.up = false
	lo := at("lo", "127.0.0.1/8", "192.168.1.100/32")
	lo.loopback = true
	docker := []card{at("docker0", "172.17.0.1/16"), at("br-0123", "172.18.0.1/16"), at("veth1", "10.0.0.1/24"), at("docker_gwbridge", "172.19.0.1/16")}
	for _, tt := range []struct {
		name, preferred, want string
		cards                 []card
	}{
		{"one", "", "192.168.1.11", []card{lo, down, at("eth0", "192.168.1.11/24", "fe80::1/64")}},
		{"never a virtual address, wherever it stands", "", "192.168.1.11", []card{at("eth0", "192.168.1.100/32", "192.168.1.11/24", "192.168.1.12/24")}},
		{"never Docker's", "docker0", "192.168.1.11", append(docker, at("wlan0", "192.168.1.11/24"))},
		{"the default route's", "eth0", "192.168.1.11", []card{at("tun0", "10.8.0.2/24"), at("eth0", "192.168.1.11/24")}},
		{"IPv4 before IPv6", "eth0", "192.168.1.11", []card{at("eth0", "2001:db8::1/64", "192.168.1.11/24")}},
		{"IPv6 alone", "", "2001:db8::1", []card{lo, at("eth0", "fe80::1/64", "2001:db8::1/64")}},
		{"none", "eth0", "", []card{lo, down, at("eth0", "169.254.3.4/16", "fe80::1/64")}},
	} {
		if got := choose(tt.cards, tt.preferred); got != tt.want {
			t.Errorf("%s: %q instead of %q", tt.name, got, tt.want)
		}
	}
	const routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"tun0\t0000080A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\neth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
	if got := defaultCard(routes); got != "eth0" {
		t.Errorf("default route on %q", got)
	}
}
