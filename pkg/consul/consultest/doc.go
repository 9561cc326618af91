// Package consultest is a stateful Consul server in memory: KV with blocking queries, sessions and transactions, as far as
// brambled uses them, with switches for every way in which Consul falls ill.
//
// It is proven by the contract tests of pkg/consul, which run against it and against a real Consul agent. It can be reached
// over a socket (Start) and without one (Transport), so that it also works inside a testing/synctest bubble: whatever waits
// here waits on channels and timers of the bubble.
//
// What it does not model: ACLs (a filter switch stands for them), datacenters, stale reads, several servers, and the catalog but for
// the services of one agent with one check each, which it does not remove for being critical.
package consultest
