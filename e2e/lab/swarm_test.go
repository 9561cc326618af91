//go:build e2e

package lab_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

const mixKey = "brambled/stacks/mix"

// mix has a service of each kind. Swarm's is on every manager, on a port of its Pi, with a config and a secret; the kernel of a
// test may have no IP_VS, so it has no address of its own.
const mix = `services:
  front:
    x-brambled: { nodes: [pi1, pi4] }
    image: brambled/hello:1
  back:
    image: brambled/hello:1
    environment: { GREETING: "first" }
    configs: [ { source: motd, target: /motd } ]
    secrets: [ { source: key, target: /key } ]
    ports: [ { target: 8080, published: 8080, mode: host } ]
    deploy: { mode: global, endpoint_mode: dnsrr, update_config: { monitor: 1s, parallelism: 3 } }
    healthcheck: { test: [CMD, /hello, -healthcheck], interval: 1s, timeout: 2s, retries: 5 }
configs: { motd: { content: "be quiet" } }
secrets: { key: { external: true } }
`

// swarm forms a Swarm by hand and has brambled run a stack of both kinds on it, from puts alone.
func (c *cluster) swarm(t *testing.T) {
	began := time.Now()
	c.Swarm(t)
	c.times.took("a Swarm of three managers is ready", began)
	managers, first := c.Pis[:3], c.Pis[0]
	foreign := first.Run(t, "docker", "service", "create", "-q", "-d", "--name", "stranger", "--endpoint-mode", "dnsrr", "--no-resolve-image", "brambled/hello:2")
	c.Pis[3].Put(t, "brambled/secrets/key", "hush")
	began = time.Now()
	c.Pis[3].Put(t, mixKey, mix)
	greets(t, managers, "first")
	c.times.took("put → a Swarm service answers on three Pis", began)
	runs(t, []*lab.Pi{c.Pis[0], c.Pis[3]}, "mix", "mix-front-1")
	harness.Eventually(t, "docker stack services lists it", func() error {
		out, err := first.Try("docker", "stack", "services", "mix", "--format", "{{.Name}} {{.Replicas}}")
		if err == nil && out != "mix_back 3/3" {
			err = errors.New(out)
		}
		return err
	})

	c.swarmStatus(t)
	c.swarmEdit(t)
	c.swarmRotation(t)
	c.swarmDrift(t)

	began = time.Now()
	c.Pis[2].Consul(t, "kv", "delete", mixKey)
	harness.Eventually(t, "nothing of the stack is left in the Swarm", func() error {
		return nothingLeft(first, foreign)
	})
	runs(t, c.Pis, "mix")
	c.times.took("delete → service, network, config and secret are gone", began)
	first.Run(t, "docker", "service", "rm", foreign)
}

// swarmStatus looks at the cluster from each Pi.
func (c *cluster) swarmStatus(t *testing.T) {
	t.Helper()
	for _, p := range c.Pis {
		harness.Eventually(t, "brambled status on "+p.Name+" tells of all Pis", func() error {
			out, err := p.Try("brambled", "status", "mix")
			for _, want := range []string{"mix    back     swarm  running  3/3", "mix    front    pi1    running  1/1", "mix    front    pi4    running  1/1"} {
				if err == nil && !strings.Contains(out, want) {
					err = fmt.Errorf("%q is missing in\n%s", want, out)
				}
			}
			return err
		})
	}
	out, err := c.Pis[1].Try("brambled", "status", "mix", "--output", "json")
	if err != nil || !strings.Contains(out, `"leader": "pi`) {
		t.Errorf("no leader in the report: %v\n%s", err, out)
	}
}

// swarmEdit replaces the Swarm service alone.
func (c *cluster) swarmEdit(t *testing.T) {
	t.Helper()
	before := runs(t, []*lab.Pi{c.Pis[3]}, "mix", "mix-front-1")
	began := time.Now()
	c.Pis[3].Put(t, mixKey, strings.Replace(mix, "first", "second", 1))
	greets(t, c.Pis[:3], "second")
	c.times.took("edit of a Swarm service → replaced on three Pis at once", began)
	same(t, []*lab.Pi{c.Pis[3]}, before, runs(t, []*lab.Pi{c.Pis[3]}, "mix", "mix-front-1"), "mix-front-1")
}

// swarmRotation gives the config and the secret another content: new objects, and the old ones go when nothing needs them.
func (c *cluster) swarmRotation(t *testing.T) {
	t.Helper()
	first := c.Pis[0]
	before, err := objects(first)
	if err != nil || len(before) != 2 {
		t.Fatalf("the stack has %v: %v", before, err)
	}
	c.Pis[3].Put(t, "brambled/secrets/key", "hush hush")
	changed := strings.NewReplacer("first", "third", "be quiet", "be silent").Replace(mix)
	c.Pis[3].Put(t, mixKey, changed)
	greets(t, c.Pis[:3], "third")
	harness.Eventually(t, "both are there in their new form", func() error {
		after, err := objects(first)
		if err == nil && len(slices.DeleteFunc(after, func(name string) bool { return slices.Contains(before, name) })) != 2 {
			err = fmt.Errorf("there are %v, were %v", after, before)
		}
		return err
	})
	// The version before is what a rollback needs; one edit later nothing needs the first ones.
	c.Pis[3].Put(t, mixKey, strings.Replace(changed, "third", "fourth", 1))
	greets(t, c.Pis[:3], "fourth")
	harness.Eventually(t, "the old ones are gone", func() error {
		after, err := objects(first)
		if err == nil && (len(after) != 2 || slices.ContainsFunc(after, func(name string) bool { return slices.Contains(before, name) })) {
			err = fmt.Errorf("there are %v", after)
		}
		return err
	})
}

// swarmDrift has somebody remove the service.
func (c *cluster) swarmDrift(t *testing.T) {
	t.Helper()
	began := time.Now()
	c.Pis[1].Run(t, "docker", "service", "rm", "mix_back")
	harness.Eventually(t, "the service is back", func() error {
		out, err := c.Pis[1].Try("docker", "service", "ls", "--filter", "name=mix_back", "--format", "{{.Replicas}}")
		if err == nil && out != "3/3" {
			err = errors.New(out)
		}
		return err
	})
	greets(t, c.Pis[:3], "fourth")
	c.times.took("docker service rm → back on three Pis", began)
}

// objects are the names of the stack's configs and secrets.
func objects(p *lab.Pi) ([]string, error) {
	var out []string
	for _, kind := range []string{"config", "secret"} {
		names, err := p.Try("docker", kind, "ls", "--filter", "label=com.docker.stack.namespace=mix", "--format", "{{.Name}}")
		if err != nil {
			return nil, err
		}
		out = append(out, strings.Fields(names)...)
	}
	return out, nil
}

// nothingLeft looks for what a stack should have taken with it, and for the service that is none of brambled's.
func nothingLeft(p *lab.Pi, foreign string) error {
	left, err := objects(p)
	if err != nil {
		return err
	}
	services, err := p.Try("docker", "service", "ls", "-q")
	if err != nil {
		return err
	}
	networks, err := p.Try("docker", "network", "ls", "--filter", "label=brambled.stack=mix", "--format", "{{.Name}}")
	if err == nil && (len(left) > 0 || networks != "" || !strings.HasPrefix(foreign, services) || services == "") {
		err = fmt.Errorf("objects %v, services %q (a stranger is %s), networks %q", left, services, foreign, networks)
	}
	return err
}
