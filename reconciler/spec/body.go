package spec

// Body is everything of a container that planning does not look at, in neutral terms: the words are the Compose
// Specification's, the units are bytes, nanoseconds, seconds and counts, each named by its field.
//
// Every field is omitted when unset, so that a field added later changes no existing hash. A pointer means that unset
// and zero differ. Slices whose order has no meaning are sorted by pkg/compose.
type Body struct {
	Command         []string          `json:"command,omitempty"`
	ClearCommand    bool              `json:"clear_command,omitempty"` // `command: []`: drop the image's own
	Entrypoint      []string          `json:"entrypoint,omitempty"`
	ClearEntrypoint bool              `json:"clear_entrypoint,omitempty"`
	Env             []string          `json:"env,omitempty"` // sorted K=V; K alone unsets the image's
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	User            string            `json:"user,omitempty"`
	GroupAdd        []string          `json:"group_add,omitempty"`
	WorkingDir      string            `json:"working_dir,omitempty"`
	Hostname        string            `json:"hostname,omitempty"`
	Domainname      string            `json:"domainname,omitempty"`
	MacAddress      string            `json:"mac_address,omitempty"`
	TTY             bool              `json:"tty,omitempty"`
	StdinOpen       bool              `json:"stdin_open,omitempty"`
	StopSignal      string            `json:"stop_signal,omitempty"`
	StopSeconds     *int              `json:"stop_seconds,omitempty"`
	Init            *bool             `json:"init,omitempty"`
	Health          *Health           `json:"health,omitempty"`
	Expose          []string          `json:"expose,omitempty"` // "80/tcp", sorted
	Ports           []Port            `json:"ports,omitempty"`  // sorted

	// NetworkMode is "" for the attachments of Container.Networks, else "host", "none", "bridge" or "container:NAME".
	NetworkMode  string `json:"network_mode,omitempty"`
	PID          string `json:"pid,omitempty"`
	IPC          string `json:"ipc,omitempty"`
	UTS          string `json:"uts,omitempty"`
	UsernsMode   string `json:"userns_mode,omitempty"`
	Cgroup       string `json:"cgroup,omitempty"` // cgroup namespace: "host" or "private"
	CgroupParent string `json:"cgroup_parent,omitempty"`
	Runtime      string `json:"runtime,omitempty"`
	Isolation    string `json:"isolation,omitempty"`

	DNS        []string `json:"dns,omitempty"`
	DNSOptions []string `json:"dns_options,omitempty"`
	DNSSearch  []string `json:"dns_search,omitempty"`
	ExtraHosts []string `json:"extra_hosts,omitempty"` // "name:address"

	Privileged     bool              `json:"privileged,omitempty"`
	ReadOnly       bool              `json:"read_only,omitempty"`
	CapAdd         []string          `json:"cap_add,omitempty"`
	CapDrop        []string          `json:"cap_drop,omitempty"`
	SecurityOpt    []string          `json:"security_opt,omitempty"`
	Sysctls        map[string]string `json:"sysctls,omitempty"`
	Ulimits        []Ulimit          `json:"ulimits,omitempty"`
	Devices        []Device          `json:"devices,omitempty"`
	DeviceRules    []string          `json:"device_rules,omitempty"`
	DeviceRequests []DeviceRequest   `json:"device_requests,omitempty"`
	StorageOpt     map[string]string `json:"storage_opt,omitempty"`

	Binds []Bind  `json:"binds,omitempty"` // host paths, sorted by target
	Tmpfs []Tmpfs `json:"tmpfs,omitempty"` // sorted by target
	// VolumesFrom are "container:NAME[:ro]" references.
	VolumesFrom []string `json:"volumes_from,omitempty"`

	RestartPolicy string            `json:"restart_policy,omitempty"` // "", "no", "always", "unless-stopped", "on-failure"
	RestartMax    int               `json:"restart_max,omitempty"`    // with on-failure
	LogDriver     string            `json:"log_driver,omitempty"`
	LogOptions    map[string]string `json:"log_options,omitempty"`

	ShmBytes               int64  `json:"shm_bytes,omitempty"`
	NanoCPUs               int64  `json:"nano_cpus,omitempty"`
	CPUShares              int64  `json:"cpu_shares,omitempty"`
	CPUPeriodMicros        int64  `json:"cpu_period_us,omitempty"`
	CPUQuotaMicros         int64  `json:"cpu_quota_us,omitempty"`
	CPURTPeriodMicros      int64  `json:"cpu_rt_period_us,omitempty"`
	CPURTRuntimeMicros     int64  `json:"cpu_rt_runtime_us,omitempty"`
	CPUSet                 string `json:"cpuset,omitempty"`
	CPUCount               int64  `json:"cpu_count,omitempty"`
	CPUPercent             int64  `json:"cpu_percent,omitempty"`
	MemoryBytes            int64  `json:"memory_bytes,omitempty"`
	MemoryReservationBytes int64  `json:"memory_reservation_bytes,omitempty"`
	MemorySwapBytes        int64  `json:"memory_swap_bytes,omitempty"`
	MemorySwappiness       *int64 `json:"memory_swappiness,omitempty"`
	PidsLimit              *int64 `json:"pids_limit,omitempty"`
	OOMKillDisable         bool   `json:"oom_kill_disable,omitempty"`
	OOMScoreAdj            int    `json:"oom_score_adj,omitempty"`
	Blkio                  *Blkio `json:"blkio,omitempty"`
}

