package compose

import (
	"strings"
	"testing"
	"time"
)

// The engine has no part in starting such a service: after a boot it would run whoever runs it by now.
func TestStopWhenCutOff(t *testing.T) {
	load := func(x, more string, static bool) (Loaded, error) {
		return Load("web", "f", []byte("services:\n  db:\n    image: a\n    x-brambled: { "+x+" }\n"+more), Env{Node: "pi1", Static: static})
	}
	l, err := load("nodes: all, stop_when_cut_off: 60s", "    restart: always\n", false)
	if err != nil {
		t.Fatal(err)
	}
	svc, _ := l.Stack.Service("db")
	if svc.StopWhenCutOff != time.Minute || svc.Container.Body.RestartPolicy != "no" || svc.Restart.Job() {
		t.Errorf("%s, policy %q, %q", svc.StopWhenCutOff, svc.Container.Body.RestartPolicy, svc.Restart)
	}
	for _, c := range []struct {
		x, more string
		static  bool
		want    string
	}{
		{"nodes: all, stop_when_cut_off: soon", "", false, "write a time such as 60s"},
		{"nodes: all, stop_when_cut_off: 2s", "", false, "too short"},
		{"swarm: true, stop_when_cut_off: 60s", "", false, "a node of a Swarm that is cut off runs its tasks on"},
		{"nodes: all, stop_when_cut_off: 60s", "    restart: \"no\"\n", false, "a job that is stopped would count as failed"},
		{"nodes: all, stop_when_cut_off: 60s", "", true, "the static tier runs without Consul"},
		{"nodes: all", "x-brambled: { stop_when_cut_off: 60s }\n", false, "is said of a service"},
	} {
		if _, err := load(c.x, c.more, c.static); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.x, err, c.want)
		}
	}
}
