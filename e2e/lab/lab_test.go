//go:build e2e

package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

const hello = `x-brambled: { nodes: all }
services:
  web:
    image: brambled/hello:1
    environment: { GREETING: "good day from ${BRAMBLED_NODE}" }
    ports: ["8080:8080"]
    healthcheck: { test: [CMD, /hello, -healthcheck], interval: 1s, timeout: 2s, retries: 5 }
  worker:
    image: brambled/hello:2
    mem_limit: 64m
    depends_on: { web: { condition: service_healthy } }
`

const some = `x-brambled: { nodes: [pi1, pi2] }
services:
  app: { image: "brambled/hello:1" }
`

const key = "brambled/stacks/hello"

// cluster is the lab that all scenarios share, in the order in which they stand: each leaves it converged for the next.
type cluster struct {
	*lab.Lab
	t     *testing.T // of them all
	times times
	lead  leadership
}

// One cluster, from blank Pis to an empty one, and what a home does to it in between.
func TestCluster(t *testing.T) {
	began := time.Now()
	c := &cluster{Lab: lab.Start(t, 4), t: t}
	c.times.took("four blank Pis up, with Consul and brambled", began)
	t.Cleanup(func() { t.Logf("what took how long:\n%s", strings.Join(c.times.lines, "\n")) })
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"blank Pis come up as their settings say", c.comesUp},
		{"a put runs a container on every Pi", c.put},
		{"an edit replaces it on every Pi", c.edit},
		{"docker rm -f is undone where it was done", c.removedByHand},
		{"a stack for some Pis runs on those", c.someNodes},
		{"a Pi cut off boots into what it ran", c.offlineBoot},
		{"the leader of Consul loses power", c.consulLeader},
		{"a Pi that hears nothing keeps what it runs", c.muted},
		{"a Consul that hangs changes nothing", c.consulHangs},
		{"an upgrade of the package restarts brambled alone", c.upgrade},
		{"a delete removes it everywhere", c.deleted},
		{"a Swarm of three managers runs what a stack says", c.swarm},
		{"a leader runs a Swarm service", c.leaderActs},
		{"the leader is killed", c.leaderKilled},
		{"the leader freezes", c.leaderFrozen},
		{"the leader is stopped", c.leaderStopped},
		{"the leader is stopped in the middle of an update", c.leaderStoppedMidway},
		{"the leader's session is destroyed", c.leaderSession},
		{"the leader's Consul is restarted", c.leaderAgent},
		{"the leader of Consul is killed", c.leaderConsul},
		{"the frozen leader wakes up", c.leaderResumed},
		{"the leader is cut off", c.leaderMuted},
		{"the leader hears nothing", c.leaderDeaf},
		{"the leader's line is bad", c.leaderWeak},
		{"the engine of Swarm's leader is killed", c.leaderEngine},
		{"the leader's Pi loses power", c.leaderPower},
		{"all Pis boot at once", c.leaderColdStart},
	} {
		if !t.Run(s.name, s.run) {
			return // the next one begins where this should have ended
		}
	}
}

func (c *cluster) comesUp(t *testing.T) {
	engines := map[string]bool{}
	for _, p := range c.Pis {
		for _, service := range []string{"docker", "consul", "brambled"} {
			if got, err := p.Try("systemctl", "is-active", service); got != "active" {
				t.Errorf("%s of %s is %s: %v", service, p.Name, got, err)
			}
		}
		if got := p.Run(t, "docker", "info", "-f", "{{.LoggingDriver}} {{.Driver}}"); got != "local overlay2" {
			t.Errorf("the engine of %s has %q: daemon.json did not reach it", p.Name, got)
		}
		version := p.Run(t, "docker", "version", "-f", "{{.Server.Version}}")
		major, _, _ := strings.Cut(version, ".")
		engines[major] = true
		harness.Eventually(t, p.Name+" is present", func() error {
			_, err := p.Try("consul", "kv", "get", "brambled/presence/"+p.Name)
			return err
		})
		// What the policies do not give, nobody has.
		if out, err := p.Try("consul", "acl", "token", "list"); err == nil {
			t.Errorf("an operator's token lists tokens on %s: %s", p.Name, out)
		}
		if out, err := p.Try("env", "CONSUL_HTTP_TOKEN=", "consul", "kv", "get", "brambled/presence/"+p.Name); err == nil {
			t.Errorf("without a token a key can be read on %s: %s", p.Name, out)
		}
	}
	if !engines["20"] || !engines["26"] {
		t.Errorf("the engines are %v, want those of Debian 12 and 13", engines)
	}
	settled(t, c.Pis)
}

