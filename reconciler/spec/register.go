package spec

// Registration makes a service known in the cluster's catalog, as others reach it on a Pi that runs it. It is no part of any
// hash: a changed one replaces nothing.
type Registration struct {
	// Name is that of the service in the catalog, a DNS label. Several services may share one.
	Name string
	// Address is that of the host on which the port is published; "" for the node's own.
	Address string `json:",omitempty"`
	// Port is that of the Pi, not of the container.
	Port uint16
	Tags []string `json:",omitempty"` // in the order of the file
}
