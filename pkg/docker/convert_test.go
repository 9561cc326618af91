package docker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// sample returns a value that is not zero and that the conversion accepts.
func sample(t *testing.T, field string, typ reflect.Type) reflect.Value {
	t.Helper()
	special := map[string]any{
		"Expose": []string{"80/tcp"}, "DNS": []string{"10.0.0.1"}, "MacAddress": "02:00:00:00:00:01", "RestartPolicy": "always",
		"Ports":   []spec.Port{{HostIP: "10.0.0.9", Published: "8080", Target: 80, Protocol: "tcp"}},
		"Binds":   []spec.Bind{{Source: "/a", Target: "/b"}},
		"Devices": []spec.Device{{Source: "/dev/x", Target: "/dev/y"}},
	}
	if v, ok := special[field]; ok && reflect.TypeOf(v).AssignableTo(typ) {
		return reflect.ValueOf(v)
	}
	v := reflect.New(typ).Elem()
	fill(t, v)
	return v
}

// fill makes every part of a value non-zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float32:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		fill(t, e)
		v.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(t, f)
		}
	default:
		t.Fatalf("no sample for %s", v.Type())
	}
}

// rendered is the request as it goes to the engine.
func rendered(t *testing.T, c spec.Container, api string) string {
	t.Helper()
	r, err := convert(plan.Create{Name: "web-app-1", Spec: c}, surroundings{api: api, fileDir: "/files", image: imageInfo{Entrypoint: []string{"/image"}}})
	if err != nil {
		t.Fatalf("convert: %v", err)
	}
	r.options.Config.Labels = without(r.options.Config.Labels, spec.LabelRestart)
	b, err := json.Marshal([]any{r.options, r.later, r.oldMAC})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func without(m map[string]string, key string) map[string]string {
	delete(m, key)
	return m
}

// A field of Body that the conversion forgot would be a key of the user's file dropped without a word.
func TestEveryBodyFieldReachesTheEngine(t *testing.T) {
	for _, api := range []string{"1.41", "1.54"} {
		empty := spec.Container{Image: "x", Body: spec.Body{}}
		before := rendered(t, empty, api)
		typ := reflect.TypeFor[spec.Body]()
		for i := range typ.NumField() {
			name := typ.Field(i).Name
			t.Run(api+"/"+name, func(t *testing.T) {
				c := empty
				base := before
				if name == "RestartMax" { // means something with this policy only
					c.Body.RestartPolicy = "on-failure"
					base = rendered(t, c, api)
				}
				reflect.ValueOf(&c.Body).Elem().Field(i).Set(sample(t, name, typ.Field(i).Type))
				if lacks(c, api) != "" {
					return // refused aloud
				}
				if rendered(t, c, api) == base {
					t.Errorf("Body.%s changes nothing in the request", name)
				}
			})
		}
	}
}

// The same one level down: the fields of the structures inside Body, and of attachments and mounts.
func TestEveryNestedFieldReachesTheEngine(t *testing.T) {
	check(t, "Health", spec.Health{}, func(v spec.Health) spec.Container { return spec.Container{Body: spec.Body{Health: &v}} })
	check(t, "Port", spec.Port{Target: 80, Protocol: "tcp"}, func(v spec.Port) spec.Container { return spec.Container{Body: spec.Body{Ports: []spec.Port{v}}} })
	check(t, "Ulimit", spec.Ulimit{}, func(v spec.Ulimit) spec.Container { return spec.Container{Body: spec.Body{Ulimits: []spec.Ulimit{v}}} })
	check(t, "Device", spec.Device{}, func(v spec.Device) spec.Container { return spec.Container{Body: spec.Body{Devices: []spec.Device{v}}} })
	check(t, "DeviceRequest", spec.DeviceRequest{}, func(v spec.DeviceRequest) spec.Container {
		return spec.Container{Body: spec.Body{DeviceRequests: []spec.DeviceRequest{v}}}
	})
	check(t, "Bind", spec.Bind{}, func(v spec.Bind) spec.Container { return spec.Container{Body: spec.Body{Binds: []spec.Bind{v}}} })
	check(t, "Tmpfs", spec.Tmpfs{}, func(v spec.Tmpfs) spec.Container { return spec.Container{Body: spec.Body{Tmpfs: []spec.Tmpfs{v}}} })
	check(t, "Blkio", spec.Blkio{}, func(v spec.Blkio) spec.Container { return spec.Container{Body: spec.Body{Blkio: &v}} })
	check(t, "VolumeMount", spec.VolumeMount{}, func(v spec.VolumeMount) spec.Container { return spec.Container{Volumes: []spec.VolumeMount{v}} })
	check(t, "Attachment", spec.Attachment{}, func(v spec.Attachment) spec.Container { return spec.Container{Networks: []spec.Attachment{v}} })
}

func check[T any](t *testing.T, name string, zero T, in func(T) spec.Container) {
	special := map[string]any{
		"HostIP": "10.0.0.9", "Published": "8080", "Protocol": "udp", "IPv4": "10.0.0.9", "IPv6": "fd00::9", "LinkLocal": []string{"169.254.0.9"},
		"MAC": "02:00:00:00:00:01", "Recursive": "writable", "Priority": nil, // Priority is the order of the list
	}
	base := rendered(t, in(zero), "1.54")
	typ := reflect.TypeFor[T]()
	for i := range typ.NumField() {
		field := typ.Field(i).Name
		v := zero
		f := reflect.ValueOf(&v).Elem().Field(i)
		s, ok := special[field]
		switch {
		case ok && s == nil:
			continue
		case ok:
			f.Set(reflect.ValueOf(s))
		default:
			fill(t, f)
		}
		if rendered(t, in(v), "1.54") == base {
			t.Errorf("%s.%s changes nothing in the request", name, field)
		}
	}
}

// An old engine ignores fields it does not know: what it lacks is refused, with the release that has it.
func TestLacks(t *testing.T) {
	for name, c := range map[string]struct {
		in   spec.Container
		api  string
		want string
	}{
		"start interval": {spec.Container{Body: spec.Body{Health: &spec.Health{StartIntervalNanos: 1}}}, "1.43", "healthcheck.start_interval needs Docker Engine 25"},
		"subpath":        {spec.Container{Volumes: []spec.VolumeMount{{Subpath: "a"}}}, "1.44", "volume subpath needs Docker Engine 26"},
		"gateway":        {spec.Container{Networks: []spec.Attachment{{GatewayPriority: 1}}}, "1.47", "gw_priority needs Docker Engine 28"},
		"annotations":    {spec.Container{Body: spec.Body{Annotations: map[string]string{"a": "b"}}}, "1.41", "annotations needs Docker Engine 24"},
		"first mac":      {spec.Container{Networks: []spec.Attachment{{MAC: "02:00:00:00:00:01"}}}, "1.41", ""},
		"second mac":     {spec.Container{Networks: []spec.Attachment{{}, {Network: "n", MAC: "02:00:00:00:00:01"}}}, "1.41", "mac_address of network n"},
		"colon":          {spec.Container{Body: spec.Body{Binds: []spec.Bind{{Source: "/a:b", Target: "/c", CreateSource: true}}}}, "1.41", "a colon in a path"},
		"colon, new":     {spec.Container{Body: spec.Body{Binds: []spec.Bind{{Source: "/a:b", Target: "/c", CreateSource: true}}}}, "1.42", ""},
		"cdi":            {spec.Container{Body: spec.Body{Devices: []spec.Device{{Source: "nvidia.com/gpu=all"}}}}, "1.43", "CDI device"},
	} {
		t.Run(name, func(t *testing.T) {
			got := lacks(c.in, c.api)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("lacks = %q, want %q", got, c.want)
			}
			if newest := lacks(c.in, "1.54"); newest != "" {
				t.Errorf("the newest engine lacks something: %s", newest)
			}
		})
	}
}

