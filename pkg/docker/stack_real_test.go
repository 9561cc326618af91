//go:build integration

package docker

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/reconciler/spec"
)

// pair is one service, deployed both ways.
type pair struct {
	stack, ours *swarm.ServiceSpec
	update      map[string]any // update_config as the file has it
}

// exceptions are the differences from `docker stack deploy` that are meant. Each makes a pair alike and reports whether that
// changed anything; one that no file of the corpus needs is dead, and fails the test.
var exceptions = []struct {
	what, why string
	apply     func(pair) bool
}{
	{"labels brambled.*", "by them a service is found again, and its hash compared", func(p pair) bool {
		before := len(p.ours.Labels)
		maps.DeleteFunc(p.ours.Labels, func(k, _ string) bool { return strings.HasPrefix(k, "brambled.") })
		return len(p.ours.Labels) != before
	}},
	{"names of networks", "the stack's containers have a bridge of the plain name on each Pi", func(p pair) bool {
		return changes(&p.ours.TaskTemplate.Networks, func(n *swarm.NetworkAttachmentConfig) { n.Target = strings.TrimPrefix(n.Target, "Swarm-") })
	}},
	{"order of networks", "it follows from the names", func(p pair) bool {
		return sorts(p, func(s *swarm.ServiceSpec) *[]swarm.NetworkAttachmentConfig { return &s.TaskTemplate.Networks }, func(n swarm.NetworkAttachmentConfig) string { return n.Target })
	}},
	{"order of aliases", "they are sorted: another order in the file is no other service", func(p pair) bool {
		changed := false
		for i := range min(len(p.stack.TaskTemplate.Networks), len(p.ours.TaskTemplate.Networks)) {
			changed = sorts(p, func(s *swarm.ServiceSpec) *[]string { return &s.TaskTemplate.Networks[i].Aliases }, func(a string) string { return a }) || changed
		}
		return changed
	}},
	{"order of mounts", "they are sorted by target", func(p pair) bool {
		return sorts(p, func(s *swarm.ServiceSpec) *[]mount.Mount { return &s.TaskTemplate.ContainerSpec.Mounts }, func(m mount.Mount) string { return m.Target })
	}},
	{"order of extra_hosts", "they are sorted", func(p pair) bool {
		return sorts(p, func(s *swarm.ServiceSpec) *[]string { return &s.TaskTemplate.ContainerSpec.Hosts }, func(h string) string { return h })
	}},
	{"order of constraints", "they are sorted: all must hold", func(p pair) bool {
		return sorts(p, func(s *swarm.ServiceSpec) *[]string { return &s.TaskTemplate.Placement.Constraints }, func(c string) string { return c })
	}},
	{"names of configs and secrets", "new content is a new object: Swarm cannot change one, and a rollback needs the former", func(p pair) bool {
		changed := false
		for _, s := range []*swarm.ServiceSpec{p.stack, p.ours} {
			for _, c := range s.TaskTemplate.ContainerSpec.Configs {
				changed = plainName(&c.ConfigName, &c.ConfigID) || changed
			}
			for _, c := range s.TaskTemplate.ContainerSpec.Secrets {
				changed = plainName(&c.SecretName, &c.SecretID) || changed
			}
		}
		return changed
	}},
	{"update policy that the file does not give", "rollback after 30 s, start-first where it can be: safety rule 5", func(p pair) bool {
		if p.ours.UpdateConfig == nil {
			return false
		}
		if p.update == nil {
			p.ours.UpdateConfig = nil
			return true
		}
		theirs, u, before := p.stack.UpdateConfig, p.ours.UpdateConfig, *p.ours.UpdateConfig
		for key, alike := range map[string]func(){
			"failure_action": func() { u.FailureAction = theirs.FailureAction },
			"monitor":        func() { u.Monitor = theirs.Monitor },
			"order":          func() { u.Order = theirs.Order },
		} {
			if p.update[key] == nil {
				alike()
			}
		}
		return *u != before
	}},
	{"restart: no", "docker stack deploy drops it, and Swarm then restarts always", func(p pair) bool {
		r := p.ours.TaskTemplate.RestartPolicy
		if r == nil || r.Condition != swarm.RestartPolicyConditionNone || p.stack.TaskTemplate.RestartPolicy != nil {
			return false
		}
		p.ours.TaskTemplate.RestartPolicy = nil
		return true
	}},
	{"restart policy of a job", "a job that ended well is not started again", func(p pair) bool {
		job := p.ours.Mode.ReplicatedJob != nil || p.ours.Mode.GlobalJob != nil
		r := p.ours.TaskTemplate.RestartPolicy
		if !job || r == nil || r.Condition != swarm.RestartPolicyConditionOnFailure || p.stack.TaskTemplate.RestartPolicy != nil {
			return false
		}
		p.ours.TaskTemplate.RestartPolicy = nil
		return true
	}},
	{"tmpfs in its short form", "docker stack deploy drops it", func(p pair) bool {
		mounts, before := &p.ours.TaskTemplate.ContainerSpec.Mounts, len(p.ours.TaskTemplate.ContainerSpec.Mounts)
		theirs := p.stack.TaskTemplate.ContainerSpec.Mounts
		*mounts = slices.DeleteFunc(*mounts, func(m mount.Mount) bool {
			return m.Type == mount.TypeTmpfs && !slices.ContainsFunc(theirs, func(o mount.Mount) bool { return o.Target == m.Target })
		})
		return len(*mounts) != before
	}},
	{"parts of a second in stop_grace_period", "engines count whole ones", func(p pair) bool {
		grace := p.stack.TaskTemplate.ContainerSpec.StopGracePeriod
		if grace == nil || *grace%time.Second == 0 {
			return false
		}
		*grace = grace.Truncate(time.Second) + time.Second
		return true
	}},
}

