// Package swarmtest helps to test what plans Swarm services: a short notation for desired and observed state, and the part
// of Swarm that the model of [swarm.Simulate] leaves out.
//
// Desired state, one object a line, indented under its stack as one likes:
//
//	owners c1
//	retry app:2
//	stack web [owner=c1] [held=WHY] [opaque]
//	  net web_default [def=2] [external]
//	  config web_conf_1 [external] [def=2]
//	  secret web_key_1
//	  svc app img=app:1 [rev=2] [n=2] [mode=global] [fail=pause] [prepull=all] [pull=never] [full=NAME] [net=a,b] [config=a]
//	      [secret=a] [dep=db:healthy,cache:started]
//
// Observed state, under control unless it says otherwise:
//
//	nocontrol
//	node pi1 [down] [drained] [absent]
//	net web_default c1/web [def=2] | foreign
//	config web_conf_1 c1/web | foreign
//	svc web_app c1/web/app app:1 [v=7] [tried=app:2] [asked=app:1] [img=app:1@sha256:1] [mode=global] [n=2] [update=updating]
//	    [msg=TEXT] [net=a] [config=a] [secret=a] [before=config:a] [netbefore=a] [tasks=pi1,pi2] [id=X]
//	svc web_app foreign
//	task web/app running [on=pi1] [old] [slot=1] [since=40s] [err=WHY]
//	pin app:1 app:1@sha256:1 | err=WHY
//	prepull app:1@sha256:1 pi1 here | done=30 total=80 | err=WHY
//	elsewhere web/db running=1 healthy=1 completed=0
//	busy LANE
//	fail LANE | for=app:2 retry=5s
//
// A service runs all its tasks on pi1 unless it says otherwise. A hash is "1:" and the image, with "+REV" behind it; in a
// value, "_" is written for a blank.
package swarmtest
