package compose

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/reconciler/spec"
)

// heal reads x-brambled.heal of a service, else of the file. At the top only false says something: a default of true must not
// speak for a service that writes a named volume, of which only its own key can say that a restart does no harm.
func (r *render) heal(path string, top, own *yaml.Node) (spec.Heal, Problems) {
	var found Problems
	for at, n := range map[string]*yaml.Node{path: find(own, "heal"), extension: find(top, "heal")} {
		if n != nil && n.Tag != "!!bool" {
			found = append(found, r.d.problem(at+".heal", fmt.Sprintf("heal is %q", n.Value), "write true or false"))
		}
	}
	switch mine := find(own, "heal"); {
	case isTrue(mine):
		return spec.HealOn, found
	case mine != nil, find(top, "heal") != nil && !isTrue(find(top, "heal")):
		return spec.HealOff, found
	}
	return spec.HealDefault, found
}

// noHealing refuses to heal what ends by itself.
func (r *render) noHealing(path string, s spec.Service) {
	if s.Heal == spec.HealOn && s.Restart.Job() {
		r.fault(path+"."+extension+".heal", "a job is not restarted for its health: it would begin anew", "leave heal out, or restart: no")
	}
}
