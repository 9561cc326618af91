//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/failpoint"
)

// swarmCrash is a leader that is killed again and again, and what the store asks of it.
type swarmCrash struct {
	*swarmPi
	turn  int  // of the config, the secret and the service that has them
	extra bool // a second service is wanted, on a network of its own
}

// TestSwarmCrash kills the leader at each step in which it changes the Swarm (row 34 of the fault matrix). Whoever comes next
// finds nothing dangling, goes on from there, and tidies up when all is converged, not before.
func TestSwarmCrash(t *testing.T) {
	t.Parallel()
	c := &swarmCrash{swarmPi: bootSwarm(t, nil, harness.Options{Failpoints: true})}
	foreign := c.foreigners(t)
	c.rotate(t)
	c.runsMarked(t, c.want())
	c.rotate(t) // from now on each rotation leaves something to be removed
	c.runsMarked(t, c.want())
	visited := map[failpoint.Name]bool{}
	for _, chain := range []struct {
		name   string
		edit   func(*testing.T)
		points []string // the actions, in the order in which the edit leads to them
	}{
		{"a config and a secret are rotated", c.rotate, []string{"create-object", "mark-service", "update-service", "remove-object"}},
		{"a service and its network come", c.toggle, []string{"create-network", "pin", "create-service"}},
		{"a service and its network go", c.toggle, []string{"remove-service", "remove-network"}},
	} {
		if !t.Run(chain.name, func(t *testing.T) { c.chain(t, chain.edit, chain.points, visited) }) {
			t.Fatal("the chains that follow need a Swarm that is sound")
		}
	}
	for _, name := range failpoint.SwarmNames() {
		if !visited[name] {
			t.Errorf("no edit leads to %s", name)
		}
	}
	foreign.same(t, c.foreign(t))
}

// chain makes an edit and kills one leader after another on the way to it, each one step further.
func (c *swarmCrash) chain(t *testing.T, edit func(*testing.T), actions []string, visited map[failpoint.Name]bool) {
	before := c.runsMarked(t, c.want())
	c.Kill(t)
	edit(t)
	for _, action := range actions {
		for _, when := range []string{"before", "after"} {
			name := failpoint.Name("docker-" + action + "-" + when)
			c.Launch(c.top, "BRAMBLED_FAILPOINT="+string(name))
			harness.Eventually(t, "the leader dies at "+string(name), func() error {
				died, err := c.Killed()
				if !died {
					return fmt.Errorf("it lives: %v", c.changes())
				}
				return err
			})
			visited[name] = true
			if err := c.dangling(); err != nil {
				t.Fatalf("after %s: %v", name, err)
			}
		}
	}
	c.Again(c.top)
	before.undisturbedBut(t, c.runsMarked(t, c.want()), "web_app", "web_extra")
	harness.Eventually(t, "nothing is left that nobody needs", c.tidy)
}

func (c *swarmCrash) rotate(t *testing.T) { c.turn++; c.write(t) }

func (c *swarmCrash) toggle(t *testing.T) { c.extra = !c.extra; c.write(t) }

func (c *swarmCrash) write(t *testing.T) {
	turn := fmt.Sprint(c.turn)
	services := []swarmSvc{
		{name: "app", mark: turn, more: "    configs: [conf]\n    secrets: [key]\n"},
		{name: "db", mark: "same", more: "    volumes: [data:/data]\n"},
	}
	tail := "configs: { conf: { content: \"conf " + turn + "\" } }\nsecrets: { key: { external: true } }\nvolumes: { data: {} }\n"
	if c.extra {
		services = append(services, swarmSvc{name: "extra", mark: "same", more: "    networks: [side]\n"})
		tail += "networks: { side: {} }\n"
	}
	c.consul.Put(t, "brambled/secrets/key", "secret "+turn)
	c.put(t, "web", swarmFile(tail, services...))
}

func (c *swarmCrash) want() marked {
	want := marked{"web_app": fmt.Sprint(c.turn), "web_db": "same"}
	if c.extra {
		want["web_extra"] = "same"
	}
	return want
}

// objects are the names of the configs and secrets that brambled's services refer to, now or in the version before.
func (c *swarmCrash) objects() ([]string, error) {
	services, err := c.services()
	var names []string
	for _, s := range services {
		for _, spec := range []*serviceSpec{&s.Spec, s.PreviousSpec} {
			if spec == nil || spec.Labels["brambled.cluster"] == "" {
				continue
			}
			for _, o := range spec.TaskTemplate.ContainerSpec.Configs {
				names = append(names, o.ConfigName)
			}
			for _, o := range spec.TaskTemplate.ContainerSpec.Secrets {
				names = append(names, o.SecretName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// made are the names of the configs and secrets that brambled made.
func (c *swarmCrash) made() ([]string, error) {
	configs, err := c.named("configs")
	if err != nil {
		return nil, err
	}
	secrets, err := c.named("secrets")
	return slices.Sorted(slices.Values(append(configs, secrets...))), err
}

// dangling is an error when a service, or what it would roll back to, refers to something that is gone.
func (c *swarmCrash) dangling() error {
	made, err := c.made()
	if err != nil {
		return err
	}
	needed, err := c.objects()
	if err != nil {
		return err
	}
	for _, name := range needed {
		if !slices.Contains(made, name) {
			return fmt.Errorf("%s is needed and gone, there are %v", name, made)
		}
	}
	return nil
}

// tidy is an error when anything is there that no service refers to.
func (c *swarmCrash) tidy() error {
	made, err := c.made()
	if err != nil {
		return err
	}
	needed, err := c.objects()
	if err == nil && !slices.Equal(made, needed) {
		err = fmt.Errorf("there are %v, needed are %v", made, needed)
	}
	if err != nil {
		return err
	}
	networks, err := c.named("networks")
	if side := slices.ContainsFunc(networks, func(n string) bool { return strings.HasSuffix(n, "_side") }); err == nil && side != c.extra {
		err = fmt.Errorf("the networks are %v", networks)
	}
	return err
}