func (c *cluster) put(t *testing.T) {
	began := time.Now()
	c.Pis[1].Put(t, key, hello)
	greets(t, c.Pis, "good day from pi")
	runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	c.times.took("put → two containers on each of four Pis, one waiting for the other's health", began)
	for _, p := range c.Pis {
		greets(t, []*lab.Pi{p}, "good day from "+p.Name)
		if got := p.Docker(t).Docker(t, "inspect", "-f", "{{.HostConfig.Memory}}", "hello-worker-1"); got != "67108864" {
			t.Errorf("the memory limit on %s is %s", p.Name, got)
		}
		// daemon.json's address pools, not the engine's own, which are larger.
		if got := p.Docker(t).Docker(t, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "hello_default"); !strings.HasSuffix(got, "/24") {
			t.Errorf("the network of the stack on %s is %s", p.Name, got)
		}
	}
	// LAN and published ports, from one Pi to another.
	if body := c.Pis[0].Run(t, "curl", "-sSf", "http://pi4:8080/"); !strings.HasPrefix(body, "good day from pi4") {
		t.Errorf("pi4 says %q to pi1", body)
	}
}

func (c *cluster) edit(t *testing.T) {
	before := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	began := time.Now()
	c.Pis[0].Put(t, key, greeting("good evening"))
	greets(t, c.Pis, "good evening from pi")
	c.times.took("edit → replaced on four Pis", began)
	after := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	replaced(t, c.Pis, before, after, "hello-web-1")
	same(t, c.Pis, before, after, "hello-worker-1")
}

func greeting(words string) string { return strings.Replace(hello, "good day", words, 1) }

func (c *cluster) removedByHand(t *testing.T) {
	p := c.Pis[1]
	before := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	began := time.Now()
	p.Run(t, "docker", "rm", "-f", "hello-web-1")
	after := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	c.times.took("docker rm -f → back", began)
	replaced(t, []*lab.Pi{p}, before, after, "hello-web-1")
	same(t, without(c.Pis, p), before, after, "hello-web-1", "hello-worker-1")
}

func (c *cluster) someNodes(t *testing.T) {
	c.Pis[3].Put(t, "brambled/stacks/some", some)
	runs(t, c.Pis[:2], "some", "some-app-1")
	// The next edit tells that the others have seen this one, too: keys come in one list.
	c.Pis[3].Put(t, key, greeting("good night"))
	greets(t, c.Pis, "good night from pi")
	runs(t, c.Pis[2:], "some")
	c.Pis[0].Consul(t, "kv", "delete", "brambled/stacks/some")
	runs(t, c.Pis, "some")
}

// What is written while the Pi is away reaches it later; until then it runs what it ran.
func (c *cluster) offlineBoot(t *testing.T) {
	p, others := c.Pis[2], without(c.Pis, c.Pis[2])
	before := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	p.Cut(t)
	p.PowerCut(t)
	c.Pis[0].Put(t, key, greeting("hello again"))
	greets(t, others, "hello again from pi")
	began := time.Now()
	p.Boot(t)
	greets(t, []*lab.Pi{p}, "good night from pi3")
	c.times.took("power on, no network and no Consul → the service answers", began)
	after := runs(t, []*lab.Pi{p}, "hello", "hello-web-1", "hello-worker-1")
	for name, b := range before[p.Name] {
		if a := after[p.Name][name]; a.ID != b.ID {
			t.Errorf("%s was made anew by a boot: %v, then %v", name, b, a)
		}
	}
	harness.Eventually(t, "pi3 says that Consul is out of reach", func() error {
		causes, err := holds(p)
		if err == nil && !slices.ContainsFunc(causes, func(cause string) bool { return cause == "no-leader" || cause == "unreachable" }) {
			err = fmt.Errorf("it holds %v", causes)
		}
		return err
	})
	began = time.Now()
	p.Mend(t)
	greets(t, []*lab.Pi{p}, "hello again from pi3")
	c.times.took("network back → the edit that was missed has arrived", began)
	settled(t, c.Pis)
}

