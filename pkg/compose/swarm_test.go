package compose

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/brambled/brambled/internal/proptest"
)

// unordered are the lists whose order means nothing to Compose.
var unordered = []string{"cap_add", "cap_drop", "configs", "constraints", "extra_hosts", "generic_resources", "ports", "secrets", "tmpfs", "volumes"}

// TestMain sets how many orders a file is written in.
func TestMain(m *testing.M) { proptest.Main(m, "25") }

// TestSwarmIgnoresOrder writes the keys, and the lists without order, of a file in another order: it is the same file, and must
// not be another version of the service, nor another plan each time a map is walked.
func TestSwarmIgnoresOrder(t *testing.T) {
	for _, name := range []string{"swarm-whole", "swarm-networks", "swarm-objects"} {
		file, env := scenario(archive(t, "testdata/"+name+".txtar"))
		want, err := Load("web", "f", file, env)
		if err != nil {
			t.Fatal(err)
		}
		orders := map[string]bool{}
		rapid.Check(t, func(t *rapid.T) {
			var doc yaml.Node
			if err := yaml.Unmarshal(file, &doc); err != nil {
				t.Fatal(err)
			}
			reorder(t, &doc, "")
			text, err := yaml.Marshal(&doc)
			if err != nil {
				t.Fatal(err)
			}
			orders[string(text)] = true
			got, err := Load("web", "f", text, env)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			got.Swarm.Revision, got.Stack.Revision = want.Swarm.Revision, want.Stack.Revision // of the bytes
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("-want +got:\n%s\n%s", diff, text)
			}
		})
		if len(orders) < 10 {
			t.Errorf("%s: %d orders were tried", name, len(orders))
		}
	}
}

// reorder shuffles what has no order, in place.
func reorder(t *rapid.T, n *yaml.Node, key string) {
	switch n.Kind {
	case yaml.MappingNode:
		var pairs [][2]*yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			reorder(t, n.Content[i+1], n.Content[i].Value)
			pairs = append(pairs, [2]*yaml.Node{n.Content[i], n.Content[i+1]})
		}
		n.Content = n.Content[:0]
		for _, p := range rapid.Permutation(pairs).Draw(t, "keys of "+key) {
			n.Content = append(n.Content, p[0], p[1])
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			reorder(t, c, key)
		}
		if slices.Contains(unordered, key) {
			n.Content = rapid.Permutation(n.Content).Draw(t, key)
		}
	default:
		for _, c := range n.Content {
			reorder(t, c, key)
		}
	}
}

// TestSwarmIsTheSameOnEveryNode loads a file of both kinds on two nodes: whichever leads must ask the same of Swarm.
func TestSwarmIsTheSameOnEveryNode(t *testing.T) {
	const file = `
services:
  web: {image: "app:$TAG", networks: [default, both], secrets: [s], hostname: "$BRAMBLED_CLUSTER"}
  agent: {image: "agent:$OWN", hostname: "$BRAMBLED_NODE", networks: [both], x-brambled: {nodes: [pi1]}}
networks: {both: {driver: overlay, attachable: true}}
secrets: {s: {external: true}}
`
	on := func(node, own string) Loaded {
		env := Env{
			Node: node, NodeIP: "10.0.0." + own, Cluster: "c1", Owner: "c1", Labels: map[string]string{"own": own},
			Vars: map[string]string{"TAG": "1", "OWN": own}, PerNode: map[string]bool{"OWN": true}, Secrets: map[string][]byte{"s": []byte("x")},
		}
		loaded, err := Load("web", "f", []byte(file), env)
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	one, two := on("pi1", "1"), on("pi2", "2")
	if len(one.Stack.Services) != 1 || len(two.Stack.Services) != 0 || len(one.Swarm.Services) != 1 {
		t.Fatalf("%d and %d services on the nodes, %d in Swarm", len(one.Stack.Services), len(two.Stack.Services), len(one.Swarm.Services))
	}
	if one.Stack.Revision == two.Stack.Revision {
		t.Error("the agent has another image on each node, and the revision does not say so")
	}
	if diff := cmp.Diff(one.Swarm, two.Swarm); diff != "" {
		t.Errorf("-pi1 +pi2:\n%s", diff)
	}
}

// TestStaticTierHasNoSwarm locks that a file of one Pi is not taken for the cluster's: two Pis with the same file would both
// speak for one Swarm service.
func TestStaticTierHasNoSwarm(t *testing.T) {
	_, err := Load("web", "f", []byte("services: {app: {image: x}}"), Env{Node: "pi1", Static: true})
	if err == nil || !strings.Contains(err.Error(), "the static tier is of this Pi alone") {
		t.Errorf("%v", err)
	}
}

// TestObjectNames locks what the name of a config or a secret follows from. One that stays with new content would be refused by
// Swarm, or leave the old content; one that changes without reason would roll the service out.
func TestObjectNames(t *testing.T) {
	name := func(stack, key, content, labels string) string {
		file := "services: {app: {image: x, configs: [" + key + "]}}\nconfigs: {" + key + ": {content: \"" + content + "\", labels: {" + labels + "}}}"
		loaded, err := Load(stack, "f", []byte(file), Env{Node: "pi1", Owner: "c1"})
		if err != nil {
			t.Fatal(err)
		}
		if got := loaded.Swarm.Objects[0].Name; got != loaded.Swarm.Services[0].Files[0].Object {
			t.Errorf("the object is %s, the service refers to %s", got, loaded.Swarm.Services[0].Files[0].Object)
		}
		return loaded.Swarm.Objects[0].Name
	}
	long := strings.Repeat("k", 80)
	seen := map[string]string{}
	for what, got := range map[string]string{
		"first": name("web", "c", "a", ""), "content": name("web", "c", "b", ""), "labels": name("web", "c", "a", "x: y"),
		"stack": name("shop", "c", "a", ""), "key": name("web", "d", "a", ""),
		"long": name("web", long, "a", ""), "longer": name("web", long+"k", "a", ""), "long stack": name(strings.Repeat("s", 49), "c", "a", ""),
	} {
		if other := seen[got]; other != "" {
			t.Errorf("%s and %s are both named %s", what, other, got)
		}
		seen[got] = what
		if len(got) > 64 {
			t.Errorf("%s: %s has %d characters", what, got, len(got))
		}
	}
	if again := name("web", "c", "a", ""); seen[again] != "first" {
		t.Errorf("the same content is named %s now", again)
	}
}
