//go:build e2e

package images_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

const consulPeers = "172.30.8.11 172.30.8.12 172.30.8.13"

// consulServer starts the server of a Pi, whose data is on a volume of its own.
func consulServer(t *testing.T, e *harness.Engine, number int) {
	t.Helper()
	name := fmt.Sprint("pi", number)
	e.Docker(t, "run", "--detach", "--name", name, "--network", "lan", "--ip", fmt.Sprint("172.30.8.1", number), "--volume", name+":/consul/data",
		"--env", "CONSUL_NODE="+name, "--env", fmt.Sprint("CONSUL_ADDRESS=172.30.8.1", number), "--env", "CONSUL_PEERS="+consulPeers, "brambled/consul:dev")
}

// members waits until so many servers are alive, as one of them sees it.
func members(t *testing.T, e *harness.Engine, from string, count int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%s sees %d servers and a leader", from, count), func() error {
		out, err := e.TryDocker("exec", from, "consul", "members")
		if err == nil && strings.Count(out, " alive ") != count {
			err = fmt.Errorf("it sees\n%s", out)
		}
		if err == nil {
			_, err = e.TryDocker("exec", from, "healthcheck")
		}
		return err
	})
}

// Three servers find each other in any order, bear the loss of one, take it back, and what they know can be restored from what a Pi saved.
func TestConsul(t *testing.T) {
	t.Parallel()
	e := harness.StartDockerd(t)
	load(t, e, "consul")
	e.Docker(t, "network", "create", "--subnet", "172.30.8.0/24", "lan")

	// One of three decides nothing, and says so.
	consulServer(t, e, 2)
	harness.Eventually(t, "one alone says that nobody leads", func() error {
		if out, err := e.TryDocker("exec", "pi2", "healthcheck"); err == nil || out != "" && !strings.Contains(out, "nobody leads") {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
	consulServer(t, e, 3)
	consulServer(t, e, 1)
	members(t, e, "pi1", 3)
	e.Docker(t, "exec", "pi1", "consul", "kv", "put", "a", "before")

	e.Docker(t, "kill", "pi3")
	members(t, e, "pi1", 2)
	e.Docker(t, "exec", "pi1", "consul", "kv", "put", "b", "meanwhile")
	e.Docker(t, "rm", "pi3")
	consulServer(t, e, 3)
	members(t, e, "pi3", 3)
	if got := e.Docker(t, "exec", "pi3", "consul", "kv", "get", "-stale", "b"); got != "meanwhile" {
		t.Errorf("the one that was away reads %q", got)
	}
	if user := e.Docker(t, "exec", "pi1", "id", "-u"); user != "8300" {
		t.Errorf("it runs as user %s", user)
	}

	e.Docker(t, "run", "--detach", "--name", "snapshots", "--network", "container:pi1", "--env", "CONSUL_SNAPSHOT_EVERY=1",
		"--env", "CONSUL_SNAPSHOT_KEEP=2", "brambled/consul:dev", "snapshot")
	harness.Eventually(t, "snapshots are saved, and the oldest go", func() error {
		out, err := e.TryDocker("logs", "snapshots")
		if err == nil && strings.Count(out, "saved ") < 3 {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
	e.Docker(t, "stop", "snapshots")
	e.Docker(t, "exec", "pi1", "consul", "kv", "delete", "-recurse", "")
	e.Docker(t, "run", "--rm", "--network", "container:pi1", "--volumes-from", "snapshots", "--entrypoint", "sh", "brambled/consul:dev", "-c",
		"set -- /consul/snapshots/*.snap; [ $# = 2 ] || { echo there are $#; exit 1; }; consul snapshot restore $2")
	if got := e.Docker(t, "exec", "pi2", "consul", "kv", "get", "a"); got != "before" {
		t.Errorf("restored is %q", got)
	}
}

// A setting that cannot be used is one line that names it, and nothing is started.
func TestConsulSettings(t *testing.T) {
	t.Parallel()
	e := harness.StartDockerd(t)
	load(t, e, "consul")
	good := map[string]string{"CONSUL_NODE": "pi1", "CONSUL_ADDRESS": "172.30.8.11", "CONSUL_PEERS": consulPeers}
	for _, tt := range []struct{ name, value string }{
		{"CONSUL_NODE", ""},
		{"CONSUL_NODE", "my pi"},
		{"CONSUL_ADDRESS", ""},
		{"CONSUL_ADDRESS", "172.30.8.300"},
		{"CONSUL_PEERS", ""},
		{"CONSUL_PEERS", "172.30.8.11 pi2"},
		{"CONSUL_PEERS", "172.30.8.11 172.30.8.11 172.30.8.12"},
		{"CONSUL_PEERS", "172.30.8.12 172.30.8.13 172.30.8.14"},
		{"CONSUL_PEERS", "172.30.8.11 172.30.8.12"},
		{"CONSUL_GOSSIP_KEY_FILE", "/nowhere"},
		{"CONSUL_GOSSIP_KEY_FILE", "/etc/hostname"},
		{"CONSUL_RAFT_MULTIPLIER", "11"},
		{"CONSUL_LOG_LEVEL", "loud"},
	} {
		args := []string{}
		for name, value := range good {
			if name != tt.name {
				args = append(args, "--env", name+"="+value)
			}
		}
		refused(t, e, "brambled/consul:dev", tt.name, tt.value, args...)
	}
}
