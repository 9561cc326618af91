//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
)

// swarmWeb is a stack with everything that Swarm has of its own: replicas, a config, a secret, a network and a volume.
func swarmWeb(app, db, conf string) string {
	return swarmFile("configs: { conf: { content: \""+conf+"\" } }\nsecrets: { key: { external: true } }\nvolumes: { data: {} }\n",
		swarmSvc{name: "app", mark: app, more: "    configs: [conf]\n    secrets: [key]\n", deploy: "replicas: 2"},
		swarmSvc{name: "db", mark: db, more: "    volumes: [data:/data]\n"},
	)
}

// The life of a stack that Swarm runs: each step is what a person does, each check what they would look at.
func TestSwarmLife(t *testing.T) {
	t.Parallel()
	p := bootSwarm(t, nil, harness.Options{})
	foreign := p.foreigners(t)
	p.consul.Put(t, "brambled/secrets/key", "secret one")
	all := marked{"web_app": "one", "web_db": "one"}

	steps := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"put runs it", func(t *testing.T) {
			p.put(t, "web", swarmWeb("one", "one", "conf one"))
			p.runsMarked(t, all)
			if s := p.mustServices(t)["web_app"]; len(p.mustTasks(t, s)) != 2 {
				t.Errorf("%d tasks for 2 replicas", len(p.mustTasks(t, s)))
			}
		}},
		{"docker stack lists it", func(t *testing.T) { stackLists(t, p) }},
		{"an edit updates only that service", func(t *testing.T) {
			before := p.runsMarked(t, all)
			all["web_app"] = "two"
			p.put(t, "web", swarmWeb("two", "one", "conf one"))
			before.undisturbedBut(t, p.runsMarked(t, all), "web_app")
		}},
		{"a config and a secret are rotated", func(t *testing.T) { rotated(t, p, all) }},
		{"docker service rm is undone", func(t *testing.T) {
			before := p.runsMarked(t, all)
			p.engine.Docker(t, "service", "rm", "web_app")
			harness.Eventually(t, "the service is another one", func() error {
				s, err := p.services()
				if err == nil && (s["web_app"].ID == "" || s["web_app"].ID == before["web_app"][0]) {
					err = fmt.Errorf("it is %q", s["web_app"].ID)
				}
				return err
			})
			before.undisturbedBut(t, p.runsMarked(t, all), "web_app")
		}},
		{"a container that dies is Swarm's to restart", func(t *testing.T) {
			before := p.runsMarked(t, all)
			p.engine.Docker(t, "rm", "-f", before["web_db"][2])
			harness.Eventually(t, "another container is there", func() error {
				now, err := p.reached(all)
				if err == nil && now["web_db"][2] == before["web_db"][2] {
					err = fmt.Errorf("it is the same")
				}
				return err
			})
			before.undisturbedBut(t, p.runsMarked(t, all), "web_db")
		}},
		{"SIGKILL and a new start change nothing", func(t *testing.T) {
			before := p.runsMarked(t, all)
			p.Kill(t)
			p.proxy.Forget()
			p.Again(p.top)
			p.leads(t)
			before.undisturbedBut(t, p.runsMarked(t, all))
			if calls := p.changes(); len(calls) > 0 {
				t.Errorf("the new start changed something: %v", calls)
			}
		}},
		{"a converged minute makes no call that changes anything", func(t *testing.T) { swarmIdle(t, p, all) }},
		{"the static tier takes no Swarm service", func(t *testing.T) {
			file := filepath.Join(p.ManifestsDir(), "base.yaml")
			write(t, file, swarmFile("", swarmSvc{name: "app", mark: "static"}))
			p.Signal(t, syscall.SIGHUP)
			p.says(t, []string{"why", "base"}, "static tier")
			if _, there := p.mustServices(t)["base_app"]; there {
				t.Error("a Swarm service of the static tier was made")
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			p.Signal(t, syscall.SIGHUP)
		}},
		{"kv delete removes it and keeps the volume", func(t *testing.T) { swarmDeleted(t, p) }},
	}
	for _, s := range steps {
		if !t.Run(s.name, s.run) {
			t.Fatal("the steps that follow need a Pi that is sound")
		}
	}
	foreign.same(t, p.foreign(t))
}

