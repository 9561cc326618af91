package compose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/brambled/brambled/reconciler/spec"
)

// process renders what the process is and sees.
func (r *render) process(s types.ServiceConfig, path string, b *spec.Body) {
	b.Command, b.ClearCommand = s.Command, s.Command != nil && len(s.Command) == 0
	b.Entrypoint, b.ClearEntrypoint = s.Entrypoint, s.Entrypoint != nil && len(s.Entrypoint) == 0
	b.Env = r.environment(s, path)
	b.Labels = r.labels(s.Labels, path)
	b.Annotations = maps.Clone(map[string]string(s.Annotations))
	b.User, b.GroupAdd, b.WorkingDir = s.User, s.GroupAdd, s.WorkingDir
	b.Hostname, b.Domainname = s.Hostname, s.DomainName
	b.TTY, b.StdinOpen = s.Tty, s.StdinOpen
	b.StopSignal, b.Init = s.StopSignal, s.Init
	if s.StopGracePeriod != nil {
		seconds := int(math.Ceil(time.Duration(*s.StopGracePeriod).Seconds()))
		b.StopSeconds = &seconds
	}
	if s.Logging != nil {
		b.LogDriver, b.LogOptions = s.Logging.Driver, map[string]string(s.Logging.Options)
	}
	for i, e := range s.Expose {
		if !strings.Contains(e, "/") {
			e += "/tcp"
		}
		if !exposed.MatchString(e) {
			r.fault(fmt.Sprintf("%s.expose[%d]", path, i), fmt.Sprintf("%q is no port", s.Expose[i]), "write a port or a range, such as 80, 53/udp or 3000-3005")
		}
		b.Expose = append(b.Expose, e)
	}
	slices.Sort(b.Expose)
	for i, ip := range s.DNS {
		r.address(ip, fmt.Sprintf("%s.dns[%d]", path, i))
	}
	b.DNS, b.DNSOptions, b.DNSSearch = s.DNS, s.DNSOpts, s.DNSSearch
	b.ExtraHosts = s.ExtraHosts.AsList(":")
	slices.Sort(b.ExtraHosts)
}

var (
	exposed    = regexp.MustCompile(`^\d{1,5}(-\d{1,5})?/(tcp|udp|sctp)$`)
	permission = regexp.MustCompile(`^[rwm]*$`)
)

// address refuses what is no address; an empty one is none.
func (r *render) address(ip, path string) {
	if _, err := netip.ParseAddr(ip); ip != "" && err != nil {
		r.fault(path, fmt.Sprintf("%q is no address", ip), "write one such as 192.168.1.10")
	}
}

// environment resolves names without value from the variables: KV has no environment to pass on.
func (r *render) environment(s types.ServiceConfig, path string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.Environment)) {
		if v := s.Environment[k]; v != nil {
			out = append(out, k+"="+*v)
			continue
		}
		// What is left here came in by extends, and has no line of its own.
		v, ok := r.lookup(k)
		if !ok {
			r.found = append(r.found, r.noValue(path+".environment", k))
		}
		if r.kinds[s.Name].swarm && r.differs(k) {
			r.found = append(r.found, r.ofOneNode(path+".environment", k))
		}
		out = append(out, k+"="+v)
	}
	return out
}

// labels refuses those that are ours to set.
func (r *render) labels(l types.Labels, path string) map[string]string {
	if len(l) == 0 {
		return nil
	}
	for k := range l {
		if strings.HasPrefix(k, "brambled.") || strings.HasPrefix(k, "com.docker.compose.") {
			r.fault(path+".labels."+k, "this label is set by brambled", "choose another name")
		}
	}
	return maps.Clone(map[string]string(l))
}