func (c *cluster) consulLeader(t *testing.T) {
	dead := c.ConsulLeader(t)
	others := without(c.Pis, dead)
	before := runs(t, others, "hello", "hello-web-1", "hello-worker-1")
	dead.PowerCut(t)
	began := time.Now()
	others[0].Put(t, key, greeting("still here"))
	c.times.took("the leader of Consul lost power → a put is taken", began)
	greets(t, others, "still here from pi")
	c.times.took("the leader of Consul lost power → an edit runs on the others", began)
	same(t, others, before, runs(t, others, "hello", "hello-web-1", "hello-worker-1"), "hello-worker-1")
	dead.Boot(t)
	greets(t, []*lab.Pi{dead}, "still here from "+dead.Name)
	settled(t, c.Pis)
}

// Silence is not refusal: nothing on the Pi is told that the others are gone.
func (c *cluster) muted(t *testing.T) {
	p, others := c.Pis[3], c.Pis[:3]
	before := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1")
	p.Mute(t)
	c.Pis[0].Put(t, key, greeting("can you hear me"))
	greets(t, others, "can you hear me from pi")
	same(t, []*lab.Pi{p}, before, runs(t, []*lab.Pi{p}, "hello", "hello-web-1", "hello-worker-1"), "hello-web-1", "hello-worker-1")
	greets(t, []*lab.Pi{p}, "still here from pi4")
	began := time.Now()
	p.Mend(t)
	greets(t, []*lab.Pi{p}, "can you hear me from pi4")
	c.times.took("silence ends → the edit that was missed has arrived", began)
	settled(t, c.Pis)
}

func (c *cluster) consulHangs(t *testing.T) {
	p := c.Pis[3]
	before := runs(t, []*lab.Pi{p}, "hello", "hello-web-1", "hello-worker-1")
	p.Pause(t, "consul")
	p.Run(t, "docker", "rm", "-f", "hello-worker-1")
	after := runs(t, []*lab.Pi{p}, "hello", "hello-web-1", "hello-worker-1")
	same(t, []*lab.Pi{p}, before, after, "hello-web-1")
	replaced(t, []*lab.Pi{p}, before, after, "hello-worker-1")
	p.Resume(t, "consul")
	settled(t, c.Pis)
}

// dpkg calls the scripts of a package that is installed again as it does for an upgrade.
func (c *cluster) upgrade(t *testing.T) {
	p := c.Pis[0]
	before, pid := runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1"), p.MainPID(t, "brambled")
	p.Run(t, "dpkg", "-i", "/root/brambled.deb")
	harness.Eventually(t, "brambled runs again", func() error {
		now, err := p.Try("systemctl", "show", "-P", "MainPID", "brambled")
		if err == nil && (now == pid || now == "0") {
			err = fmt.Errorf("its process is %s, was %s", now, pid)
		}
		return err
	})
	settled(t, c.Pis)
	if got := p.Run(t, "cat", "/etc/brambled/brambled.yaml"); !strings.Contains(got, "token_file: /etc/brambled/consul.token") {
		t.Errorf("the settings were lost: %s", got)
	}
	p.Run(t, "dpkg", "-r", "brambled")
	if got, _ := p.Try("systemctl", "is-active", "brambled"); got == "active" {
		t.Error("brambled runs after its package was removed")
	}
	p.Run(t, "dpkg", "-i", "/root/brambled.deb")
	if got := p.Run(t, "systemctl", "is-enabled", "brambled"); got != "enabled" {
		t.Errorf("brambled is %s after it was installed again", got)
	}
	settled(t, c.Pis)
	same(t, c.Pis, before, runs(t, c.Pis, "hello", "hello-web-1", "hello-worker-1"), "hello-web-1", "hello-worker-1")
}

func (c *cluster) deleted(t *testing.T) {
	began := time.Now()
	c.Pis[2].Consul(t, "kv", "delete", key)
	runs(t, c.Pis, "hello")
	c.times.took("delete → gone from four Pis", began)
}
