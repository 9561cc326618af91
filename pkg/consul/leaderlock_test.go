package consul_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/lease/leasetest"
)

// leases runs the contract of the leader key against a Consul, each case below a prefix of its own.
func leases(t *testing.T, address string, ttl time.Duration) {
	outside, err := api.NewClient(&api.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	leasetest.Contract(t, func(tb testing.TB) leasetest.Backend {
		cases++
		prefix := fmt.Sprintf("lease/%d/", cases)
		client, err := consul.New(consul.Config{Address: address, Prefix: prefix})
		if err != nil {
			tb.Fatal(err)
		}
		return leasetest.Backend{
			Store: consul.NewLeaderLock(client), TTL: ttl,
			Put: func(value string) {
				if _, err := outside.KV().Put(&api.KVPair{Key: prefix + "leader", Value: []byte(value)}, nil); err != nil {
					tb.Fatal(err)
				}
			},
			Delete: func() {
				if _, err := outside.KV().Delete(prefix+"leader", nil); err != nil {
					tb.Fatal(err)
				}
			},
			Live: func(id string) bool {
				info, _, err := outside.Session().Info(id, nil)
				if err != nil {
					tb.Fatal(err)
				}
				return info != nil
			},
		}
	})
}

func TestLeaseContractFake(t *testing.T) {
	s := consultest.Start(t)
	s.MinTTL = 500 * time.Millisecond
	leases(t, s.URL, s.MinTTL)
}
