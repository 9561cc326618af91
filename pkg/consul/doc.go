// Package consul is brambled's way to Consul: the watch on the desired state, the KV store, presence, the cluster id, and
// fenced transactions. It is the only importer of Consul's client library.
//
// # The watch
//
// [Watcher] keeps one blocking query on each of the three lists stacks/, vars/ and secrets/ and puts their answers together
// to a [Snapshot]. Its first duty is to tell "the user removed this" from "Consul fell ill": a snapshot is only ever made of
// three consistent reads, each carrying the same cluster id in its own answer, none marked as filtered, with no key older
// than it was. Anything else is a [Fault]; the last sound snapshot stays the newest one, and nothing may be removed because
// of what a faulty answer lacks.
//
// The rules of blocking queries, each of which was somebody's outage:
//
//   - an index that comes back lower than it was sent starts the watch over at 0. It is no fault by itself: ordinary
//     deletes cause it once their tombstones are reaped;
//   - an index of 0 is taken for 1, because a query with 0 does not block;
//   - every error starts the watch over at 0: a rebuilt Consul has small indexes, and would let a reader with an old, large
//     one wait for ever. For the same reason a wait is at most half a minute;
//   - a list that starts over, or is answered early with nothing new (so Consul tells of a restored snapshot), makes the
//     other two be read again before the three are put together: what rewound one rewound all, and the others may still
//     be parked on an index that is never reached;
//   - a query never travels on a connection that was used before: Go's HTTP client would send it again by itself when that
//     breaks, with the old index, to whoever listens there by then;
//   - each request has a deadline (the wait, the server's jitter of a sixteenth, a margin), since silence is not an error;
//   - a token bucket bounds the loop under churn, without delaying the first answers;
//   - a returned query is no proof of a change: contents are compared before anybody is woken, and bursts are folded.
//
// # What it cannot tell
//
// Consul masks the header that tells of filtered results for an anonymous token. A policy that hides some keys from an
// anonymous token and shows .cluster looks like those keys were deleted; give brambled a token of its own where ACLs are on.
// A restored snapshot that differs only in keys that were created since looks like their deletion.
package consul
