//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// estate is what the store asks for in the crash tests: for each thing the number of the edit that changed it last, 0 for what
// is not there.
type estate struct {
	registry                                       string
	edits                                          int
	app, db, job, conf, key, net, more, extra, far int
}

func newEstate(registry string) estate {
	return estate{registry: registry, edits: 1, app: 1, db: 1, job: 1, conf: 1, key: 1, net: 1, far: 1}
}

// edits are the changes a person makes, by name.
var edits = map[string]func(*estate){
	"start-first":     func(e *estate) { e.app = e.edits },
	"stop-first":      func(e *estate) { e.db = e.edits },
	"job":             func(e *estate) { e.job = e.edits },
	"config":          func(e *estate) { e.conf = e.edits },
	"secret":          func(e *estate) { e.key = e.edits },
	"network":         func(e *estate) { e.net = e.edits },
	"service":         func(e *estate) { e.more = e.edits },
	"no service":      func(e *estate) { e.more = 0 },
	"stack":           func(e *estate) { e.extra = e.edits },
	"no stack":        func(e *estate) { e.extra = 0 },
	"image elsewhere": func(e *estate) { e.far = e.edits },
}

// after returns the estate with some edits made at once.
func (e estate) after(names ...string) estate {
	e.edits++
	for _, n := range names {
		edits[n](&e)
	}
	return e
}

// someEdits picks one to three edits.
func someEdits(r *rand.Rand) []string {
	all := slices.Sorted(maps.Keys(edits))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+r.IntN(3)]
}

const checked = "    healthcheck: { interval: 1s }\n"

// keys are the keys of the store and what they hold.
func (e estate) keys() map[string]string {
	var work strings.Builder
	fmt.Fprintf(&work, "x-brambled: { nodes: all }\nservices:\n")
	fmt.Fprintf(&work, "  app:\n    image: %s\n    environment: { MARK: \"%d\" }\n    networks: [front, back]\n    configs: [conf]\n"+checked, hello(e.app), e.app)
	fmt.Fprintf(&work, "  db:\n    image: brambled/hello:1\n    environment: { MARK: \"%d\" }\n    networks: [back]\n    volumes: [data:/data]\n    secrets: [key]\n"+checked, e.db)
	fmt.Fprintf(&work, "  job:\n    image: brambled/hello:1\n    environment: { MARK: \"%d\" }\n    command: [-exit, \"0\"]\n    restart: \"no\"\n", e.job)
	if e.more > 0 {
		fmt.Fprintf(&work, "  more:\n    image: brambled/hello:1\n    environment: { MARK: \"%d\" }\n    volumes: [/scratch]\n"+checked, e.more)
	}
	fmt.Fprintf(&work, "configs: { conf: { content: \"conf %d\" } }\nsecrets: { key: { external: true } }\n", e.conf)
	fmt.Fprintf(&work, "volumes: { data: {} }\nnetworks:\n  front: {}\n  back: { labels: { edit: \"%d\" } }\n", e.net)
	out := map[string]string{
		"secrets/key":  fmt.Sprintf("key %d", e.key),
		"stacks/work":  work.String(),
		"stacks/still": still,
		"stacks/far":   fmt.Sprintf("x-brambled: { nodes: all }\nservices:\n  app:\n    image: %s\n    environment: { MARK: \"%d\" }\n"+checked, e.farImage(), e.far),
	}
	if e.extra > 0 {
		out["stacks/extra"] = fmt.Sprintf("x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:1\n    environment: { MARK: \"%d\" }\n    volumes: [data:/data]\n"+
			checked+"volumes: { data: { name: extra-%d } }\n", e.extra, e.extra)
	}
	return out
}

// still is the stack that nobody edits.
const still = `x-brambled: { nodes: all }
services:
  app:
    image: brambled/hello:1
    environment: { MARK: "still" }
    configs: [words]
    ports: ["8080:8080"]
  db:
    image: brambled/hello:1
    environment: { MARK: "still" }
    volumes: [data:/data, /scratch]
configs: { words: { content: "never changes" } }
volumes: { data: {} }
`

// static is the static tier's, which nobody edits either.
const static = "x-brambled: { nodes: all }\nservices:\n  app:\n    image: brambled/hello:2\n    environment: { MARK: \"static\", PORT: \"8090\" }\n    network_mode: host\n"

func hello(n int) string { return fmt.Sprintf("brambled/hello:%d", 1+n%2) }

func (e estate) farImage() string { return fmt.Sprintf("%s/hello:%d", e.registry, 1+e.far%2) }

// wanted is what must be there of one container. Two that are equal are one container: it keeps its process.
type wanted struct {
	image, mark string
	job         bool
	networks    string // sorted, parted by spaces
	file        string // content of its config or secret
}

// containers are all that must be there.
func (e estate) containers() map[string]wanted {
	mark := func(n int) string { return fmt.Sprint(n) }
	out := map[string]wanted{
		"work-app-1":  {hello(e.app), mark(e.app), false, "work_back work_front", fmt.Sprintf("conf %d", e.conf)},
		"work-db-1":   {"brambled/hello:1", mark(e.db), false, "work_back", fmt.Sprintf("key %d", e.key)},
		"work-job-1":  {"brambled/hello:1", mark(e.job), true, "work_default", ""},
		"still-app-1": {"brambled/hello:1", "still", false, "still_default", "never changes"},
		"still-db-1":  {"brambled/hello:1", "still", false, "still_default", ""},
		"base-app-1":  {"brambled/hello:2", "static", false, "host", ""},
		"far-app-1":   {e.farImage(), mark(e.far), false, "far_default", ""},
	}
	if e.more > 0 {
		out["work-more-1"] = wanted{"brambled/hello:1", mark(e.more), false, "work_default", ""}
	}
	if e.extra > 0 {
		out["extra-app-1"] = wanted{"brambled/hello:1", mark(e.extra), false, "extra_default", ""}
	}
	return out
}

// networks are all that must be there, with the label of the one that is edited.
func (e estate) networks() map[string]string {
	out := map[string]string{"still_default": "", "far_default": "", "work_default": "", "work_front": "", "work_back": fmt.Sprint(e.net)}
	if e.extra > 0 {
		out["extra_default"] = ""
	}
	return out
}
