# What brambled on one Pi may do; NODE stands for the name of the Pi.

# One rule for all of it, so that no list is ever filtered: a list with hidden keys looks like one with deleted keys.
key_prefix "brambled/" { policy = "read" }

# Created once, by the first Pi of a new cluster.
key "brambled/stacks/.cluster"  { policy = "write" }
key "brambled/vars/.cluster"    { policy = "write" }
key "brambled/secrets/.cluster" { policy = "write" }

# Its own, and no other Pi's.
key "brambled/presence/NODE"     { policy = "write" }
key "brambled/status/nodes/NODE" { policy = "write" }

# What any Pi may be the one to write: it may become the leader, and permits go round.
key        "brambled/leader"       { policy = "write" }
key        "brambled/status/swarm" { policy = "write" }
key_prefix "brambled/rollouts/"    { policy = "write" }
key_prefix "brambled/verdicts/"    { policy = "write" }
key_prefix "brambled/swarm/"       { policy = "write" }
key_prefix "brambled/history/"     { policy = "write" }

# Who is out of service (drain/) and who is gone for good is for persons to say: a Pi only reads it.
key_prefix "brambled/swarm/gone/" { policy = "read" }

# Presence and leadership are sessions of this Pi's own agent.
session "NODE" { policy = "write" }
node    "NODE" { policy = "read" }
agent   "NODE" { policy = "read" }
