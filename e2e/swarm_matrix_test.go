//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// Rows 23, 33, 35 and 36 of the fault matrix: what a Swarm can do to its leader. One engine serves all; row 34 is [TestSwarmCrash].
func TestMatrixSwarm(t *testing.T) {
	t.Parallel()
	p := bootSwarm(t, nil, harness.Options{})
	for _, row := range []struct {
		name string
		run  func(*testing.T, *swarmPi)
	}{
		{"23 somebody else updates the service at the same moment", updateRaces},
		{"33 an update that is never healthy is rolled back, and not tried again", rolledBack},
		{"33 an update that is paused stays as it is until a person decides", pausedForGood},
		{"35 a network without a free address", addressesSpent},
		{"36 a network that a stranger's container is on", networkInUse},
	} {
		if !t.Run(row.name, func(t *testing.T) { row.run(t, p) }) {
			t.Fatal("the rows that follow need a Swarm that is sound")
		}
	}
}

// updates are the attempts to change a service, and how many of them the Swarm refused.
func (p *swarmPi) updates() (all, refused int) {
	for _, r := range p.proxy.Mutating() {
		if strings.HasSuffix(r.Path, "/update") {
			all++
			if r.Status/100 != 2 {
				refused++
			}
		}
	}
	return all, refused
}

// updateRaces has a rival change the service just before each of the first two changes of the leader arrive.
func updateRaces(t *testing.T, p *swarmPi) {
	p.put(t, "race", swarmFile("", swarmSvc{name: "app", mark: "one"}))
	p.runsMarked(t, marked{"race_app": "one"})
	var races atomic.Int32
	p.proxy.Play(func(w http.ResponseWriter, r *http.Request, engine http.Handler) {
		if n := races.Load(); strings.HasSuffix(r.URL.Path, "/update") && n < 2 && races.CompareAndSwap(n, n+1) {
			if _, err := p.engine.TryDocker("service", "update", "--detach", "--no-resolve-image", "--env-add", fmt.Sprintf("RIVAL=%d", n), "race_app"); err != nil {
				t.Errorf("the rival: %v", err)
			}
		}
		engine.ServeHTTP(w, r)
	})
	p.proxy.Forget()
	p.put(t, "race", swarmFile("", swarmSvc{name: "app", mark: "two"}))
	p.runsMarked(t, marked{"race_app": "two"})
	p.proxy.Play(nil)
	all, refused := p.updates()
	if refused != 2 {
		t.Errorf("%d of %d changes were refused, want the two that were made from an old look", refused, all)
	}
	// The mark of what is tried, the update, and each refused one once more; and once more what the rival left.
	if all > 6 {
		t.Errorf("%d changes for one edit", all)
	}
	if got := p.mustServices(t)["race_app"]; got.env("RIVAL") != "" {
		t.Errorf("what the rival wrote was kept: %q", got.env("RIVAL"))
	}
	p.gone(t, "race")
}

// gone deletes a stack and waits until nothing of it is there.
func (p *swarmPi) gone(t *testing.T, stack string) {
	t.Helper()
	p.consul.Delete(t, "brambled/stacks/"+stack)
	p.runsMarked(t, marked{})
	harness.Eventually(t, "its networks are gone", func() error {
		left, err := p.named("networks")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there are %v", left)
		}
		return err
	})
}

// neverHealthy is a service whose next version fails its health check for ever.
func neverHealthy(mark, action string, healthy bool) string {
	svc := swarmSvc{name: "app", mark: mark, deploy: "update_config: { monitor: 20s, parallelism: 1, failure_action: " + action + " }"}
	if !healthy {
		svc.more = "    command: [-unhealthy, \"-1s\"]\n"
	}
	text := swarmFile("", svc)
	return strings.Replace(text, "healthcheck: { interval: 1s }", "healthcheck: { test: [CMD, /hello, -healthcheck], interval: 1s, retries: 2, start_period: 0s }", 1)
}

