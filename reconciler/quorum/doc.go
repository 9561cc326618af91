// Package quorum plans the Swarm itself: whether there is one, which nodes are in it, and which of them are its managers. [Plan] is
// for the leader, [PlanMember] for each node about its own part; [Simulate] models what each action does; [Check] and [CheckMember]
// judge plans apart from the planner.
//
// All are pure: no I/O, no clock, no logging. Time is in [Observed], as durations measured on a monotonic clock.
//
// # Terms
//
//   - Seat: a node has one while it is a member of Swarm's raft, which is what counts for the quorum. The role that was asked for
//     ([Node.Manager]) comes before the seat when a node is promoted, and goes before it when it is demoted.
//   - Quorum: more than half of the seats, reaching each other.
//   - Well: Ready, and with a seat reachable as a manager. Away: not well.
//   - Dead: away for the hold-down; or its Pi is there under another identity; or removed by a person (`node rm`) and away.
//   - Candidate: Ready for a minute, with brambled on it, labelled, active, neither drained nor removed. It may get a seat.
//   - Target: how many managers there should be. swarm.managers, but never more than there are nodes, and always odd. A node that is
//     about to join counts, and one that is away counts for ever; only `node rm` takes it out.
//   - Ours: a Swarm that carries this cluster's id as a label. brambled writes it when it forms one, or when a person has it adopt
//     one. Any other is only used.
//
// # What the leader does
//
//  1. It forms a Swarm when a stack wants one and there is none: the store names none, no node that is there is in one, and all of
//     them say so. It claims that in the store first, so that a later leader forms no second one, and so that a Swarm whose forming
//     was cut short is known for ours. A claim of a node that is there and has no Swarm lapses after a minute, that of a node that
//     is away after the hold-down.
//  2. It keeps the store's invitation (id, addresses of the managers, token for workers), the settings and the labels, which are
//     no changes of membership and need not wait for any.
//  3. It makes one change of membership at a time: a promotion, a demotion or a removal. None is made while another runs or is
//     still being carried out by Swarm, and none without quorum. In this order:
//     a change that Swarm cannot carry out is resolved; a surplus seat is taken; a dead manager's seat is taken, if a candidate
//     stands by; a seat is given while there are too few; a seat is moved from a node that is drained or removed; a ghost's
//     record is removed.
//
// # The rules, and the facts they rest on
//
// Where a fact comes from is in square brackets: files of moby/swarmkit unless said otherwise.
//
//   - Demote first, promote next, where a manager is dead. Swarm promotes at once and checks nothing
//     [manager/role_manager.go, reconcileRole]. Of three managers with one dead, promoting first makes four of which two are left
//     until the third has caught up: if that fails, the quorum is lost. Demoting first makes two of two, which three follow; a
//     joiner that fails costs nothing. Swarm takes the seat of a manager that cannot be reached [integration test
//     TestDemoteDownedManager].
//   - A seat is taken only where the others alone have a quorum. Swarm checks the same when it is asked and again when it carries
//     the demotion out [manager/state/raft, CanRemoveMember], and tries every five seconds for ever, silently
//     [manager/role_manager.go]. So a demotion is over when the seat is gone, not when it was accepted; and one that cannot be
//     carried out, because another manager has died since, is taken back.
//   - A promotion cannot be taken back before the node has its seat: there is no member to demote, "can't find manager in raft
//     memberlist" [manager/controlapi/node.go, UpdateNode]. A node that dies on its way would take its seat whenever it returned, so
//     after the hold-down its record is removed, which Swarm allows for a node that is Down and no member [RemoveNode].
//   - On its way to a seat an engine asks one manager: the one by which it once joined, and after a restart of the engine one of those
//     it knows, at random [node/node.go, runManager]. If that one does not answer its part in the Swarm ends with an error, and is begun
//     again with the address by which it joined, for ever. So no node is promoted whose engine knows a manager that is not there; and
//     as nobody can see by which one it joined, one that is stranded all the same leaves after a moment and joins anew by one that
//     answers: it has no seat to lose. That is the rule, not the exception, where all joined by the Pi that formed the Swarm, and
//     that one dies.
//   - Two managers bear no loss, as one does, and have twice as much to lose (moby#34384, #34722). So the way from one to three,
//     and from any odd number, begins only when two candidates stand ready; while seats are even the next one must come soon; and
//     when for two minutes no node may take it any more, the way back is taken.
//   - With a candidate absent a dead manager keeps its seat: two seats that are both needed are no better than three. Of an even
//     number of seats a dead one is taken at any rate, since it only adds to what must be reached.
//   - For a seat that is moved from a node which is well the successor comes first: four of four are there in between.
//   - A new manager must have been seen reachable for ten seconds before the next change.
//   - Swarm's leader loses its seat only where no other is dispensable, and the node that leads brambled hardly sooner.
//   - The identity of a node is its certificate: with a new card a Pi joins as another node, and the old record stays Down for
//     ever (moby#30059, swarmkit#1323). The proof that the old one is dead is that its Pi, by brambled's name in a label, is there
//     under another identity; it needs no hold-down. Its seat is taken when a candidate stands by, which may be itself; its record
//     goes when it has joined anew. A host name is no proof.
//   - Changes of a node carry the version that was observed, and Swarm refuses another. The version changes with the node's
//     state too, so a node that died meanwhile is not promoted. A removal carries none; Swarm refuses it for a node that is Ready
//     or a member, and force is never used.
//   - Removing a record makes Swarm refuse the node's certificate for good. So the id is written to the store before: a node that
//     comes back as one that was removed, and reaches no manager, leaves and joins anew.
//   - Certificates are valid for 90 days by default, and renewed between 50 and 80 per cent of that: after three weeks without power
//     one may have expired (moby#42660). So settings make them valid for longer, and a worker whose certificate has expired leaves and joins
//     anew, once an hour at most, since a wrong clock looks the same. A manager does so once the others have taken its seat, which
//     needs their quorum.
//
// # What is written where
//
// What brambled did it reads off the Swarm: whose the Swarm is, which name a node has, which labels a config file gave and which
// drain was ours are labels there ([spec.LabelCluster], [spec.LabelNode], [spec.LabelNodeKeys], [spec.LabelDrained]). So a new leader, and one
// whose store was lost, knows. What a person wrote beside it stays.
//
// # Not promised
//
//   - Without quorum nothing is done. What a person does then (wait; `brambled swarm recover` on one that is left) is
//     said, and never done unasked.
//   - Between the demotion of a dead manager and the arrival of its successor, and between the second manager and the third, there
//     is nothing to spare: a death then costs the quorum until that Pi is back.
//   - The hold-down is measured by the leader: a new leader begins anew.
//   - A promoted node that is Ready and never gets its seat blocks all further changes, and a person is told.
//   - A Swarm that is only used is seen by who is there. While all of its nodes are away, one may be formed beside it; the same is true
//     of a node that formed one, died before it could say so, and is back only after the hold-down.
//   - The leaving of a node and the removal of a record cannot be fenced. Nor can the order of changes of two nodes: one that a leader
//     had sent before its term ended may be carried out beside the first of the next leader.
package quorum
