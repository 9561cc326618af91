package compose

// Support says what brambled does with a Compose key.
type Support string

// The kinds of support. There is no silent one.
const (
	Applied Support = "applied" // it takes effect
	Refused Support = "refused" // the file is refused, with the row's hint
	Noted   Support = "noted"   // it cannot take effect by its nature, and leaving it in harms nobody; the row says why
)

// Row is one Compose key. The table of rows is the only place that says which keys are supported: the loader refuses by
// it, docs/compose.md is made from it, and a test creates a real container for each applied row that has a sample.
type Row struct {
	// Path is the key: "service.deploy.replicas"; * stands for any name, [] for a list item.
	Path string
	// Container and Swarm say what happens to it in a service that runs as containers, and as a Swarm service.
	Container, Swarm Support
	// Deep rows cover every key below them.
	Deep bool
	// Hint says what to do instead, or, for Noted, why nothing happens.
	Hint string
	// Sample is a minimal use of the key: see [Row.File]. Inspect is where that shows: in `docker inspect` of the
	// container, or, behind "network." and "volume.", of those; "file:PATH:FIELD" is a file in the container, and "spec."
	// what planning works with. A ~ stands for a dot in a name, " | " for "or, on another engine". Want is what stands
	// there, as JSON: at least that. Rows without a sample have rows below them that do.
	Sample, Inspect, Want string
	// Engine is the API version that knows the key; older engines are refused, by pkg/docker and on that node only.
	Engine string
	// Kernel is true where an engine drops the key with a warning, or refuses it, if its kernel or storage has not got it.
	Kernel bool
}

// The Swarm column has its own places: see [Row.InSwarm].

//go:generate go test -run ^TestManual$ -update .

// Rows returns the table, in the order of the documents.
func Rows() []Row {
	return append(append(append([]Row{}, serviceRows...), deployRows...), elementRows...)
}

const (
	inlineHint = "KV has no files: inline it beforehand with `brambled bundle FILE | consul kv put brambled/stacks/NAME -`"
	buildHint  = "brambled builds nothing: build the image, push it, and name it under image"
	hookHint   = "run it from the image's entrypoint, or as a service with restart: no that others depend on"
	// asContainers is the way out for what Swarm has not.
	asContainers = "set x-brambled.nodes to run it as containers"
	windows      = "it exists on Windows only"
)