// failed waits until the leader calls the stack failed.
func (p *swarmPi) failed(t *testing.T, stack string) {
	t.Helper()
	harness.Eventually(t, "the leader says that "+stack+" failed", func() error {
		r, err := p.swarmReport()
		if err != nil {
			return err
		}
		for _, s := range r.Stacks {
			if s.Name == stack && s.State == "failed" {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", r.Stacks)
	})
}

// leftAlone holds that the leader looks at the Swarm again and again, and changes nothing.
func (p *swarmPi) leftAlone(t *testing.T) {
	t.Helper()
	p.proxy.Forget()
	harness.Eventually(t, "the leader has looked four times", func() error {
		if n := p.count("GET", "/services"); n < 4 {
			return fmt.Errorf("it has %d times", n)
		}
		return nil
	})
	if calls := p.changes(); len(calls) > 0 {
		t.Errorf("what failed is tried again: %v", calls)
	}
}

func (p *swarmPi) updateState(t *testing.T, name, want string) {
	t.Helper()
	harness.Eventually(t, "the update of "+name+" is "+want, func() error {
		s, err := p.services()
		if err != nil {
			return err
		}
		if u := s[name].UpdateStatus; u == nil || u.State != want {
			return fmt.Errorf("it is %+v", u)
		}
		return nil
	})
}

func rolledBack(t *testing.T, p *swarmPi) {
	p.put(t, "bad", neverHealthy("one", "rollback", true))
	p.runsMarked(t, marked{"bad_app": "one"})
	p.put(t, "bad", neverHealthy("two", "rollback", false))
	p.updateState(t, "bad_app", "rollback_completed")
	p.failed(t, "bad")
	if got := p.mustServices(t)["bad_app"].env("MARK"); got != "one" {
		t.Errorf("after the roll back it runs %q", got)
	}
	p.leftAlone(t)
	p.says(t, []string{"why", "bad"}, "failed")
	// The next leader comes to the same verdict: it is read off the Swarm.
	p.Kill(t)
	p.Again(p.top)
	p.leads(t)
	p.failed(t, "bad")
	p.leftAlone(t)
	p.put(t, "bad", neverHealthy("three", "rollback", true))
	p.runsMarked(t, marked{"bad_app": "three"})
	p.gone(t, "bad")
}

func pausedForGood(t *testing.T, p *swarmPi) {
	p.put(t, "bad", neverHealthy("one", "pause", true))
	p.runsMarked(t, marked{"bad_app": "one"})
	p.put(t, "bad", neverHealthy("two", "pause", false))
	p.updateState(t, "bad_app", "paused")
	p.failed(t, "bad")
	p.leftAlone(t)
	if got := p.mustServices(t)["bad_app"].env("MARK"); got != "two" {
		t.Errorf("the paused version is %q", got)
	}
	p.command(t, 0, "retry", "bad")
	harness.Eventually(t, "it is tried once more", func() error {
		if all, _ := p.updates(); all != 1 {
			return fmt.Errorf("%d updates", all)
		}
		return nil
	})
	p.updateState(t, "bad_app", "paused")
	p.failed(t, "bad")
	p.leftAlone(t)
	p.put(t, "bad", neverHealthy("three", "pause", true))
	p.runsMarked(t, marked{"bad_app": "three"})
	p.gone(t, "bad")
}

// addressesSpent asks for more tasks than the network has addresses.
func addressesSpent(t *testing.T, p *swarmPi) {
	file := func(replicas int) string {
		return swarmFile("networks: { default: { ipam: { config: [{ subnet: 10.77.0.0/29 }] } } }\n",
			swarmSvc{name: "app", mark: "one", deploy: fmt.Sprintf("replicas: %d", replicas)})
	}
	p.put(t, "tight", file(2))
	p.runsMarked(t, marked{"tight_app": "one"})
	id := p.mustServices(t)["tight_app"].ID
	p.put(t, "tight", file(9))
	p.says(t, []string{"why", "tight"}, "get no address", "Swarm-tight_default")
	if got := p.mustServices(t)["tight_app"].ID; got != id {
		t.Errorf("the service was made anew")
	}
	p.leftAlone(t)
	p.put(t, "tight", file(2))
	p.runsMarked(t, marked{"tight_app": "one"})
	p.gone(t, "tight")
}

// networkInUse removes a stack whose network a stranger's container is on, and puts it back meanwhile.
func networkInUse(t *testing.T, p *swarmPi) {
	file := swarmFile("networks: { default: { attachable: true } }\n", swarmSvc{name: "app", mark: "one"})
	p.put(t, "used", file)
	p.runsMarked(t, marked{"used_app": "one"})
	network := p.mustNames(t, "networks")[0]
	stranger := p.engine.Docker(t, "run", "-d", "--network", network, "brambled/hello:1")
	p.consul.Delete(t, "brambled/stacks/used")
	p.says(t, []string{"why", "used"}, network)
	p.put(t, "used", file)
	p.runsMarked(t, marked{"used_app": "one"})
	p.consul.Delete(t, "brambled/stacks/used")
	p.says(t, []string{"why", "used"}, network)
	p.engine.Docker(t, "rm", "-f", stranger)
	p.gone(t, "used")
}
