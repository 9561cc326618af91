package spec

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// A changed golden hash means that every container of every user is replaced once by the upgrade. If that is meant, raise
// Schema.
func TestGoldenHashes(t *testing.T) {
	yes, three := true, 3
	container := Container{
		Image: "nginx:1.29", Platform: "linux/arm64",
		Body:     Body{Command: []string{"a"}, Env: []string{"A=b"}, Init: &yes, StopSeconds: &three, RestartPolicy: "unless-stopped", Ports: []Port{{Published: "80", Target: 80, Protocol: "tcp"}}},
		Networks: []Attachment{{Network: "web_default", Aliases: []string{"app"}}},
		Volumes:  []VolumeMount{{Volume: "web_data", Target: "/data"}},
		Files:    []File{{Target: "/run/secrets/key", Digest: FileDigest([]byte("hush"), 0o444, 0, 0), Mode: 0o444, Secret: true}},
	}
	for name, c := range map[string]struct{ got, want string }{
		"container":       {HashContainer(container), "1:1e4cdc523df524ec8c94917bb6f9d51c"},
		"empty container": {HashContainer(Container{}), "1:09b82b7fd19a4c1654d3daf389721294"},
		"network":         {HashNetwork(Network{Name: "web_default", Key: "default", IPAM: &IPAM{Pools: []Pool{{Subnet: "10.9.0.0/24"}}}}), "1:b1c09ad2c254cd93bcb859b157f13750"},
		"volume":          {HashVolume(Volume{Name: "web_data", Key: "data", Driver: "local", Options: map[string]string{"type": "nfs"}}), "1:84ab3e593162da14262fa52e61e006cd"},
		"file":            {FileDigest([]byte("hush"), 0o400, 1000, 1000), "333da623f0c06162fcd9e48c722adebed8779f69"},
	} {
		if c.got != c.want {
			t.Errorf("%s: hash %s, want %s", name, c.got, c.want)
		}
	}
}

// Every field of a body must change the hash when set, and none may show while unset: a field added later must not change
// the hash of a file that does not use it.
func TestEveryBodyFieldIsHashed(t *testing.T) {
	if b, err := json.Marshal(Body{}); err != nil || string(b) != "{}" {
		t.Errorf("an empty body is %s (%v), want {}", b, err)
	}
	empty := HashContainer(Container{})
	seen := map[string]string{}
	typ := reflect.TypeFor[Body]()
	for i := range typ.NumField() {
		var b Body
		fill(reflect.ValueOf(&b).Elem().Field(i))
		name := typ.Field(i).Name
		hash := HashContainer(Container{Body: b})
		if hash == empty {
			t.Errorf("%s does not change the hash", name)
		}
		if other, twice := seen[hash]; twice {
			t.Errorf("%s and %s make the same hash", name, other)
		}
		seen[hash] = name
	}
}

// fill sets a value to something that is not zero, all of it.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	default:
		panic("fill " + v.Kind().String())
	}
}

// What can change without a new container is not in the hash.
func TestHashLeavesOut(t *testing.T) {
	plain := HashContainer(Container{Image: "a"})
	for name, c := range map[string]Container{
		"pull policy":  {Image: "a", PullPolicy: PullAlways},
		"own hash":     {Image: "a", Hash: "1:other"},
		"exclusive":    {Image: "a", Exclusive: "host port"},
		"host ports":   {Image: "a", HostPorts: []string{"0.0.0.0:80/tcp"}},
		"health check": {Image: "a", HasHealthcheck: true},
		"stop timeout": {Image: "a", StopTimeout: 1},
	} {
		if HashContainer(c) != plain {
			t.Errorf("%s is in the hash", name)
		}
	}
	secret := File{Target: "/k", Digest: "d", Content: []byte("hush")}
	if b, _ := json.Marshal(secret); strings.Contains(string(b), "hush") {
		t.Errorf("a secret's content is in its JSON form: %s", b)
	}
	if FileDigest([]byte("a"), 0o400, 0, 0) == FileDigest([]byte("a"), 0o400, 1, 0) {
		t.Error("two owners of one content share a file")
	}
}

func TestHashSchema(t *testing.T) {
	for hash, want := range map[string]int{"1:abc": 1, "12:abc": 12, "": 0, "abc": 0, ":abc": 0, "-1:a": 0, "x:a": 0} {
		if got := HashSchema(hash); got != want {
			t.Errorf("HashSchema(%q) = %d, want %d", hash, got, want)
		}
	}
}

func TestDesired(t *testing.T) {
	d := Desired{Owners: []string{"c1"}, Stacks: []Stack{{Name: "a"}, {Name: "b", Services: []Service{{Name: "s"}}}}}
	if !d.Owned("c1") || d.Owned("c2") || d.Owned("") {
		t.Error("ownership is wrong")
	}
	if st, ok := d.Stack("b"); !ok || st.Name != "b" {
		t.Errorf("Stack(b) = %v, %v", st, ok)
	} else if _, ok := st.Service("s"); !ok {
		t.Error("Service(s) is not found")
	}
	if _, ok := d.Stack("c"); ok {
		t.Error("a stack that is not there was found")
	}
}
