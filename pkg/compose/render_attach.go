package compose

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/brambled/brambled/reconciler/spec"
)

// attachments renders the networks a container is on. Its service name is always an alias.
func (r *render) attachments(s types.ServiceConfig, at string, c *spec.Container) {
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		n, ok := r.p.Networks[key]
		if !ok {
			r.fault(at+".networks", fmt.Sprintf("there is no network %q", key), "declare it under the top-level networks")
			continue
		}
		if r.shared[key] {
			n.Name = r.overlayName(key)
		}
		a := spec.Attachment{Network: n.Name, Aliases: []string{s.Name}}
		if cfg := s.Networks[key]; cfg != nil {
			a.Aliases = append(a.Aliases, cfg.Aliases...)
			a.IPv4, a.IPv6, a.LinkLocal, a.MAC = cfg.Ipv4Address, cfg.Ipv6Address, cfg.LinkLocalIPs, cfg.MacAddress
			a.DriverOpts = map[string]string(cfg.DriverOpts)
			a.Priority, a.GatewayPriority = cfg.Priority, cfg.GatewayPriority
			r.fixedAddress(n, a, at+".networks."+key)
		}
		slices.Sort(a.Aliases)
		a.Aliases = slices.Compact(a.Aliases)
		c.Networks = append(c.Networks, a)
	}
	slices.SortStableFunc(c.Networks, func(a, b spec.Attachment) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Network, b.Network))
	})
	if c.Body.NetworkMode != "" {
		c.Networks = nil // compose-go refuses a file that sets both
	}
}

// fixedAddress checks the addresses asked for: the engine gives them only in a subnet the user chose.
func (r *render) fixedAddress(n types.NetworkConfig, a spec.Attachment, at string) {
	r.address(a.IPv4, at+".ipv4_address")
	r.address(a.IPv6, at+".ipv6_address")
	for i, l := range a.LinkLocal {
		r.address(l, fmt.Sprintf("%s.link_local_ips[%d]", at, i))
	}
	if a.MAC != "" {
		r.hardwareAddress(a.MAC, at+".mac_address")
	}
	if (a.IPv4 != "" || a.IPv6 != "") && !bool(n.External) && len(n.Ipam.Config) == 0 {
		r.fault(at, "a fixed address needs a network with a subnet of its own", "give the network ipam.config with a subnet")
	}
}

func (r *render) hardwareAddress(mac, at string) {
	if _, err := net.ParseMAC(mac); err != nil {
		r.fault(at, fmt.Sprintf("%q is no hardware address", mac), "write one such as 02:42:ac:11:00:02")
	}
}

// writableVolume returns a named volume that the service writes, "" when there is none.
func (r *render) writableVolume(s types.ServiceConfig) string {
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeVolume && v.Source != "" && !v.ReadOnly {
			return v.Source
		}
	}
	return ""
}

// mounts renders volumes, binds and tmpfs.
func (r *render) mounts(s types.ServiceConfig, at string, c *spec.Container) {
	for i, v := range s.Volumes {
		key := fmt.Sprintf("%s.volumes[%d]", at, i)
		if !path.IsAbs(v.Target) {
			hint := "write the path inside the container from /"
			if len(v.Target) > 1 && v.Target[1] == ':' {
				hint = "Compose takes one letter for a Windows drive: give the volume a longer name"
			}
			r.fault(key, fmt.Sprintf("the target %q is not absolute", v.Target), hint)
		}
		switch v.Type {
		case types.VolumeTypeVolume:
			r.volumeMount(v, key, c)
		case types.VolumeTypeBind:
			r.bind(v, key, c)
		case types.VolumeTypeTmpfs:
			t := spec.Tmpfs{Target: v.Target, ReadOnly: v.ReadOnly}
			if v.Tmpfs != nil {
				t.SizeBytes, t.Mode = int64(v.Tmpfs.Size), v.Tmpfs.Mode
			}
			c.Body.Tmpfs = append(c.Body.Tmpfs, t)
		default:
			r.fault(key+".type", fmt.Sprintf("`%s` cannot be applied", v.Type), "use volume, bind or tmpfs")
		}
	}
	for i, t := range s.Tmpfs {
		target, options, _ := strings.Cut(t, ":")
		if !path.IsAbs(target) {
			r.fault(fmt.Sprintf("%s.tmpfs[%d]", at, i), fmt.Sprintf("the target %q is not absolute", target), "write the path inside the container from /")
		}
		c.Body.Tmpfs = append(c.Body.Tmpfs, spec.Tmpfs{Target: target, Options: options})
	}
	slices.SortFunc(c.Volumes, func(a, b spec.VolumeMount) int { return cmp.Compare(a.Target, b.Target) })
	slices.SortFunc(c.Body.Binds, func(a, b spec.Bind) int { return cmp.Compare(a.Target, b.Target) })
	slices.SortFunc(c.Body.Tmpfs, func(a, b spec.Tmpfs) int { return cmp.Compare(a.Target, b.Target) })
}