// Health is a health check.
type Health struct {
	Test               []string `json:"test,omitempty"` // ["NONE"] disables the image's
	IntervalNanos      int64    `json:"interval_ns,omitempty"`
	TimeoutNanos       int64    `json:"timeout_ns,omitempty"`
	StartPeriodNanos   int64    `json:"start_period_ns,omitempty"`
	StartIntervalNanos int64    `json:"start_interval_ns,omitempty"`
	Retries            int      `json:"retries,omitempty"`
}

// Port publishes a container port.
type Port struct {
	HostIP    string `json:"host_ip,omitempty"`
	Published string `json:"published,omitempty"` // "", a number, or a range the engine picks from
	Target    uint16 `json:"target"`
	Protocol  string `json:"protocol"` // tcp, udp, sctp
}

// Ulimit is one resource limit.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// Device is a device node given to the container.
type Device struct {
	Source      string `json:"source"`
	Target      string `json:"target"`
	Permissions string `json:"permissions,omitempty"`
}

// DeviceRequest asks a device driver (GPU, CDI) for devices.
type DeviceRequest struct {
	Driver       string            `json:"driver,omitempty"`
	Count        int               `json:"count,omitempty"`
	IDs          []string          `json:"ids,omitempty"`
	Capabilities [][]string        `json:"capabilities,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
}

// Bind mounts a path of the host.
type Bind struct {
	Source      string `json:"source"`
	Target      string `json:"target"`
	ReadOnly    bool   `json:"read_only,omitempty"`
	Propagation string `json:"propagation,omitempty"`
	SELinux     string `json:"selinux,omitempty"` // "z" or "Z"
	// CreateSource makes the host directory when it is missing.
	CreateSource bool   `json:"create_source,omitempty"`
	Recursive    string `json:"recursive,omitempty"` // "", enabled, disabled, writable, readonly
}

// Tmpfs is a file system in memory.
type Tmpfs struct {
	Target    string `json:"target"`
	SizeBytes int64  `json:"size_bytes,omitempty"`
	Mode      uint32 `json:"mode,omitempty"`
	Options   string `json:"options,omitempty"` // of the short form: "size=64m,uid=1000"
	ReadOnly  bool   `json:"read_only,omitempty"`
}

// Blkio is block I/O throttling.
type Blkio struct {
	Weight          uint16        `json:"weight,omitempty"`
	WeightDevice    []BlkioWeight `json:"weight_device,omitempty"`
	DeviceReadBps   []BlkioRate   `json:"device_read_bps,omitempty"`
	DeviceReadIOps  []BlkioRate   `json:"device_read_iops,omitempty"`
	DeviceWriteBps  []BlkioRate   `json:"device_write_bps,omitempty"`
	DeviceWriteIOps []BlkioRate   `json:"device_write_iops,omitempty"`
}

// BlkioWeight is the weight of one device.
type BlkioWeight struct {
	Path   string `json:"path"`
	Weight uint16 `json:"weight"`
}

// BlkioRate is the rate of one device, in bytes or operations a second.
type BlkioRate struct {
	Path string `json:"path"`
	Rate int64  `json:"rate"`
}
