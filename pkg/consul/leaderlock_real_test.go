//go:build integration

package consul_test

import (
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// TestLeaseContractConsul is the contract of the leader key against a real server.
func TestLeaseContractConsul(t *testing.T) {
	leases(t, harness.StartConsul(t).Address, 2*time.Second)
}
