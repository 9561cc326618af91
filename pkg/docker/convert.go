package docker

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// request is a create fitted to one API version.
type request struct {
	options client.ContainerCreateOptions
	// later are the networks to connect before the first start: before API 1.44 a create takes one.
	later []spec.Attachment
	// oldMAC goes into a field of API versions before 1.44.
	oldMAC string
}

// surroundings are what a conversion needs to know besides the action.
type surroundings struct {
	api       string
	fileDir   string
	image     imageInfo
	inherited map[string]string // target → anonymous volume of the predecessor
}

// convert fits an action to the engine. Every field of [spec.Body] ends up in the request, or an error says why not.
func convert(a plan.Create, s surroundings) (request, error) {
	if what := lacks(a.Spec, s.api); what != "" {
		return request{}, &UnsupportedError{Lacks: what}
	}
	host, err := hostConfig(a.Spec, s)
	if err != nil {
		return request{}, err
	}
	config, err := containerConfig(a, s)
	if err != nil {
		return request{}, err
	}
	platform, err := parsePlatform(a.Spec.Platform)
	if err != nil {
		return request{}, err
	}
	r := request{options: client.ContainerCreateOptions{Name: a.Name, Config: config, HostConfig: host, Platform: platform}}
	for _, p := range a.Spec.Body.Ports {
		if err := publish(p, config, host); err != nil {
			return request{}, err
		}
	}
	return r, r.attach(a.Spec, s.api)
}

func containerConfig(a plan.Create, s surroundings) (*container.Config, error) {
	b := a.Spec.Body
	var names []string
	for _, target := range sortedKeys(s.inherited) {
		names = append(names, s.inherited[target])
	}
	c := &container.Config{
		Image: a.Spec.Image, Cmd: b.Command, Entrypoint: b.Entrypoint, Env: b.Env,
		Labels: containerLabels(a, s.image.ID, names),
		User:   b.User, WorkingDir: b.WorkingDir, Hostname: b.Hostname, Domainname: b.Domainname,
		Tty: b.TTY, OpenStdin: b.StdinOpen, StopSignal: b.StopSignal, StopTimeout: b.StopSeconds,
		Healthcheck:  healthConfig(b.Health),
		ExposedPorts: network.PortSet{},
	}
	clearCommand(c, b, s.image)
	for _, e := range b.Expose {
		ports, err := network.ParsePortRange(e)
		if err != nil {
			return nil, fmt.Errorf("expose %q: %w", e, err)
		}
		for p := range ports.All() {
			c.ExposedPorts[p] = struct{}{}
		}
	}
	return c, nil
}

// clearCommand drops the image's own command or entry point. The engine takes an empty list for "not given" and falls back
// on the image's command unless an entry point is given, if only an empty one.
func clearCommand(c *container.Config, b spec.Body, img imageInfo) {
	switch {
	case b.ClearEntrypoint && b.ClearCommand:
		c.Entrypoint = []string{""}
	case b.ClearEntrypoint:
		c.Entrypoint = []string{}
	case b.ClearCommand && len(b.Entrypoint) == 0:
		c.Entrypoint = img.Entrypoint
		if len(c.Entrypoint) == 0 {
			c.Entrypoint = []string{""}
		}
	}
	if b.ClearCommand {
		c.Cmd = []string{}
	}
}

func healthConfig(h *spec.Health) *container.HealthConfig {
	if h == nil {
		return nil
	}
	return &container.HealthConfig{
		Test: h.Test, Retries: h.Retries,
		Interval: time.Duration(h.IntervalNanos), Timeout: time.Duration(h.TimeoutNanos),
		StartPeriod: time.Duration(h.StartPeriodNanos), StartInterval: time.Duration(h.StartIntervalNanos),
	}
}

// publish adds a published port, which is exposed as well.
func publish(p spec.Port, c *container.Config, h *container.HostConfig) error {
	port, ok := network.PortFrom(p.Target, network.IPProtocol(p.Protocol))
	if !ok {
		return fmt.Errorf("port %d/%s is not valid", p.Target, p.Protocol)
	}
	binding := network.PortBinding{HostPort: p.Published}
	if p.HostIP != "" {
		ip, err := netip.ParseAddr(p.HostIP)
		if err != nil {
			return fmt.Errorf("host_ip of port %s: %w", port, err)
		}
		binding.HostIP = ip
	}
	c.ExposedPorts[port] = struct{}{}
	h.PortBindings[port] = append(h.PortBindings[port], binding)
	return nil
}

