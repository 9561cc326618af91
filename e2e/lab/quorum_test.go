//go:build e2e

package lab_test

import (
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

const pairKey = "brambled/stacks/pair"

// pair are two Swarm services, one with a task on each Pi, and containers on each Pi.
const pair = `services:
  one:
    image: brambled/hello:1
    environment: { GREETING: "first" }
    ports: [ { target: 8080, published: 8080, mode: host } ]
    healthcheck: { test: [CMD, /hello, -healthcheck], interval: 1s, timeout: 2s, retries: 5 }
    deploy: { mode: global, endpoint_mode: dnsrr, update_config: { monitor: 1s, parallelism: 0 } }
  two:
    image: brambled/hello:2
    deploy: { replicas: 3, endpoint_mode: dnsrr, update_config: { monitor: 1s } }
  own:
    x-brambled: { nodes: all }
    image: brambled/hello:2
`

// bramble is a cluster whose Swarm is brambled's own, and which the scenarios share in the order in which they stand.
type bramble struct {
	*lab.Lab
	times  times
	throne *lab.Pi // that led everything and is gone
}

// TestQuorum: a Swarm that forms itself and heals itself. Nothing is typed but `consul kv put`.
func TestQuorum(t *testing.T) {
	b := startBramble(t)
	for _, s := range append([]scenario{
		{"blank Pis become a Swarm of three managers", b.forms},
		{"the Pi that leads everything loses power", b.loses},
		{"it does not come back, and the fourth takes its seat", b.replaces},
		{"it comes back at last, and joins by itself", b.returns},
		{"a manager comes back with a new card", b.reimaged},
	}, b.longer()...) {
		if !t.Run(s.name, s.run) {
			return // the next one begins where this should have ended
		}
	}
}

// startBramble boots four blank Pis.
func startBramble(t *testing.T) *bramble {
	t.Helper()
	b := &bramble{Lab: lab.Start(t, 4)}
	t.Cleanup(func() { t.Logf("what took how long:\n%s", strings.Join(b.times.lines, "\n")) })
	// Ten minutes of hold-down are for homes.
	for _, p := range b.Pis {
		p.Run(t, "sh", "-c", "echo 'swarm: { hold_down: 1m }' >>/etc/brambled/brambled.yaml && systemctl restart brambled")
	}
	return b
}

type scenario struct {
	name string
	run  func(*testing.T)
}

func (b *bramble) forms(t *testing.T) {
	b.enthrone(t)
	began := time.Now()
	b.Pis[3].Put(t, pairKey, pair)
	managers(t, b.throne, 3)
	b.times.took("put → three managers", began)
	greets(t, b.Pis, "first")
	runs(t, b.Pis, "pair", "pair-own-1")
	everywhere(t, b.throne, 4)
}

// enthrone has a server of Consul lead brambled, so that Swarm's first manager is on it too.
func (b *bramble) enthrone(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "one of Consul's servers leads brambled", func() error {
		name, err := b.leader(b.Pis[0])
		if err != nil {
			return err
		}
		if b.throne = b.Pi(t, name); name != "pi4" {
			return nil
		}
		b.throne.Run(t, "systemctl", "restart", "brambled")
		return errors.New("pi4 leads")
	})
}