// isolation renders namespaces, rights and devices.
func (r *render) isolation(s types.ServiceConfig, path string, b *spec.Body) {
	b.NetworkMode = r.namespace(s.Name, "network_mode", s.NetworkMode, "bridge", "host", "none")
	b.PID = r.namespace(s.Name, "pid", s.Pid, "host")
	b.IPC = r.namespace(s.Name, "ipc", s.Ipc, "host", "none", "private", "shareable")
	b.UTS = r.hostOnly(s.Uts, path+".uts")
	b.UsernsMode = r.hostOnly(s.UserNSMode, path+".userns_mode")
	b.Cgroup, b.CgroupParent = s.Cgroup, s.CgroupParent
	b.Runtime, b.MacAddress = s.Runtime, s.MacAddress
	if s.MacAddress != "" {
		r.hardwareAddress(s.MacAddress, path+".mac_address")
	}
	b.Privileged, b.ReadOnly = s.Privileged, s.ReadOnly
	b.CapAdd, b.CapDrop = capabilities(s.CapAdd), capabilities(s.CapDrop)
	b.SecurityOpt = r.securityOptions(s.SecurityOpt, path)
	b.Sysctls, b.StorageOpt = maps.Clone(map[string]string(s.Sysctls)), s.StorageOpt
	for _, name := range slices.Sorted(maps.Keys(s.Ulimits)) {
		u := s.Ulimits[name]
		soft, hard := u.Soft, u.Hard
		if u.Single != 0 {
			soft, hard = u.Single, u.Single
		}
		if hard >= 0 && (soft > hard || soft < 0) {
			r.fault(path+".ulimits."+name, fmt.Sprintf("the soft limit %d is above the hard limit %d", soft, hard), "raise hard")
		}
		b.Ulimits = append(b.Ulimits, spec.Ulimit{Name: name, Soft: int64(soft), Hard: int64(hard)})
	}
	for i, d := range s.Devices {
		if !permission.MatchString(d.Permissions) {
			r.fault(fmt.Sprintf("%s.devices[%d]", path, i), fmt.Sprintf("%q are no permissions", d.Permissions), "use letters of rwm")
		}
		b.Devices = append(b.Devices, spec.Device{Source: d.Source, Target: d.Target, Permissions: d.Permissions})
	}
	b.DeviceRules = s.DeviceCgroupRules
	b.DeviceRequests = requests(s.Gpus, "gpu")
	if s.Deploy != nil && s.Deploy.Resources.Reservations != nil {
		b.DeviceRequests = append(b.DeviceRequests, requests(s.Deploy.Resources.Reservations.Devices, "")...)
	}
}

// namespace checks a namespace mode; service:NAME becomes the first container of that service.
func (r *render) namespace(self, key, mode string, plain ...string) string {
	path := "services." + self + "." + key
	kind, name, _ := strings.Cut(mode, ":")
	switch {
	case mode == "" || slices.Contains(plain, mode):
		return mode
	case kind == "container" && name != "":
		return mode
	case kind != "service":
		r.fault(path, fmt.Sprintf("unknown mode %q", mode), "use "+strings.Join(plain, ", ")+", service:NAME or container:NAME")
		return ""
	}
	target, ok := r.p.Services[name]
	if !ok {
		r.fault(path, fmt.Sprintf("there is no service %q", name), "name a service of this file")
		return ""
	}
	if r.kinds[self].here && !r.kinds[name].here {
		r.fault(path, fmt.Sprintf("service %s does not run on this node", name), "give both services the same x-brambled.nodes")
	}
	if target.ContainerName != "" {
		return "container:" + target.ContainerName
	}
	return fmt.Sprintf("container:%s-%s-1", r.name, name)
}

// hostOnly checks a mode that is the host's or, unset, the container's own.
func (r *render) hostOnly(mode, path string) string {
	if mode != "" && mode != "host" {
		r.fault(path, fmt.Sprintf("unknown mode %q", mode), "use host, or leave it out")
	}
	return mode
}

