// Package nodetest helps to test what plans and applies a Pi's containers: a short notation for desired and observed
// state, and an [Engine] in memory that stands on the model of [node.Simulate].
//
// Desired state, one object a line, indented under its stack as one likes:
//
//	owners c1 static
//	healing after=30s budget=5
//	prepull new:2
//	drained c1
//	stack web [owner=c1] [held=WHY] [opaque]
//	  net web_default [def=2] [external]
//	  vol web_data [def=2] [external]
//	  svc app img=app:1 [rev=2] [n=2] [order=stop-first] [fail=pause] [monitor=10s] [par=1] [health] [excl=WHY]
//	      [job=once|on-failure] [net=a,b] [vol=a,b:ro] [file=f1] [name=X] [pull=always] [platform=P] [policy=no] [heal=on] [cutoff=60s]
//	      [shared|voter] [rollout=app:2]
//	      [dep=db:healthy,cache:started:restart]
//
// Observed state:
//
//	image app:1 app:2
//	net web_default c1/web [def=2] | foreign
//	vol web_data c1/web [def=2]
//	box web-app-1 c1/web/app/1 app:1 running [health=healthy] [sick=1m] [up=1h] [seen=1h] [exit=1] [restarts=2] [policy=no] [want=always]
//	    [net=a,b] [file=f1] [vol=a] [check] [err=WHY] [id=X]
//	box mine foreign running
//	pull app:2 running | err=WHY retry=1m | for=HASH
//	cut-off for=20s
//	permits known | without=static
//	permit c1/web/app by=pi1:app:2,pi2:app:2 failed=pi2,app:2,exited_with_1
//	permit voters by=pi2:c1/web/app
//	away pi2
//	file f1 f2
//	busy LANE
//	fail LANE | for=app:2 retry=5s
//	remedy LANE | why=unhealthy for=app:1 n=2 since=5m
//	unsupported app:2 WHY
//
// A hash is "1:" and the image, with "+REV" behind it; in a value, "_" is written for a blank.
package nodetest
