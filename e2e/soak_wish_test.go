//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// wish is what persons have asked for so far. The soak knows it by itself: what brambled makes of the store is compared with
// it, and so is the store after a restore.
type wish struct {
	stacks  map[string]map[string]*wished // by stack and service
	words   string                        // of the variable WORDS
	secret  string
	version int // how many edits there were: each is told from all others
	signs   int // of these edits, so many changed nothing that runs
}

// sign is the stack with a comment that is edited after each round: a report that has taken it in speaks of the store as it is
// now, and not of the one before the faults.
const sign = "batch"

// wished is one service.
type wished struct {
	image    int
	words    string
	replicas int
	job      bool   // ends with success, and is not run again
	more     string // lines of its file
}

func newWish() *wish {
	return &wish{
		words: "words", secret: "hush",
		stacks: map[string]map[string]*wished{
			"web": {
				"app": {image: 1, words: "app", replicas: 1, more: "    ports: [\"8080:8080\"]\n    depends_on: { db: { condition: service_healthy } }\n"},
				"db":  {image: 1, words: "db", replicas: 1, more: "    volumes: [data:/data]\n"},
			},
			"one":   {"app": {image: 1, words: "${WORDS}", replicas: 1}},
			"trio":  {"app": {image: 2, words: "trio", replicas: 2, more: "    secrets: [key]\n"}, "odd": {image: 1, words: "odd", replicas: 1}},
			"batch": {"job": {image: 1, words: "job", replicas: 1, job: true, more: "    command: [-exit, \"0\"]\n    restart: \"no\"\n"}},
		},
	}
}

// names are the names of all stacks, sorted: maps have no order, and a seed must mean the same draws.
func (w *wish) names() []string { return slices.Sorted(maps.Keys(w.stacks)) }

// file is a stack's Compose file.
func (w *wish) file(stack string) string {
	var b strings.Builder
	b.WriteString("x-brambled: { nodes: all }\nservices:\n")
	for _, name := range slices.Sorted(maps.Keys(w.stacks[stack])) {
		s := w.stacks[stack][name]
		fmt.Fprintf(&b, "  %s:\n    image: brambled/hello:%d\n    environment: { GREETING: %q }\n    deploy: { replicas: %d }\n%s", name, s.image, s.words, s.replicas, s.more)
	}
	if strings.Contains(b.String(), "data:/data") {
		b.WriteString("volumes: { data: {} }\n")
	}
	if strings.Contains(b.String(), "[key]") {
		b.WriteString("secrets: { key: { external: true } }\n")
	}
	if stack == sign {
		fmt.Fprintf(&b, "# %d\n", w.signs)
	}
	return b.String()
}

// containers are the services by the names of their containers.
func (w *wish) containers() map[string]*wished {
	out := map[string]*wished{}
	for stack, services := range w.stacks {
		for name, s := range services {
			for n := range s.replicas {
				out[fmt.Sprintf("%s-%s-%d", stack, name, n+1)] = s
			}
		}
	}
	return out
}

// named are the names of the containers whose service matches.
func (w *wish) named(match func(name string, s *wished) bool) []string {
	var out []string
	for name, s := range w.containers() {
		if match(name, s) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// lasting is one of the containers that run for good.
func (w *wish) lasting(rng *rand.Rand) string {
	names := w.named(func(_ string, s *wished) bool { return !s.job })
	return names[rng.IntN(len(names))]
}

// edit changes one service and returns its stack and the containers that are replaced.
func (w *wish) edit(rng *rand.Rand) (stack string, replaced []string) {
	stack = w.names()[rng.IntN(len(w.stacks))]
	services := slices.Sorted(maps.Keys(w.stacks[stack]))
	name := services[rng.IntN(len(services))]
	s := w.stacks[stack][name]
	w.version++
	if s.words == "${WORDS}" {
		s.image = 3 - s.image // its words are the variable's
	} else {
		s.words = fmt.Sprintf("%s %d", strings.Fields(s.words)[0], w.version)
	}
	return stack, w.named(func(_ string, x *wished) bool { return x == s })
}

// greeting is what a service has in its environment.
func (w *wish) greeting(s *wished) string {
	return "GREETING=" + strings.ReplaceAll(s.words, "${WORDS}", w.words)
}

// keys are the user's keys as the store must have them.
func (w *wish) keys() map[string]string {
	out := map[string]string{"vars/WORDS": w.words, "secrets/key": w.secret}
	for stack := range w.stacks {
		out["stacks/"+stack] = w.file(stack)
	}
	return out
}

// is compares a container with its service.
func (w *wish) is(name string, c container) error {
	s := w.containers()[name]
	if s == nil {
		return fmt.Errorf("%s (%s) is not wanted", name, c.State.Status)
	}
	want := "running"
	if s.job {
		want = "exited"
	}
	if c.State.Status != want || s.job && c.State.ExitCode != 0 {
		return fmt.Errorf("%s is %s (%d), not %s", name, c.State.Status, c.State.ExitCode, want)
	}
	for _, env := range []string{w.greeting(s), fmt.Sprintf("HELLO_VERSION=%d", s.image)} {
		if !slices.Contains(c.Config.Env, env) {
			return fmt.Errorf("%s lacks %q: %v", name, env, c.Config.Env)
		}
	}
	network, _, _ := strings.Cut(name, "-")
	if at, ok := c.NetworkSettings.Networks[network+"_default"]; !ok || at.NetworkID == "" {
		return fmt.Errorf("%s is cut from its network: %v", name, c.NetworkSettings.Networks)
	}
	return nil
}
