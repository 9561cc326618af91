//go:build e2e

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

const rollKey = "brambled/stacks/roll"

// rolled is a service of every Pi. What it says of itself differs from Pi to Pi, as in most files.
func rolled(word, more string) string {
	return fmt.Sprintf(`x-brambled: { nodes: all }
services:
  web:
    image: brambled/hello:1
    environment: { GREETING: "%s from ${BRAMBLED_NODE}" }
    deploy: { update_config: { monitor: 3s } }
%s`, word, more)
}

// rollout is what its scenarios share, in their order.
type rollout struct {
	*lab.Lab
	good map[string]map[string]container // by Pi, as they run a good version
}

// TestRollout: a version that fails stops at the first Pi, and the rest stay as they were; also when that Pi loses its power.
func TestRollout(t *testing.T) {
	r := &rollout{Lab: lab.Start(t, 4)}
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"a version that fails is tried by one Pi", r.fails},
		{"a good one goes from Pi to Pi", r.goesOn},
		{"the Pi that tries it loses its power", r.losesPower},
		{"a good one goes on, and leaves no permit", r.ends},
	} {
		if !t.Run(s.name, s.run) {
			return
		}
	}
}

func (r *rollout) put(t *testing.T, word, more string) {
	t.Helper()
	r.Pis[0].Put(t, rollKey, rolled(word, more))
}

// record is what the store has of the permit.
type record struct {
	Holders []struct{ Node string }
	Failed  *struct{ Node, Error string }
}

func (r *rollout) record(from *lab.Pi) (got record, err error) {
	text, err := from.Try("consul", "kv", "get", "-recurse", "brambled/rollouts/")
	if err != nil {
		return got, err
	}
	if text = strings.TrimPrefix(text, "brambled/rollouts/roll/web:"); text == "" {
		return got, nil
	}
	return got, json.Unmarshal([]byte(text), &got)
}

// spared holds that all Pis but one run what they ran.
func (r *rollout) spared(t *testing.T, but string) {
	t.Helper()
	for _, p := range r.Pis {
		if p.Name == but {
			continue
		}
		if now, err := containers(t, p, "roll"); err != nil || !maps.Equal(now, r.good[p.Name]) {
			t.Errorf("%s has %v, and had %v: %v", p.Name, now, r.good[p.Name], err)
		}
	}
}

// why waits until the other Pis give a reason.
func (r *rollout) why(t *testing.T, but, words string) {
	t.Helper()
	for _, p := range r.Pis {
		if p.Name == but {
			continue
		}
		harness.Eventually(t, p.Name+" says: "+words, func() error {
			out, err := p.Try("brambled", "why", "roll/web")
			if err == nil && strings.Count(out, words) < len(r.Pis)-1 {
				err = errors.New(out)
			}
			return err
		})
	}
}

func (r *rollout) fails(t *testing.T) {
	r.put(t, "one", "")
	r.good = runs(t, r.Pis, "roll", "roll-web-1")
	r.put(t, "bad", "    command: [-exit, \"1\"]\n")
	var tried string
	harness.Eventually(t, "the failure is recorded", func() error {
		got, err := r.record(r.Pis[0])
		if err == nil && (got.Failed == nil || len(got.Holders) > 0) {
			err = fmt.Errorf("the record is %+v", got)
		}
		if err == nil {
			tried = got.Failed.Node
		}
		return err
	})
	r.why(t, tried, "it failed on "+tried+": it did not pass its gate (docker logs roll-web-1.failed)")
	r.spared(t, tried)
	now, err := containers(t, r.Pi(t, tried), "roll")
	if was := r.good[tried]["roll-web-1"]; err != nil || len(now) != 2 || now["roll-web-1"] != was || now["roll-web-1.failed"].State != "exited" {
		t.Errorf("%s, which tried, has %v, and had %v: %v", tried, now, was, err)
	}
}

