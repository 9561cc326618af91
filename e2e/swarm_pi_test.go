//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// swarmPi is a Pi whose engine is the only node of a Swarm, and whose daemon leads.
type swarmPi struct {
	*matrix
	api *engineAPI
}

// bootSwarm starts a Pi in a Swarm of its own, which goes with its engine. Its address is one of the engine's network, where no other
// engine is.
func bootSwarm(t *testing.T, flags []string, opts harness.Options) *swarmPi {
	t.Helper()
	p := &pi{top: t, engine: harness.StartDockerd(t, flags...), consul: harness.StartConsul(t)}
	p.engine.LoadHello(t)
	p.engine.Docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1")
	p.proxy = harness.SocketProxy(t, p.engine.Socket)
	opts.Docker, opts.Consul = p.proxy.Host, p.consul.Address
	opts.Args = append(opts.Args, "--resync", "5s")
	p.Brambled = harness.StartBrambled(t, opts)
	return &swarmPi{matrix: &matrix{pi: p, flags: flags}, api: newEngineAPI(p.engine.Socket)}
}

// swarmSvc is one Swarm service in a file. The kernel of a test machine may have no IP_VS, and so no virtual addresses: dnsrr.
type swarmSvc struct {
	name, mark string
	more       string // further keys, indented by four
	deploy     string // further keys of deploy, in flow style
}

// swarmFile is a stack of Swarm services whose images are on the engine already.
func swarmFile(tail string, services ...swarmSvc) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for _, s := range services {
		deploy := "endpoint_mode: dnsrr"
		if !strings.Contains(s.deploy, "update_config") {
			deploy += ", update_config: { monitor: 1s, parallelism: 0 }"
		}
		if s.deploy != "" {
			deploy += ", " + s.deploy
		}
		fmt.Fprintf(&b, "  %s:\n    image: brambled/hello:1\n    environment: { MARK: %q }\n"+
			"    healthcheck: { interval: 1s }\n    stop_grace_period: 2s\n    deploy: { %s }\n%s", s.name, s.mark, deploy, s.more)
	}
	return b.String() + tail
}

// serviceSpec is what the tests look at of a version of a service.
type serviceSpec struct {
	Name         string
	Labels       map[string]string
	Mode         struct{ Replicated struct{ Replicas *int } }
	TaskTemplate struct {
		ContainerSpec struct {
			Image   string
			Env     []string
			Configs []struct{ ConfigName string }
			Secrets []struct{ SecretName string }
		}
	}
}

// swarmService is what the tests look at of a service.
type swarmService struct {
	ID           string
	Version      struct{ Index uint64 }
	Spec         serviceSpec
	PreviousSpec *serviceSpec
	UpdateStatus *struct{ State string }
}

func (s swarmService) replicas() int {
	if n := s.Spec.Mode.Replicated.Replicas; n != nil {
		return *n
	}
	return 1
}

