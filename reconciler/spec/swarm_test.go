package spec

import (
	"encoding/json"
	"strings"
	"testing"
)

// An object is another one with anything that Swarm keeps of it, and the same one whatever it is called there.
func TestHashObject(t *testing.T) {
	base := SwarmObject{Kind: ConfigObject, Key: "c", Content: []byte("a")}
	seen := map[string]string{HashObject("web", base): "the object itself"}
	for what, o := range map[string]SwarmObject{
		"kind":     {Kind: SecretObject, Key: "c", Content: []byte("a")},
		"key":      {Kind: ConfigObject, Key: "d", Content: []byte("a")},
		"content":  {Kind: ConfigObject, Key: "c", Content: []byte("b")},
		"labels":   {Kind: ConfigObject, Key: "c", Content: []byte("a"), Labels: map[string]string{"a": "b"}},
		"template": {Kind: ConfigObject, Key: "c", Content: []byte("a"), Template: "golang"},
	} {
		if other := seen[HashObject("web", o)]; other != "" {
			t.Errorf("another %s has the hash of %s", what, other)
		}
		seen[HashObject("web", o)] = what
	}
	if seen[HashObject("shop", base)] != "" {
		t.Error("two stacks share an object")
	}
	named := base
	named.Name, named.Hash = "web_c_1", "1:x"
	if seen[HashObject("web", named)] != "the object itself" {
		t.Error("the name is in the hash that it is made from")
	}
	secret := SwarmObject{Kind: SecretObject, Content: []byte("hush")}
	if b, err := json.Marshal(secret); err != nil || strings.Contains(string(b), "hush") || strings.Contains(string(b), "aHVzaA") {
		t.Errorf("a secret's content is in its JSON form: %s, %v", b, err)
	}
}

// What the leader does about a service, and not what Swarm is asked for, needs no update.
func TestHashSwarmServiceLeavesOut(t *testing.T) {
	plain := HashSwarmService(SwarmService{Full: "web_app", Image: "a"})
	for what, s := range map[string]SwarmService{
		"own hash":    {Full: "web_app", Image: "a", Hash: "1:other"},
		"prepull":     {Full: "web_app", Image: "a", Prepull: PrepullAll},
		"pull policy": {Full: "web_app", Image: "a", PullPolicy: PullAlways},
		"depends_on":  {Full: "web_app", Image: "a", DependsOn: []Dependency{{Service: "db"}}},
	} {
		if HashSwarmService(s) != plain {
			t.Errorf("%s is in the hash", what)
		}
	}
}
