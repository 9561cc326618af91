# What a person may do who runs stacks and Pis: consul kv put, brambled apply, approve, delete, drain, node rm, swarm adopt. Not: change
# Consul itself.
key_prefix     "brambled/" { policy = "write" }
session_prefix ""          { policy = "read" }
node_prefix    ""          { policy = "read" }
agent_prefix   ""          { policy = "read" }
service_prefix ""          { policy = "read" }

# `consul operator raft list-peers`: who is a server, and who leads.
operator = "read"
