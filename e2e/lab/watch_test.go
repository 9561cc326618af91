//go:build e2e

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

// container is what the scenarios look at: who it is, and whether it is still the same process.
type container struct{ ID, State, PID string }

// containers are a stack's own containers on a Pi by name, running or not; those of Swarm's tasks are none.
func containers(t *testing.T, p *lab.Pi, stack string) (map[string]container, error) {
	t.Helper()
	engine := p.Docker(t)
	ids, err := engine.TryDocker("ps", "-aq", "--no-trunc", "--filter", "label=brambled.stack="+stack, "--filter", "label=brambled.replica")
	if err != nil || ids == "" {
		return nil, err
	}
	text, err := engine.TryDocker(append([]string{"inspect", "-f", "{{.Name}} {{.Id}} {{.State.Status}} {{.State.Pid}}"}, strings.Fields(ids)...)...)
	if err != nil {
		return nil, err
	}
	out := map[string]container{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		out[strings.TrimPrefix(f[0], "/")] = container{ID: f[1], State: f[2], PID: f[3]}
	}
	return out, nil
}

// runs waits until exactly these containers of a stack are there and run, on each of the Pis.
func runs(t *testing.T, pis []*lab.Pi, stack string, names ...string) map[string]map[string]container {
	t.Helper()
	all := map[string]map[string]container{}
	for _, p := range pis {
		harness.Eventually(t, fmt.Sprintf("%s runs %v of %s", p.Name, names, stack), func() error {
			got, err := containers(t, p, stack)
			if err != nil {
				return err
			}
			if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, slices.Sorted(slices.Values(names))) {
				return fmt.Errorf("there are %v", have)
			}
			for name, c := range got {
				if c.State != "running" {
					return fmt.Errorf("%s is %s", name, c.State)
				}
			}
			all[p.Name] = got
			return nil
		})
	}
	return all
}

// greets waits until the hello service of each Pi says these words.
func greets(t *testing.T, pis []*lab.Pi, words string) {
	t.Helper()
	for _, p := range pis {
		harness.Eventually(t, fmt.Sprintf("%s says %q", p.Name, words), func() error {
			body, err := p.Get(":8080/")
			if err == nil && !strings.HasPrefix(body, words) {
				err = fmt.Errorf("it says %q", body)
			}
			return err
		})
	}
}

// holds are the causes of what brambled on a Pi holds back.
func holds(p *lab.Pi) ([]string, error) {
	body, err := p.HTTP("/api/v1/status")
	var report struct{ Holds []struct{ Cause string } }
	if err := errors.Join(err, json.Unmarshal([]byte(body), &report)); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	var causes []string
	for _, h := range report.Holds {
		causes = append(causes, h.Cause)
	}
	return causes, nil
}

// settled waits until nothing is held on any of the Pis.
func settled(t *testing.T, pis []*lab.Pi) {
	t.Helper()
	for _, p := range pis {
		harness.Eventually(t, p.Name+" holds nothing back", func() error {
			causes, err := holds(p)
			if err == nil && len(causes) > 0 {
				err = fmt.Errorf("it holds %v", causes)
			}
			return err
		})
	}
}

// same checks that containers kept their id and their process.
func same(t *testing.T, pis []*lab.Pi, before, after map[string]map[string]container, names ...string) {
	t.Helper()
	for _, p := range pis {
		for _, name := range names {
			if b, a := before[p.Name][name], after[p.Name][name]; b != a || b.ID == "" {
				t.Errorf("%s of %s was %v and is %v", name, p.Name, b, a)
			}
		}
	}
}

// replaced checks that containers are others than before.
func replaced(t *testing.T, pis []*lab.Pi, before, after map[string]map[string]container, name string) {
	t.Helper()
	for _, p := range pis {
		if b, a := before[p.Name][name], after[p.Name][name]; b.ID == a.ID {
			t.Errorf("%s of %s is still %v", name, p.Name, a)
		}
	}
}

// without are the Pis but one.
func without(pis []*lab.Pi, gone *lab.Pi) []*lab.Pi {
	return slices.DeleteFunc(slices.Clone(pis), func(p *lab.Pi) bool { return p == gone })
}

// times is the table that the test prints at its end. It is to be read, nothing is judged by it.
type times struct{ lines []string }

// took adds what happened since a moment.
func (w *times) took(what string, since time.Time) {
	w.lines = append(w.lines, fmt.Sprintf("%6.1f s  %s", time.Since(since).Seconds(), what))
}
