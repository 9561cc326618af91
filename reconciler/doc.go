// Package reconciler is the heart of brambled: the loop that brings what runs toward what is desired, and the rules it
// never breaks while doing so.
//
// # Terms
//
//   - Desired: what should run here, read from the store, the static tier or last-known-good (package spec).
//   - Observed: what the engine has, plus what the loop knows of its own doing: steps under way, attempts that failed
//     (package node for a Pi's containers, package swarm for the cluster's Swarm services, package quorum for the Swarm itself).
//   - Plan: lanes of steps, what is waited for, and when to look again (package plan). A step is one action with a reason.
//   - Pass: observe, plan, check, start what the plan says, report.
//   - Hold: a cause for which nothing is changed until it lifts.
//   - Gate: what a successor must pass, health or staying up, before its predecessor is removed.
//
// # The pass
//
// Passes are level-based: an event only says "look again", and what to do follows from how things are, never from what
// happened. So any plan may be cut at any step, by a crash, a kill or a newer desired state, and the next pass takes up
// where things stand.
//
// A pass follows a trigger (desired changed, an engine event, a lane or a pull ended), the wake-up time a plan gave, or the
// resync. In between the loop sleeps. It never waits for a step: a lane that runs, a pull, an unhealthy dependency are facts
// that the next pass observes. One slow stop or one failing service holds up nothing but itself.
//
// Planning is pure: no input or output, no clock, no log; the same input gives the same plan in any order. Simulate models
// every action, and the property tests drive plan and model against each other. Check judges each plan once more, from
// the rules below alone, and a plan it refuses is not applied.
//
// # The rules
//
//  1. Fail static: a source that could not be read soundly is absent from Desired as a whole, and nothing that carries its
//     owner label is touched.
//  2. Unreadable is not absent: a stack that cannot be read is kept as it runs.
//  3. Ownership: only objects with the label of an owner in Desired are stopped or removed. There is no action that removes
//     a named volume.
//  4. Pull before stop: a container that runs is not touched before its successor's image is here.
//  5. Gate and failure action: the predecessor stays on disk until the successor passed. One that fails is kept, stopped,
//     under the name <container>.failed: its hash label is the verdict, which survives any crash because the engine keeps
//     it, and `docker logs` shows why. It is not tried again until the hash changes or the evidence is removed.
//  6. What is exclusive (host port, host network, fixed address, writable named volume) never runs twice.
//  7. Converged means silent: the plan of a converged state is empty, and an empty plan makes no call that changes anything.
//  8. Never loop: a lane that fails backs off, apart for each object and hash. What the engine restarts is left to the engine.
//     A remedy whose cause comes back (a container that ends each time, one that is unhealthy again) is further from the last
//     one each time; an unhealthy service is restarted so many times within an hour and then left as it is, and a person is
//     told. One that writes a named volume is restarted only where its file says so.
//  9. One disruption at a time: what serves here and runs on other nodes too is not replaced, restarted or cut from its network
//     without a permit, a record in the store that as many nodes hold as its update policy says. It ends with this node's success
//     or recorded failure, never by itself: a holder that vanishes stops the rollout, and it is said. A version that failed on one
//     node is tried on no other. What is down needs no permit, and what was begun under one is carried to its end. Voters of all
//     quorums, the Swarm's managers included, share one permit besides.
//  10. Fenced: in a Swarm nothing is planned without control of it, and a change of a service carries the version that was
//     observed, so that Swarm refuses a leader that has been succeeded.
//
// # Swarm services
//
// What Swarm reconciles by itself (replicas, restarts, the course of an update and its roll back) is left to it. A service is
// given its spec once for each hash and then watched; an update without a difference would cost the version to roll back to.
//
// Rule 4 holds over all nodes: an update that changes the image begins when those that run the service have it. Rule 5 has a
// memory in the Swarm: before an update the running version is marked with the hash that is tried, because Swarm forgets
// what it rolled back from. What a roll back would need (configs, secrets, networks) stays. A network is never changed
// under its services: all of them would have to go first, so a person is told instead.
//
// # Managers of the Swarm
//
// One change of membership at a time, and none without quorum. A dead manager's seat is taken after the hold-down, when a node stands by
// to take it over, and first of all taken: a successor that fails must cost nothing. Two managers exist only on the way to three
// or back to one. Only a Swarm that brambled formed, or was told to adopt, is managed, and nobody leaves one by force. The package
// comment of quorum has the facts behind that.
//
// # A node under maintenance
//
// A node that a person drained runs nothing of the owners named in Desired.Drained: what depends on something stops before it, all is
// kept on disk under restart policy "no", and nothing is made, changed or begun, while what is no longer desired goes. A job that
// runs once is not cut short, as nobody could tell afterwards whether it failed. Taken back, all starts in the order of depends_on.
//
// # Not guaranteed
//
//   - A person with access to the engine can change anything at any time; brambled repairs it afterwards, it cannot prevent
//     it.
//   - Without the store for longer than a minute the static tier goes on without permits: the store may be what is to be mended.
//   - Replacing a network's definition cuts its containers off for the moment between remove and create.
//   - A stop-first replacement is an interruption: from the predecessor's stop to the successor's start.
//   - Another mode of a Swarm service is an interruption too: Swarm cannot change it, so the service is removed and created.
//   - Removing an object from the Swarm cannot be fenced: Docker takes no version there.
//   - A job's Swarm service that a person removes is created again, and so runs a second time for its hash.
package reconciler
