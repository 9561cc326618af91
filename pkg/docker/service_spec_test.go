package docker

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brambled/brambled/reconciler/spec"
)

// everyObject is a Swarm that has whatever it is asked for.
func everyObject(kind spec.ObjectKind, name string) (string, bool) {
	return string(kind) + "-id-of-" + name, true
}

// specText is the service spec in the form it is sent in.
func specText(t *testing.T, s spec.SwarmService) string {
	t.Helper()
	out, err := serviceSpec("c1", "web", s, s.Image, everyObject)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// notInSwarm are the fields of a body that Swarm has no place for; pkg/compose refuses the keys they come from. Ports and the
// rest of what a service has a field of its own for are in [spec.Deploy].
var notInSwarm = []string{
	"Annotations", "Blkio", "CPUCount", "CPUPercent", "CPUPeriodMicros", "CPUQuotaMicros", "CPURTPeriodMicros", "CPURTRuntimeMicros",
	"CPUSet", "CPUShares", "Cgroup", "CgroupParent", "ClearCommand", "DeviceRequests", "DeviceRules", "Devices", "Domainname", "Expose",
	"IPC", "Isolation", "MacAddress", "MemoryBytes", "MemoryReservationBytes", "MemorySwapBytes", "MemorySwappiness", "NanoCPUs", "NetworkMode",
	"OOMKillDisable", "OOMScoreAdj", "PID", "PidsLimit", "Ports", "Privileged", "RestartMax", "RestartPolicy", "Runtime", "SecurityOpt",
	"ShmBytes", "StorageOpt", "UTS", "UsernsMode", "VolumesFrom",
}

// TestEveryFieldReachesTheSwarm finds fields that the hash covers and the service does not: a change of one would update the
// service for nothing, again and again.
func TestEveryFieldReachesTheSwarm(t *testing.T) {
	plain := spec.SwarmService{Name: "app", Full: "web_app", Hash: "1:a", Mode: spec.Replicated, Image: "app:1"}
	job := plain
	job.Mode = spec.ReplicatedJob
	check := func(of string, base spec.SwarmService, into func(*spec.SwarmService) reflect.Value, skip ...string) {
		before := specText(t, base)
		for f := range into(&base).Type().Fields() {
			s := base
			field := into(&s).FieldByIndex(f.Index)
			field.Set(sample(t, f.Name, f.Type))
			if (specText(t, s) != before) == slices.Contains(skip, f.Name) {
				t.Errorf("%s.%s: changes the service: %t", of, f.Name, specText(t, s) != before)
			}
		}
	}
	check("Body", plain, func(s *spec.SwarmService) reflect.Value { return reflect.ValueOf(&s.Body).Elem() }, notInSwarm...)
	check("Deploy", plain, func(s *spec.SwarmService) reflect.Value { return reflect.ValueOf(&s.Deploy).Elem() }, "MaxConcurrent")
	check("Deploy of a job", job, func(s *spec.SwarmService) reflect.Value { return reflect.ValueOf(&s.Deploy).Elem() }, "Update", "Rollback")
	for f := range reflect.TypeFor[spec.SwarmUpdate]().Fields() {
		s := plain
		reflect.ValueOf(&s.Deploy.Update).Elem().FieldByIndex(f.Index).Set(sample(t, f.Name, f.Type))
		if specText(t, s) == specText(t, plain) {
			t.Errorf("SwarmUpdate.%s does not change the service", f.Name)
		}
	}
	withVolume := plain
	withVolume.Volumes = []spec.SwarmMount{{Volume: "web_data", Target: "/data"}}
	for f := range reflect.TypeFor[spec.SwarmMount]().Fields() {
		s := withVolume
		s.Volumes = slices.Clone(withVolume.Volumes)
		reflect.ValueOf(&s.Volumes[0]).Elem().FieldByIndex(f.Index).Set(sample(t, f.Name, f.Type))
		if specText(t, s) == specText(t, withVolume) {
			t.Errorf("SwarmMount.%s does not change the service", f.Name)
		}
	}
}

// TestServiceSpecLeavesItsInput locks that labels of one call do not stay in the desired state, where they would change the
// next hash.
func TestServiceSpecLeavesItsInput(t *testing.T) {
	s := spec.SwarmService{
		Name: "app", Full: "web_app", Image: "app:1",
		Body:   spec.Body{Labels: map[string]string{"a": "b"}, Env: []string{"B=1", "A=1"}},
		Deploy: spec.Deploy{Labels: map[string]string{"c": "d"}, Ports: []spec.SwarmPort{{Target: 90, Protocol: "tcp"}, {Target: 80, Protocol: "tcp"}}},
	}
	hash := spec.HashSwarmService(s)
	specText(t, s)
	if spec.HashSwarmService(s) != hash {
		t.Error("the service has another hash after it was converted")
	}
}

// TestServiceLabels locks the labels by which a service is found again: ours, and those of `docker stack`.
func TestServiceLabels(t *testing.T) {
	s := spec.SwarmService{Name: "app", Full: "web_app", Hash: "1:a", Image: "app:1", Deploy: spec.Deploy{Labels: map[string]string{"a": "b", spec.LabelCluster: "stolen"}}}
	out, err := serviceSpec("c1", "web", s, "app:1@sha256:0", everyObject)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a": "b", "com.docker.stack.namespace": "web", "com.docker.stack.image": "app:1",
		"brambled.cluster": "c1", "brambled.stack": "web", "brambled.service": "app", "brambled.hash": "1:a",
	}
	if diff := cmp.Diff(want, out.Labels); diff != "" || out.Name != "web_app" || out.TaskTemplate.ContainerSpec.Image != "app:1@sha256:0" {
		t.Errorf("%s %s %s", out.Name, out.TaskTemplate.ContainerSpec.Image, diff)
	}
	if diff := cmp.Diff(map[string]string{"com.docker.stack.namespace": "web"}, out.TaskTemplate.ContainerSpec.Labels); diff != "" {
		t.Errorf("labels of the task's container:\n%s", diff)
	}
}

