// Package catalog decides what one Pi has registered in Consul's catalog, at the agent on that Pi: [Plan] compares what is
// desired and runs with what the agent has, [Simulate] models what the agent does. Both are pure.
//
// A registration is of a service on a Pi, not of a container: all of its containers and tasks there are reached by one address,
// and a replaced container must cost the catalog nothing. It is there as long as one of them is, and its check passes as long
// as one of them runs and is not unhealthy.
//
// The rules:
//
//   - What does not carry our mark, with an owner of the desired state and this node's name, is never touched, nor its id taken.
//   - What nothing runs of is not registered, whoever registered it: an earlier life of the daemon, or one before a power cut.
//   - Unreadable is not absent: while a stack cannot be read, or is only remembered, what runs of it stays registered.
//   - The check has a time to live that the daemon renews. A dead daemon or an engine that does not answer vouches for nothing:
//     the check turns critical by itself, and after a while the agent removes the registration.
//   - The agent removes what has been critical for long, a service that is unhealthy for hours too. It is registered again
//     when it passes, and not before: registering it each time would write to the catalog for ever.
//   - Converged means silent: renewing a check without a change is no write for Consul's servers (Consul 1.19.2,
//     agent/local/state.go, UpdateCheck: an update that says the same is dropped).
package catalog