// foreigners are a service, a network, a config and a secret of somebody else.
func (p *swarmPi) foreigners(t *testing.T) lives {
	t.Helper()
	p.engine.Docker(t, "network", "create", "--driver", "overlay", "mine-net")
	file := filepath.Join(t.TempDir(), "content")
	write(t, file, "mine")
	p.engine.Docker(t, "config", "create", "mine-config", file)
	p.engine.Docker(t, "secret", "create", "mine-secret", file)
	p.engine.Docker(t, "service", "create", "--quiet", "--name", "mine", "--network", "mine-net", "--endpoint-mode", "dnsrr", "--no-resolve-image",
		"--config", "mine-config", "--secret", "mine-secret", "brambled/hello:1")
	return p.foreign(t)
}

// foreign is what is there of somebody else, with the versions.
func (p *swarmPi) foreign(t *testing.T) lives {
	t.Helper()
	s := p.mustServices(t)["mine"]
	out := lives{"service": {s.ID, fmt.Sprint(s.Version.Index)}}
	for _, k := range p.mustTasks(t, s) {
		out["service"] = append(out["service"], k.Status.ContainerStatus.ContainerID)
	}
	for kind, name := range map[string]string{"network": "mine-net", "config": "mine-config", "secret": "mine-secret"} {
		out[kind] = []string{p.engine.Docker(t, kind, "inspect", name)}
	}
	return out
}

func (l lives) same(t *testing.T, now lives) {
	t.Helper()
	l.undisturbedBut(t, now)
}