// TestServiceSpecErrors locks that what cannot be referred to is named, and no service made without it.
func TestServiceSpecErrors(t *testing.T) {
	nothing := func(spec.ObjectKind, string) (string, bool) { return "", false }
	for _, tt := range []struct {
		s    spec.SwarmService
		want string
	}{
		{spec.SwarmService{Full: "web_app", Files: []spec.SwarmFile{{Kind: spec.ConfigObject, Object: "web_c_1"}}}, "service web_app: there is no config web_c_1 in the Swarm"},
		{spec.SwarmService{Full: "web_app", Files: []spec.SwarmFile{{Kind: spec.SecretObject, Object: "web_s_1"}}}, "service web_app: there is no secret web_s_1 in the Swarm"},
		{spec.SwarmService{Full: "web_app", Body: spec.Body{DNS: []string{"x"}}}, `service web_app: dns "x"`},
	} {
		if _, err := serviceSpec("c1", "web", tt.s, "app:1", nothing); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

// TestEffectiveCapabilities locks `docker stack deploy`'s answer to lists that contradict each other.
func TestEffectiveCapabilities(t *testing.T) {
	for _, tt := range []struct{ add, drop, added, dropped []string }{
		{[]string{"CAP_B", "CAP_A"}, []string{"CAP_C"}, []string{"CAP_A", "CAP_B"}, []string{"CAP_C"}},
		{[]string{"CAP_A"}, []string{"CAP_A", "CAP_C"}, []string{"CAP_A"}, []string{"CAP_C"}},
		{[]string{"CAP_A", "ALL"}, []string{"CAP_A"}, []string{"ALL"}, []string{"CAP_A"}},
		{[]string{"CAP_A"}, []string{"CAP_B", "ALL"}, []string{"CAP_A"}, []string{"ALL"}},
		{[]string{"ALL"}, []string{"ALL"}, []string{"ALL"}, nil},
		{nil, nil, nil, nil},
	} {
		added, dropped := effectiveCapabilities(tt.add, tt.drop)
		if !slices.Equal(added, tt.added) || !slices.Equal(dropped, tt.dropped) {
			t.Errorf("add %v, drop %v gives %v and %v, want %v and %v", tt.add, tt.drop, added, dropped, tt.added, tt.dropped)
		}
	}
}

// TestServiceLacks locks that a manager which does not know a key is not sent it: it would drop the key without a word.
func TestServiceLacks(t *testing.T) {
	for _, tt := range []struct {
		s    spec.SwarmService
		want string
	}{
		{spec.SwarmService{Body: spec.Body{Health: &spec.Health{StartIntervalNanos: 1}}}, "healthcheck.start_interval"},
		{spec.SwarmService{Volumes: []spec.SwarmMount{{Volume: "v", Subpath: "a"}}}, "volume subpath"},
	} {
		if got := serviceLacks(tt.s, "1.41"); !strings.Contains(got, tt.want) {
			t.Errorf("an old engine lacks %q, want %s", got, tt.want)
		}
		if got := serviceLacks(tt.s, "1.54"); got != "" {
			t.Errorf("a new engine lacks %q", got)
		}
	}
}
