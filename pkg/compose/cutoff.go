package compose

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/brambled/brambled/reconciler/spec"
)

const (
	cutOffKey = "stop_when_cut_off"
	// leastCutOff is as long as Consul needs to find that a node is gone: less would stop services for every hiccup.
	leastCutOff = 10 * time.Second
)

// cutOff reads x-brambled.stop_when_cut_off of a service. It is for a service that must not run twice, so each says it itself.
func (r *render) cutOff(p placement, path string, top, own *yaml.Node) (time.Duration, Problems) {
	n := find(own, cutOffKey)
	bad := func(text, hint string) (time.Duration, Problems) {
		return 0, Problems{r.d.problem(path+"."+cutOffKey, text, hint)}
	}
	if n == nil && find(top, cutOffKey) != nil {
		return 0, Problems{r.d.problem(extension+"."+cutOffKey, cutOffKey+" is said of a service, not of a file", "write it under x-brambled of each service that must not run twice")}
	}
	if n == nil {
		return 0, nil
	}
	d, err := time.ParseDuration(n.Value)
	switch {
	case err != nil:
		return bad(fmt.Sprintf("%s is %q", cutOffKey, n.Value), "write a time such as 60s")
	case d < leastCutOff:
		return bad(fmt.Sprintf("%s is %s, which is too short", cutOffKey, d), "use 10s or more: so long it takes until the others miss a node")
	case p.swarm:
		return bad(cutOffKey+" is about containers: a node of a Swarm that is cut off runs its tasks on", "set x-brambled.nodes to run it as containers")
	case r.env.Static:
		return bad("the static tier runs without Consul", "take "+cutOffKey+" out, or put the file into the store")
	}
	return d, nil
}

// contactOnly makes a service brambled's alone to start: an engine that boots would start it whoever runs it by now.
func (r *render) contactOnly(path string, s *spec.Service) {
	s.StopWhenCutOff = r.kinds[s.Name].cutOff
	switch {
	case s.StopWhenCutOff == 0:
	case s.Restart.Job():
		r.fault(path+"."+extension+"."+cutOffKey, "a job that is stopped would count as failed", "leave "+cutOffKey+" out, or restart: "+string(s.Restart))
	default:
		s.Container.Body.RestartPolicy, s.Container.Body.RestartMax = "no", 0
	}
}
