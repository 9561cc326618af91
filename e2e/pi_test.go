//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// pi is one machine under test: a private engine behind a proxy that audits it, a Consul of its own, and the daemon.
type pi struct {
	top    *testing.T // what is started again must outlive the subtest that does it
	engine *harness.Engine
	proxy  *harness.Proxy
	consul *harness.Consul
	*harness.Brambled

	index map[string]uint64 // of each stack's key as it was put last
}

// boot starts a Pi with the hello images loaded.
func boot(t *testing.T, args ...string) *pi {
	t.Helper()
	p := &pi{top: t, engine: harness.StartDockerd(t), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	p.Brambled = harness.StartBrambled(t, harness.Options{Docker: p.proxy.Host, Consul: p.consul.Address, Args: args})
	return p
}

// put writes a stack as a person does.
func (p *pi) put(t *testing.T, stack, file string) {
	t.Helper()
	p.consul.Put(t, "brambled/stacks/"+stack, file)
	if p.index == nil {
		p.index = map[string]uint64{}
	}
	p.index[stack] = p.consul.Index(t, "brambled/stacks/"+stack)
}

// container is what the tests look at of a container.
type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status    string
		StartedAt string
		Pid       int
		ExitCode  int
		Health    *struct{ Status string }
	}
	Config struct {
		Labels map[string]string
		Env    []string
	}
	Mounts          []struct{ Source, Destination string }
	NetworkSettings struct {
		Networks map[string]struct{ NetworkID string }
	}
}

// containers are the containers of a stack by name, running or not.
func (p *pi) containers(t *testing.T, stack string) map[string]container {
	t.Helper()
	return p.inspect(t, "label=brambled.stack="+stack)
}

func (p *pi) inspect(t *testing.T, filter string) map[string]container {
	t.Helper()
	out := map[string]container{}
	ids := strings.FieldsSeq(p.engine.Docker(t, "ps", "-aq", "--no-trunc", "--filter", filter))
	for id := range ids {
		text, err := p.engine.TryDocker("inspect", id)
		if err != nil {
			continue // removed meanwhile
		}
		var list []container
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("docker inspect %s: %v", id, err)
		}
		out[strings.TrimPrefix(list[0].Name, "/")] = list[0]
	}
	return out
}

// runs waits until exactly these containers of a stack exist and run, and returns them.
func (p *pi) runs(t *testing.T, stack string, names ...string) map[string]container {
	t.Helper()
	var got map[string]container
	harness.Eventually(t, fmt.Sprintf("stack %s runs %v", stack, names), func() error {
		got = p.containers(t, stack)
		var have []string
		for name, c := range got {
			if c.State.Status == "running" {
				have = append(have, name)
			} else {
				have = append(have, name+" "+c.State.Status)
			}
		}
		slices.Sort(have)
		want := slices.Sorted(slices.Values(names))
		if !slices.Equal(have, want) {
			return fmt.Errorf("there are %v", have)
		}
		return nil
	})
	return got
}

// answers waits until a published port greets with the given words.
func (p *pi) answers(t *testing.T, port, words string) {
	t.Helper()
	harness.Eventually(t, "port "+port+" answers", func() error {
		body, err := harness.Fetch("http://" + p.engine.Address + ":" + port + "/")
		if err == nil && !strings.Contains(body, words) {
			err = fmt.Errorf("it says %q, want %q", body, words)
		}
		return err
	})
}

// report is what the tests read of the daemon's own report.
type report struct {
	Stacks []struct {
		Name, State, Error string
		Index              uint64
		Services           []struct{ Name, State, Why string }
	}
	Holds []struct{ ID, Cause, Detail string }
}

func (p *pi) report(t *testing.T) report {
	t.Helper()
	var r report
	body, err := p.Fetch("/api/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &r)
	}
	if err != nil {
		t.Fatalf("read status: %v", err)
	}
	return r
}

// state waits until the daemon reports a stack in a state, as it was put last: a report of before says nothing.
func (p *pi) state(t *testing.T, stack, want string) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("stack %s is %s", stack, want), func() error {
		for _, s := range p.report(t).Stacks {
			if s.Name == stack && s.State == want && s.Index >= p.index[stack] {
				return nil
			} else if s.Name == stack {
				return fmt.Errorf("it is %s (%s) at index %d, was put at %d", s.State, s.Error, s.Index, p.index[stack])
			}
		}
		return fmt.Errorf("it is not in the report")
	})
}
