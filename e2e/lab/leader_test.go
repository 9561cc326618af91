//go:build e2e

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

// The hazard of every scenario here: a leader that was replaced and does not know it changes the Swarm beside its successor. What
// each did is taken from a record that is kept outside of brambled, and judged by lab.OneActs after each fault.

// load is what the editor changes every second. Without tasks an edit costs the Pis little, and the leader one call.
const load = `services:
  steady:
    image: brambled/hello:1
    environment: { EDIT: "$EDIT" }
    deploy: { replicas: 0, endpoint_mode: dnsrr }
`

// slow takes its time to be updated.
const slow = `services:
  web:
    image: brambled/hello:1
    environment: { EDIT: "1" }
    deploy: { replicas: 2, endpoint_mode: dnsrr, update_config: { delay: 3s, monitor: 1s } }
`

// lag is how much later than the leader a watch may learn of a new term.
const lag = 500 * time.Millisecond

// leadership is what the scenarios of the leader share.
type leadership struct {
	record *lab.Record
	editor *lab.Editor
	frozen *lab.Pi
	since  time.Time // of the freeze
	faults []fault
}

// fault is a line of the table: what was done when to which term, and how long it was until somebody acted.
type fault struct {
	what  string
	began time.Time
	took  time.Duration
	old   lab.Term
}

func (c *cluster) leaderActs(t *testing.T) {
	c.lead.record = c.Record(c.t)
	c.lead.editor = c.Edit(c.t, "brambled/stacks/load", load, time.Second)
	c.t.Cleanup(func() { c.t.Logf("faults of the leader, takeover, calls that change the Swarm:\n%s", c.table()) })
	old := c.acts(t, "the leader acts", time.Now(), 0)
	if old.Node == "pi4" {
		t.Errorf("pi4 is in no Swarm and leads: %+v", old)
	}
}

// acts waits until a call that was made since a moment, in a term that is newer than a number, is carried out. It returns the term.
func (c *cluster) acts(t *testing.T, what string, since time.Time, newer uint64) (got lab.Term) {
	t.Helper()
	harness.Eventually(t, what, func() error {
		terms := c.lead.record.Terms()
		for _, call := range c.lead.record.Calls() {
			if call.Time.Before(since) || call.Status/100 != 2 {
				continue
			}
			if got = lab.TermOf(terms, call, lag); got.Number > newer {
				return nil
			}
		}
		return fmt.Errorf("the terms are %+v", terms)
	})
	return got
}

// judge looks at the whole record. A record that overlaps once would fail every later scenario too.
func (c *cluster) judge(t *testing.T) {
	t.Helper()
	if err := lab.OneActs(c.lead.record.Terms(), c.lead.record.Calls(), lag); err != nil {
		t.Fatalf("two terms acted:\n%v\nterms: %+v", err, c.lead.record.Terms())
	}
}

// strike does something to the leader while it acts, and waits until a newer term acts or, where that is allowed, the same one again.
func (c *cluster) strike(t *testing.T, what string, same bool, wreak func(leader *lab.Pi)) *lab.Pi {
	t.Helper()
	f := fault{what: what, old: c.acts(t, "somebody acts before: "+what, time.Now(), 0)}
	leader := c.Pi(t, f.old.Node)
	away := []*lab.Pi{leader}
	if c.lead.frozen != nil {
		away = append(away, c.lead.frozen)
	}
	c.lead.editor.Away(away...)
	f.began = time.Now()
	wreak(leader)
	since, newer := f.began, f.old.Number
	if same {
		since, newer = time.Now(), f.old.Number-1
	}
	c.acts(t, "somebody acts after: "+what, since, newer)
	for _, call := range c.lead.record.Calls() {
		if !call.Time.Before(since) && call.Status/100 == 2 && lab.TermOf(c.lead.record.Terms(), call, lag).Number > newer {
			f.took = call.Time.Sub(f.began)
			break
		}
	}
	c.lead.faults = append(c.lead.faults, f)
	c.judge(t)
	return leader
}

// table has a line for each fault. Calls are those until the next fault.
func (c *cluster) table() string {
	terms, calls := c.lead.record.Terms(), c.lead.record.Calls()
	lines := []string{"    took   old  new  "}
	for i, f := range c.lead.faults {
		until := time.Now()
		if i+1 < len(c.lead.faults) {
			until = c.lead.faults[i+1].began
		}
		before, after := 0, 0
		for _, call := range calls {
			if call.Time.Before(f.began) || !call.Time.Before(until) {
				continue
			}
			if lab.TermOf(terms, call, lag).Number > f.old.Number {
				after++
			} else {
				before++
			}
		}
		lines = append(lines, fmt.Sprintf("%6.1f s  %4d %4d  %s (%s, term %d)", f.took.Seconds(), before, after, f.what, f.old.Node, f.old.Number))
	}
	return strings.Join(append(lines, fmt.Sprintf("%d terms, %d calls", len(terms), len(calls))), "\n")
}

