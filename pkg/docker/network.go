package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// createNetwork looks for the name first: engines before API 1.44 make a second network of one name without a word, and a
// create whose reply was lost is repeated.
func (e *Engine) createNetwork(ctx context.Context, a plan.CreateNetwork) error {
	have, err := e.networksNamed(ctx, a.Network.Name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(n network.Summary) bool {
		return n.Labels[spec.LabelCluster] == a.Owner && n.Labels[spec.LabelHash] == a.Network.Hash
	}) {
		return nil
	}
	if len(have) > 0 {
		id := short(have[0].ID)
		return fmt.Errorf("the name is taken by network %s: docker network rm %s, or declare it external", id, id)
	}
	ipam, err := ipamConfig(a.Network.IPAM)
	if err != nil {
		return err
	}
	return e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		if v := a.Network.EnableIPv4; v != nil && !*v && !c.atLeast("1.48") {
			return &UnsupportedError{Lacks: "enable_ipv4: false needs Docker Engine 28 (API 1.48); this engine speaks API " + c.version}
		}
		o := client.NetworkCreateOptions{
			Driver: a.Network.Driver, Options: a.Network.Options, Internal: a.Network.Internal, Attachable: a.Network.Attachable,
			EnableIPv4: a.Network.EnableIPv4, EnableIPv6: a.Network.EnableIPv6, IPAM: ipam, Labels: networkLabels(a),
		}
		if !c.atLeast("1.44") {
			o.EnableIPv4 = nil
			ctx = withOldField(ctx, "CheckDuplicate", true)
		}
		_, err := c.NetworkCreate(ctx, a.Network.Name, o)
		return err
	})
}

func (e *Engine) networksNamed(ctx context.Context, name string) ([]network.Summary, error) {
	var out []network.Summary
	err := e.call(ctx, e.cfg.CallTimeout, func(ctx context.Context, c *conn) error {
		res, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("name", name)})
		for _, n := range res.Items {
			if n.Name == name { // the filter also finds names that contain it
				out = append(out, n)
			}
		}
		return err
	})
	return out, err
}

func ipamConfig(in *spec.IPAM) (*network.IPAM, error) {
	if in == nil {
		return nil, nil
	}
	out := &network.IPAM{Driver: in.Driver, Options: in.Options}
	for _, p := range in.Pools {
		c, err := pool(p)
		if err != nil {
			return nil, err
		}
		out.Config = append(out.Config, c)
	}
	return out, nil
}

func pool(p spec.Pool) (network.IPAMConfig, error) {
	var c network.IPAMConfig
	var err error
	prefix := func(what, s string) (out netip.Prefix) {
		if s != "" && err == nil {
			if out, err = netip.ParsePrefix(s); err != nil {
				err = fmt.Errorf("ipam %s: %w", what, err)
			}
		}
		return out
	}
	addr := func(what, s string) (out netip.Addr) {
		if s != "" && err == nil {
			if out, err = netip.ParseAddr(s); err != nil {
				err = fmt.Errorf("ipam %s: %w", what, err)
			}
		}
		return out
	}
	c.Subnet, c.IPRange, c.Gateway = prefix("subnet", p.Subnet), prefix("ip_range", p.Range), addr("gateway", p.Gateway)
	for _, k := range sortedKeys(p.Aux) {
		if c.AuxAddress == nil {
			c.AuxAddress = map[string]netip.Addr{}
		}
		c.AuxAddress[k] = addr("aux_addresses."+k, p.Aux[k])
	}
	return c, err
}

func (e *Engine) removeNetwork(ctx context.Context, a plan.RemoveNetwork) error {
	id := idOr(a.ID, a.Name)
	err := e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
		return err
	})
	switch {
	case cerrdefs.IsNotFound(err):
		return nil
	case err != nil && strings.Contains(err.Error(), "network "+id+" not found"):
		return nil // status 500: Swarm has removed its network, and the engine not yet its own part of it
	}
	return err
}

// connect joins a container to a network as a create would. An endpoint left from a network that was removed and made
// again under the same name is in the way and is dropped first.
func (e *Engine) connect(ctx context.Context, id string, at spec.Attachment) error {
	defer e.cache.dirty(id)
	err := e.connectOnce(ctx, id, at)
	if err == nil {
		return nil
	}
	info, ierr := e.inspect(ctx, id)
	if ierr != nil || !onNetwork(info, at.Network) {
		return err
	}
	live, lerr := e.networksNamed(ctx, at.Network)
	if lerr != nil {
		return err
	}
	left := info.NetworkSettings.Networks[at.Network].NetworkID
	for _, n := range live {
		if n.ID == left || left == "" {
			return nil // connected already
		}
	}
	if derr := e.disconnect(ctx, id, at.Network); derr != nil {
		return derr
	}
	return e.connectOnce(ctx, id, at)
}

func (e *Engine) connectOnce(ctx context.Context, id string, at spec.Attachment) error {
	end, err := endpoint(at)
	if err != nil {
		return err
	}
	return e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.NetworkConnect(ctx, at.Network, client.NetworkConnectOptions{Container: id, EndpointConfig: end})
		return err
	})
}

// disconnect is forced, so that it also works for a container that does not run and a network that is gone.
func (e *Engine) disconnect(ctx context.Context, id, name string) error {
	defer e.cache.dirty(id)
	err := e.call(ctx, e.cfg.ChangeTimeout, func(ctx context.Context, c *conn) error {
		_, err := c.NetworkDisconnect(ctx, name, client.NetworkDisconnectOptions{Container: id, Force: true})
		return err
	})
	if err == nil {
		return nil
	}
	info, ierr := e.inspect(ctx, id)
	if cerrdefs.IsNotFound(ierr) || ierr == nil && !onNetwork(info, name) {
		return nil
	}
	return err
}

func onNetwork(info container.InspectResponse, name string) bool {
	return info.NetworkSettings != nil && info.NetworkSettings.Networks[name] != nil
}
