//go:build integration

package consul_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/consul"
)

const managerToken = "6f1c1ad2-7a0e-4b6c-9d5e-0f3a8c2b1e47"

// TestACLConsul shows on a real server what the fake's filter stands for: a token that may not read a key sees a list
// without it, marked; the anonymous token sees the same list unmarked.
func TestACLConsul(t *testing.T) {
	server := harness.StartConsul(t)
	server.Kill(t)
	enableACL(t, filepath.Join(server.Dir, "config.json"))
	server.Again(t)
	manager := aclClient(t, server.Address, managerToken)
	c := &contest{T: t, b: backend{address: server.Address}, api: manager, kv: manager.KV(), prefix: "acl/"}
	c.put("stacks/web", "services: {}")
	full, err := consul.New(consul.Config{Address: server.Address, Token: managerToken, Prefix: c.prefix})
	c.ok(err)
	_, _, err = full.EnsureCluster(t.Context(), allowed)
	c.ok(err)
	c.put("stacks/db", "services: {}")

	policy, token := lesser(c, manager, `key_prefix "acl/stacks/db" { policy = "deny" } key_prefix "acl/secrets/" { policy = "deny" }`)
	some, err := consul.New(consul.Config{Address: server.Address, Token: token, Prefix: c.prefix})
	c.ok(err)
	got, err := some.List(t.Context(), consul.Stacks)
	c.ok(err)
	c.is("a list without one key is marked", got.Filtered, true)
	c.is("entries", len(got.Entries), 2)
	w := c.watch(some)
	c.holds(w, consul.Filtered)
	if _, _, err := some.Get(t.Context(), "stacks/db"); consul.CauseOf(err) != consul.Forbidden {
		t.Errorf("reading a hidden key = %v, want forbidden", err)
	}
	if _, _, err := some.EnsureCluster(t.Context(), allowed); err == nil {
		t.Error("a cluster id that is hidden was taken for a missing one")
	}

	const anonymous = "00000000-0000-0000-0000-000000000002"
	_, _, err = manager.ACL().TokenUpdate(&api.ACLToken{AccessorID: anonymous, Policies: []*api.ACLLink{{ID: policy}}}, nil)
	c.ok(err)
	blank, err := consul.New(consul.Config{Address: server.Address, Prefix: c.prefix})
	c.ok(err)
	c.eventually("the anonymous token sees less, and no mark", func() bool {
		got, err := blank.List(t.Context(), consul.Secrets)
		return err == nil && len(got.Entries) == 0 && !got.Filtered
	})
	c.holds(c.watch(blank), consul.Unvouched)

	_, err = manager.ACL().TokenDelete(accessor(c, manager, token), nil)
	c.ok(err)
	c.eventually("a token that was revoked is forbidden", func() bool {
		_, err := some.List(t.Context(), consul.Stacks)
		return err != nil && consul.CauseOf(err) == consul.Forbidden
	})
}

// enableACL makes a server's configuration allow all that is not denied, so that the harness goes on without a token.
func enableACL(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	config["acl"] = map[string]any{
		"enabled": true, "default_policy": "allow", "tokens": map[string]any{"initial_management": managerToken},
		"token_ttl": "0s", "policy_ttl": "0s",
	}
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func aclClient(t *testing.T, address, token string) *api.Client {
	t.Helper()
	client, err := api.NewClient(&api.Config{Address: address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// lesser makes a policy and a token with it.
func lesser(c *contest, manager *api.Client, rules string) (policy, token string) {
	c.Helper()
	return lesserNamed(c, manager, "lesser", rules)
}

func lesserNamed(c *contest, manager *api.Client, name, rules string) (policy, token string) {
	c.Helper()
	var made *api.ACLPolicy
	c.eventually("the server takes a policy", func() bool {
		var err error
		made, _, err = manager.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil)
		return err == nil
	})
	t, _, err := manager.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: made.ID}}}, nil)
	c.ok(err)
	return made.ID, t.SecretID
}

func accessor(c *contest, manager *api.Client, secret string) string {
	c.Helper()
	t, _, err := manager.ACL().TokenReadSelf(&api.QueryOptions{Token: secret})
	c.ok(err)
	return t.AccessorID
}