func (c *cluster) leaderKilled(t *testing.T) {
	c.strike(t, "brambled of the leader killed, systemd starts it again", false, func(p *lab.Pi) { signal(t, p, "brambled") })
}

// signal kills the main process of a service.
func signal(t *testing.T, p *lab.Pi, service string) {
	t.Helper()
	p.Run(t, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", service)
}

// A frozen leader believes in its term when it wakes up. The scenarios that follow are played while it sleeps.
func (c *cluster) leaderFrozen(t *testing.T) {
	c.lead.since = time.Now()
	c.lead.frozen = c.strike(t, "the leader frozen", false, func(p *lab.Pi) { p.Pause(t, "brambled") })
}

func (c *cluster) leaderStopped(t *testing.T) {
	p := c.strike(t, "the leader stopped", false, func(p *lab.Pi) { p.Run(t, "systemctl", "stop", "brambled") })
	p.Run(t, "systemctl", "start", "brambled")
}

func (c *cluster) leaderStoppedMidway(t *testing.T) {
	manager := c.Pis[0]
	manager.Put(t, "brambled/stacks/slow", slow)
	is := func(state, env string) {
		t.Helper()
		harness.Eventually(t, "the update is "+state, func() error {
			out, err := manager.Try("docker", "service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Env}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", "slow_web")
			if want := strings.TrimSpace("[" + env + "] " + state); err == nil && out != want {
				err = errors.New(out)
			}
			return err
		})
	}
	is("", "EDIT=1")
	harness.Eventually(t, "slow runs", func() error {
		out, err := manager.Try("docker", "service", "ls", "--filter", "name=slow_web", "--format", "{{.Replicas}}")
		if err == nil && out != "2/2" {
			err = errors.New(out)
		}
		return err
	})
	manager.Put(t, "brambled/stacks/slow", strings.Replace(slow, `"1"`, `"2"`, 1))
	is("updating", "EDIT=2")
	p := c.strike(t, "the leader stopped in the middle of an update", false, func(p *lab.Pi) { p.Run(t, "systemctl", "stop", "brambled") })
	p.Run(t, "systemctl", "start", "brambled")
	is("completed", "EDIT=2")
}

func (c *cluster) leaderSession(t *testing.T) {
	c.strike(t, "the leader's session destroyed by hand", false, func(*lab.Pi) { c.DestroyLeaderSession(t) })
}

// A server's agent that is restarted does not leave, and sessions are no agent's memory.
func (c *cluster) leaderAgent(t *testing.T) {
	c.strike(t, "Consul on the leader's Pi restarted", true, func(p *lab.Pi) { p.Run(t, "systemctl", "restart", "consul") })
}

func (c *cluster) leaderConsul(t *testing.T) {
	var killed time.Time
	c.strike(t, "the leader of Consul killed, systemd starts it again", true, func(*lab.Pi) {
		p := c.ConsulLeader(t)
		killed = time.Now()
		signal(t, p, "consul")
	})
	for _, p := range without(c.Pis, c.lead.frozen) {
		log := p.Run(t, "journalctl", "-u", "brambled", "-o", "cat", fmt.Sprintf("--since=@%.6f", float64(killed.UnixMicro())/1e6))
		for name, n := range complaints(t, log) {
			if n > 4 {
				t.Errorf("%s of %s complains %d times:\n%s", name, p.Name, n, log)
			}
		}
	}
}

// complaints are how many warnings and errors of a log come from each part of brambled. Each part says once that Consul is away, a
// Pi's and the leader's report are two, and a Consul that comes back may stumble once: a line for each request would fill the card.
func complaints(t *testing.T, log string) map[string]int {
	t.Helper()
	from := map[string]int{}
	for line := range strings.Lines(log) {
		var said struct{ Level, Logger string }
		if !strings.HasPrefix(line, "{") {
			continue // systemd's
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Errorf("read %q: %v", line, err)
		}
		if said.Level == "warn" || said.Level == "error" {
			from[said.Logger]++
		}
	}
	return from
}

// The frozen leader sleeps for a minute in all, which is longer than any session.
func (c *cluster) leaderResumed(t *testing.T) {
	p := c.lead.frozen
	<-time.After(time.Until(c.lead.since.Add(time.Minute)))
	old := c.lead.faults[slices.IndexFunc(c.lead.faults, func(f fault) bool { return f.what == "the leader frozen" })].old
	woke := time.Now()
	c.strike(t, "the frozen leader resumed after a minute", true, func(*lab.Pi) { p.Resume(t, "brambled") })
	harness.Eventually(t, "it knows that its term is over", func() error {
		log, err := p.Try("journalctl", "-u", "brambled", "-o", "cat", fmt.Sprintf("--since=@%d", woke.Unix()))
		if err == nil && !strings.Contains(log, "leader no longer") {
			err = fmt.Errorf("term %d of it; it says\n%s", old.Number, log)
		}
		return err
	})
	c.lead.frozen = nil
	settled(t, c.Pis)
	c.judge(t)
}

func (c *cluster) leaderMuted(t *testing.T) {
	p := c.strike(t, "the leader's Pi cut off without a word", false, func(p *lab.Pi) { p.Mute(t) })
	c.mended(t, p)
}

func (c *cluster) leaderDeaf(t *testing.T) {
	p := c.strike(t, "the leader's Pi hears nothing and is heard", false, func(p *lab.Pi) { p.Deafen(t) })
	c.mended(t, p)
}

// mended ends what was done to a Pi's line, and looks at what it does when it hears the others again.
func (c *cluster) mended(t *testing.T, p *lab.Pi) {
	t.Helper()
	p.Mend(t)
	settled(t, c.Pis)
	c.acts(t, "somebody acts after the line of "+p.Name+" was mended", time.Now(), 0)
	c.judge(t)
}

// Twenty edits on a line that loses a fifth of what goes over it. Who leads then is not said.
func (c *cluster) leaderWeak(t *testing.T) {
	p := c.strike(t, "the leader's line at 1 Mbit/s loses 20 %", true, func(p *lab.Pi) { p.Weaken(t) })
	began := len(c.lead.record.Calls())
	harness.Eventually(t, "the Swarm is changed ten times meanwhile", func() error {
		if n := len(c.lead.record.Calls()) - began; n < 10 {
			return fmt.Errorf("it was %d times", n)
		}
		return nil
	})
	c.judge(t)
	c.mended(t, p)
}

func (c *cluster) leaderEngine(t *testing.T) {
	c.strike(t, "dockerd of Swarm's leader killed, systemd starts it again", true, func(*lab.Pi) {
		signal(t, c.swarmLeader(t), "docker")
		for _, p := range c.Pis {
			if _, err := p.HTTP("/healthz"); err != nil {
				t.Errorf("brambled of %s does not answer while an engine is away: %v", p.Name, err)
			}
		}
	})
}

func (c *cluster) swarmLeader(t *testing.T) (leader *lab.Pi) {
	t.Helper()
	harness.Eventually(t, "Swarm has a leader", func() error {
		out, err := c.Pis[0].Try("docker", "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
		for line := range strings.Lines(out) {
			if name, is := strings.CutSuffix(strings.TrimSpace(line), " Leader"); is {
				leader = c.Pi(t, name)
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("none leads: %s", out))
	})
	return leader
}

func (c *cluster) leaderPower(t *testing.T) {
	p := c.strike(t, "the leader's Pi lost power", false, func(p *lab.Pi) { p.PowerCut(t) })
	p.Boot(t)
	c.lead.record.Attach(p)
	settled(t, c.Pis)
	c.judge(t)
}

// refusedOften is how Consul, and brambled after it, say that somebody asks too often. The mere number is in dates, too.
var refusedOften = regexp.MustCompile(`response code: 429|rate limit|too many concurrent`)

func (c *cluster) leaderColdStart(t *testing.T) {
	old := c.lead.record.Terms()
	c.strike(t, "all Pis lost power and boot at once", false, func(*lab.Pi) {
		c.AtOnce(t)
		for _, p := range c.Pis {
			c.lead.record.Attach(p)
		}
	})
	settled(t, c.Pis)
	// Each may have tried once; more would be a fight.
	if n := len(c.lead.record.Terms()) - len(old); n > len(c.Pis) {
		t.Errorf("%d terms after a cold start of %d Pis: %+v", n, len(c.Pis), c.lead.record.Terms()[len(old):])
	}
	for _, p := range c.Pis {
		if log := p.Run(t, "journalctl", "-b", "-u", "brambled", "-u", "consul", "-o", "cat"); refusedOften.MatchString(log) {
			t.Errorf("%s is refused for asking too often:\n%s", p.Name, log)
		}
	}
	n := c.lead.editor.Stop()
	harness.Eventually(t, "the Swarm has the last edit", func() error {
		out, err := c.Pis[0].Try("docker", "service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "load_steady")
		if want := fmt.Sprintf("[EDIT=%d]", n); err == nil && out != want {
			err = fmt.Errorf("it has %s, want %s", out, want)
		}
		return err
	})
	c.judge(t)
}