// leader is the Pi that leads brambled, as another one sees it.
func (b *bramble) leader(from *lab.Pi) (string, error) {
	value, err := from.Try("consul", "kv", "get", "brambled/leader")
	if err != nil {
		return "", err
	}
	for _, p := range b.Pis {
		if strings.Contains(value, fmt.Sprintf("%q", p.Name)) {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("nobody leads: %s", value)
}

// lead has the throne lead Consul as well. It leads brambled and Swarm since it formed that.
func (b *bramble) lead(t *testing.T) {
	t.Helper()
	b.LeadConsul(t, b.throne)
	if got := b.throne.Run(t, "docker", "node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}"); got != "true" {
		t.Fatalf("%s leads brambled, and its lead of Swarm is %s", b.throne.Name, got)
	}
	if got, err := b.leader(b.throne); got != b.throne.Name {
		t.Fatalf("%s leads brambled: %v", got, err)
	}
}

func (b *bramble) loses(t *testing.T) {
	b.lead(t)
	others := without(b.Pis, b.throne)
	before := processes(t, others)
	began := time.Now()
	b.throne.PowerCut(t)
	others[0].Put(t, pairKey, b.labelled("loss"))
	harness.Eventually(t, "another leads", func() error {
		if now, err := b.leader(others[0]); err != nil || now == b.throne.Name {
			return fmt.Errorf("%s leads: %w", now, err)
		}
		return nil
	})
	b.edited(t, others, "loss")
	b.times.took("power cut of the Pi that leads all three → a new leader has acted", began)
	runningTasks(t, manager(others), "pair_two", 3, b.throne.Name)
	b.times.took("… → its tasks run elsewhere", began)
	unmoved(t, before, processes(t, others), "pair-own-1", "pair_one")
	says(t, others[0], b.throne.Name, "hold-down")
}

// labelled is the stack with a label on the containers of its second service.
func (*bramble) labelled(edit string) string {
	const tail = "hello:2\n    deploy: { replicas: 3"
	return strings.Replace(pair, tail, strings.Replace(tail, "deploy", "labels: { edit: "+edit+" }\n    deploy", 1), 1)
}

// edited waits until a label has reached the Swarm: the leader acts.
func (*bramble) edited(t *testing.T, pis []*lab.Pi, edit string) {
	t.Helper()
	harness.Eventually(t, "the leader acts: the edit is in the Swarm", func() error {
		out, err := manager(pis).Try("docker", "service", "inspect", "pair_two", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Labels.edit}}")
		if err == nil && out != edit {
			err = errors.New(out)
		}
		return err
	})
}

func (b *bramble) replaces(t *testing.T) {
	others := without(b.Pis, b.throne)
	before := processes(t, others)
	began := time.Now()
	names := managers(t, manager(others), 3)
	b.times.took("… → the fourth has its seat, with a hold-down of a minute", began)
	if want := []string{others[0].Name, others[1].Name, others[2].Name}; !slices.Equal(names, want) {
		t.Errorf("the managers are %v, want %v", names, want)
	}
	after := processes(t, others)
	unmoved(t, before, after, "pair-own-1")
	// The fourth may have had to join anew, by a manager that lives: then Swarm gives it a new task.
	maps.DeleteFunc(before, func(key, _ string) bool { return strings.HasPrefix(key, "pi4 ") })
	unmoved(t, before, after, "pair_one")
}

func (b *bramble) returns(t *testing.T) {
	began := time.Now()
	others := without(b.Pis, b.throne)
	before := processes(t, others)
	b.throne.Boot(t)
	everywhere(t, others[0], 4)
	greets(t, b.Pis, "first")
	runs(t, b.Pis, "pair", "pair-own-1")
	b.times.took("it boots → in the Swarm again, and runs all of its own", began)
	managers(t, others[0], 3)
	// Its engine begins as the manager it was: that it is none any more it learns with its new certificate, after it was Ready.
	harness.Eventually(t, "its engine is a worker", func() error {
		out, err := b.throne.Try("docker", "info", "--format", "{{.Swarm.ControlAvailable}}")
		if err == nil && out != "false" {
			err = fmt.Errorf("it controls the Swarm: %s", out)
		}
		return err
	})
	unmoved(t, before, processes(t, others), "pair-own-1", "pair_one")
	settledSwarm(t, b.Lab)
}

func (b *bramble) reimaged(t *testing.T) {
	p := b.heir(t)
	others := without(b.Pis, p)
	old := p.Run(t, "docker", "info", "--format", "{{.Swarm.NodeID}}")
	before := processes(t, others)
	p.PowerCut(t)
	p.Reimage(t)
	began := time.Now()
	p.Boot(t)
	harness.Eventually(t, "its images are there", func() error {
		_, err := p.Try("docker", "load", "-q", "-i", "/root/hello.tar")
		return err
	})
	managers(t, manager(others), 3)
	everywhere(t, manager(others), 4)
	b.times.took("a manager boots from a new card → three managers, no ghost", began)
	if now := p.Run(t, "docker", "info", "--format", "{{.Swarm.NodeID}}"); now == old {
		t.Errorf("%s has its old identity: this test would prove nothing", p.Name)
	}
	greets(t, b.Pis, "first")
	runs(t, b.Pis, "pair", "pair-own-1")
	unmoved(t, before, processes(t, others), "pair-own-1", "pair_one")
	settledSwarm(t, b.Lab)
}

// heir is a manager that does not lead brambled.
func (b *bramble) heir(t *testing.T) *lab.Pi {
	t.Helper()
	lead, err := b.leader(b.Pis[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range managers(t, manager(without(b.Pis, b.throne)), 3) {
		if name != lead {
			return b.Pi(t, name)
		}
	}
	t.Fatal("all managers lead")
	return nil
}

// managers waits until so many managers are well and no other is left, as a Pi sees it, and returns their host names, sorted.
func managers(t *testing.T, from *lab.Pi, count int) (names []string) {
	t.Helper()
	harness.Within(t, 5*time.Minute, fmt.Sprintf("%d managers", count), func() error {
		out, err := from.Try("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
		if err != nil {
			return err
		}
		names = nil
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 3 && f[1] == "Ready" && (f[2] == "Leader" || f[2] == "Reachable") {
				names = append(names, f[0])
			}
		}
		if slices.Sort(names); len(names) != count || strings.Contains(out, "Unreachable") {
			return fmt.Errorf("the nodes are\n%s", out)
		}
		return nil
	})
	return names
}

// manager is the first of these Pis that can be asked about the Swarm.
func manager(of []*lab.Pi) *lab.Pi {
	for _, p := range of {
		if out, err := p.Try("docker", "info", "--format", "{{.Swarm.ControlAvailable}}"); err == nil && out == "true" {
			return p
		}
	}
	return of[0]
}

// everywhere waits until so many nodes are in the Swarm, all of them Ready.
func everywhere(t *testing.T, from *lab.Pi, count int) {
	t.Helper()
	harness.Within(t, 3*time.Minute, fmt.Sprintf("%d nodes are Ready, and no other is known", count), func() error {
		out, err := from.Try("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}}")
		if err == nil && (strings.Count(out, " Ready Active") != count || strings.Count(out, "\n") != count-1) {
			err = errors.New(out)
		}
		return err
	})
}

// runningTasks waits until so many tasks of a service run, none of them on a Pi that is gone.
func runningTasks(t *testing.T, from *lab.Pi, service string, count int, gone string) {
	t.Helper()
	harness.Within(t, 3*time.Minute, fmt.Sprintf("%d tasks of %s run", count, service), func() error {
		out, err := from.Try("docker", "service", "ps", service, "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
		if err == nil && (strings.Count(out, " Running ") != count || strings.Contains(out, gone+" ")) {
			err = errors.New(out)
		}
		return err
	})
}

// processes are the process ids of the running containers of some Pis: by the Pi's name and the container's, a task's without its id.
func processes(t *testing.T, pis []*lab.Pi) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range pis {
		d := p.Docker(t)
		for id := range strings.FieldsSeq(d.Docker(t, "ps", "-q", "--no-trunc")) {
			name, pid, _ := strings.Cut(d.Docker(t, "inspect", "-f", "{{.Name}} {{.State.Pid}}", id), " ")
			name, _, _ = strings.Cut(strings.TrimPrefix(name, "/"), ".")
			out[p.Name+" "+name] = pid + " " + id
		}
	}
	return out
}

// unmoved compares the processes of some containers.
func unmoved(t *testing.T, before, after map[string]string, names ...string) {
	t.Helper()
	count := 0
	for key, was := range before {
		if _, name, _ := strings.Cut(key, " "); slices.Contains(names, name) {
			if count++; after[key] != was {
				t.Errorf("%s is another process: %s, was %s", key, after[key], was)
			}
		}
	}
	if count < len(names) {
		t.Errorf("only %d of %v ran: %v", count, names, before)
	}
}

// says waits until `brambled status` on a Pi has all of these words.
func says(t *testing.T, p *lab.Pi, words ...string) {
	t.Helper()
	harness.Within(t, 2*time.Minute, fmt.Sprintf("status on %s says %q", p.Name, words), func() error {
		out, _ := p.Try("brambled", "status") // its exit code says that something is wrong, which is so
		for _, w := range words {
			if !strings.Contains(out, w) {
				return fmt.Errorf("%q is missing in\n%s", w, out)
			}
		}
		return nil
	})
}

// settledSwarm waits until nothing is wrong or waited for.
func settledSwarm(t *testing.T, l *lab.Lab) {
	t.Helper()
	harness.Within(t, 3*time.Minute, "all is converged", func() error {
		out, err := l.Pis[0].Try("brambled", "status")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
}
