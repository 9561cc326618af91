//go:build integration

package consul_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/consul"
)

// TestPoliciesOnConsul holds the policies of deploy/consul against what persons decide and daemons read: a Pi may read each decision and
// make none, and a person may make all of them.
func TestPoliciesOnConsul(t *testing.T) {
	server := harness.StartConsul(t)
	server.Kill(t)
	enableACL(t, filepath.Join(server.Dir, "config.json"))
	server.Again(t)
	manager := aclClient(t, server.Address, managerToken)
	c := &contest{T: t, b: backend{address: server.Address}, api: manager, kv: manager.KV(), prefix: "brambled/"}
	as := func(name string) *consul.Client {
		t.Helper()
		rules, err := os.ReadFile(filepath.Join("..", "..", "deploy", "consul", "policy", name+".hcl"))
		c.ok(err)
		_, token := lesserNamed(c, manager, name, strings.ReplaceAll(string(rules), "NODE", "pi1")+"\nkey_prefix \"\" { policy = \"deny\" }\n")
		client, err := consul.New(consul.Config{Address: server.Address, Token: token, Prefix: c.prefix})
		c.ok(err)
		return client
	}
	daemon, person := as("brambled"), as("operator")
	c.put("stacks/.cluster", "c1")
	for _, key := range []string{consul.DrainKey("pi1"), consul.GoneKey("pi1"), consul.AdoptKey()} {
		if err := daemon.Decide(t.Context(), key, consul.Decision{}); key != consul.AdoptKey() && consul.CauseOf(err) != consul.Forbidden {
			t.Errorf("a Pi writes %s: %v", key, err)
		}
		if e, there, err := person.Get(t.Context(), key); err != nil || key != consul.AdoptKey() && there {
			t.Errorf("%s: %+v, %v", key, e, err)
		} else {
			c.ok(person.Decide(t.Context(), key, consul.Decision{ID: "x", Index: e.ModifyIndex}))
		}
	}
	d, cluster, err := daemon.Drain(t.Context(), "pi1")
	c.ok(err)
	c.is("the daemon reads its drain", d.Yes("c1") && cluster == "c1", true)
	none, _, err := daemon.Drain(t.Context(), "pi2")
	c.ok(err)
	c.is("and that there is none", none.Index, uint64(0))
	drains, err := daemon.Drains(t.Context())
	c.ok(err)
	c.is("drains", len(drains), 1)
	record, err := daemon.SwarmRecord(t.Context())
	c.ok(err)
	c.is("gone", record.Gone["pi1"].Yes("c1"), true)
	c.is("adopt", record.Adopt.ID, "x")
	c.ok(daemon.DeleteCAS(t.Context(), consul.AdoptKey(), record.Adopt.Index))
}
