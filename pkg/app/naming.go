package app

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lastgood"
	"github.com/brambled/brambled/pkg/status"
	"github.com/brambled/brambled/reconciler/spec"
)

// errRenamed ends the daemon after its new name was approved: systemd starts it again, under that name from the start.
var errRenamed = errors.New("the new name or labels of this node were approved; brambled must be started again to take them up")

// identify settles who this node is. Its name, address and labels are fixed at its first start; a change of the name or the
// labels that would take services away from it is held, and the former ones stay in force (safety rule 4).
func (a *App) identify(was lastgood.State) {
	if was.Node == "" {
		a.rememberIdentity()
		return
	}
	if a.cfg.AddressFound && was.Address != "" && was.Address != a.cfg.Address && onThisMachine(was.Address) {
		// Found anew at each start, it would follow a VIP, or whichever card is up first.
		a.cfg.Address = was.Address
	}
	former := a.cfg
	former.Node, former.Labels = was.Node, was.Labels
	lost := lostServices(former, a.cfg, a.tier, recalledSnapshot(was))
	if former.Node == a.cfg.Node && maps.Equal(former.Labels, a.cfg.Labels) || len(lost) == 0 {
		a.rememberIdentity()
		return
	}
	id := spec.HoldID(append([]string{"node " + was.Node + " to " + a.cfg.Node}, lost...)...)
	if slices.Contains(was.Approved, id) {
		a.rememberIdentity()
		return
	}
	a.renamed = &status.Hold{
		ID: id, Scope: "node", Cause: "node renamed",
		Detail: fmt.Sprintf("as %s with labels %v this node would lose %s; it goes on as %s with labels %v", a.cfg.Node, a.cfg.Labels, strings.Join(lost, ", "), was.Node, was.Labels),
		Lifts:  "brambled approve " + id + ", or put the former name and labels back (node, labels)",
	}
	a.log.Warn("held, nothing is removed", zap.String("cause", a.renamed.Cause), zap.String("detail", a.renamed.Detail), zap.String("id", id))
	a.cfg.Node, a.cfg.Labels = was.Node, was.Labels
}

func (a *App) rememberIdentity() {
	a.memory.change(func(s *lastgood.State) bool {
		if s.Node == a.cfg.Node && s.Address == a.cfg.Address && maps.Equal(s.Labels, a.cfg.Labels) {
			return false
		}
		s.Node, s.Address, s.Labels = a.cfg.Node, a.cfg.Address, maps.Clone(a.cfg.Labels)
		return true
	})
}

// renameApproved reports whether a person has approved the new name, and remembers that for the next start.
func (a *App) renameApproved() bool {
	if a.renamed == nil || !a.approvals.given(a.renamed.ID, 0) {
		return false
	}
	a.memory.change(func(s *lastgood.State) bool {
		s.Approved = append(slices.Clone(s.Approved), a.renamed.ID)
		slices.Sort(s.Approved)
		return true
	})
	return true
}

// lostServices are the services that run here under the former identity and would not under the new one.
func lostServices(former, now config.Config, t tier, snap *consul.Snapshot) []string {
	here := func(c config.Config) map[string]bool {
		out := map[string]bool{}
		_, files := sources(c, t, snap)
		for _, f := range files {
			loaded, err := compose.Load(f.Name, f.Source, f.File, f.Env)
			if err != nil {
				continue
			}
			for _, s := range loaded.Services {
				if s.Here {
					out[f.Name+"/"+s.Name] = true
				}
			}
		}
		return out
	}
	was, is := here(former), here(now)
	maps.DeleteFunc(was, func(s string, _ bool) bool { return is[s] })
	return slices.Sorted(maps.Keys(was))
}

func onThisMachine(address string) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		ip, _, err := net.ParseCIDR(a.String())
		return err == nil && ip.String() == address
	})
}
