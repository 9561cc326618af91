package status

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brambled/brambled/reconciler/swarm"
	"github.com/brambled/brambled/reconciler/swarm/swarmtest"
)

// swarmPass is the input of a report on one pass over what the notation describes.
func swarmPass(desired, observed string) SwarmInput {
	in := SwarmInput{Leader: "pi1", Desired: swarmtest.ParseDesired(desired), Observed: swarmtest.ParseObserved(observed)}
	in.Plan = swarm.Plan(in.Desired, in.Observed)
	return in
}

// The leader's report says why a service is as it is, whoever's fault it is, and what a person can do about it.
func TestBuildSwarm(t *testing.T) {
	for _, tt := range []struct{ name, desired, observed, want string }{
		{
			"all well",
			"stack web\n  svc app img=app:1", "node pi1\nsvc web_app c1/web/app app:1",
			"web converged: web is converged\n  app running 1/1/1: web/app is running (1 of 1)\n",
		},
		{
			"what ran on a Pi that is away does not run",
			"stack web\n  svc app img=app:1 n=2", "node pi1\nnode pi2 down\nsvc web_app c1/web/app app:1 n=2 tasks=pi1,pi2",
			"web converging: web/app waits for its tasks: 1 of 2 run; 1 on nodes that are away\n" +
				"  app converging 1/1/2: web/app waits for its tasks: 1 of 2 run; 1 on nodes that are away\n",
		},
		{
			"no Swarm yet",
			"stack web\n  svc app img=app:1", "nocontrol",
			"web held: web/app waits for a Swarm: the engine of the leader pi1 is no manager of one (docker swarm init, docker node promote)\n" +
				"  app held 0/0/1: web/app waits for a Swarm: the engine of the leader pi1 is no manager of one (docker swarm init, docker node promote)\n",
		},
		{
			"a version that failed: what can be done",
			"stack web\n  svc app img=app:2", "node pi1\nsvc web_app c1/web/app app:1 tried=app:2 update=rollback_completed",
			"web failed: web/app failed: this revision failed, see docker service ps web_app; Swarm says: rollback_completed; it is not tried again until its file changes, or brambled retry web\n" +
				"  app failed 1/1/1: web/app failed: this revision failed, see docker service ps web_app; Swarm says: rollback_completed; it is not tried again until its file changes, or brambled retry web\n",
		},
		{
			"a name that is taken does not come by waiting",
			"stack web\n  svc app img=app:1", "node pi1\nsvc web_app foreign\npin app:1 app:1@sha256:1",
			"web failed: web/app waits for a person: a service web_app exists that brambled did not make; docker service rm web_app, or rename this one\n" +
				"  app failed 0/0/1: web/app waits for a person: a service web_app exists that brambled did not make; docker service rm web_app, or rename this one\n",
		},
		{
			"a network that is not there, and why",
			"stack web\n  net lan external\n  svc app img=app:1 net=lan", "node pi1\npin app:1 app:1@sha256:1",
			"web failed: network lan waits for a network: it is external and does not exist; docker network create --driver overlay lan\n" +
				"  app converging 0/0/1: web/app waits for a network: lan\n",
		},
		{
			"a config that is somebody else's",
			"stack web\n  config c1\n  svc app img=app:1 config=c1", "node pi1\nconfig c1 foreign\npin app:1 app:1@sha256:1",
			"web failed: config c1 waits for a person: one of this name exists that brambled did not make; docker config rm c1\n" +
				"  app converging 0/0/1: web/app waits for a config or secret: config c1\n",
		},
		{
			"a stack is gone when its network is",
			"owners c1", "node pi1\nnet lan c1/web\nfail network lan | step=remove err=in_use_by_stranger retry=5s",
			"web removing: network lan waits for a retry: remove: in use by stranger\n",
		},
		{
			"what may still be rolled back to is no leftover",
			"stack web\n  svc app img=app:1", "node pi1\nconfig c1 c1/web\nsvc web_app c1/web/app app:1 before=config:c1",
			"web converged: web is converged\n  app running 1/1/1: web/app is running (1 of 1)\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, brief(BuildSwarm(swarmPass(tt.desired, tt.observed)))); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

// What keeps a removed stack's network is the first thing that status says of the stack.
func TestSwarmLeftoverIsSaid(t *testing.T) {
	n := BuildSwarm(swarmPass("owners c1", "node pi1\nnet lan c1/web\nfail network lan | step=remove err=in_use_by_stranger retry=5s"))
	for name, show := range map[string]func(*strings.Builder){
		"status": func(b *strings.Builder) { Table(b, []Node{n}, "") },
		"why":    func(b *strings.Builder) { Why(b, []Node{n}, "web", "") },
	} {
		var b strings.Builder
		if show(&b); !strings.Contains(b.String(), "in use by stranger") {
			t.Errorf("%s says\n%s", name, b.String())
		}
	}
}
