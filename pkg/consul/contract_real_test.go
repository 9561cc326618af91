//go:build integration

package consul_test

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/e2e/harness"
)

// TestContractConsul is the contract against a real server.
func TestContractConsul(t *testing.T) {
	server := harness.StartConsul(t)
	contract(t, backend{
		address: server.Address, ttl: 2 * time.Second,
		// The server outlives the case that restarts it, so it belongs to the whole test.
		restart: func(testing.TB) { server.Kill(t); server.Again(t) },
		wipe: func(tb testing.TB) {
			server.Kill(t)
			if err := os.RemoveAll(server.DataDir()); err != nil {
				tb.Fatal(err)
			}
			server.Again(t)
		},
		save: func(tb testing.TB) func(testing.TB) {
			client, err := api.NewClient(&api.Config{Address: server.Address})
			if err != nil {
				tb.Fatal(err)
			}
			image := snapshot(tb, client)
			return func(tb testing.TB) {
				if err := client.Snapshot().Restore(nil, bytes.NewReader(image)); err != nil {
					tb.Fatal(err)
				}
			}
		},
	})
}

func snapshot(tb testing.TB, client *api.Client) []byte {
	tb.Helper()
	r, _, err := client.Snapshot().Save(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it was read to its end
	image, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return image
}
