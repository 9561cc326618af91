package app

import (
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/status"
)

// A node that was killed at its first start knows who it is and belongs to no cluster: the next start founds one.
func TestKilledBeforeTheFirstCluster(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) {
		s, _, _ := lastgood.Open(c.StateDir, zaptest.NewLogger(t), nil)
		if err := s.Save(lastgood.State{Node: c.Node, Address: c.Address}); err != nil {
			t.Fatal(err)
		}
	})
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
}
