package status

import (
	"errors"
	"strings"
	"testing"
)

func TestDrainIsReported(t *testing.T) {
	const desired = "owners c1 static\ndrained c1\nstack base owner=static\n  svc consul img=c:1\nstack web\n  svc app img=app:1\n  svc db img=db:1\n  svc task img=app:1 job=once"
	const boxes = "image app:1 db:1 c:1\nbox base-consul-1 static/base/consul/1 c:1 running\n"
	const at = "web converged: web is converged\n"
	for _, tt := range []struct {
		name, observed string
		drain          Drain
		want           string
	}{
		{
			"under way", "box web-app-1 c1/web/app/1 app:1 running\n", DrainUnderWay,
			"  app converging 1/1/1: web/app is being changed: set restart policy of web-app-1 to no (drained by a person)\n",
		},
		{
			"a job runs", "box web-task-1 c1/web/task/1 app:1 running want=no\n", DrainUnderWay,
			"  task converging 1/1/1: web/task waits for its tasks: the job runs and is not cut short; docker stop web-task-1 ends it, and it counts as failed\n",
		},
		{
			"done", "box web-app-1 c1/web/app/1 app:1 exited policy=no want=unless-stopped\nbox web-task-1 c1/web/task/1 app:1 exited want=no\n", DrainDone,
			at + "  app drained 0/0/1: web/app waits for the end of maintenance: pi1 is drained; brambled undrain pi1\n",
		},
		{"the job is done", "box web-task-1 c1/web/task/1 app:1 exited want=no\n", DrainDone, "  task done 0/0/1: web/task is done (exit 0)\n"},
		{"the static tier goes on", "", DrainDone, "base converged: base is converged\n  consul running 1/1/1"},
		{"what is no longer desired still runs", "box old-app-1 c1/old/app/1 app:1 running\n", DrainUnderWay, "old removing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := Build(pass(desired, boxes+tt.observed))
			if n.Drain != tt.drain || !strings.Contains(brief(n), tt.want) {
				t.Errorf("%q, and no %q in\n%s", n.Drain, tt.want, brief(n))
			}
		})
	}
	blind := pass(desired, "")
	blind.Err = errors.New("the engine is away")
	if n := Build(blind); n.Drain != DrainUnderWay {
		t.Errorf("what cannot be seen is %q", n.Drain)
	}
	if n := Build(pass("stack web\n  svc app img=app:1", boxes)); n.Drain != "" {
		t.Errorf("a node in service is %q", n.Drain)
	}
}