// env is the value of a variable of the service's.
func (s swarmService) env(name string) string {
	for _, e := range s.Spec.TaskTemplate.ContainerSpec.Env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// swarmTask is what the tests look at of a task.
type swarmTask struct {
	ID, ServiceID, DesiredState string
	Status                      struct {
		State, Err      string
		ContainerStatus struct{ ContainerID string }
	}
	Spec struct {
		ContainerSpec struct{ Env []string }
	}
}

// services are all of the Swarm by name.
func (p *swarmPi) services() (map[string]swarmService, error) {
	var list []swarmService
	err := p.api.get("/services", &list)
	out := map[string]swarmService{}
	for _, s := range list {
		out[s.Spec.Name] = s
	}
	return out, err
}

// tasks are those of a service that should run, running or not, sorted by id.
func (p *swarmPi) tasks(s swarmService) ([]swarmTask, error) {
	var list []swarmTask
	err := p.api.get("/tasks", &list)
	list = slices.DeleteFunc(list, func(k swarmTask) bool { return k.ServiceID != s.ID || k.DesiredState != "running" })
	slices.SortFunc(list, func(a, b swarmTask) int { return cmp.Compare(a.ID, b.ID) })
	return list, err
}

// named are the names of what the Swarm has of a kind: "networks", "configs", "secrets" that brambled made, sorted.
func (p *swarmPi) named(kind string) ([]string, error) {
	var list []struct {
		Name   string
		Scope  string
		Labels map[string]string
		Spec   struct {
			Name   string
			Labels map[string]string
		}
	}
	err := p.api.get("/"+kind, &list)
	var out []string
	for _, o := range list {
		if o.Scope != "local" && (o.Labels["brambled.cluster"] != "" || o.Spec.Labels["brambled.cluster"] != "") {
			out = append(out, cmp.Or(o.Name, o.Spec.Name))
		}
	}
	slices.Sort(out)
	return out, err
}

// lives is what must outlive what is done to others: of each service its id and version, of each of its tasks the container.
type lives map[string][]string

// marked are the services that brambled should have made, by name, with the value of MARK of each.
type marked map[string]string

// reached holds that the services are there, that every task of theirs runs the version that is marked so, and that the leader
// calls their stacks converged. Nothing else that brambled made may be there.
func (p *swarmPi) reached(want marked) (lives, error) {
	have, err := p.services()
	if err != nil {
		return nil, err
	}
	out := lives{}
	for name, s := range have {
		if s.Spec.Labels["brambled.cluster"] == "" {
			continue
		}
		if _, wanted := want[name]; !wanted {
			return nil, fmt.Errorf("there is a service %s", name)
		}
		if s.env("MARK") != want[name] {
			return nil, fmt.Errorf("%s says %q, want %q", name, s.env("MARK"), want[name])
		}
		tasks, err := p.tasks(s)
		if err != nil {
			return nil, err
		}
		if n := s.replicas(); len(tasks) != n {
			return nil, fmt.Errorf("%s has %d tasks, want %d", name, len(tasks), n)
		}
		out[name] = []string{s.ID, fmt.Sprint(s.Version.Index)}
		for _, k := range tasks {
			if k.Status.State != "running" || !slices.Contains(k.Spec.ContainerSpec.Env, "MARK="+want[name]) {
				return nil, fmt.Errorf("a task of %s is %s %v %s", name, k.Status.State, k.Spec.ContainerSpec.Env, k.Status.Err)
			}
			out[name] = append(out[name], k.Status.ContainerStatus.ContainerID)
		}
	}
	if len(out) != len(want) {
		return nil, fmt.Errorf("there are %v", slices.Sorted(maps.Keys(out)))
	}
	return out, p.converged(want)
}

// converged holds that the leader reports the stacks of services as converged and no other stack.
func (p *swarmPi) converged(want marked) error {
	if _, there := p.consul.Get(p.top, "brambled/status/swarm"); !there && len(want) == 0 {
		return nil // it has never had anything to report
	}
	r, err := p.swarmReport()
	if err != nil {
		return err
	}
	stacks := map[string]bool{}
	for name := range want {
		stack, _, _ := strings.Cut(name, "_")
		stacks[stack] = true
	}
	for _, s := range r.Stacks {
		if !stacks[s.Name] || s.State != "converged" {
			return fmt.Errorf("the leader says that %s is %s: %+v", s.Name, s.State, s.Services)
		}
		delete(stacks, s.Name)
	}
	if len(stacks) > 0 {
		return fmt.Errorf("the leader does not speak of %v", stacks)
	}
	return nil
}

// swarmReport is the leader's report, past the daemon.
func (p *swarmPi) swarmReport() (report, error) {
	var r report
	text, there := p.consul.Get(p.top, "brambled/status/swarm")
	if !there {
		return r, fmt.Errorf("there is no report of a leader")
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// runsMarked waits until all is reached.
func (p *swarmPi) runsMarked(t *testing.T, want marked) lives {
	t.Helper()
	var out lives
	harness.Eventually(t, fmt.Sprintf("Swarm runs %v", want), func() (err error) {
		out, err = p.reached(want)
		return err
	})
	return out
}

// undisturbedBut holds that services kept their versions and their containers, but for those named.
func (l lives) undisturbedBut(t *testing.T, now lives, but ...string) {
	t.Helper()
	for name, was := range l {
		if !slices.Contains(but, name) && !slices.Equal(was, now[name]) {
			t.Errorf("%s was %v, is %v", name, was, now[name])
		}
	}
}

// changes are the calls that changed something in the Swarm since the proxy forgot.
func (p *swarmPi) changes() []harness.Request {
	return slices.DeleteFunc(p.proxy.Mutating(), func(r harness.Request) bool {
		return !strings.HasPrefix(r.Path, "/services") && !strings.HasPrefix(r.Path, "/networks") &&
			!strings.HasPrefix(r.Path, "/configs") && !strings.HasPrefix(r.Path, "/secrets")
	})
}
