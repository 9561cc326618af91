package compose

import (
	"strings"
	"testing"

	"github.com/brambled/brambled/reconciler/spec"
)

func rolledOut(t *testing.T, file string, env Env) spec.Service {
	t.Helper()
	l, err := Load("web", "f", []byte(file), env)
	if err != nil {
		t.Fatal(err)
	}
	svc, ok := l.Stack.Service("app")
	if !ok {
		t.Fatalf("app is not there: %+v", l.Services)
	}
	return svc
}

// A version that fails must be known by the same name on every node, whatever in it is each node's own.
func TestRolloutIsTheSameOnAllNodes(t *testing.T) {
	const file = "x-brambled: { nodes: all }\nservices:\n  app:\n    image: a:${TAG}\n    hostname: ${BRAMBLED_NODE}\n    ports: [\"${BRAMBLED_NODE_IP}:${PORT}:80\"]\n"
	env := func(node, ip, port, tag string) Env {
		return Env{Node: node, NodeIP: ip, Vars: map[string]string{"PORT": port, "TAG": tag}, PerNode: map[string]bool{"PORT": true}}
	}
	one, two := rolledOut(t, file, env("pi1", "10.0.0.1", "80", "1")), rolledOut(t, file, env("pi2", "10.0.0.2", "81", "1"))
	if one.Rollout == "" || one.Rollout != two.Rollout {
		t.Errorf("rollouts %q and %q", one.Rollout, two.Rollout)
	}
	if one.Container.Hash == two.Container.Hash {
		t.Error("both nodes have one container")
	}
	if next := rolledOut(t, file, env("pi1", "10.0.0.1", "80", "2")); next.Rollout == one.Rollout {
		t.Error("another image is the same rollout")
	}
	// A value that fits no number and no address: the file is read for this node, and not for one that does not exist.
	odd := strings.Replace(file, "hostname: ${BRAMBLED_NODE}", "network_mode: ${PORT}", 1)
	odd = strings.Replace(odd, "    ports: [\"${BRAMBLED_NODE_IP}:${PORT}:80\"]\n", "", 1)
	one, two = rolledOut(t, odd, env("pi1", "10.0.0.1", "host", "1")), rolledOut(t, odd, env("pi2", "10.0.0.2", "none", "1"))
	if one.Rollout == "" || one.Rollout != two.Rollout {
		t.Errorf("rollouts %q and %q", one.Rollout, two.Rollout)
	}
}

// What runs on one node alone, and a job, has nobody to spare. The hash has no part in any of it.
func TestWhatNeedsAPermit(t *testing.T) {
	plain := rolledOut(t, "services: { app: { image: a, x-brambled: { nodes: [pi1] } } }", Env{Node: "pi1"})
	for _, tt := range []struct {
		x, more string
		static  bool
		shared  bool
		voter   bool
	}{
		{x: "nodes: all", shared: true},
		{x: "nodes: [pi1]"},
		{x: "nodes: [pi1, pi1]"},
		{x: "nodes: [pi1, pi2]", shared: true},
		{x: "nodes: role=edge", shared: true},
		{x: "nodes: [pi1]", static: true, shared: true},
		{x: "nodes: all", more: ", restart: 'no'"},
		{x: "nodes: all, voter: true", shared: true, voter: true},
		{x: "nodes: [pi1], voter: true"},
		{x: "nodes: all", more: ", image: 'registry:5000/hashicorp/consul:1.19@sha256:0000000000000000000000000000000000000000000000000000000000000000'", shared: true, voter: true},
		{x: "nodes: all, voter: false", more: ", image: 'consul:1'", shared: true},
		{x: "nodes: all", more: ", image: 'a/consul-template'", shared: true},
	} {
		image := ", image: a"
		if strings.Contains(tt.more, "image") {
			image = ""
		}
		svc := rolledOut(t, "services: { app: { x-brambled: { "+tt.x+" }"+image+tt.more+" } }", Env{Node: "pi1", Labels: map[string]string{"role": "edge"}, Static: tt.static})
		if (svc.Rollout != "") != tt.shared || svc.Voter != tt.voter {
			t.Errorf("%s%s: rollout %q, voter %v", tt.x, tt.more, svc.Rollout, svc.Voter)
		}
		if tt.more == "" && svc.Container.Hash != plain.Container.Hash {
			t.Errorf("%s: another hash", tt.x)
		}
	}
}

func TestVoterIsRefused(t *testing.T) {
	for file, want := range map[string]string{
		"services: { app: { image: a, x-brambled: { nodes: all, voter: 3 } } }":     "write true or false",
		"services: { app: { image: a, x-brambled: { swarm: true, voter: true } } }": "Swarm updates its services itself",
		"x-brambled: { nodes: all, voter: true }\nservices: { app: { image: a } }":  "is said of a service, not of a file",
		"services: { app: { image: a, x-brambled: { nodes: all, voters: true } } }": "unknown key `voters`",
	} {
		if _, err := Load("web", "f", []byte(file), Env{Node: "pi1"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
