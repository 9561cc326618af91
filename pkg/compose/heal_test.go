package compose

import (
	"testing"

	"github.com/brambled/brambled/reconciler/spec"
)

// A change of heal takes effect without a new container, and a service that extends another one has its heal too.
func TestHealNeedsNoContainer(t *testing.T) {
	load := func(x string) spec.Service {
		file := "x-brambled: { nodes: all }\nservices:\n  base: { image: a, x-brambled: { " + x + " } }\n  app: { extends: { service: base } }\n"
		l, err := Load("web", "f", []byte(file), Env{Node: "pi1"})
		if err != nil {
			t.Fatal(err)
		}
		svc, _ := l.Stack.Service("app")
		return svc
	}
	plain, off, on := load("nodes: all"), load("heal: false"), load("heal: true")
	if plain.Heal != spec.HealDefault || off.Heal != spec.HealOff || on.Heal != spec.HealOn {
		t.Errorf("heal is %q, %q and %q", plain.Heal, off.Heal, on.Heal)
	}
	if plain.Container.Hash != off.Container.Hash || plain.Container.Hash != on.Container.Hash {
		t.Error("heal is part of the hash")
	}
}