// sorts puts one list of both specs into one order.
func sorts[T any](p pair, list func(*swarm.ServiceSpec) *[]T, key func(T) string) bool {
	changed := false
	for _, s := range []*swarm.ServiceSpec{p.stack, p.ours} {
		l := list(s)
		before := fmt.Sprint(*l)
		slices.SortStableFunc(*l, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
		changed = changed || fmt.Sprint(*l) != before
	}
	return changed
}

func changes[T any](list *[]T, change func(*T)) bool {
	before := fmt.Sprint(*list)
	for i := range *list {
		change(&(*list)[i])
	}
	return fmt.Sprint(*list) != before
}

// plainName takes stack and hash off an object's name. The ids differ with the objects.
func plainName(name, id *string) bool {
	before := *name
	*name = strings.TrimPrefix(*name, stackName+"_")
	if i := strings.LastIndex(*name, "_"); i >= 0 && len(*name)-i == 13 {
		*name = (*name)[:i]
	}
	*id = ""
	return *name != before
}

const stackName = "difference"

// TestStackDeploy deploys each file of testdata/stack twice on one engine: by `docker stack deploy`, and by what brambled makes
// of it. Swarm then tells both the same, but for the listed exceptions.
//
// It compares what is asked of Swarm. Virtual addresses and the routing mesh need IP_VS, which not every kernel here has: what
// becomes of them is not looked at, and the node takes no tasks at all.
func TestStackDeploy(t *testing.T) {
	s := newStackRig(t)
	files, err := filepath.Glob("testdata/stack/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	needed := map[string]int{}
	ran, services := 0, 0
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			theirs, ours, said := s.stackDeploy(t, path), s.deploy(t, path), updatePolicies(t, path)
			if got, want := slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs)); !slices.Equal(got, want) || len(got) == 0 {
				t.Fatalf("brambled makes the services %v, docker stack deploy %v", got, want)
			}
			ran++
			for name, spec := range theirs {
				services++
				mine := ours[name]
				for _, e := range exceptions {
					if e.apply(pair{&spec, &mine, said[name]}) {
						needed[e.what]++
					}
				}
				if diff := gocmp.Diff(spec, mine, cmpopts.EquateEmpty(), gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("%s (-docker stack deploy +brambled):\n%s", name, diff)
				}
			}
		})
	}
	t.Logf("%d services of %d files", services, len(files))
	for _, e := range exceptions {
		t.Logf("%3d× %s: %s", needed[e.what], e.what, e.why)
		if needed[e.what] == 0 && ran == len(files) {
			t.Errorf("no file needs the exception %q", e.what)
		}
	}
}

// updatePolicies are the update_config of each service of a file, by the service's name in Swarm.
func updatePolicies(t *testing.T, path string) map[string]map[string]any {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Deploy struct {
				Update map[string]any `yaml:"update_config"`
			}
		}
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for name, s := range file.Services {
		out[stackName+"_"+name] = s.Deploy.Update
	}
	return out
}

// stackRig is an engine that is a Swarm of its own, whose one node takes no tasks.
type stackRig struct {
	engine *harness.Engine
	c      *client.Client
}