func hostConfig(c spec.Container, s surroundings) (*container.HostConfig, error) {
	b := c.Body
	policy, most := policyOf(b)
	h := &container.HostConfig{
		NetworkMode: container.NetworkMode(b.NetworkMode), PortBindings: network.PortMap{},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy), MaximumRetryCount: most},
		LogConfig:     container.LogConfig{Type: b.LogDriver, Config: b.LogOptions},
		Annotations:   b.Annotations, GroupAdd: b.GroupAdd, VolumesFrom: b.VolumesFrom,
		CapAdd: b.CapAdd, CapDrop: b.CapDrop, SecurityOpt: b.SecurityOpt, Privileged: b.Privileged,
		ReadonlyRootfs: b.ReadOnly, Sysctls: b.Sysctls, StorageOpt: b.StorageOpt,
		PidMode: container.PidMode(b.PID), IpcMode: container.IpcMode(b.IPC), UTSMode: container.UTSMode(b.UTS),
		UsernsMode: container.UsernsMode(b.UsernsMode), CgroupnsMode: container.CgroupnsMode(b.Cgroup),
		Isolation: container.Isolation(b.Isolation), Runtime: b.Runtime, Init: b.Init,
		DNSOptions: b.DNSOptions, DNSSearch: b.DNSSearch, ExtraHosts: b.ExtraHosts,
		ShmSize: b.ShmBytes, OomScoreAdj: b.OOMScoreAdj,
		Resources: resources(b),
	}
	if len(c.Networks) > 0 {
		h.NetworkMode = container.NetworkMode(c.Networks[0].Network)
	}
	for _, d := range b.DNS {
		ip, err := netip.ParseAddr(d)
		if err != nil {
			return nil, fmt.Errorf("dns %q: %w", d, err)
		}
		h.DNS = append(h.DNS, ip)
	}
	return h, mounts(c, s, h)
}

func resources(b spec.Body) container.Resources {
	r := container.Resources{
		CgroupParent: b.CgroupParent, NanoCPUs: b.NanoCPUs, CPUShares: b.CPUShares,
		CPUPeriod: b.CPUPeriodMicros, CPUQuota: b.CPUQuotaMicros,
		CPURealtimePeriod: b.CPURTPeriodMicros, CPURealtimeRuntime: b.CPURTRuntimeMicros,
		CpusetCpus: b.CPUSet, CPUCount: b.CPUCount, CPUPercent: b.CPUPercent,
		Memory: b.MemoryBytes, MemoryReservation: b.MemoryReservationBytes, MemorySwap: b.MemorySwapBytes,
		MemorySwappiness: b.MemorySwappiness, PidsLimit: b.PidsLimit, DeviceCgroupRules: b.DeviceRules,
	}
	if b.OOMKillDisable {
		r.OomKillDisable = &b.OOMKillDisable
	}
	for _, u := range b.Ulimits {
		r.Ulimits = append(r.Ulimits, &units.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	devices(b, &r)
	blkio(b.Blkio, &r)
	return r
}

func devices(b spec.Body, r *container.Resources) {
	var cdi []string
	for _, d := range b.Devices {
		if isCDI(d.Source) {
			cdi = append(cdi, d.Source)
			continue
		}
		m := container.DeviceMapping{PathOnHost: d.Source, PathInContainer: d.Target, CgroupPermissions: d.Permissions}
		if m.PathInContainer == "" {
			m.PathInContainer = d.Source
		}
		if m.CgroupPermissions == "" {
			m.CgroupPermissions = "rwm"
		}
		r.Devices = append(r.Devices, m)
	}
	for _, q := range b.DeviceRequests {
		r.DeviceRequests = append(r.DeviceRequests, container.DeviceRequest{
			Driver: q.Driver, Count: q.Count, DeviceIDs: q.IDs, Capabilities: q.Capabilities, Options: q.Options,
		})
	}
	if len(cdi) > 0 {
		r.DeviceRequests = append(r.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cdi})
	}
}

// isCDI reports whether a device is named as the Container Device Interface does: vendor/class=name.
func isCDI(source string) bool {
	kind, name, ok := strings.Cut(source, "=")
	return ok && name != "" && !strings.HasPrefix(source, "/") && strings.Contains(kind, "/")
}

func blkio(b *spec.Blkio, r *container.Resources) {
	if b == nil {
		return
	}
	rates := func(list []spec.BlkioRate) (out []*blkiodev.ThrottleDevice) {
		for _, d := range list {
			out = append(out, &blkiodev.ThrottleDevice{Path: d.Path, Rate: uint64(max(0, d.Rate))})
		}
		return out
	}
	r.BlkioWeight = b.Weight
	for _, d := range b.WeightDevice {
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: d.Path, Weight: d.Weight})
	}
	r.BlkioDeviceReadBps, r.BlkioDeviceReadIOps = rates(b.DeviceReadBps), rates(b.DeviceReadIOps)
	r.BlkioDeviceWriteBps, r.BlkioDeviceWriteIOps = rates(b.DeviceWriteBps), rates(b.DeviceWriteIOps)
}