func (r *render) volumeMount(v types.ServiceVolumeConfig, key string, c *spec.Container) {
	m := spec.VolumeMount{Target: v.Target, ReadOnly: v.ReadOnly}
	if v.Volume != nil {
		m.NoCopy, m.Subpath = v.Volume.NoCopy, v.Volume.Subpath
	}
	if v.Source != "" {
		vol, ok := r.p.Volumes[v.Source]
		if !ok {
			r.fault(key, fmt.Sprintf("there is no volume %q", v.Source), "declare it under the top-level volumes")
			return
		}
		m.Volume = vol.Name
	}
	c.Volumes = append(c.Volumes, m)
}

func (r *render) bind(v types.ServiceVolumeConfig, key string, c *spec.Container) {
	if !path.IsAbs(v.Source) {
		r.fault(key, fmt.Sprintf("%q is relative, and KV has no folder for it to be relative to", v.Source), "write an absolute path, use a named volume, or put the files into the image")
		return
	}
	b := spec.Bind{Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly, CreateSource: true}
	if v.Bind != nil {
		b.Propagation, b.SELinux, b.CreateSource = v.Bind.Propagation, v.Bind.SELinux, bool(v.Bind.CreateHostPath)
	}
	c.Body.Binds = append(c.Body.Binds, b)
}

// files renders configs and secrets into content-addressed files.
func (r *render) files(s types.ServiceConfig, at string, c *spec.Container) {
	for _, ref := range s.Configs {
		content, ok := r.config(ref.Source, at+".configs")
		if !ok {
			continue
		}
		r.file(types.FileReferenceConfig(ref), at+".configs", "/"+ref.Source, "/", content, false, c)
	}
	for _, ref := range s.Secrets {
		content, ok := r.secret(ref.Source, at+".secrets")
		if !ok {
			continue
		}
		r.file(types.FileReferenceConfig(ref), at+".secrets", ref.Source, "/run/secrets/", content, true, c)
	}
	slices.SortFunc(c.Files, func(a, b spec.File) int { return cmp.Compare(a.Target, b.Target) })
	for i := 1; i < len(c.Files); i++ {
		if c.Files[i].Target == c.Files[i-1].Target {
			r.fault(at, "two files have the target "+c.Files[i].Target, "give one of them another target")
		}
	}
}

// file adds one file; a relative target stands below dir.
func (r *render) file(ref types.FileReferenceConfig, at, target, dir string, content []byte, secret bool, c *spec.Container) {
	f := spec.File{Target: cmp.Or(ref.Target, target), Mode: 0o444, Secret: secret, Content: content}
	if !path.IsAbs(f.Target) {
		f.Target = path.Join(dir, f.Target)
	}
	if ref.Mode != nil {
		f.Mode = uint32(*ref.Mode) & 0o777
	}
	f.UID = r.number(ref.UID, at, "uid")
	f.GID = r.number(ref.GID, at, "gid")
	f.Digest = spec.FileDigest(content, f.Mode, f.UID, f.GID)
	c.Files = append(c.Files, f)
}

func (r *render) number(s, at, key string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		r.fault(at, fmt.Sprintf("%s %q is no number", key, s), "write the numeric id: names differ between the Pi and the container")
		return 0
	}
	return n
}

// config returns a config's content: inline, or the value of a variable.
func (r *render) config(name, at string) ([]byte, bool) {
	cfg, ok := r.p.Configs[name]
	if !ok {
		r.fault(at, fmt.Sprintf("there is no config %q", name), "declare it under the top-level configs")
		return nil, false
	}
	if cfg.Environment != "" {
		return r.variable(cfg.Environment, "configs."+name+".environment")
	}
	return []byte(cfg.Content), true
}