func (r *rollout) goesOn(t *testing.T) {
	began := r.Pis[0].Run(t, "date", "+%s")
	r.put(t, "two", "")
	harness.Eventually(t, "every Pi has the new version", func() error {
		for _, p := range r.Pis {
			now, err := containers(t, p, "roll")
			if was := r.good[p.Name]["roll-web-1"]; err != nil || len(now) != 1 || now["roll-web-1"].ID == was.ID {
				return fmt.Errorf("%s has %v: %w", p.Name, now, err)
			}
		}
		return nil
	})
	r.good = runs(t, r.Pis, "roll", "roll-web-1")
	r.noPermit(t)
	var turns []turn
	for _, p := range r.Pis {
		turns = append(turns, turnOf(t, p, began))
	}
	slices.SortFunc(turns, func(a, b turn) int { return int(a.begin - b.begin) })
	for i := 1; i < len(turns); i++ {
		if turns[i].begin < turns[i-1].end {
			t.Errorf("%s began before %s was done: %+v", turns[i].pi, turns[i-1].pi, turns)
		}
	}
}

// turn is when a Pi replaced its container: from the successor's create to the predecessor's end. All Pis of the lab have one clock.
type turn struct {
	pi         string
	begin, end int64
}

func turnOf(t *testing.T, p *lab.Pi, since string) turn {
	t.Helper()
	out := turn{pi: p.Name}
	events := p.Run(t, "docker", "events", "--since", since, "--until", p.Run(t, "date", "+%s.%N"), "--filter", "type=container",
		"--format", "{{.TimeNano}} {{.Action}} {{.Actor.Attributes.name}}")
	for line := range strings.Lines(events) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		at, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch f[1] + " " + f[2] {
		case "create roll-web-1":
			out.begin = at
		case "destroy roll-web-1.prev":
			out.end = at
		}
	}
	if out.begin == 0 || out.end < out.begin {
		t.Fatalf("%s: no turn in these events:\n%s", p.Name, events)
	}
	return out
}

func (r *rollout) losesPower(t *testing.T) {
	r.put(t, "late", "    command: [-sleep, 20s, -exit, \"1\"]\n    stop_grace_period: 1s\n")
	var holder string
	harness.Eventually(t, "a Pi tries it", func() error {
		got, err := r.record(r.Pis[0])
		if err != nil || len(got.Holders) != 1 {
			return fmt.Errorf("the record is %+v: %w", got, err)
		}
		holder = got.Holders[0].Node
		now, err := containers(t, r.Pi(t, holder), "roll")
		if err == nil && now["roll-web-1.prev"].State != "running" || now["roll-web-1"].State != "running" {
			err = fmt.Errorf("%s has %v", holder, now)
		}
		return err
	})
	gone := r.Pi(t, holder)
	gone.PowerCut(t)
	rest := slices.DeleteFunc(slices.Clone(r.Pis), func(p *lab.Pi) bool { return p == gone })
	for _, p := range rest {
		harness.Eventually(t, p.Name+" says that "+holder+" is away", func() error {
			body, err := p.HTTP("/api/v1/status")
			if words := holder + " holds the permit for it and is not there"; err == nil && !strings.Contains(body, words) {
				err = errors.New(body)
			}
			return err
		})
	}
	r.spared(t, holder)
	gone.Boot(t)
	harness.Eventually(t, holder+" is back, and what it tried has failed", func() error {
		got, err := r.record(rest[0])
		if err == nil && (got.Failed == nil || got.Failed.Node != holder || len(got.Holders) > 0) {
			err = fmt.Errorf("the record is %+v", got)
		}
		return err
	})
	r.why(t, holder, "it failed on "+holder)
	r.spared(t, holder)
}

func (r *rollout) ends(t *testing.T) {
	r.put(t, "three", "")
	harness.Eventually(t, "every Pi has the new version", func() error {
		for _, p := range r.Pis {
			out, err := p.Try("docker", "inspect", "-f", "{{.Config.Env}}", "roll-web-1")
			if err == nil && !strings.Contains(out, "three from "+p.Name) {
				err = fmt.Errorf("%s has %s", p.Name, out)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	runs(t, r.Pis, "roll", "roll-web-1")
	r.noPermit(t)
	settled(t, r.Pis)
}

func (r *rollout) noPermit(t *testing.T) {
	t.Helper()
	harness.Within(t, time.Minute, "no permit is left", func() error {
		out, err := r.Pis[0].Try("consul", "kv", "get", "-recurse", "brambled/rollouts/")
		if err == nil && out != "" {
			err = errors.New(out)
		}
		return err
	})
}
