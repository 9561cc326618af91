// Package quorumtest helps to test what keeps the managers of a Swarm: a short notation for desired and observed state, and a
// world of Pis with what the model of [quorum.Simulate] leaves out: they die and return, come back with a new card, are cut off,
// and Swarm carries out in its own time what it was asked for.
//
// Desired state, with three managers, a hold-down of 5m and 60s to be Ready unless it says otherwise:
//
//	cluster c1 | cluster -
//	nomanage | unwanted | adopt swarm1 | managers 5
//	settings cert=8760h heartbeat=2s history=1
//	pools 10.20.0.0/16 mask=22
//	node pi1 [drain] [gone] [labels=role:edge,zone:a]
//
// The world. A Pi is up and in the Swarm unless it says otherwise, brambled's leader is the first manager, the Swarm is ours,
// and the store says what is so:
//
//	lead pi2
//	swarm swarm1 [cluster=c9] [foreign] [cert=2160h] [heartbeat=5s] [history=5]
//	record swarm1 | - [cluster=c1] [managers=a,b] [stale] [forming=pi2] [for=10s] [removed=@pi3] [former=swarm0]
//	pi pi1 [manager] [leader] [joining=10s] [leaving=10s] [down=3m] [ready=5m] [deaf=3m] [id=X] [host=X] [drained] [fresh]
//	    [drained-by-us] [config=role:edge] [person=disk:ssd] [v=7]
//	    [knows=10.0.0.1:2377]    # the managers its engine knows
//	pi pi4 out [down]        # its engine is in no Swarm
//	pi pi5 in=swarm9         # in another one
//	pi pi6 silent            # its engine does not answer
//	record-of pi4 [down=9m] [manager] [fresh] [host=X] [id=@old]    # a record in the Swarm whose Pi is another by now
//	busy LANE
//	fail LANE | for=promote_@pi4 retry=5s
//
// "deaf" is a manager that is Ready and cannot be reached as a manager. In a value, "_" is written for a blank.
package quorumtest