func newStackRig(t *testing.T) *stackRig {
	t.Helper()
	e := harness.StartDockerd(t)
	if state := e.Docker(t, "info", "--format", "{{.Swarm.LocalNodeState}}"); state != "inactive" {
		t.Fatalf("the engine is part of a Swarm already (%s): this test wants one of its own", state)
	}
	e.Docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1", "--availability", "drain")
	t.Cleanup(func() { e.Docker(t, "swarm", "leave", "--force") })
	c, err := client.New(client.WithHost(e.Host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	e.Docker(t, "network", "create", "--driver", "overlay", "difference-outside")
	for name, content := range secrets {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		e.Docker(t, "secret", "create", name, file)
	}
	return &stackRig{engine: e, c: c}
}

// secrets are the external ones of the corpus: for docker in the Swarm, for brambled in KV.
var secrets = map[string][]byte{"token": []byte("hush"), "key": []byte("hushhush")}

// stackDeploy lets docker deploy a file, returns the services, and takes all away again.
func (s *stackRig) stackDeploy(t *testing.T, path string) map[string]swarm.ServiceSpec {
	t.Helper()
	s.engine.Docker(t, "stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", path, stackName)
	out := s.inspect(t)
	s.remove(t)
	return out
}

// deploy makes what brambled renders of a file, returns the services, and takes all away again.
func (s *stackRig) deploy(t *testing.T, path string) map[string]swarm.ServiceSpec {
	t.Helper()
	file, err := os.ReadFile(path)
	if err == nil && bytes.Contains(file, []byte("file:")) { // KV has no files
		file, _, err = compose.Bundle([]string{path})
	}
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := compose.Load(stackName, path, file, compose.Env{Node: "pi1", Owner: "c1", Cluster: "c1", Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(loaded.Stack.Services); n != 0 {
		t.Fatalf("%d services are containers", n)
	}
	s.create(t, loaded.Swarm)
	out := s.inspect(t)
	s.remove(t)
	return out
}

// create makes all that a stack has in Swarm.
func (s *stackRig) create(t *testing.T, st spec.SwarmStack) {
	t.Helper()
	ids := s.objects(t, st.Objects)
	for _, n := range st.Networks {
		s.network(t, n)
	}
	for _, svc := range st.Services {
		request, err := serviceSpec("c1", stackName, svc, svc.Image, ids)
		if err == nil {
			_, err = s.c.ServiceCreate(t.Context(), client.ServiceCreateOptions{Spec: request})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// objects makes configs and secrets, and returns their ids.
func (s *stackRig) objects(t *testing.T, list []spec.SwarmObject) objectIDs {
	t.Helper()
	ids := map[string]string{}
	for _, o := range list {
		about, id := swarm.Annotations{Name: o.Name, Labels: stackLabels(stackName, o.Labels)}, ""
		if o.Kind == spec.ConfigObject {
			res, err := s.c.ConfigCreate(t.Context(), client.ConfigCreateOptions{Spec: swarm.ConfigSpec{Annotations: about, Data: o.Content}})
			if err != nil {
				t.Fatal(err)
			}
			id = res.ID
		} else {
			res, err := s.c.SecretCreate(t.Context(), client.SecretCreateOptions{Spec: swarm.SecretSpec{Annotations: about, Data: o.Content}})
			if err != nil {
				t.Fatal(err)
			}
			id = res.ID
		}
		ids[string(o.Kind)+o.Name] = id
	}
	return func(kind spec.ObjectKind, name string) (string, bool) {
		id, ok := ids[string(kind)+name]
		return id, ok
	}
}

func (s *stackRig) network(t *testing.T, n spec.Network) {
	t.Helper()
	if n.External {
		return
	}
	ipam, err := ipamConfig(n.IPAM)
	if err == nil {
		_, err = s.c.NetworkCreate(t.Context(), n.Name, client.NetworkCreateOptions{
			Driver: n.Driver, Options: n.Options, Internal: n.Internal, Attachable: n.Attachable, IPAM: ipam, Labels: stackLabels(stackName, n.Labels),
		})
	}
	if err != nil {
		t.Fatalf("network %s: %v", n.Name, err)
	}
}

// inspect returns the services of the stack as Swarm keeps them, with the names of networks in place of their ids.
func (s *stackRig) inspect(t *testing.T) map[string]swarm.ServiceSpec {
	t.Helper()
	list, err := s.c.ServiceList(t.Context(), client.ServiceListOptions{Filters: client.Filters{}.Add("label", stackNamespace+"="+stackName)})
	if err != nil {
		t.Fatal(err)
	}
	networks, err := s.c.NetworkList(t.Context(), client.NetworkListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, n := range networks.Items {
		names[n.ID] = n.Name
	}
	out := map[string]swarm.ServiceSpec{}
	for _, item := range list.Items {
		res, err := s.c.ServiceInspect(t.Context(), item.ID, client.ServiceInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range res.Service.Spec.TaskTemplate.Networks {
			res.Service.Spec.TaskTemplate.Networks[i].Target = cmp.Or(names[n.Target], n.Target)
		}
		out[res.Service.Spec.Name] = res.Service.Spec
	}
	return out
}

// remove asks for the stack's end until nothing is left of it: Swarm refuses to let a network go while a task of a service that
// is gone already still names it, and docker then fails.
func (s *stackRig) remove(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "the stack is gone", func() error {
		if _, err := s.engine.TryDocker("stack", "rm", "--detach=true", stackName); err != nil {
			return err
		}
		return s.left(context.WithoutCancel(t.Context()))
	})
}

// left fails while Swarm still lists something of the stack.
func (s *stackRig) left(ctx context.Context) error {
	filter := client.Filters{}.Add("label", stackNamespace+"="+stackName)
	services, err := s.c.ServiceList(ctx, client.ServiceListOptions{Filters: filter})
	if err != nil {
		return err
	}
	networks, err := s.c.NetworkList(ctx, client.NetworkListOptions{Filters: filter})
	if err != nil {
		return err
	}
	if n, m := len(services.Items), len(networks.Items); n+m > 0 {
		return fmt.Errorf("%d services and %d networks are left", n, m)
	}
	return nil
}

// TestServiceRuns locks what docker stack deploy cannot say, and so cannot be compared with: the container of a task has it. It
// is on the host's network, which needs no IP_VS.
func TestServiceRuns(t *testing.T) {
	s := newStackRig(t)
	s.engine.LoadHello(t)
	s.engine.Docker(t, "node", "update", "--availability", "active", s.engine.Docker(t, "node", "ls", "-q"))
	const file = `
services:
  app:
    image: brambled/hello:1
    entrypoint: []
    command: [/hello, -sleep, 1h]
    networks: [host]
    group_add: ["44"]
    dns_opt: ["timeout:1"]
    tmpfs: ["/run/x:size=64k,mode=1700"]
    healthcheck: {disable: true}
    secrets: [{source: token, uid: "5", mode: 0400}]
    configs: [{source: conf, target: /etc/conf}]
networks: {host: {external: true, name: host}}
secrets: {token: {external: true}}
configs: {conf: {content: hello}}
`
	loaded, err := compose.Load(stackName, "f", []byte(file), compose.Env{Node: "pi1", Owner: "c1", Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	s.create(t, loaded.Swarm)
	id := ""
	harness.Eventually(t, "the task runs", func() error {
		id = s.engine.Docker(t, "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+stackName+"_app")
		if id == "" {
			return fmt.Errorf("tasks: %s", s.engine.Docker(t, "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", stackName+"_app"))
		}
		return nil
	})
	res, err := s.c.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := res.Container
	if len(got.Config.Entrypoint) != 0 || got.Path != "/hello" || !slices.Equal(got.HostConfig.GroupAdd, []string{"44"}) || !slices.Equal(got.HostConfig.DNSOptions, []string{"timeout:1"}) {
		t.Errorf("entry point %v, path %s, groups %v, DNS options %v", got.Config.Entrypoint, got.Path, got.HostConfig.GroupAdd, got.HostConfig.DNSOptions)
	}
	i := slices.IndexFunc(got.HostConfig.Mounts, func(m mount.Mount) bool { return m.Target == "/run/x" })
	if i < 0 || !gocmp.Equal(got.HostConfig.Mounts[i].TmpfsOptions, &mount.TmpfsOptions{SizeBytes: 64 << 10, Mode: 0o1700}) {
		t.Errorf("mounts: %+v", got.HostConfig.Mounts)
	}
	for path, want := range map[string]string{"/etc/conf": "hello", "/run/secrets/token": "hush"} {
		inside := filepath.Join("/proc", strconv.Itoa(got.State.Pid), "root", path)
		if content, err := os.ReadFile(inside); err != nil || string(content) != want {
			t.Errorf("%s is %q, want %q: %v", path, content, want, err)
		}
	}
	s.remove(t)
}
