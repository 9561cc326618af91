// Package leasetest is a stateful leader key in memory, for tests of pkg/lease and of what builds on it, and the contract
// that it and every other lease.Store must keep.
//
// A [Server] is one Consul, as far as a leader needs it. Each elector reaches it by a [Link] of its own, which can be slow,
// cut, silent or lossy. Whatever waits here waits on channels and timers, so it works inside a testing/synctest bubble.
package leasetest