// `command: []` drops the image's command, which the engine does only if an entry point is given.
func TestClearCommand(t *testing.T) {
	for name, c := range map[string]struct {
		body  spec.Body
		image []string
		want  string // entry point and command
	}{
		"neither":             {spec.Body{}, []string{"/i"}, `[null,null]`},
		"command":             {spec.Body{ClearCommand: true}, []string{"/i"}, `[["/i"],[]]`},
		"command, bare image": {spec.Body{ClearCommand: true}, nil, `[[""],[]]`},
		"entrypoint":          {spec.Body{ClearEntrypoint: true}, []string{"/i"}, `[[],null]`},
		"both":                {spec.Body{ClearCommand: true, ClearEntrypoint: true}, []string{"/i"}, `[[""],[]]`},
		"own entrypoint":      {spec.Body{ClearCommand: true, Entrypoint: []string{"/e"}}, []string{"/i"}, `[["/e"],[]]`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := convert(plan.Create{Spec: spec.Container{Body: c.body}}, surroundings{api: "1.41", image: imageInfo{Entrypoint: c.image}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal([]any{r.options.Config.Entrypoint, r.options.Config.Cmd})
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("entry point and command %s, want %s", got, c.want)
			}
		})
	}
}

// The user's labels never win over ours: they say who owns the container.
func TestOurLabelsWin(t *testing.T) {
	a := plan.Create{Owner: "us", Stack: "web", Spec: spec.Container{Hash: "1:a", Body: spec.Body{Labels: map[string]string{
		spec.LabelCluster: "them", composeProject: "other", "mine": "kept",
	}}}}
	l := containerLabels(a, "", nil)
	if l[spec.LabelCluster] != "us" || l[composeProject] != "web" || l["mine"] != "kept" {
		t.Errorf("labels %v", l)
	}
	if a.Spec.Body.Labels[spec.LabelCluster] != "them" {
		t.Error("the desired state was changed")
	}
}
