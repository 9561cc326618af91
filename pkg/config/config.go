// Package config reads the daemon's settings and says what is wrong with them. It is the only importer of viper.
//
// A setting is taken from the first of these that has it:
//
//	a flag                    --consul-address
//	brambled's environment    BRAMBLED_CONSUL_ADDRESS
//	the file                  consul.address in /etc/brambled/brambled.yaml
//	the tools' environment    CONSUL_HTTP_ADDR, DOCKER_HOST and the like
//	the default
//
// The variables of Consul's and Docker's own tools stand below the file: they are often set for a person's whole session, and
// must not move a daemon that was configured to another cluster.
package config

import (
	"os"
	"strings"
	"time"
)

// DefaultFile is read when it is there and no other file is named.
const DefaultFile = "/etc/brambled/brambled.yaml"

// Config is all settings. The keys of the file are the mapstructure names, help is the flag's; deploy/config/brambled.yaml
// explains each.
type Config struct {
	Node    string `mapstructure:"node" help:"name of this node (default: the host name)"`
	Address string `mapstructure:"address" help:"address of this node on the LAN (default: found)"`
	// AddressFound is set where nobody named an address and this machine was looked at for one.
	AddressFound bool              `mapstructure:"-"`
	Labels       map[string]string `mapstructure:"labels" help:"labels of this node for x-brambled.nodes: name=value,..."`
	Listen       string            `mapstructure:"listen" help:"address of the HTTP server"`
	Prefix       string            `mapstructure:"prefix" help:"what all keys in Consul KV begin with"`
	Consul       Consul            `mapstructure:"consul"`
	Docker       Docker            `mapstructure:"docker"`
	StateDir     string            `mapstructure:"state_dir" help:"folder for what must not be forgotten"`
	ManifestsDir string            `mapstructure:"manifests_dir" help:"folder of the static tier"`
	Resync       time.Duration     `mapstructure:"resync" help:"longest time between two passes"`
	// SessionTTL is the time to live of Consul sessions; 0 is 5 s where the servers allow it, else 10 s.
	SessionTTL time.Duration `mapstructure:"session_ttl" help:"time to live of Consul sessions; 0s: the least the servers allow"`
	Brake      bool          `mapstructure:"brake" help:"hold large deletions until they are approved"`
	Heal       Heal          `mapstructure:"heal"`
	Swarm      Swarm         `mapstructure:"swarm"`
	Log        Log           `mapstructure:"log"`
}

// Consul is how to reach the agent on this Pi.
type Consul struct {
	Address   string `mapstructure:"address" help:"address of this Pi's own Consul agent"`
	Token     string `mapstructure:"token" help:"ACL token (better: --consul-token-file, arguments can be seen by all)"`
	TokenFile string `mapstructure:"token_file" help:"file with the ACL token"`
	CAFile    string `mapstructure:"ca_file" help:"CA certificate of Consul"`
	CertFile  string `mapstructure:"cert_file" help:"client certificate for Consul"`
	KeyFile   string `mapstructure:"key_file" help:"key of the client certificate"`
}

// Docker is how to reach the engine of this Pi.
type Docker struct {
	Host string `mapstructure:"host" help:"address of the Docker Engine"`
}

// Heal bounds the restarts of unhealthy containers.
type Heal struct {
	After  time.Duration `mapstructure:"after" help:"how long a container must be unhealthy before it is restarted"`
	Budget int           `mapstructure:"budget" help:"restarts of one unhealthy container within an hour; 0: none"`
}

// Swarm is what brambled does about the Swarm.
type Swarm struct {
	Manage   bool          `mapstructure:"manage" help:"keep the managers of a Swarm that brambled formed"`
	Managers int           `mapstructure:"managers" help:"number of Swarm managers: 1, 3, 5 or 7"`
	HoldDown time.Duration `mapstructure:"hold_down" help:"how long a manager must be gone before it is replaced"`
}

// Log is what is logged and how.
type Log struct {
	Level  string `mapstructure:"level" help:"debug, info, warn or error"`
	Format string `mapstructure:"format" help:"json or console"`
}

// Default returns the settings that hold where nothing is said. The node's name is this machine's; its address is found by
// [Load] when it is needed.
func Default() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "" // refused by Validate, which says that a name is needed
	}
	host, _, _ = strings.Cut(host, ".")
	return Config{
		Node: strings.ToLower(host), Labels: map[string]string{}, Listen: ":9746", Prefix: "brambled/",
		Consul:   Consul{Address: "127.0.0.1:8500"},
		Docker:   Docker{Host: "unix:///var/run/docker.sock"},
		StateDir: "/var/lib/brambled", ManifestsDir: "/etc/brambled/manifests",
		Resync: time.Minute, Brake: true,
		Heal:  Heal{After: 30 * time.Second, Budget: 5},
		Swarm: Swarm{Manage: true, Managers: 3, HoldDown: 10 * time.Minute},
		Log:   Log{Level: "info", Format: "json"},
	}
}
