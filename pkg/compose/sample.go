package compose

import (
	"fmt"
	"strings"
)

// File returns a whole Compose file that uses the row's key and little else, "" for a row without a sample. A sample that
// begins with "services:" is the file. Otherwise it is the value of the key of a service that the row is of ("healthcheck"
// for service.healthcheck.interval), or the definition of a network, volume, config or secret that the service uses.
func (r Row) File(image string) string {
	return r.sample("x-brambled: {nodes: all}\n", image)
}

// SwarmFile is [Row.File] for a Swarm service, "" for a row that shows in none.
func (r Row) SwarmFile(image string) string {
	in, ok := r.InSwarm()
	if !ok {
		return ""
	}
	r.Sample = in.Sample
	return r.sample("", image)
}

func (r Row) sample(head, image string) string {
	kind, rest, _ := strings.Cut(r.Path, ".")
	switch {
	case r.Sample == "":
		return ""
	case strings.HasPrefix(r.Sample, "services:"):
		return head + strings.ReplaceAll(r.Sample, "IMAGE", image) + "\n"
	case kind == "service":
		key := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz_"))]
		return fmt.Sprintf("%sservices:\n  app:\n    image: %s\n    %s: %s\n", head, image, key, r.Sample)
	}
	use := "[thing]"
	if kind == "volume" {
		use = `["thing:/data"]`
	}
	return fmt.Sprintf("%sservices:\n  app:\n    image: %s\n    %ss: %s\n%ss:\n  thing: %s\n", head, image, kind, use, kind, r.Sample)
}

// SampleStack is the name of the stack that samples are of: what they show carries it.
const SampleStack = "t"

// SampleEnv is what the files of the samples refer to. A network and a volume of the name "outside" must exist.
func SampleEnv() Env {
	return Env{
		Node: "pi1", NodeIP: "192.168.1.11", Cluster: "test", Owner: "test", Prefix: "brambled/",
		Vars:    map[string]string{"VALUE": "hello", "COMPOSE_PROFILES": "edge"},
		Secrets: map[string][]byte{"s": []byte("hush"), "thing": []byte("hush"), "other": []byte("hush")},
	}
}