var serviceRows = []Row{
	{Path: "service.annotations", Container: Applied, Swarm: Refused, Deep: true, Hint: "annotations do not exist for Swarm services; use labels", Sample: "{a: b}", Inspect: "HostConfig.Annotations", Want: `{"a":"b"}`, Engine: "1.43"},
	{Path: "service.attach", Container: Noted, Swarm: Noted, Hint: "it is about the terminal of `docker compose up`"},
	{Path: "service.blkio_config", Container: Applied, Swarm: Refused, Hint: asContainers},
	{Path: "service.blkio_config.device_read_bps", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{device_read_bps: [{path: /dev/null, rate: 1mb}]}", Inspect: "HostConfig.BlkioDeviceReadBps", Want: `[{"Path":"/dev/null","Rate":1048576}]`, Kernel: true},
	{Path: "service.blkio_config.device_read_iops", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{device_read_iops: [{path: /dev/null, rate: 100}]}", Inspect: "HostConfig.BlkioDeviceReadIOps", Want: `[{"Path":"/dev/null","Rate":100}]`, Kernel: true},
	{Path: "service.blkio_config.device_write_bps", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{device_write_bps: [{path: /dev/null, rate: 1mb}]}", Inspect: "HostConfig.BlkioDeviceWriteBps", Want: `[{"Path":"/dev/null","Rate":1048576}]`, Kernel: true},
	{Path: "service.blkio_config.device_write_iops", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{device_write_iops: [{path: /dev/null, rate: 100}]}", Inspect: "HostConfig.BlkioDeviceWriteIOps", Want: `[{"Path":"/dev/null","Rate":100}]`, Kernel: true},
	{Path: "service.blkio_config.weight", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{weight: 300}", Inspect: "HostConfig.BlkioWeight", Want: `300`, Kernel: true},
	{Path: "service.blkio_config.weight_device", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{weight_device: [{path: /dev/null, weight: 400}]}", Inspect: "HostConfig.BlkioWeightDevice", Want: `[{"Path":"/dev/null","Weight":400}]`, Kernel: true},
	{Path: "service.build", Container: Refused, Swarm: Refused, Deep: true, Hint: buildHint},
	{Path: "service.cap_add", Container: Applied, Swarm: Applied, Sample: "[NET_ADMIN]", Inspect: "HostConfig.CapAdd", Want: `["CAP_NET_ADMIN"]`},
	{Path: "service.cap_drop", Container: Applied, Swarm: Applied, Sample: "[CHOWN]", Inspect: "HostConfig.CapDrop", Want: `["CAP_CHOWN"]`},
	{Path: "service.cgroup", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "host", Inspect: "HostConfig.CgroupnsMode", Want: `"host"`},
	{Path: "service.cgroup_parent", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "/brambled-test", Inspect: "HostConfig.CgroupParent", Want: `"/brambled-test"`},
	{Path: "service.command", Container: Applied, Swarm: Applied, Sample: "[-sleep, a b]", Inspect: "Config.Cmd", Want: `["-sleep","a b"]`},
	{Path: "service.configs", Container: Applied, Swarm: Applied},
	{Path: "service.configs[].source", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, configs: [{source: c}]}}\nconfigs: {c: {content: hello}}", Inspect: "file:/c:content", Want: `"hello"`},
	{Path: "service.configs[].target", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, configs: [{source: c, target: /etc/c.conf}]}}\nconfigs: {c: {content: hello}}", Inspect: "file:/etc/c.conf:content", Want: `"hello"`},
	{Path: "service.configs[].uid", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, configs: [{source: c, uid: \"1001\"}]}}\nconfigs: {c: {content: hello}}", Inspect: "file:/c:uid", Want: "1001"},
	{Path: "service.configs[].gid", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, configs: [{source: c, gid: \"1002\"}]}}\nconfigs: {c: {content: hello}}", Inspect: "file:/c:gid", Want: "1002"},
	{Path: "service.configs[].mode", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, configs: [{source: c, mode: 0440}]}}\nconfigs: {c: {content: hello}}", Inspect: "file:/c:mode", Want: `"440"`},
	{Path: "service.container_name", Container: Applied, Swarm: Refused, Hint: "Swarm names its containers itself", Sample: "other-name", Inspect: "Name", Want: `"/other-name"`},
	{Path: "service.cpu_count", Container: Refused, Swarm: Refused, Hint: windows + "; use cpus"},
	{Path: "service.cpu_percent", Container: Refused, Swarm: Refused, Hint: windows + "; use cpus"},
	{Path: "service.cpu_period", Container: Applied, Swarm: Refused, Hint: "use deploy.resources.limits.cpus", Sample: "50000", Inspect: "HostConfig.CpuPeriod", Want: "50000"},
	{Path: "service.cpu_quota", Container: Applied, Swarm: Refused, Hint: "use deploy.resources.limits.cpus", Sample: "25000", Inspect: "HostConfig.CpuQuota", Want: "25000"},
	{Path: "service.cpu_rt_period", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: `"100000"`, Inspect: "HostConfig.CpuRealtimePeriod", Want: "100000", Kernel: true},
	{Path: "service.cpu_rt_runtime", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: `"50000"`, Inspect: "HostConfig.CpuRealtimeRuntime", Want: "50000", Kernel: true},
	{Path: "service.cpu_shares", Container: Applied, Swarm: Refused, Hint: "use deploy.resources", Sample: "256", Inspect: "HostConfig.CpuShares", Want: "256"},
	{Path: "service.cpus", Container: Applied, Swarm: Refused, Hint: "use deploy.resources.limits.cpus", Sample: "0.5", Inspect: "HostConfig.NanoCpus", Want: "500000000"},
	{Path: "service.cpuset", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: `"0"`, Inspect: "HostConfig.CpusetCpus", Want: `"0"`},
	{Path: "service.credential_spec", Container: Refused, Swarm: Refused, Deep: true, Hint: windows},
	{Path: "service.depends_on", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, depends_on: [db]}, db: {image: IMAGE}}", Inspect: "Config.Labels.com~docker~compose~depends_on", Want: `"db:service_started:false"`},
	{Path: "service.depends_on.*.condition", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, depends_on: {db: {condition: service_healthy}}}, db: {image: IMAGE}}", Inspect: "Config.Labels.com~docker~compose~depends_on", Want: `"db:service_healthy:false"`},
	{Path: "service.depends_on.*.required", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, depends_on: {db: {condition: service_started, required: false}}}, db: {image: IMAGE}}", Inspect: "spec.DependsOn.0.Required", Want: "false"},
	{Path: "service.depends_on.*.restart", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "services: {app: {image: IMAGE, depends_on: {db: {condition: service_started, restart: true}}}, db: {image: IMAGE}}", Inspect: "Config.Labels.com~docker~compose~depends_on", Want: `"db:service_started:true"`},
	{Path: "service.develop", Container: Noted, Swarm: Noted, Deep: true, Hint: "it is about `docker compose watch` on a developer's machine"},
	{Path: "service.device_cgroup_rules", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: `["c 1:3 mr"]`, Inspect: "HostConfig.DeviceCgroupRules", Want: `["c 1:3 mr"]`},
	{Path: "service.devices", Container: Applied, Swarm: Refused, Hint: "`devices` does not exist for Swarm services; set x-brambled.nodes to run it as containers", Sample: `["/dev/null:/dev/other:r"]`, Inspect: "HostConfig.Devices", Want: `[{"PathOnHost":"/dev/null","PathInContainer":"/dev/other","CgroupPermissions":"r"}]`},
	{Path: "service.devices[].source", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "[{source: /dev/null, target: /dev/other, permissions: r}]", Inspect: "HostConfig.Devices.0.PathOnHost", Want: `"/dev/null"`},
	{Path: "service.devices[].target", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "[{source: /dev/null, target: /dev/other, permissions: r}]", Inspect: "HostConfig.Devices.0.PathInContainer", Want: `"/dev/other"`},
	{Path: "service.devices[].permissions", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "[{source: /dev/null, target: /dev/other, permissions: r}]", Inspect: "HostConfig.Devices.0.CgroupPermissions", Want: `"r"`},
	{Path: "service.dns", Container: Applied, Swarm: Applied, Sample: "[9.9.9.9]", Inspect: "HostConfig.Dns", Want: `["9.9.9.9"]`},
	{Path: "service.dns_opt", Container: Applied, Swarm: Applied, Sample: "[timeout:1]", Inspect: "HostConfig.DnsOptions", Want: `["timeout:1"]`},
	{Path: "service.dns_search", Container: Applied, Swarm: Applied, Sample: "[example.org]", Inspect: "HostConfig.DnsSearch", Want: `["example.org"]`},
	{Path: "service.domainname", Container: Applied, Swarm: Refused, Hint: "put it into hostname", Sample: "example.org", Inspect: "Config.Domainname", Want: `"example.org"`},
	{Path: "service.entrypoint", Container: Applied, Swarm: Applied, Sample: "[/hello, -sleep]", Inspect: "Config.Entrypoint", Want: `["/hello","-sleep"]`},
	{Path: "service.env_file", Container: Refused, Swarm: Refused, Deep: true, Hint: inlineHint},
	{Path: "service.environment", Container: Applied, Swarm: Applied, Deep: true, Sample: "{A: b}", Inspect: "Config.Env", Want: `["A=b"]`},
	{Path: "service.expose", Container: Applied, Swarm: Noted, Hint: "on an overlay network every port is reachable", Sample: `["81"]`, Inspect: "Config.ExposedPorts", Want: `{"81/tcp":{}}`},
	{Path: "service.extends", Container: Applied, Swarm: Applied, Sample: `services: {base: {image: IMAGE, user: "7"}, app: {extends: base}}`, Inspect: "Config.User", Want: `"7"`},
	{Path: "service.extends.service", Container: Applied, Swarm: Applied, Sample: `services: {base: {image: IMAGE, user: "7"}, app: {extends: {service: base}}}`, Inspect: "Config.User", Want: `"7"`},
	{Path: "service.extends.file", Container: Refused, Swarm: Refused, Hint: inlineHint},
	{Path: "service.external_links", Container: Refused, Swarm: Refused, Hint: "join both services to one network, declared external in one of them"},
	{Path: "service.extra_hosts", Container: Applied, Swarm: Applied, Deep: true, Sample: `["db:10.9.8.7"]`, Inspect: "HostConfig.ExtraHosts", Want: `["db:10.9.8.7"]`},
	{Path: "service.gpus", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "all", Inspect: "HostConfig.DeviceRequests", Want: `[{"Count":-1,"Capabilities":[["gpu"]]}]`},
	{Path: "service.group_add", Container: Applied, Swarm: Applied, Sample: `["44"]`, Inspect: "HostConfig.GroupAdd", Want: `["44"]`},
	{Path: "service.healthcheck", Container: Applied, Swarm: Applied},
	{Path: "service.healthcheck.disable", Container: Applied, Swarm: Applied, Sample: "{disable: true}", Inspect: "Config.Healthcheck.Test", Want: `["NONE"]`},
	{Path: "service.healthcheck.interval", Container: Applied, Swarm: Applied, Sample: "{test: [CMD, /hello], interval: 7s}", Inspect: "Config.Healthcheck.Interval", Want: "7000000000"},
	{Path: "service.healthcheck.retries", Container: Applied, Swarm: Applied, Sample: "{test: [CMD, /hello], retries: 4}", Inspect: "Config.Healthcheck.Retries", Want: "4"},
	{Path: "service.healthcheck.start_interval", Container: Applied, Swarm: Applied, Sample: "{test: [CMD, /hello], start_period: 9s, start_interval: 2s}", Inspect: "Config.Healthcheck.StartInterval", Want: "2000000000", Engine: "1.44"},
	{Path: "service.healthcheck.start_period", Container: Applied, Swarm: Applied, Sample: "{test: [CMD, /hello], start_period: 9s}", Inspect: "Config.Healthcheck.StartPeriod", Want: "9000000000"},
	{Path: "service.healthcheck.test", Container: Applied, Swarm: Applied, Sample: "{test: [CMD, /hello, -healthcheck]}", Inspect: "Config.Healthcheck.Test", Want: `["CMD","/hello","-healthcheck"]`},
	{Path: "service.healthcheck.timeout", Container: Applied, Swarm: Applied, Sample: "{test: [CMD, /hello], timeout: 6s}", Inspect: "Config.Healthcheck.Timeout", Want: "6000000000"},
	{Path: "service.hostname", Container: Applied, Swarm: Applied, Sample: "pi", Inspect: "Config.Hostname", Want: `"pi"`},
	{Path: "service.image", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE}}", Inspect: "Config.Image", Want: `"IMAGE"`},
	{Path: "service.init", Container: Applied, Swarm: Applied, Sample: "true", Inspect: "HostConfig.Init", Want: "true"},
	{Path: "service.ipc", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "host", Inspect: "HostConfig.IpcMode", Want: `"host"`},
	{Path: "service.isolation", Container: Refused, Swarm: Refused, Hint: windows},
	{Path: "service.label_file", Container: Refused, Swarm: Refused, Deep: true, Hint: inlineHint},
	{Path: "service.labels", Container: Applied, Swarm: Applied, Deep: true, Sample: "{a.b: c}", Inspect: "Config.Labels.a~b", Want: `"c"`},
	{Path: "service.links", Container: Refused, Swarm: Refused, Hint: "services of a stack reach each other by name; use networks.NAME.aliases for another name"},
	{Path: "service.logging", Container: Applied, Swarm: Applied},
	{Path: "service.logging.driver", Container: Applied, Swarm: Applied, Sample: "{driver: none}", Inspect: "HostConfig.LogConfig.Type", Want: `"none"`},
	{Path: "service.logging.options", Container: Applied, Swarm: Applied, Deep: true, Sample: "{driver: json-file, options: {max-size: 1m}}", Inspect: "HostConfig.LogConfig.Config", Want: `{"max-size":"1m"}`},
	{Path: "service.mac_address", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "02:42:ac:11:65:43", Inspect: "Config.MacAddress | NetworkSettings.Networks.t_default.MacAddress", Want: `"02:42:ac:11:65:43"`},
	{Path: "service.mem_limit", Container: Applied, Swarm: Refused, Hint: "use deploy.resources.limits.memory", Sample: "64m", Inspect: "HostConfig.Memory", Want: "67108864"},
	{Path: "service.mem_reservation", Container: Applied, Swarm: Refused, Hint: "use deploy.resources.reservations.memory", Sample: "32m", Inspect: "HostConfig.MemoryReservation", Want: "33554432"},
	{Path: "service.mem_swappiness", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "10", Inspect: "HostConfig.MemorySwappiness", Want: "10", Kernel: true},
	{Path: "service.memswap_limit", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "services: {app: {image: IMAGE, mem_limit: 64m, memswap_limit: 128m}}", Inspect: "HostConfig.MemorySwap", Want: "134217728", Kernel: true},
	{Path: "service.models", Container: Refused, Swarm: Refused, Deep: true, Hint: "run the model as a service"},
	{Path: "service.network_mode", Container: Applied, Swarm: Refused, Hint: "`network_mode` does not exist for Swarm services; set x-brambled.nodes to run it as containers", Sample: "none", Inspect: "HostConfig.NetworkMode", Want: `"none"`},
	{Path: "service.networks", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, networks: [n]}}\nnetworks: {n: {}}", Inspect: "NetworkSettings.Networks.t_n.Aliases", Want: `["app"]`},
	{Path: "service.networks.*.aliases", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, networks: {n: {aliases: [other]}}}}\nnetworks: {n: {}}", Inspect: "NetworkSettings.Networks.t_n.Aliases", Want: `["app","other"]`},
	{Path: "service.networks.*.driver_opts", Container: Applied, Swarm: Applied, Deep: true, Sample: "services: {app: {image: IMAGE, networks: {n: {driver_opts: {a: b}}}}}\nnetworks: {n: {}}", Inspect: "NetworkSettings.Networks.t_n.DriverOpts", Want: `{"a":"b"}`},
	{Path: "service.networks.*.gw_priority", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "services: {app: {image: IMAGE, networks: {n: {gw_priority: 5}}}}\nnetworks: {n: {}}", Inspect: "NetworkSettings.Networks.t_n.GwPriority", Want: "5", Engine: "1.48"},
	{Path: "service.networks.*.interface_name", Container: Refused, Swarm: Refused, Hint: "leave it out; the engine names interfaces in the order of priority"},
	{Path: "service.networks.*.ipv4_address", Container: Applied, Swarm: Refused, Hint: "Swarm assigns addresses; set x-brambled.nodes to run it as containers", Sample: "services: {app: {image: IMAGE, networks: {n: {ipv4_address: 10.77.0.9}}}}\nnetworks: {n: {ipam: {config: [{subnet: 10.77.0.0/24}]}}}", Inspect: "NetworkSettings.Networks.t_n.IPAMConfig.IPv4Address", Want: `"10.77.0.9"`},
	{Path: "service.networks.*.ipv6_address", Container: Applied, Swarm: Refused, Hint: "Swarm assigns addresses; set x-brambled.nodes to run it as containers", Sample: "services: {app: {image: IMAGE, networks: {n: {ipv6_address: \"fd00:77::9\"}}}}\nnetworks: {n: {enable_ipv6: true, ipam: {config: [{subnet: \"fd00:77::/64\"}]}}}", Inspect: "NetworkSettings.Networks.t_n.IPAMConfig.IPv6Address", Want: `"fd00:77::9"`},
	{Path: "service.networks.*.link_local_ips", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "services: {app: {image: IMAGE, networks: {n: {link_local_ips: [169.254.8.8]}}}}\nnetworks: {n: {}}", Inspect: "NetworkSettings.Networks.t_n.IPAMConfig.LinkLocalIPs", Want: `["169.254.8.8"]`},
	{Path: "service.networks.*.mac_address", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "services: {app: {image: IMAGE, networks: {n: {mac_address: \"02:42:ac:11:65:44\"}}}}\nnetworks: {n: {}}", Inspect: "Config.MacAddress | NetworkSettings.Networks.t_n.MacAddress", Want: `"02:42:ac:11:65:44"`},
	{Path: "service.networks.*.priority", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "services: {app: {image: IMAGE, networks: {a: {}, z: {priority: 10}}}}\nnetworks: {a: {}, z: {}}", Inspect: "HostConfig.NetworkMode", Want: `"t_z"`},
	{Path: "service.networks.*.use_service_name_alias", Container: Refused, Swarm: Refused, Hint: "a service is always reachable by its name"},
	{Path: "service.oom_kill_disable", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "true", Inspect: "HostConfig.OomKillDisable", Want: "true"},
	{Path: "service.oom_score_adj", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "100", Inspect: "HostConfig.OomScoreAdj", Want: "100"},
	{Path: "service.pid", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "host", Inspect: "HostConfig.PidMode", Want: `"host"`},
	{Path: "service.pids_limit", Container: Applied, Swarm: Refused, Hint: "use deploy.resources.limits.pids", Sample: "50", Inspect: "HostConfig.PidsLimit", Want: "50"},
	{Path: "service.platform", Container: Applied, Swarm: Refused, Hint: "use deploy.placement.constraints: [node.platform.arch == aarch64]", Sample: "linux/arm64", Inspect: "spec.Container.Platform", Want: `"linux/arm64"`},
	{Path: "service.ports", Container: Applied, Swarm: Applied, Sample: `["127.0.0.1:18099:80/udp"]`, Inspect: "HostConfig.PortBindings", Want: `{"80/udp":[{"HostIp":"127.0.0.1","HostPort":"18099"}]}`},
	{Path: "service.ports[].app_protocol", Container: Noted, Swarm: Noted, Hint: "it is a note for people and proxies"},
	{Path: "service.ports[].host_ip", Container: Applied, Swarm: Refused, Hint: "Swarm publishes on every address", Sample: `[{target: 80, published: "18099", host_ip: 127.0.0.1, protocol: udp}]`, Inspect: "HostConfig.PortBindings", Want: `{"80/udp":[{"HostIp":"127.0.0.1"}]}`},
	{Path: "service.ports[].mode", Container: Noted, Swarm: Applied, Hint: "a container's port is always published on its own Pi"},
	{Path: "service.ports[].name", Container: Noted, Swarm: Noted, Hint: "it is a note for people"},
	{Path: "service.ports[].protocol", Container: Applied, Swarm: Applied, Sample: `[{target: 80, published: "18099", host_ip: 127.0.0.1, protocol: udp}]`, Inspect: "Config.ExposedPorts", Want: `{"80/udp":{}}`},
	{Path: "service.ports[].published", Container: Applied, Swarm: Applied, Sample: `[{target: 80, published: "18099", host_ip: 127.0.0.1, protocol: udp}]`, Inspect: "HostConfig.PortBindings", Want: `{"80/udp":[{"HostPort":"18099"}]}`},
	{Path: "service.ports[].target", Container: Applied, Swarm: Applied, Sample: `[{target: 80, published: "18099", host_ip: 127.0.0.1, protocol: udp}]`, Inspect: "Config.ExposedPorts", Want: `{"80/udp":{}}`},
	{Path: "service.post_start", Container: Refused, Swarm: Refused, Deep: true, Hint: hookHint},
	{Path: "service.pre_start", Container: Refused, Swarm: Refused, Deep: true, Hint: hookHint},
	{Path: "service.pre_stop", Container: Refused, Swarm: Refused, Deep: true, Hint: "handle the stop signal in the container"},
	{Path: "service.privileged", Container: Applied, Swarm: Refused, Hint: "`privileged` does not exist for Swarm services; set x-brambled.nodes to run it as containers", Sample: "true", Inspect: "HostConfig.Privileged", Want: "true"},
	{Path: "service.profiles", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, profiles: [edge]}, db: {image: IMAGE, profiles: [lab]}}", Inspect: "spec.Name", Want: `"app"`},
	{Path: "service.provider", Container: Refused, Swarm: Refused, Deep: true, Hint: "run the provider as a service"},
	{Path: "service.pull_policy", Container: Applied, Swarm: Refused, Hint: "the leader pins the image's digest once", Sample: "never", Inspect: "spec.Container.PullPolicy", Want: `"never"`},
	{Path: "service.pull_refresh_after", Container: Refused, Swarm: Refused, Hint: "put the stack again with pull_policy: always"},
	{Path: "service.read_only", Container: Applied, Swarm: Applied, Sample: "true", Inspect: "HostConfig.ReadonlyRootfs", Want: "true"},
	{Path: "service.restart", Container: Applied, Swarm: Applied, Sample: "always", Inspect: "HostConfig.RestartPolicy", Want: `{"Name":"always","MaximumRetryCount":0}`},
	{Path: "service.runtime", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "runc", Inspect: "HostConfig.Runtime", Want: `"runc"`},
	{Path: "service.scale", Container: Applied, Swarm: Applied, Sample: "2", Inspect: "spec.Replicas", Want: "2"},
	{Path: "service.secrets", Container: Applied, Swarm: Applied},
	{Path: "service.secrets[].source", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, secrets: [{source: s}]}}\nsecrets: {s: {external: true}}", Inspect: "file:/run/secrets/s:content", Want: `"hush"`},
	{Path: "service.secrets[].target", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, secrets: [{source: s, target: other}]}}\nsecrets: {s: {external: true}}", Inspect: "file:/run/secrets/other:content", Want: `"hush"`},
	{Path: "service.secrets[].uid", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, secrets: [{source: s, uid: \"1001\"}]}}\nsecrets: {s: {external: true}}", Inspect: "file:/run/secrets/s:uid", Want: "1001"},
	{Path: "service.secrets[].gid", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, secrets: [{source: s, gid: \"1002\"}]}}\nsecrets: {s: {external: true}}", Inspect: "file:/run/secrets/s:gid", Want: "1002"},
	{Path: "service.secrets[].mode", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, secrets: [{source: s, mode: 0400}]}}\nsecrets: {s: {external: true}}", Inspect: "file:/run/secrets/s:mode", Want: `"400"`},
	{Path: "service.security_opt", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "[no-new-privileges]", Inspect: "HostConfig.SecurityOpt", Want: `["no-new-privileges"]`},
	{Path: "service.shm_size", Container: Applied, Swarm: Refused, Hint: "mount a tmpfs on /dev/shm", Sample: "32m", Inspect: "HostConfig.ShmSize", Want: "33554432"},
	{Path: "service.stdin_open", Container: Applied, Swarm: Applied, Sample: "true", Inspect: "Config.OpenStdin", Want: "true"},
	{Path: "service.stop_grace_period", Container: Applied, Swarm: Applied, Sample: "3s", Inspect: "Config.StopTimeout", Want: "3"},
	{Path: "service.stop_signal", Container: Applied, Swarm: Applied, Sample: "SIGINT", Inspect: "Config.StopSignal", Want: `"SIGINT"`},
	{Path: "service.storage_opt", Container: Applied, Swarm: Refused, Deep: true, Hint: asContainers, Sample: "{size: 10G}", Inspect: "HostConfig.StorageOpt", Want: `{"size":"10G"}`, Kernel: true},
	{Path: "service.sysctls", Container: Applied, Swarm: Applied, Deep: true, Sample: `{net.ipv4.ip_unprivileged_port_start: "80"}`, Inspect: "HostConfig.Sysctls", Want: `{"net.ipv4.ip_unprivileged_port_start":"80"}`},
	{Path: "service.tmpfs", Container: Applied, Swarm: Applied, Sample: "[/run/x]", Inspect: "HostConfig.Tmpfs", Want: `{"/run/x":""}`},
	{Path: "service.tty", Container: Applied, Swarm: Applied, Sample: "true", Inspect: "Config.Tty", Want: "true"},
	{Path: "service.ulimits", Container: Applied, Swarm: Applied, Sample: "{nofile: {soft: 1000, hard: 2000}}", Inspect: "HostConfig.Ulimits", Want: `[{"Name":"nofile","Hard":2000,"Soft":1000}]`},
	{Path: "service.ulimits.*.hard", Container: Applied, Swarm: Applied, Sample: "{nofile: {soft: 1000, hard: 2000}}", Inspect: "HostConfig.Ulimits", Want: `[{"Name":"nofile","Hard":2000}]`},
	{Path: "service.ulimits.*.soft", Container: Applied, Swarm: Applied, Sample: "{nofile: {soft: 1000, hard: 2000}}", Inspect: "HostConfig.Ulimits", Want: `[{"Name":"nofile","Soft":1000}]`},
	{Path: "service.umask", Container: Refused, Swarm: Refused, Hint: "set it in the image's entrypoint"},
	{Path: "service.use_api_socket", Container: Refused, Swarm: Refused, Hint: "bind /var/run/docker.sock yourself, and know that it gives root on the Pi"},
	{Path: "service.user", Container: Applied, Swarm: Applied, Sample: `"1000:1000"`, Inspect: "Config.User", Want: `"1000:1000"`},
	{Path: "service.userns_mode", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "host", Inspect: "HostConfig.UsernsMode", Want: `"host"`},
	{Path: "service.uts", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "host", Inspect: "HostConfig.UTSMode", Want: `"host"`},
	{Path: "service.volumes", Container: Applied, Swarm: Applied, Sample: "[/tmp:/host:ro]", Inspect: "Mounts", Want: `[{"Source":"/tmp","Destination":"/host","RW":false}]`},
	{Path: "service.volumes[].type", Container: Applied, Swarm: Applied, Sample: "[{type: bind, source: /tmp, target: /host, read_only: true}]", Inspect: "Mounts", Want: `[{"Type":"bind"}]`},
	{Path: "service.volumes[].source", Container: Applied, Swarm: Applied, Sample: "[{type: bind, source: /tmp, target: /host, read_only: true}]", Inspect: "Mounts", Want: `[{"Source":"/tmp"}]`},
	{Path: "service.volumes[].target", Container: Applied, Swarm: Applied, Sample: "[{type: bind, source: /tmp, target: /host, read_only: true}]", Inspect: "Mounts", Want: `[{"Destination":"/host"}]`},
	{Path: "service.volumes[].read_only", Container: Applied, Swarm: Applied, Sample: "[{type: bind, source: /tmp, target: /host, read_only: true}]", Inspect: "Mounts", Want: `[{"RW":false}]`},
	{Path: "service.volumes[].consistency", Container: Noted, Swarm: Noted, Hint: "it exists on macOS only"},
	{Path: "service.volumes[].bind", Container: Applied, Swarm: Applied},
	{Path: "service.volumes[].bind.create_host_path", Container: Applied, Swarm: Refused, Hint: "make the directory on each Pi", Sample: "[{type: bind, source: /tmp, target: /host, bind: {create_host_path: false}}]", Inspect: "HostConfig.Mounts", Want: `[{"Type":"bind","Source":"/tmp"}]`},
	{Path: "service.volumes[].bind.propagation", Container: Applied, Swarm: Applied, Sample: "[{type: bind, source: /tmp, target: /host, bind: {propagation: rslave}}]", Inspect: "Mounts", Want: `[{"Propagation":"rslave"}]`},
	{Path: "service.volumes[].bind.recursive", Container: Refused, Swarm: Refused, Hint: "leave it out; binds are recursive"},
	{Path: "service.volumes[].bind.selinux", Container: Applied, Swarm: Refused, Hint: asContainers, Sample: "[{type: bind, source: /tmp, target: /host, bind: {selinux: z}}]", Inspect: "HostConfig.Binds", Want: `["/tmp:/host:z"]`},
	{Path: "service.volumes[].image", Container: Refused, Swarm: Refused, Deep: true, Hint: "copy the files into the service's own image"},
	{Path: "service.volumes[].tmpfs", Container: Applied, Swarm: Applied},
	{Path: "service.volumes[].tmpfs.mode", Container: Applied, Swarm: Applied, Sample: "[{type: tmpfs, target: /x, tmpfs: {size: 1048576, mode: 0700}}]", Inspect: "HostConfig.Mounts", Want: `[{"Type":"tmpfs","TmpfsOptions":{"Mode":448}}]`},
	{Path: "service.volumes[].tmpfs.size", Container: Applied, Swarm: Applied, Sample: "[{type: tmpfs, target: /x, tmpfs: {size: 1048576, mode: 0700}}]", Inspect: "HostConfig.Mounts", Want: `[{"Type":"tmpfs","TmpfsOptions":{"SizeBytes":1048576}}]`},
	{Path: "service.volumes[].volume", Container: Applied, Swarm: Applied},
	{Path: "service.volumes[].volume.labels", Container: Refused, Swarm: Refused, Deep: true, Hint: "label the volume under the top-level volumes"},
	{Path: "service.volumes[].volume.nocopy", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, volumes: [{type: volume, source: v, target: /v, volume: {nocopy: true}}]}}\nvolumes: {v: {}}", Inspect: "HostConfig.Mounts", Want: `[{"VolumeOptions":{"NoCopy":true}}]`},
	{Path: "service.volumes[].volume.subpath", Container: Applied, Swarm: Applied, Sample: "services: {app: {image: IMAGE, volumes: [{type: volume, source: v, target: /v, volume: {subpath: a}}]}}\nvolumes: {v: {}}", Inspect: "HostConfig.Mounts", Want: `[{"VolumeOptions":{"Subpath":"a"}}]`, Engine: "1.45"},
	{Path: "service.volumes_from", Container: Refused, Swarm: Refused, Hint: "name the volume under volumes in both services"},
	{Path: "service.working_dir", Container: Applied, Swarm: Applied, Sample: "/srv", Inspect: "Config.WorkingDir", Want: `"/srv"`},
}
