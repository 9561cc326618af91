# A Consul server of a bramble: on three Pis (five bear the loss of two). Beside it in /etc/consul.d: tls.hcl and local.hcl,
# which has what differs from Pi to Pi and what is secret. README.md says how to make those, and in which order.
server           = true
bootstrap_expect = 3          # the first leader is elected when three are there, never by one that is alone
datacenter       = "bramble"
data_dir         = "/var/lib/consul"
client_addr      = "127.0.0.1" # HTTP for this Pi alone: its brambled talks to its own agent

# A session's time to live can be this short; Consul's default is 10s. brambled asks for 5s where it may have that: a Pi that
# lost power is noticed within twice this time instead of 20s.
session_ttl_min = "5s"

performance {
  # Consul's default is 5, for small machines with slow networks: 5 to 10 s without a leader. Wired Pi 4 and 5 keep up with 1
  # (1 to 2 s). Take 2 or 3 for Wi-Fi, older Pis, or logs full of elections.
  raft_multiplier = 1
}

autopilot {
  # A dead server is not removed by itself: that deregisters its node and ends its sessions, also those of a Pi whose brambled
  # lives and is only cut off (hashicorp/consul#6793). Who replaces a Pi for good says `consul operator raft remove-peer`.
  cleanup_dead_servers = false
}

# systemctl stop and a reboot are no farewell: the server comes back, its node and its sessions wait for it.
leave_on_terminate      = false
skip_leave_on_interrupt = true

acl {
  enabled                  = true
  default_policy           = "deny"         # what no token allows is refused; policy/ has the tokens' rights
  down_policy              = "extend-cache" # tokens known once are good while no leader can be asked
  enable_token_persistence = true           # tokens set by `consul acl set-agent-token` outlive a restart
}

connect {
  enabled = true # its CA signs the certificates of client agents (auto_encrypt); nothing else of it is used
}
auto_encrypt {
  allow_tls = true
}

disable_update_check = true # a Pi at home tells nobody what it runs
log_level            = "warn" # each line is a write to the SD card
