package compose

// InSwarm is where a row shows in a Swarm service. What is empty is as in the row itself.
type InSwarm struct {
	// Service is the place in the service's spec, as `docker service inspect` shows it. Behind "object." it is one of the
	// config or secret, behind "network." of the network, as Swarm is asked for them; behind "spec." what planning works with. A ~
	// stands for a dot in a name.
	Service string
	// Sample and Want are as in [Row].
	Sample, Want string
}

// Places that several rows show in.
const (
	inContainer = "TaskTemplate.ContainerSpec."
	inHealth    = inContainer + "Healthcheck."
	inMounts    = inContainer + "Mounts"
	inConfigs   = inContainer + "Configs"
	inSecrets   = inContainer + "Secrets"
	inLimits    = "TaskTemplate.Resources.Limits."
	inReserved  = "TaskTemplate.Resources.Reservations."
	inRestart   = "TaskTemplate.RestartPolicy."
	inPlacement = "TaskTemplate.Placement."
)

// swarmPlaces says of every row that is applied to Swarm services, and has no rows below it that say so, where it shows.
var swarmPlaces = map[string]InSwarm{
	"service.cap_add":                                         {Service: inContainer + "CapabilityAdd"},
	"service.cap_drop":                                        {Service: inContainer + "CapabilityDrop"},
	"service.command":                                         {Service: inContainer + "Args"},
	"service.configs[].source":                                {Service: inConfigs, Want: `[{"ConfigName":"t_c_e5ff46bb21ef","ConfigID":"id of t_c_e5ff46bb21ef"}]`},
	"service.configs[].target":                                {Service: inConfigs + ".0.File.Name", Want: `"/etc/c.conf"`},
	"service.configs[].uid":                                   {Service: inConfigs + ".0.File.UID", Want: `"1001"`},
	"service.configs[].gid":                                   {Service: inConfigs + ".0.File.GID", Want: `"1002"`},
	"service.configs[].mode":                                  {Service: inConfigs + ".0.File.Mode", Want: "288"},
	"service.depends_on":                                      {Service: "spec.DependsOn.0.Service", Want: `"db"`},
	"service.depends_on.*.condition":                          {Service: "spec.DependsOn.0.Condition", Want: `"healthy"`},
	"service.depends_on.*.required":                           {Service: "spec.DependsOn.0.Required"},
	"service.dns":                                             {Service: inContainer + "DNSConfig.Nameservers"},
	"service.dns_opt":                                         {Service: inContainer + "DNSConfig.Options"},
	"service.dns_search":                                      {Service: inContainer + "DNSConfig.Search"},
	"service.entrypoint":                                      {Service: inContainer + "Command"},
	"service.environment":                                     {Service: inContainer + "Env"},
	"service.extends":                                         {Service: inContainer + "User"},
	"service.extends.service":                                 {Service: inContainer + "User"},
	"service.extra_hosts":                                     {Service: inContainer + "Hosts", Want: `["10.9.8.7 db"]`},
	"service.group_add":                                       {Service: inContainer + "Groups"},
	"service.healthcheck.disable":                             {Service: inHealth + "Test"},
	"service.healthcheck.interval":                            {Service: inHealth + "Interval"},
	"service.healthcheck.retries":                             {Service: inHealth + "Retries"},
	"service.healthcheck.start_interval":                      {Service: inHealth + "StartInterval"},
	"service.healthcheck.start_period":                        {Service: inHealth + "StartPeriod"},
	"service.healthcheck.test":                                {Service: inHealth + "Test"},
	"service.healthcheck.timeout":                             {Service: inHealth + "Timeout"},
	"service.hostname":                                        {Service: inContainer + "Hostname"},
	"service.image":                                           {Service: inContainer + "Image"},
	"service.init":                                            {Service: inContainer + "Init"},
	"service.labels":                                          {Service: inContainer + "Labels.a~b"},
	"service.logging.driver":                                  {Service: "TaskTemplate.LogDriver.Name"},
	"service.logging.options":                                 {Service: "TaskTemplate.LogDriver.Options"},
	"service.networks":                                        {Service: "TaskTemplate.Networks", Want: `[{"Target":"Swarm-t_n"}]`},
	"service.networks.*.aliases":                              {Service: "TaskTemplate.Networks.0.Aliases"},
	"service.networks.*.driver_opts":                          {Service: "TaskTemplate.Networks.0.DriverOpts"},
	"service.ports":                                           {Service: "EndpointSpec.Ports", Sample: `["18099:80/udp"]`, Want: `[{"PublishedPort":18099,"TargetPort":80,"Protocol":"udp","PublishMode":"ingress"}]`},
	"service.ports[].mode":                                    {Service: "EndpointSpec.Ports.0.PublishMode", Sample: `[{target: 80, published: "18099", mode: host}]`, Want: `"host"`},
	"service.ports[].protocol":                                {Service: "EndpointSpec.Ports.0.Protocol", Sample: `[{target: 80, published: "18099", protocol: udp}]`, Want: `"udp"`},
	"service.ports[].published":                               {Service: "EndpointSpec.Ports.0.PublishedPort", Sample: `[{target: 80, published: "18099", protocol: udp}]`, Want: "18099"},
	"service.ports[].target":                                  {Service: "EndpointSpec.Ports.0.TargetPort", Sample: `[{target: 80, published: "18099", protocol: udp}]`, Want: "80"},
	"service.profiles":                                        {Service: "Name", Want: `"t_app"`},
	"service.read_only":                                       {Service: inContainer + "ReadOnly"},
	"service.restart":                                         {Service: inRestart + "Condition", Sample: "on-failure:3", Want: `"on-failure"`},
	"service.scale":                                           {Service: "Mode.Replicated.Replicas"},
	"service.secrets[].source":                                {Service: inSecrets, Want: `[{"SecretName":"t_s_d3e557e5fd64","SecretID":"id of t_s_d3e557e5fd64"}]`},
	"service.secrets[].target":                                {Service: inSecrets + ".0.File.Name", Want: `"other"`},
	"service.secrets[].uid":                                   {Service: inSecrets + ".0.File.UID", Want: `"1001"`},
	"service.secrets[].gid":                                   {Service: inSecrets + ".0.File.GID", Want: `"1002"`},
	"service.secrets[].mode":                                  {Service: inSecrets + ".0.File.Mode", Want: "256"},
	"service.stdin_open":                                      {Service: inContainer + "OpenStdin"},
	"service.stop_grace_period":                               {Service: inContainer + "StopGracePeriod", Want: "3000000000"},
	"service.stop_signal":                                     {Service: inContainer + "StopSignal"},
	"service.sysctls":                                         {Service: inContainer + "Sysctls"},
	"service.tmpfs":                                           {Service: inMounts, Sample: `["/run/x:size=64m,mode=1700"]`, Want: `[{"Type":"tmpfs","Target":"/run/x","TmpfsOptions":{"SizeBytes":67108864,"Mode":960}}]`},
	"service.tty":                                             {Service: inContainer + "TTY"},
	"service.ulimits":                                         {Service: inContainer + "Ulimits"},
	"service.ulimits.*.hard":                                  {Service: inContainer + "Ulimits.0.Hard", Want: "2000"},
	"service.ulimits.*.soft":                                  {Service: inContainer + "Ulimits.0.Soft", Want: "1000"},
	"service.user":                                            {Service: inContainer + "User"},
	"service.volumes":                                         {Service: inMounts, Want: `[{"Source":"/tmp","Target":"/host","ReadOnly":true}]`},
	"service.volumes[].type":                                  {Service: inMounts + ".0.Type", Want: `"bind"`},
	"service.volumes[].source":                                {Service: inMounts + ".0.Source", Want: `"/tmp"`},
	"service.volumes[].target":                                {Service: inMounts + ".0.Target", Want: `"/host"`},
	"service.volumes[].read_only":                             {Service: inMounts + ".0.ReadOnly", Want: "true"},
	"service.volumes[].bind.propagation":                      {Service: inMounts + ".0.BindOptions.Propagation", Want: `"rslave"`},
	"service.volumes[].tmpfs.mode":                            {Service: inMounts + ".0.TmpfsOptions.Mode", Want: "448"},
	"service.volumes[].tmpfs.size":                            {Service: inMounts + ".0.TmpfsOptions.SizeBytes", Want: "1048576"},
	"service.volumes[].volume.nocopy":                         {Service: inMounts + ".0.VolumeOptions.NoCopy", Want: "true"},
	"service.volumes[].volume.subpath":                        {Service: inMounts + ".0.VolumeOptions.Subpath", Want: `"a"`},
	"service.working_dir":                                     {Service: inContainer + "Dir"},
	"service.deploy.endpoint_mode":                            {Service: "EndpointSpec.Mode", Sample: "{endpoint_mode: dnsrr}", Want: `"dnsrr"`},
	"service.deploy.labels":                                   {Service: "Labels.a~b", Sample: "{labels: {a.b: c}}", Want: `"c"`},
	"service.deploy.mode":                                     {Service: "Mode", Sample: "{mode: global}", Want: `{"Global":{}}`},
	"service.deploy.placement":                                {Service: inPlacement[:len(inPlacement)-1], Sample: "{placement: {constraints: [node.role == worker], preferences: [{spread: node.labels.a}], max_replicas_per_node: 2}}", Want: `{"Constraints":["node.role == worker"],"Preferences":[{"Spread":{"SpreadDescriptor":"node.labels.a"}}],"MaxReplicas":2}`},
	"service.deploy.replicas":                                 {Service: "Mode.Replicated.Replicas"},
	"service.deploy.resources.limits.cpus":                    {Service: inLimits + "NanoCPUs"},
	"service.deploy.resources.limits.memory":                  {Service: inLimits + "MemoryBytes"},
	"service.deploy.resources.limits.pids":                    {Service: inLimits + "Pids"},
	"service.deploy.resources.reservations.cpus":              {Service: inReserved + "NanoCPUs", Sample: `{resources: {reservations: {cpus: "0.3"}}}`, Want: "300000000"},
	"service.deploy.resources.reservations.memory":            {Service: inReserved + "MemoryBytes"},
	"service.deploy.resources.reservations.generic_resources": {Service: inReserved + "GenericResources", Sample: "{resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: ssd, value: 2}}]}}}", Want: `[{"DiscreteResourceSpec":{"Kind":"ssd","Value":2}}]`},
	"service.deploy.restart_policy.condition":                 {Service: inRestart + "Condition", Want: `"on-failure"`},
	"service.deploy.restart_policy.delay":                     {Service: inRestart + "Delay", Sample: "{restart_policy: {delay: 7s}}", Want: "7000000000"},
	"service.deploy.restart_policy.max_attempts":              {Service: inRestart + "MaxAttempts", Want: "3"},
	"service.deploy.restart_policy.window":                    {Service: inRestart + "Window", Sample: "{restart_policy: {window: 1m}}", Want: "60000000000"},
	"service.deploy.rollback_config":                          {Service: "RollbackConfig", Sample: "{rollback_config: {parallelism: 2, delay: 3s, failure_action: continue, monitor: 4s, max_failure_ratio: 0.5, order: start-first}}", Want: `{"Parallelism":2,"Delay":3000000000,"FailureAction":"continue","Monitor":4000000000,"MaxFailureRatio":0.5,"Order":"start-first"}`},
	"service.deploy.update_config.delay":                      {Service: "UpdateConfig.Delay", Sample: "{update_config: {delay: 5s}}", Want: "5000000000"},
	"service.deploy.update_config.failure_action":             {Service: "UpdateConfig.FailureAction"},
	"service.deploy.update_config.max_failure_ratio":          {Service: "UpdateConfig.MaxFailureRatio", Sample: "{update_config: {max_failure_ratio: 0.25}}", Want: "0.25"},
	"service.deploy.update_config.monitor":                    {Service: "UpdateConfig.Monitor"},
	"service.deploy.update_config.order":                      {Service: "UpdateConfig.Order"},
	"service.deploy.update_config.parallelism":                {Service: "UpdateConfig.Parallelism"},

	"network.attachable":             {Service: "network.attachable"},
	"network.driver":                 {Service: "network.driver", Sample: "{driver: overlay}", Want: `"overlay"`},
	"network.driver_opts":            {Service: "network.options", Sample: `{driver_opts: {encrypted: ""}}`, Want: `{"encrypted":""}`},
	"network.enable_ipv6":            {Service: "network.enable_ipv6"},
	"network.external":               {Service: "TaskTemplate.Networks.0.Target", Want: `"outside"`},
	"network.internal":               {Service: "network.internal"},
	"network.ipam.config[].gateway":  {Service: "network.ipam.pools.0.gateway", Sample: inOnePool, Want: `"10.78.0.3"`},
	"network.ipam.config[].ip_range": {Service: "network.ipam.pools.0.range", Sample: inOnePool, Want: `"10.78.0.128/25"`},
	"network.ipam.config[].subnet":   {Service: "network.ipam.pools.0.subnet", Sample: inOnePool, Want: `"10.78.0.0/24"`},
	"network.ipam.driver":            {Service: "network.ipam.driver"},
	"network.ipam.options":           {Service: "network.ipam.options"},
	"network.labels":                 {Service: "network.labels"},
	"network.name":                   {Service: "TaskTemplate.Networks.0.Target"},

	"volume.driver":      {Service: inMounts + ".0.VolumeOptions.DriverConfig.Name"},
	"volume.driver_opts": {Service: inMounts + ".0.VolumeOptions.DriverConfig.Options"},
	"volume.external":    {Service: inMounts + ".0.Source", Want: `"outside"`},
	"volume.labels":      {Service: inMounts + ".0.VolumeOptions.Labels"},
	"volume.name":        {Service: inMounts + ".0.Source"},

	"config.content":     {Service: "object.content"},
	"config.environment": {Service: "object.content"},
	"config.labels":      {Service: "object.Labels", Sample: "{content: hello, labels: {a: b}}", Want: `{"a":"b"}`},
	"secret.environment": {Service: "object.content"},
	"secret.external":    {Service: "object.content"},
	"secret.labels":      {Service: "object.Labels", Sample: "{external: true, labels: {a: b}}", Want: `{"a":"b"}`},
	"secret.name":        {Service: "object.content"},
}

// inOnePool is a sample of all that a pool of an overlay may say.
const inOnePool = "{ipam: {config: [{subnet: 10.78.0.0/24, ip_range: 10.78.0.128/25, gateway: 10.78.0.3}]}}"

// InSwarm returns where the row shows in a Swarm service, with its own sample and value where Swarm needs no other; false for a
// row that is not applied there, or only through those below it.
func (r Row) InSwarm() (InSwarm, bool) {
	in, ok := swarmPlaces[r.Path]
	if !ok {
		return in, false
	}
	if in.Sample == "" {
		in.Sample = r.Sample
	}
	if in.Want == "" {
		in.Want = r.Want
	}
	return in, true
}
