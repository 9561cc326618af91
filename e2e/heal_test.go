//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// life is what tells one run of a container from the next.
type life struct {
	ID           string `json:"Id"`
	RestartCount int
	State        struct {
		Status                string
		ExitCode              int
		StartedAt, FinishedAt string
		Health                struct {
			Status        string
			FailingStreak int
		}
	}
}

func (p *pi) life(t *testing.T, name string) life {
	t.Helper()
	l, err := p.tryLife(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (p *pi) tryLife(name string) (life, error) {
	text, err := p.engine.TryDocker("inspect", name)
	if err != nil {
		return life{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	var list []life
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 {
		return life{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	return list[0], nil
}

// until waits until a container is as asked, and returns it.
func (p *pi) until(t *testing.T, name, what string, is func(life) bool) life {
	t.Helper()
	var l life
	harness.Eventually(t, name+" "+what, func() error {
		var err error
		if l, err = p.tryLife(name); err == nil && !is(l) {
			err = fmt.Errorf("it is %+v", l)
		}
		return err
	})
	return l
}

func healthy(l life) bool { return l.State.Health.Status == "healthy" }

// asked returns when brambled asked the engine for something about a container, by the end of the path: "/start".
func (p *pi) asked(l life, what string) []time.Time {
	var at []time.Time
	for _, r := range p.proxy.Mutating() {
		if strings.HasSuffix(r.Path, what) && strings.Contains(r.Path, l.ID[:12]) {
			at = append(at, r.Time)
		}
	}
	return at
}

// retry asks for another try as soon as the store has the report that something failed.
func (p *pi) retry(t *testing.T, stack string) {
	t.Helper()
	harness.Eventually(t, "brambled retry "+stack, func() error {
		if r := p.Run(t, "retry", stack); r.Code != 0 {
			return fmt.Errorf("it says %s", r.Stderr)
		}
		return nil
	})
}

// A crash loop is the engine's to restart: brambled looks on, says so, and nothing else suffers.
func TestHealCrashLoop(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small+"  loop: { image: brambled/hello:1, command: [-exit, \"7\"] }\n")
	p.until(t, "web-loop-1", "is in a crash loop", func(l life) bool { return l.RestartCount >= 3 })
	p.state(t, "web", "failed")
	before := p.containers(t, "web")
	p.proxy.Forget()
	p.until(t, "web-loop-1", "was restarted more often", func(l life) bool { return l.RestartCount >= 7 })
	if calls := p.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("brambled fights the engine's restarts: %v", calls)
	}
	same(t, before, p.containers(t, "web"), "web-app-1")
	p.says(t, []string{"why", "web/loop"}, "ends and is restarted again and again", "docker logs web-loop-1")
	harness.Eventually(t, "the live report has the figures", func() error {
		body, err := p.Fetch("/api/v1/status")
		if err == nil && !strings.Contains(body, "exit code 7, restarted ") {
			err = fmt.Errorf("it is %s", body)
		}
		return err
	})
	p.says(t, []string{"status"}, "failed")
	p.put(t, "web", small+"  loop: { image: brambled/hello:1 }\n")
	p.runs(t, "web", "web-app-1", "web-loop-1")
	p.state(t, "web", "converged")
}

// What somebody stops again and again is started again and again, but further and further apart.
func TestHealStoppedByHand(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small)
	p.runs(t, "web", "web-app-1")
	l := p.life(t, "web-app-1")
	p.proxy.Forget()
	for n := range 4 {
		p.until(t, "web-app-1", "runs", func(l life) bool { return l.State.Status == "running" })
		p.engine.Docker(t, "stop", "-t", "0", "web-app-1")
		p.until(t, "web-app-1", fmt.Sprintf("was started %d times", n+1), func(life) bool { return len(p.asked(l, "/start")) > n })
	}
	at := p.asked(l, "/start")
	for i := 2; i < len(at); i++ {
		if gap, least := at[i].Sub(at[i-1]), time.Second<<(i-1); gap < least*9/10 {
			t.Errorf("start %d came %s after the one before, want %s", i+1, gap, least)
		}
	}
	p.runs(t, "web", "web-app-1")
	p.engine.Docker(t, "stop", "-t", "0", "web-app-1")
	p.state(t, "web", "failed")
	p.says(t, []string{"why", "web/app"}, "ends and is restarted again and again")
	n := len(at)
	p.retry(t, "web")
	p.runs(t, "web", "web-app-1")
	if got := len(p.asked(l, "/start")); got <= n {
		t.Errorf("%d starts, and %d before", got, n)
	}
}

const probe = "    healthcheck: { test: [CMD, /hello, -healthcheck], interval: 1s, retries: 1 }\n    network_mode: host\n"

func sicken(t *testing.T, p *pi, port string) {
	t.Helper()
	resp, err := http.Post("http://"+p.engine.Address+":"+port+"/sick", "", nil)
	if err == nil {
		err = resp.Body.Close()
	}
	if err != nil {
		t.Fatalf("sicken: %v", err)
	}
}

// An unhealthy service is restarted, once, and is well. One that writes a named volume, or that says so, is left alone.
func TestHealUnhealthy(t *testing.T) {
	t.Parallel()
	p := boot(t, "--heal-after", "1s")
	p.put(t, "web", small+probe+
		"  db:\n    image: brambled/hello:1\n    environment: { PORT: \"8081\" }\n    volumes: [data:/data]\n"+probe+
		"  off:\n    image: brambled/hello:1\n    environment: { PORT: \"8082\" }\n    x-brambled: { heal: false }\n"+probe+
		"volumes: { data: {} }\n")
	before := map[string]life{}
	for name, port := range map[string]string{"web-app-1": "8080", "web-db-1": "8081", "web-off-1": "8082"} {
		before[name] = p.until(t, name, "is healthy", healthy)
		sicken(t, p, port)
	}
	p.proxy.Forget()
	after := p.until(t, "web-app-1", "is another run and healthy", func(l life) bool {
		return l.State.StartedAt != before["web-app-1"].State.StartedAt && healthy(l)
	})
	if after.ID != before["web-app-1"].ID {
		t.Error("it is another container")
	}
	p.says(t, []string{"why", "web/db"}, "it is not restarted: it writes the volume web_data")
	p.says(t, []string{"why", "web/off"}, "it is not restarted: x-brambled.heal is false")
	for _, name := range []string{"web-db-1", "web-off-1"} {
		now := p.until(t, name, "is unhealthy for long", func(l life) bool { return l.State.Health.FailingStreak > 15 })
		if now.State.StartedAt != before[name].State.StartedAt {
			t.Errorf("%s was restarted", name)
		}
	}
	if calls := p.proxy.Mutating(); len(calls) != 2 {
		t.Errorf("want one stop and one start, brambled asked for %v", calls)
	}
}

// Health that never lasts costs a budget and no more; then a person is told, and can ask for another try.
func TestHealFlapping(t *testing.T) {
	t.Parallel()
	p := boot(t, "--heal-after", "1s", "--heal-budget", "2")
	p.put(t, "web", small+"    command: [-sick, 3s]\n"+probe)
	p.runs(t, "web", "web-app-1")
	l := p.life(t, "web-app-1")
	harness.Eventually(t, "the budget is spent", func() error {
		if n := len(p.asked(l, "/stop")); n < 2 {
			return fmt.Errorf("%d restarts", n)
		}
		return nil
	})
	p.state(t, "web", "failed")
	p.says(t, []string{"why", "web/app"}, "unhealthy again after 2 restarts within an hour", "docker logs web-app-1", "brambled retry web")
	p.until(t, "web-app-1", "is unhealthy for longer than it ever took", func(l life) bool { return l.State.Health.FailingStreak > 20 })
	if n := len(p.asked(l, "/stop")); n != 2 {
		t.Errorf("%d restarts, the budget is 2", n)
	}
	p.retry(t, "web")
	p.until(t, "web-app-1", "is restarted once more", func(life) bool { return len(p.asked(l, "/stop")) == 3 })
}

// Across a start of dockerd: the engine brings back what its policies say, brambled what they leave; what is done stays done.
func TestHealEngineStart(t *testing.T) {
	t.Parallel()
	p := boot(t)
	p.put(t, "web", small+"  sticky: { image: brambled/hello:1, restart: always }\n"+
		"  once: { image: brambled/hello:1, command: [-exit, \"0\"], restart: \"no\" }\n"+
		"  tried: { image: brambled/hello:1, command: [-exit, \"0\"], restart: on-failure }\n")
	p.state(t, "web", "converged")
	jobs := map[string]life{"web-once-1": p.life(t, "web-once-1"), "web-tried-1": p.life(t, "web-tried-1")}
	unchanged := func(t *testing.T) {
		t.Helper()
		for name, l := range jobs {
			if now := p.life(t, name); now != l {
				t.Errorf("%s was run again: it is %+v, was %+v", name, now, l)
			}
		}
	}
	running := func(l life) bool { return l.State.Status == "running" }

	t.Run("brambled is away", func(t *testing.T) {
		p.Kill(t)
		for _, name := range []string{"web-app-1", "web-sticky-1"} {
			p.engine.Docker(t, "stop", "-t", "0", name)
		}
		app := p.life(t, "web-app-1")
		p.engine.Kill(t)
		p.engine.Again(p.top)
		p.until(t, "web-sticky-1", "is started by the engine: always means always", running)
		if now := p.life(t, "web-app-1"); now.State.StartedAt != app.State.StartedAt {
			t.Errorf("the engine started what was stopped by hand: %+v", now)
		}
		p.proxy.Forget()
		p.Again(p.top)
		p.until(t, "web-app-1", "is started by brambled", running)
		p.state(t, "web", "converged")
		unchanged(t)
		if calls := p.proxy.Mutating(); len(calls) != 1 {
			t.Errorf("want one start, brambled asked for %v", calls)
		}
	})
	t.Run("brambled looks on", func(t *testing.T) {
		before := map[string]life{"web-app-1": p.life(t, "web-app-1"), "web-sticky-1": p.life(t, "web-sticky-1")}
		p.proxy.Forget()
		p.engine.Kill(t)
		p.engine.Again(p.top)
		for name, l := range before {
			p.until(t, name, "runs again", func(now life) bool {
				return running(now) && now.State.StartedAt != l.State.StartedAt && now.ID == l.ID
			})
		}
		p.state(t, "web", "converged")
		unchanged(t)
		for _, r := range p.proxy.Mutating() {
			if !strings.HasSuffix(r.Path, "/start") { // of what the engine lists as ended for a moment
				t.Errorf("brambled asked for %v", r)
			}
		}
	})
}
