// Package lab starts several Raspberry Pis on this machine for the tests of a whole cluster: each boots as a machine of its own,
// with systemd, Docker, Consul and the .deb of brambled, and all are on one LAN. scripts/lab makes them, docs/lab.md is the guide;
// this package is what tests drive them with, as harness is for one engine.
//
// The first three Pis are Consul's servers, with ACLs, TLS and gossip encryption as deploy/consul says; a fourth and later ones
// run its client agent. All engines have deploy/docker/daemon.json.
//
// pi3 runs Debian 13, and with it engine 26.1 beside 20.10 of Debian 12. Its systemd 257 refuses cgroup v1 by itself: on a
// machine with cgroup v1 it gets SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 and systemd.unified_cgroup_hierarchy=0 on its command line,
// and boots. systemd 258 has no cgroup v1 any more: Debian 14 will need a machine with cgroup v2.
//
// What differs from real Pis: the clock is this machine's and shared, so clock faults cannot be tested here. The kernel is shared
// too. There is no default route and no registry; images are loaded.
//
// A lab takes names of its own (bl1, bl2, …) for namespaces and cgroups, and its LAN is inside a namespace: labs run side by side.
// The script that made a lab removes it when the test's end of a pipe closes, however the test ended; consoles and journals are
// kept when it failed.
package lab
