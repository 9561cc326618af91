# What the Consul agent of one Pi may do for itself; NODE stands for the Pi's name.
node "NODE" { policy = "write" }

# Anti-entropy compares its own entry with the catalog; nothing here registers services.
node_prefix    "" { policy = "read" }
service_prefix "" { policy = "read" }