// secret returns a secret's content: from KV, or the value of a variable.
func (r *render) secret(name, at string) ([]byte, bool) {
	cfg, ok := r.p.Secrets[name]
	if !ok {
		r.fault(at, fmt.Sprintf("there is no secret %q", name), "declare it under the top-level secrets")
		return nil, false
	}
	if cfg.Environment != "" {
		return r.variable(cfg.Environment, "secrets."+name+".environment")
	}
	if !bool(cfg.External) {
		r.fault("secrets."+name, "the secret has no content", "declare it external: true and put it into KV: consul kv put "+r.env.Prefix+"secrets/"+name+" @FILE")
		return nil, false
	}
	key := cmp.Or(cfg.Name, name)
	content, ok := r.env.Secrets[key]
	if !ok {
		r.fault("secrets."+name, fmt.Sprintf("the secret %s is not there", key), "consul kv put "+r.env.Prefix+"secrets/"+key+" @FILE")
		return nil, false
	}
	r.used["secret "+key] = string(content)
	return content, true
}

func (r *render) variable(name, at string) ([]byte, bool) {
	v, ok := r.lookup(name)
	if !ok {
		r.found = append(r.found, r.noValue(at, name))
	}
	return []byte(v), ok
}

// networks renders the networks that services on this node use.
func (r *render) networks(st *spec.Stack) {
	used := map[string]bool{}
	for _, svc := range st.Services {
		for _, a := range svc.Container.Networks {
			used[a.Network] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.p.Networks)) {
		n := r.p.Networks[key]
		if r.shared[key] { // the leader makes it, for all
			n.Name, n.External = r.overlayName(key), true
		}
		if !used[n.Name] {
			continue
		}
		out := spec.Network{Name: n.Name, Key: key, External: bool(n.External)}
		if !out.External {
			out.Driver, out.Options = n.Driver, map[string]string(n.DriverOpts)
			out.Internal, out.Attachable = n.Internal, n.Attachable
			out.EnableIPv4, out.EnableIPv6 = n.EnableIPv4, n.EnableIPv6
			out.Labels = r.labels(n.Labels, "networks."+key)
			out.IPAM = r.ipam(n.Ipam, "networks."+key+".ipam")
			out.Hash = spec.HashNetwork(out)
		}
		st.Networks = append(st.Networks, out)
	}
	slices.SortFunc(st.Networks, func(a, b spec.Network) int { return cmp.Compare(a.Name, b.Name) })
}

func (r *render) ipam(in types.IPAMConfig, at string) *spec.IPAM {
	if in.Driver == "" && len(in.Config) == 0 && len(in.Options) == 0 {
		return nil
	}
	out := &spec.IPAM{Driver: in.Driver, Options: map[string]string(in.Options)}
	for i, p := range in.Config {
		key := fmt.Sprintf("%s.config[%d]", at, i)
		for name, cidr := range map[string]string{"subnet": p.Subnet, "ip_range": p.IPRange} {
			if _, err := netip.ParsePrefix(cidr); cidr != "" && err != nil {
				r.fault(key+"."+name, fmt.Sprintf("%q is no range of addresses", cidr), "write one such as 10.9.0.0/24")
			}
		}
		r.address(p.Gateway, key+".gateway")
		out.Pools = append(out.Pools, spec.Pool{Subnet: p.Subnet, Range: p.IPRange, Gateway: p.Gateway, Aux: p.AuxiliaryAddresses})
	}
	return out
}

// volumes renders the named volumes that services on this node use.
func (r *render) volumes(st *spec.Stack) {
	used := map[string]bool{}
	for _, svc := range st.Services {
		for _, v := range svc.Container.Volumes {
			used[v.Volume] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.p.Volumes)) {
		v := r.p.Volumes[key]
		if !used[v.Name] {
			continue
		}
		out := spec.Volume{Name: v.Name, Key: key, External: bool(v.External)}
		r.volumeName(key, v)
		if !out.External {
			out.Driver, out.Options, out.Labels = v.Driver, map[string]string(v.DriverOpts), r.labels(v.Labels, "volumes."+key)
			out.Hash = spec.HashVolume(out)
		}
		st.Volumes = append(st.Volumes, out)
	}
	slices.SortFunc(st.Volumes, func(a, b spec.Volume) int { return cmp.Compare(a.Name, b.Name) })
}

func (r *render) volumeName(key string, v types.VolumeConfig) {
	if !containerName.MatchString(v.Name) {
		r.fault("volumes."+key+".name", fmt.Sprintf("the engine refuses the name %q", v.Name), "use two or more letters, digits, _ . and -, beginning with a letter or digit")
	}
}
