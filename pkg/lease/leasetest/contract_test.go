package leasetest_test

import (
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/lease/leasetest"
)

func TestContractFake(t *testing.T) {
	leasetest.Contract(t, func(testing.TB) leasetest.Backend {
		s := leasetest.New()
		s.MinTTL = 500 * time.Millisecond
		return leasetest.Backend{Store: s.Link(), TTL: s.MinTTL, Put: s.Put, Delete: s.Delete, Live: s.Live}
	})
}
