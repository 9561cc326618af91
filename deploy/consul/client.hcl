# The Consul agent of every Pi that is no server. Beside it in /etc/consul.d: tls.hcl without certificate and key, and
# local.hcl; see README.md.
server      = false
datacenter  = "bramble"
data_dir    = "/var/lib/consul"
client_addr = "127.0.0.1" # HTTP for this Pi alone: its brambled talks to its own agent

# Client agents leave when they are stopped unless this is said, other than servers. Leaving deregisters the node and ends every
# session of it: each restart of Consul would take this Pi's presence away.
leave_on_terminate      = false
skip_leave_on_interrupt = true

acl {
  enabled                  = true
  default_policy           = "deny"
  down_policy              = "extend-cache" # tokens known once are good while no server can be asked
  enable_token_persistence = true           # tokens set by `consul acl set-agent-token` outlive a restart
}

auto_encrypt {
  tls = true # its certificate comes from the servers: only the CA's has to be copied here
}

disable_update_check = true
log_level            = "warn" # each line is a write to the SD card
