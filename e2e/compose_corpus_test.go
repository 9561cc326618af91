//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// TestComposeCorpus runs whole files through brambled and through `docker compose up` on one engine, and compares what the
// engine says of the containers, networks and volumes: what a user knows of Compose holds here.
func TestComposeCorpus(t *testing.T) {
	t.Setenv("TAG", "1")
	t.Setenv("TOKEN", "hush")
	p := boot(t)
	p.consul.Put(t, "brambled/vars/TAG", "1")
	p.consul.Put(t, "brambled/secrets/token", "hush")
	files, err := filepath.Glob(filepath.Join(harness.Root(t), "pkg/compose/testdata/corpus/*.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("there is no corpus: %v, %v", files, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) { p.compare(t, path) })
	}
}

// compare runs one file in both ways, one after the other: they want the same names.
func (p *pi) compare(t *testing.T, path string) {
	stack := strings.TrimSuffix(filepath.Base(path), ".yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.put(t, stack, string(text))
	p.state(t, stack, "converged")
	ours := p.objects(t, stack)
	p.consul.Delete(t, "brambled/stacks/"+stack)
	harness.Eventually(t, "stack "+stack+" is gone", func() error {
		if left := p.engine.Docker(t, "ps", "-aq", "--filter", "label=com.docker.compose.project="+stack); left != "" {
			return fmt.Errorf("there are %s", left)
		}
		// Compose would take a network of that name for its own, and find it gone a moment later.
		if left := p.engine.Docker(t, "network", "ls", "-q", "--filter", "label=brambled.stack="+stack); left != "" {
			return fmt.Errorf("there are the networks %s", left)
		}
		return nil
	})
	p.removeVolumes(t, stack)

	// Compose has no store for secrets; a variable takes its place.
	file := filepath.Join(t.TempDir(), "compose.yaml")
	content := strings.ReplaceAll(string(text), "token: {external: true}", "token: {environment: TOKEN}")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p.engine.Compose(t, "-p", stack, "-f", file, "up", "-d", "--quiet-pull")
	theirs := p.objects(t, stack)
	p.engine.Compose(t, "-p", stack, "-f", file, "down", "-v", "-t", "1")

	if len(ours) != len(theirs) {
		t.Errorf("brambled made %v,\ncompose made %v", keysOf(ours), keysOf(theirs))
	}
	for name, want := range theirs {
		got, ok := ours[name]
		if !ok {
			t.Errorf("brambled did not make %s", name)
			continue
		}
		for _, line := range differences("", got, want) {
			t.Errorf("%s%s", name, line)
		}
	}
}

// removeVolumes clears what brambled keeps, so that Compose makes volumes of its own.
func (p *pi) removeVolumes(t *testing.T, stack string) {
	t.Helper()
	for name := range strings.FieldsSeq(p.engine.Docker(t, "volume", "ls", "-q", "--filter", "label=com.docker.compose.project="+stack)) {
		p.engine.Docker(t, "volume", "rm", name)
	}
}

// objects are the containers, networks and volumes of a project as the engine shows them, less what differs from one run to
// the next.
func (p *pi) objects(t *testing.T, stack string) map[string]any {
	t.Helper()
	out := map[string]any{}
	list := map[string][]string{
		"container": {"ps", "-aq", "--no-trunc"}, "network": {"network", "ls", "-q"}, "volume": {"volume", "ls", "-q"},
	}
	for kind, args := range list {
		ids := strings.FieldsSeq(p.engine.Docker(t, append(args, "--filter", "label=com.docker.compose.project="+stack)...))
		for id := range ids {
			var found []map[string]any
			if err := json.Unmarshal([]byte(p.engine.Docker(t, kind, "inspect", id)), &found); err != nil {
				t.Fatal(err)
			}
			o := found[0]
			name := strings.TrimPrefix(o["Name"].(string), "/")
			switch kind {
			case "container":
				o = essence(o)
			default:
				o = map[string]any{"Driver": o["Driver"], "Options": o["Options"], "IPAM": essentialIPAM(o), "Internal": o["Internal"], "Labels": userLabels(o["Labels"])}
			}
			out[kind+" "+name] = o
		}
	}
	return out
}

// essentialIPAM leaves out the subnet that the engine picked from its pool: the next network gets another one.
func essentialIPAM(o map[string]any) any {
	ipam, _ := o["IPAM"].(map[string]any)
	configs, _ := ipam["Config"].([]any)
	for _, c := range configs {
		if subnet, _ := c.(map[string]any)["Subnet"].(string); strings.HasPrefix(subnet, "172.") || strings.HasPrefix(subnet, "192.168.") {
			return nil
		}
	}
	return configs
}

// essence is a container without ids, times and addresses.
func essence(o map[string]any) map[string]any {
	id := o["Id"].(string)
	config, host := o["Config"].(map[string]any), o["HostConfig"].(map[string]any)
	config["Labels"] = userLabels(config["Labels"])
	if config["Hostname"] == id[:12] || strings.HasPrefix(fmt.Sprint(host["NetworkMode"]), "container:") {
		delete(config, "Hostname") // an id, its own or that of the container whose network it is in
	}
	for _, key := range []string{"CapAdd", "CapDrop"} {
		host[key] = strings.ReplaceAll(text(host[key]), "CAP_", "") // two spellings of one
	}
	for _, key := range []string{"AttachStdout", "AttachStderr"} {
		delete(config, key) // how the create call was made, not what the container is
	}
	// Both ways of asking for a mount end up in Mounts; VolumesFrom and Links are empty lists or none.
	for _, key := range []string{"Binds", "Mounts", "ContainerIDFile", "VolumesFrom", "Links"} {
		delete(host, key)
	}
	if policy, ok := host["RestartPolicy"].(map[string]any); ok && (policy["Name"] == "unless-stopped" || policy["Name"] == "no") {
		policy["Name"] = "" // the one difference that is meant: absent means "should run" here
	}
	for _, key := range []string{"PidMode", "IpcMode", "NetworkMode"} {
		if mode, _ := host[key].(string); strings.HasPrefix(mode, "container:") {
			host[key] = "container:" // by name here, by id there
		}
	}
	networks := map[string]any{}
	for name, n := range o["NetworkSettings"].(map[string]any)["Networks"].(map[string]any) {
		end := n.(map[string]any)
		aliases := []string{}
		list, _ := end["Aliases"].([]any)
		for _, a := range list {
			if s := a.(string); s != id[:12] && "/"+s != o["Name"] { // Compose names the container itself an alias; so does the engine
				aliases = append(aliases, s)
			}
		}
		slices.Sort(aliases)
		networks[name] = map[string]any{"Aliases": slices.Compact(aliases), "IPAMConfig": end["IPAMConfig"], "DriverOpts": end["DriverOpts"]}
	}
	return map[string]any{"Config": config, "HostConfig": host, "Mounts": essentialMounts(o["Mounts"]), "Networks": networks}
}

// essentialMounts are the mounts by target. Configs and secrets are files of the node here, copies in the container there.
func essentialMounts(v any) map[string]any {
	out := map[string]any{}
	list, _ := v.([]any)
	for _, item := range list {
		m := item.(map[string]any)
		name, _ := m["Name"].(string)
		source, _ := m["Source"].(string)
		if strings.Contains(source, "/state/files/") {
			continue
		}
		if len(name) == 64 || m["Type"] == "volume" { // where the engine keeps it
			source = ""
		}
		if len(name) == 64 {
			name = "anonymous"
		}
		out[m["Destination"].(string)] = map[string]any{"Type": m["Type"], "Name": name, "Source": source, "RW": m["RW"], "Propagation": m["Propagation"]}
	}
	return out
}

func userLabels(v any) map[string]any {
	out := map[string]any{}
	labels, _ := v.(map[string]any)
	for k, value := range labels {
		if !strings.HasPrefix(k, "com.docker.compose.") && !strings.HasPrefix(k, "brambled.") {
			out[k] = value
		}
	}
	return out
}

// differences lists the places where two values differ. Nothing, an empty list and an empty text are one.
func differences(path string, got, want any) []string {
	if g, ok := got.(map[string]any); ok {
		w, _ := want.(map[string]any)
		if w == nil && want != nil {
			return []string{fmt.Sprintf("%s: %s, compose has %s", path, text(got), text(want))}
		}
		all := map[string]bool{}
		for k := range g {
			all[k] = true
		}
		for k := range w {
			all[k] = true
		}
		var out []string
		for _, k := range keysOf(all) {
			out = append(out, differences(path+"."+k, g[k], w[k])...)
		}
		return out
	}
	if nothing(got) && nothing(want) || text(got) == text(want) {
		return nil
	}
	if _, list := got.([]any); list && !ordered.MatchString(path) && text(inOrder(got)) == text(inOrder(want)) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s, compose has %s", path, text(got), text(want))}
}

// nothing goes beyond blank: an engine writes false for what was not said.
func nothing(v any) bool {
	m, isMap := v.(map[string]any)
	return blank(v) || v == false || isMap && len(m) == 0 || text(v) == "[]"
}

// ordered are the lists whose order means something.
var ordered = regexp.MustCompile(`\.(Cmd|Entrypoint|Test|Dns|DnsSearch)$`)

// inOrder sorts a list.
func inOrder(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = text(item)
	}
	slices.Sort(texts)
	return texts
}

func keysOf[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
