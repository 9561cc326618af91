# Traffic between agents is encrypted and both ends are verified. Only servers need cert_file and key_file: delete these two
# lines on a client, which gets its own from the servers (auto_encrypt).
tls {
  defaults {
    ca_file   = "/etc/consul.d/ca.pem"
    cert_file = "/etc/consul.d/server.pem"
    key_file  = "/etc/consul.d/server-key.pem"
  }
  internal_rpc {
    verify_incoming        = true
    verify_outgoing        = true
    verify_server_hostname = true # a stolen client certificate does not make a server
  }
}