func (p *swarmPi) mustServices(t *testing.T) map[string]swarmService {
	t.Helper()
	s, err := p.services()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *swarmPi) mustTasks(t *testing.T, s swarmService) []swarmTask {
	t.Helper()
	tasks, err := p.tasks(s)
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

func (p *swarmPi) mustNames(t *testing.T, kind string) []string {
	t.Helper()
	names, err := p.named(kind)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// leads waits until this process leads, and has looked at the Swarm as leader.
func (p *swarmPi) leads(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "the daemon leads and has made a report", func() error {
		body, err := p.Fetch("/metrics")
		if err == nil && !strings.Contains(body, "brambled_swarm_services{") {
			err = fmt.Errorf("its metrics say nothing of Swarm services")
		}
		return err
	})
}

func stackLists(t *testing.T, p *swarmPi) {
	if out := p.engine.Docker(t, "stack", "ls", "--format", "{{.Name}} {{.Services}}"); !slices.Contains(strings.Split(out, "\n"), "web 2") {
		t.Errorf("docker stack ls says %q", out)
	}
	out := p.engine.Docker(t, "stack", "services", "web", "--format", "{{.Name}} {{.Replicas}} {{.Image}}")
	for _, line := range []string{"web_app 2/2 brambled/hello:1", "web_db 1/1 brambled/hello:1"} {
		if !slices.Contains(strings.Split(out, "\n"), line) {
			t.Errorf("docker stack services web lacks %q:\n%s", line, out)
		}
	}
	if out := p.engine.Docker(t, "stack", "ps", "web", "--filter", "desired-state=running", "--format", "{{.Name}} {{.CurrentState}}"); strings.Count(out, "Running") != 3 {
		t.Errorf("docker stack ps web says\n%s", out)
	}
}

// rotated changes a config, then a secret: each time there is a new object, and the old one goes once nobody would roll back to it.
func rotated(t *testing.T, p *swarmPi, all marked) {
	before := p.runsMarked(t, all)
	first := p.mustNames(t, "configs")
	p.put(t, "web", swarmWeb("two", "one", "conf two"))
	second := p.refersTo(t, "configs", "conf two")
	before.undisturbedBut(t, p.runsMarked(t, all), "web_app")
	if have := p.mustNames(t, "configs"); len(first) != 1 || !slices.Contains(have, first[0]) || !slices.Contains(have, second) {
		t.Errorf("configs are %v: want %v, which a roll back would need, and %s", have, first, second)
	}
	p.consul.Put(t, "brambled/secrets/key", "secret two")
	harness.Eventually(t, "the first config goes, and two secrets stay", func() error {
		configs, err := p.named("configs")
		if err != nil {
			return err
		}
		secrets, err := p.named("secrets")
		if err == nil && (!slices.Equal(configs, []string{second}) || len(secrets) != 2) {
			err = fmt.Errorf("there are %v and %v", configs, secrets)
		}
		return err
	})
	before.undisturbedBut(t, p.runsMarked(t, all), "web_app")
}

// refersTo waits until web_app has the config with a content, and returns its name.
func (p *swarmPi) refersTo(t *testing.T, kind, content string) string {
	t.Helper()
	name := ""
	harness.Eventually(t, "web_app has the config with "+content, func() error {
		s, err := p.services()
		if err != nil {
			return err
		}
		for _, c := range s["web_app"].Spec.TaskTemplate.ContainerSpec.Configs {
			var object struct{ Spec struct{ Data string } }
			if err := p.api.get("/"+kind+"/"+c.ConfigName, &object); err != nil {
				return err
			}
			if data, _ := base64.StdEncoding.DecodeString(object.Spec.Data); string(data) == content {
				name = c.ConfigName
				return nil
			}
		}
		return fmt.Errorf("it has %+v", s["web_app"].Spec.TaskTemplate.ContainerSpec.Configs)
	})
	return name
}

// reportOfTerm waits until the report of the term that is under way is written, and returns it.
func (p *swarmPi) reportOfTerm(t *testing.T) (text string) {
	t.Helper()
	harness.Eventually(t, "the leader has reported in its term", func() error {
		var of, by struct{ Term uint64 }
		leader, _ := p.consul.Get(t, "brambled/leader")
		text, _ = p.consul.Get(t, "brambled/status/swarm")
		err := errors.Join(json.Unmarshal([]byte(leader), &of), json.Unmarshal([]byte(text), &by))
		if err == nil && (of.Term == 0 || by.Term != of.Term) {
			err = fmt.Errorf("the report is %s, the leader %s", text, leader)
		}
		return err
	})
	return text
}

// swarmIdle watches a converged Swarm for longer than many resyncs take, from outside of the process.
func swarmIdle(t *testing.T, p *swarmPi, all marked) {
	before := p.runsMarked(t, all)
	was := p.reportOfTerm(t)
	p.proxy.Forget()
	minute := time.NewTimer(61 * time.Second)
	defer minute.Stop()
	<-minute.C
	if calls := p.proxy.Mutating(); len(calls) > 0 {
		t.Errorf("an idle leader made calls that change things: %v", calls)
	}
	if n := p.count("GET", "/services"); n < 5 {
		t.Errorf("the leader looked at the services %d times: the minute proves nothing", n)
	}
	if now, _ := p.consul.Get(t, "brambled/status/swarm"); now != was {
		t.Errorf("the report was written without a change:\n%s\n%s", was, now)
	}
	before.undisturbedBut(t, p.runsMarked(t, all))
}

func swarmDeleted(t *testing.T, p *swarmPi) {
	p.consul.Delete(t, "brambled/stacks/web")
	harness.Eventually(t, "nothing of the stack is left but its volume", func() error {
		s, err := p.services()
		if err != nil {
			return err
		}
		left := []string{}
		for name := range s {
			if strings.HasPrefix(name, "web_") {
				left = append(left, name)
			}
		}
		for _, kind := range []string{"networks", "configs", "secrets"} {
			names, err := p.named(kind)
			if err != nil {
				return err
			}
			left = append(left, names...)
		}
		if len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
	if have := p.engine.Docker(t, "volume", "ls", "-q", "--filter", "name=web_data"); have != "web_data" {
		t.Errorf("the volume is gone: %q", have)
	}
}
