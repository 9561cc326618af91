package docker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/brambled/brambled/reconciler/node"
)

func recorded[T any](t *testing.T, name string) T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "engine-20.10", name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// What an engine 20.10 really sends, as the planner gets to see it.
func TestTranslateRecorded(t *testing.T) {
	live := map[string]bool{}
	for _, n := range recorded[[]network.Summary](t, "networks.json") {
		live[n.ID] = true
	}
	now := time.Now()
	clock := func() time.Time { return now }
	cache := newInspections(clock)
	got := map[string]node.Container{}
	for _, row := range recorded[[]container.Summary](t, "list.json") {
		c := foreign(row)
		if ours(row) {
			m, stale := cache.look(row)
			if !stale {
				t.Errorf("%s was never inspected and is not stale", rowName(row))
			}
			cache.learn(m, recorded[container.InspectResponse](t, rowName(row)+".json"), nil)
			if _, stale = cache.look(row); stale {
				t.Errorf("%s was inspected and is stale", rowName(row))
			}
			c = own(row, m, live, "/files", now.Add(time.Second))
		}
		if c.ID == "" || c.Owner != "" && c.ImageID == "" {
			t.Errorf("%s: id %q image %q", c.Name, c.ID, c.ImageID)
		}
		c.ID, c.ImageID = "", ""
		got[c.Name] = c
	}
	own := func(name, service, hash string, c node.Container) node.Container {
		c.Name, c.Owner, c.Stack, c.Service, c.Hash, c.Seen = name, "c0ffee", "web", service, hash, time.Second
		c.Replica = max(1, c.Replica)
		c.WantPolicy, c.WantPolicyMax = c.Policy, c.PolicyMax
		return c
	}
	bridge := []string{"bridge"}
	want := map[string]node.Container{
		"stranger": {Name: "stranger", State: node.Running, Networks: bridge},
		"web-app-1": own("web-app-1", "app", "1:abc", node.Container{
			State: node.Running, Health: node.Healthy, HasCheck: true, Up: time.Second, Policy: "on-failure", PolicyMax: 3,
			Networks: []string{"ct_default"}, Volumes: []string{"web_data"},
		}),
		"web-job-1":    own("web-job-1", "job", "1:def", node.Container{State: node.Exited, ExitCode: 7, Policy: "no", Networks: bridge}),
		"web-new-1":    own("web-new-1", "new", "1:fed", node.Container{State: node.Created, HasCheck: true, Policy: "unless-stopped", Networks: []string{"host"}}),
		"web-loop-1":   own("web-loop-1", "loop", "1:aaa", node.Container{State: node.Restarting, ExitCode: 1, RestartCount: 4, Policy: "always", Networks: bridge}),
		"web-paused-1": own("web-paused-1", "paused", "1:bbb", node.Container{State: node.Paused, Replica: 2, Policy: "no", Networks: bridge}),
	}
	loop := got["web-loop-1"]
	if loop.RestartCount == 0 {
		t.Error("web-loop-1 has no restarts")
	}
	loop.RestartCount = 4 // as many as it happened to have when it was recorded
	got["web-loop-1"] = loop
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

// Statuses are the only place where a list of an engine before API 1.52 tells of health and exit code.
func TestReadStatus(t *testing.T) {
	for status, want := range map[string]struct {
		health node.Health
		code   int
		up     time.Duration
	}{
		"Created":                               {},
		"Up Less than a second":                 {},
		"Up 1 second":                           {up: time.Second},
		"Up 5 seconds (health: starting)":       {health: node.Starting, up: 5 * time.Second},
		"Up About a minute (healthy)":           {health: node.Healthy, up: time.Minute},
		"Up 3 minutes (unhealthy)":              {health: node.Unhealthy, up: 3 * time.Minute},
		"Up About an hour":                      {up: time.Hour},
		"Up 2 weeks":                            {up: 14 * 24 * time.Hour},
		"Exited (137) 2 minutes ago":            {code: 137},
		"Restarting (1) Less than a second ago": {code: 1},
		"Up 6 seconds (Paused)":                 {up: 6 * time.Second},
	} {
		r := container.Summary{Status: status}
		if h, c, u := rowHealth(r), rowExitCode(r), uptime(status); h != want.health || c != want.code || u != want.up {
			t.Errorf("%q: health %q, exit code %d, up %s", status, h, c, u)
		}
	}
}

// A container whose inspection hangs is described by its row, marked, and left alone for a while.
func TestHungContainer(t *testing.T) {
	now := time.Now()
	cache := newInspections(func() time.Time { return now })
	row := container.Summary{ID: "a", Names: []string{"/web-app-1"}, State: container.StateExited, Status: "Exited (3) 1 second ago",
		Labels: map[string]string{"brambled.cluster": "us", "brambled.restart": "always"}}
	m, _ := cache.look(row)
	cache.learn(m, container.InspectResponse{}, os.ErrDeadlineExceeded)
	c := own(row, m, nil, "/files", now)
	if c.State != node.Exited || c.ExitCode != 3 || c.Error == "" || c.Policy != "always" {
		t.Errorf("described as %+v", c)
	}
	if _, stale := cache.look(row); stale {
		t.Error("it is asked again at once")
	}
	now = now.Add(hungPause)
	if _, stale := cache.look(row); !stale {
		t.Error("it is never asked again")
	}
	cache.learn(m, container.InspectResponse{}, os.ErrDeadlineExceeded)
	cache.dirty("a")
	if _, stale := cache.look(row); !stale {
		t.Error("an event does not count")
	}
}

// An event may be lost: an uptime that shrank tells of the restart all the same. A new stream makes all doubtful.
func TestStaleness(t *testing.T) {
	cache := newInspections(time.Now)
	row := container.Summary{ID: "a", State: container.StateRunning, Status: "Up 3 minutes"}
	learn := func() {
		m, stale := cache.look(row)
		if !stale {
			t.Fatal("not stale")
		}
		cache.learn(m, container.InspectResponse{State: &container.State{Running: true}}, nil)
		if _, stale := cache.look(row); stale {
			t.Fatal("stale after learning")
		}
	}
	learn()
	row.Status = "Up 4 minutes"
	if _, stale := cache.look(row); stale {
		t.Error("time passing makes it stale")
	}
	row.Status = "Up 2 seconds"
	learn()
	row.Status = "Up 3 seconds (healthy)"
	learn()
	cache.reset()
	learn()
	m, _ := cache.look(row)
	cache.dirty("a")
	cache.look(row)
	cache.dirty("a") // while it is inspected
	cache.learn(m, container.InspectResponse{State: &container.State{Running: true}}, nil)
	if _, stale := cache.look(row); !stale {
		t.Error("an event during the inspection was lost")
	}
}

// What we did ourselves is looked at anew, whether we called the container by its id or by its name: an event of it may
// come later than the next look.
func TestOurOwnChangesAreLookedAt(t *testing.T) {
	for _, ref := range []string{"a", "web-app-1"} {
		cache := newInspections(time.Now)
		row := container.Summary{ID: "a", Names: []string{"/web-app-1"}, State: container.StateRunning, Status: "Up 3 minutes"}
		m, _ := cache.look(row)
		cache.learn(m, container.InspectResponse{Name: "/web-app-1", State: &container.State{Running: true}}, nil)
		cache.touch("")
		if _, stale := cache.look(row); stale {
			t.Error("changing nothing makes it stale")
		}
		cache.touch(ref)
		if _, stale := cache.look(row); !stale {
			t.Errorf("after a change of %q the old inspection is believed", ref)
		}
	}
}

// How long a container is unhealthy is what we have seen of it: it begins anew with each start and whenever it was well.
func TestSick(t *testing.T) {
	now := time.Now()
	cache := newInspections(func() time.Time { return now })
	row := container.Summary{ID: "a", Names: []string{"/web-app-1"}, State: container.StateRunning}
	m, _ := cache.look(row)
	for _, tt := range []struct {
		started string
		health  container.HealthStatus
		want    time.Duration
	}{
		{"1", container.Unhealthy, 0},
		{"1", container.Unhealthy, time.Minute},
		{"1", container.Unhealthy, 2 * time.Minute},
		{"1", container.Healthy, 0},
		{"1", container.Unhealthy, 0},
		{"2", container.Unhealthy, 0}, // restarted between two looks
		{"2", container.Unhealthy, time.Minute},
		{"2", container.Starting, 0},
	} {
		cache.learn(m, container.InspectResponse{Name: "/web-app-1", State: &container.State{
			Status: container.StateRunning, Running: true, StartedAt: tt.started, Health: &container.Health{Status: tt.health},
		}}, nil)
		if c := own(row, m, nil, "/files", now); c.Sick != tt.want {
			t.Errorf("start %s, %s: sick for %s, want %s", tt.started, tt.health, c.Sick, tt.want)
		}
		now = now.Add(time.Minute)
	}
}
