package harness

import (
	"encoding/json"
	"net/http"
	"testing"
)

// KVOp is one operation of a transaction.
type KVOp struct{ Verb, Key string }

// DeleteKey removes a key.
func DeleteKey(key string) KVOp { return KVOp{Verb: "delete", Key: key} }

// Txn does operations at one moment: all of them or none.
func (c *Consul) Txn(t testing.TB, ops ...KVOp) {
	t.Helper()
	var body []map[string]KVOp
	for _, op := range ops {
		body = append(body, map[string]KVOp{"KV": op})
	}
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("make transaction: %v", err)
	}
	if _, err := c.request(http.MethodPut, "/v1/txn", data); err != nil {
		t.Fatalf("do transaction: %v", err)
	}
}