// attach puts the networks into the request, as far as the API version takes them.
func (r *request) attach(c spec.Container, api string) error {
	many := speaks(api, "1.44")
	mac := c.Body.MacAddress
	r.options.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	ends := r.options.NetworkingConfig.EndpointsConfig
	for i, n := range c.Networks {
		if i == 0 && n.MAC == "" {
			n.MAC = mac
		}
		if i > 0 && !many {
			r.later = append(r.later, n)
			continue
		}
		if !many {
			r.oldMAC, n.MAC = n.MAC, ""
		}
		end, err := endpoint(n)
		if err != nil {
			return err
		}
		ends[n.Network] = end
	}
	if len(c.Networks) > 0 || mac == "" {
		return nil
	}
	if !many {
		r.oldMAC = mac
		return nil
	}
	name := c.Body.NetworkMode
	if name == "" {
		name = network.NetworkDefault
	}
	end, err := endpoint(spec.Attachment{Network: name, MAC: mac})
	ends[name] = end
	return err
}

// endpoint is one attachment as the engine takes it.
func endpoint(n spec.Attachment) (*network.EndpointSettings, error) {
	e := &network.EndpointSettings{Aliases: n.Aliases, DriverOpts: n.DriverOpts, GwPriority: n.GatewayPriority}
	if n.MAC != "" {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil {
			return nil, fmt.Errorf("mac_address on network %s: %w", n.Network, err)
		}
		e.MacAddress = network.HardwareAddr(mac)
	}
	if n.IPv4 == "" && n.IPv6 == "" && len(n.LinkLocal) == 0 {
		return e, nil
	}
	e.IPAMConfig = &network.EndpointIPAMConfig{}
	var err error
	parse := func(s string) netip.Addr {
		if s == "" || err != nil {
			return netip.Addr{}
		}
		var ip netip.Addr
		if ip, err = netip.ParseAddr(s); err != nil {
			err = fmt.Errorf("address on network %s: %w", n.Network, err)
		}
		return ip
	}
	e.IPAMConfig.IPv4Address, e.IPAMConfig.IPv6Address = parse(n.IPv4), parse(n.IPv6)
	for _, l := range n.LinkLocal {
		e.IPAMConfig.LinkLocalIPs = append(e.IPAMConfig.LinkLocalIPs, parse(l))
	}
	return e, err
}

// parsePlatform reads "os/arch[/variant]".
func parsePlatform(s string) (*ocispec.Platform, error) {
	if s == "" {
		return nil, nil
	}
	p := strings.Split(s, "/")
	if len(p) < 2 || len(p) > 3 {
		return nil, fmt.Errorf("platform %q: write os/arch, such as linux/arm64", s)
	}
	out := &ocispec.Platform{OS: p[0], Architecture: p[1]}
	if len(p) == 3 {
		out.Variant = p[2]
	}
	return out, nil
}