// capabilities are compared by the engine's own spelling, so that NET_ADMIN and CAP_NET_ADMIN are one.
func capabilities(in []string) []string {
	var out []string
	for _, c := range in {
		c = strings.ToUpper(c)
		if c != "ALL" && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		out = append(out, c)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// securityOptions refuses profiles that would have to be read from a file.
func (r *render) securityOptions(in []string, path string) []string {
	var out []string
	for _, o := range in {
		kind, value, ok := strings.Cut(o, "=")
		if !ok {
			kind, value, ok = strings.Cut(o, ":")
			o = strings.TrimSuffix(kind+"="+value, "=")
		}
		if kind == "seccomp" && ok && value != "unconfined" && value != "builtin" && !strings.HasPrefix(value, "{") {
			r.fault(path+".security_opt", "a seccomp profile in a file cannot be read: "+value, "write the profile's JSON in place of its path")
		}
		out = append(out, o)
	}
	slices.Sort(out)
	return out
}

func requests(in []types.DeviceRequest, capability string) []spec.DeviceRequest {
	var out []spec.DeviceRequest
	for _, d := range in {
		caps := slices.Clone(d.Capabilities)
		if capability != "" && !slices.Contains(caps, capability) {
			caps = append(caps, capability)
		}
		out = append(out, spec.DeviceRequest{Driver: d.Driver, Count: int(d.Count), IDs: d.IDs, Capabilities: [][]string{caps}, Options: d.Options})
	}
	return out
}

// resources renders limits; compose-go refuses files where the two ways of writing one differ.
func (r *render) resources(s types.ServiceConfig, path string, b *spec.Body) {
	b.ShmBytes = int64(s.ShmSize)
	b.NanoCPUs = int64(math.Round(float64(s.CPUS) * 1e9))
	b.CPUShares, b.CPUPeriodMicros, b.CPUQuotaMicros = s.CPUShares, s.CPUPeriod, s.CPUQuota
	b.CPURTPeriodMicros, b.CPURTRuntimeMicros, b.CPUSet = s.CPURTPeriod, s.CPURTRuntime, s.CPUSet
	b.MemoryBytes, b.MemoryReservationBytes, b.MemorySwapBytes = int64(s.MemLimit), int64(s.MemReservation), int64(s.MemSwapLimit)
	if r.d.lines[path+".mem_swappiness"] > 0 || s.MemSwappiness > 0 {
		v := int64(s.MemSwappiness)
		b.MemorySwappiness = &v
	}
	pids := s.PidsLimit
	if s.Deploy != nil {
		if l := s.Deploy.Resources.Limits; l != nil {
			if l.NanoCPUs > 0 {
				b.NanoCPUs = int64(math.Round(float64(l.NanoCPUs) * 1e9))
			}
			b.MemoryBytes = max(b.MemoryBytes, int64(l.MemoryBytes))
			pids = cmp.Or(pids, l.Pids)
		}
		if v := s.Deploy.Resources.Reservations; v != nil {
			b.MemoryReservationBytes = max(b.MemoryReservationBytes, int64(v.MemoryBytes))
		}
	}
	if pids != 0 {
		b.PidsLimit = &pids
	}
	if b.NanoCPUs > 0 && (b.CPUPeriodMicros > 0 || b.CPUQuotaMicros > 0) {
		r.fault(path+".cpus", "cpus excludes cpu_period and cpu_quota", "keep one of the two ways")
	}
	b.OOMKillDisable, b.OOMScoreAdj = s.OomKillDisable, int(s.OomScoreAdj)
	b.Blkio = blkio(s.BlkioConfig)
}

func blkio(in *types.BlkioConfig) *spec.Blkio {
	if in == nil {
		return nil
	}
	rates := func(list []types.ThrottleDevice) (out []spec.BlkioRate) {
		for _, t := range list {
			out = append(out, spec.BlkioRate{Path: t.Path, Rate: int64(t.Rate)})
		}
		return out
	}
	out := &spec.Blkio{
		Weight:        in.Weight,
		DeviceReadBps: rates(in.DeviceReadBps), DeviceReadIOps: rates(in.DeviceReadIOps),
		DeviceWriteBps: rates(in.DeviceWriteBps), DeviceWriteIOps: rates(in.DeviceWriteIOps),
	}
	for _, w := range in.WeightDevice {
		out.WeightDevice = append(out.WeightDevice, spec.BlkioWeight{Path: w.Path, Weight: w.Weight})
	}
	return out
}

// health renders the health check and reports whether there is one.
func (r *render) health(s types.ServiceConfig, path string, b *spec.Body) bool {
	h := s.HealthCheck
	if h == nil {
		return false
	}
	if h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE" {
		b.Health = &spec.Health{Test: []string{"NONE"}}
		return false
	}
	b.Health = &spec.Health{
		Test:          h.Test,
		IntervalNanos: nanos(h.Interval), TimeoutNanos: nanos(h.Timeout),
		StartPeriodNanos: nanos(h.StartPeriod), StartIntervalNanos: nanos(h.StartInterval),
	}
	if h.Retries != nil {
		b.Health.Retries = int(min(*h.Retries, math.MaxInt32))
	}
	for key, v := range map[string]int64{"interval": b.Health.IntervalNanos, "timeout": b.Health.TimeoutNanos, "start_period": b.Health.StartPeriodNanos} {
		if v != 0 && v < int64(time.Millisecond) {
			r.fault(path+".healthcheck."+key, "the engine takes no duration below 1ms", "write one with its unit, such as 10s")
		}
	}
	// Without a test of its own, the file only tunes the image's check, and the image may have none.
	return len(h.Test) > 0
}

func nanos(d *types.Duration) int64 {
	if d == nil {
		return 0
	}
	return int64(*d)
}

// ports renders published ports and notes the fixed ones.
func (r *render) ports(s types.ServiceConfig, path string, c *spec.Container) {
	for i, p := range s.Ports {
		at := fmt.Sprintf("%s.ports[%d]", path, i)
		if r.d.lines[at] == 0 {
			at = path + ".ports" // of a range
		}
		if p.Target == 0 || p.Target > math.MaxUint16 {
			r.fault(at, fmt.Sprintf("%d is no port", p.Target), "use 1 to 65535")
			continue
		}
		if c.Body.NetworkMode != "" && c.Body.NetworkMode != "bridge" {
			r.fault(at, fmt.Sprintf("with network_mode %s there is nothing to publish", s.NetworkMode), "remove ports")
		}
		if p.Mode == "ingress" && r.d.lines[at+".mode"] > 0 {
			r.fault(at+".mode", "ingress is for Swarm services", "remove it, or use host")
		}
		port := spec.Port{HostIP: p.HostIP, Published: p.Published, Target: uint16(p.Target), Protocol: cmp.Or(p.Protocol, "tcp")}
		if !slices.Contains([]string{"tcp", "udp", "sctp"}, port.Protocol) {
			r.fault(at, fmt.Sprintf("%q is no protocol", port.Protocol), "use tcp, udp or sctp")
		}
		c.Body.Ports = append(c.Body.Ports, port)
		r.hostPort(port, at, c)
	}
	slices.SortFunc(c.Body.Ports, func(a, b spec.Port) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	slices.Sort(c.HostPorts)
	c.HostPorts = slices.Compact(c.HostPorts)
}

// hostPort notes a fixed host port. One of a range is picked by the engine, and never clashes.
func (r *render) hostPort(p spec.Port, at string, c *spec.Container) {
	if p.Published == "" || p.Published == "0" {
		return
	}
	for part := range strings.SplitSeq(p.Published, "-") {
		if n, err := strconv.ParseUint(part, 10, 16); err != nil || n == 0 {
			r.fault(at, fmt.Sprintf("%q is no port", p.Published), "use 1 to 65535, or a range")
			return
		}
	}
	if strings.Contains(p.Published, "-") {
		return
	}
	ip := p.HostIP
	if ip == "" || ip == "::" {
		ip = "0.0.0.0"
	}
	fixed := fmt.Sprintf("%s:%s/%s", ip, p.Published, p.Protocol)
	for _, other := range c.Body.Ports[:len(c.Body.Ports)-1] {
		both := []string{other.HostIP, p.HostIP}
		slices.Sort(both)
		// All addresses of either family, written as two lines, are two host ports.
		if slices.Equal(both, []string{"0.0.0.0", "::"}) || other.Published != p.Published || other.Protocol != p.Protocol {
			continue
		}
		if PortsClash(fixed, fmt.Sprintf("%s:%s/%s", cmp.Or(strings.TrimPrefix(other.HostIP, "::"), "0.0.0.0"), other.Published, other.Protocol)) {
			r.fault(at, fmt.Sprintf("host port %s is published twice", fixed), "publish another one")
		}
	}
	c.HostPorts = append(c.HostPorts, fixed)
}
