// Package lease elects one leader among the daemons of a cluster, and fences what it does.
//
// An [Elector] waits until the leader key is free, takes it with a session and calls its lead function with a [Term]. A term
// is a scope: lead's context ends with it, nothing of it can be used afterwards, and the elector goes on as a candidate once
// lead has returned. While somebody else leads, a candidate has no session and writes nothing.
//
// # When a term is valid
//
// [Term.Check] is asked before each effect of a leader. It needs no network: it knows when the last request was sent that
// renewed the session, and when the last consistent read was sent that saw the lock held by it. From the older of the two
// the term is valid for the session's time to live less a margin. The instant of sending counts and not that of the
// answer: the server's clock may have begun to run right after the first. After that the term is suspended, as it is after
// a pause of the process, and after the watch saw the lock with anybody else. It resumes only when a consistent read that was
// sent later than that shows that our session still holds the lock. Requests that fail or are never answered are no loss of the lock: the
// deadline decides. A session that is gone, and a lock that is not ours, are; they end the term.
//
// The clock is the monotonic one. It stands still while a machine is suspended, which a Pi never is; one that were would find
// its writes to the store refused, and its term ended at the next look.
//
// The number of a term is the key's ModifyIndex at its acquisition: later terms have higher numbers, unless Consul was
// rebuilt or restored. That is noticed and logged, and begins a new term.
//
// # Two terms are never both valid
//
// The server lets a session live at least as long as its time to live after the last renewal that reached it, so a holder
// that hears nothing has stopped before another can begin. A holder that stops on purpose ends its term first, waits for lead
// to return, then releases the key, then destroys the session: a session destroyed while it holds a key leaves a lock-delay
// on it, a release does not.
//
// Where the key does not tell that its last term ended in order, because it is missing, or older than it was, or was taken by a
// term that never became valid, a new term begins suspended for one time to live: by then the holder of a Consul that is
// gone has stopped. So the first leader of a new cluster begins some seconds late.
//
// # What cannot be fenced
//
// Writes to KV are fenced by the server: they go in a transaction whose first operation checks the session ([Term.Fence]).
// Everything else is not, and this is what remains:
//
//   - An effect under way: between Check and the moment at which Docker carries a request out, a process can be paused for as
//     long as you like. Updates of Swarm objects carry the version that was observed, so a late one is refused if a later leader
//     changed the object. Creates rest on unique names. Docker takes no version when it removes a service: a late removal is
//     carried out, and the next leader repairs it.
//   - A session that ends before its time, by `consul session destroy` or because the node was deregistered (a client agent
//     that leaves, autopilot that takes a server for dead). A holder that can reach Consul is told by its watch within
//     milliseconds, and the lock-delay keeps others out for a second; one that is cut off at that very moment believes in its term until
//     its deadline.
//   - A snapshot restored while a former leader is cut off may give the lock back to it: it resumes, and the leader of the world
//     that is gone needs one answer to notice. Neither can write to KV with the other's session.
//   - A request that a killed process had sent may be carried out after its successor resumed the session. It is then as if it had arrived
//     before; writes that must not come late carry the key's index.
//   - A candidate that was started within one time to live after Consul was restored cannot know that the key is older than
//     it was.
//
// The nodes of one cluster have the same session_ttl.
package lease
