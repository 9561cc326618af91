//go:build e2e

package e2e

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/brambled/brambled/reconciler/spec"
)

// storeFaults are losses of the store's contents. None of them is a command.
func storeFaults() []fault {
	lost := func(kind string, strike func(*soak)) fault {
		return fault{kind: "store: " + kind, group: "store", needs: "consul", strike: func(s *soak) func() {
			strike(s)
			s.lost = true
			return func() {} // put back when all that is in the way of it has healed
		}}
	}
	return []fault{
		lost("wiped", func(s *soak) { s.consul.CLI(s.top, "kv", "delete", "-recurse", "brambled/") }),
		lost("stacks wiped", func(s *soak) { s.consul.CLI(s.top, "kv", "delete", "-recurse", "brambled/stacks/") }),
		lost("restored from an older snapshot", func(s *soak) {
			s.consul.CLI(s.top, "snapshot", "restore", s.older)
			s.lasts(s.upTo(1500))
			s.wish.version++
			s.consul.Put(s.top, "brambled/vars/OTHER", fmt.Sprint(s.wish.version)) // brambled looks at the store once more
		}),
		{kind: "store: cluster id deleted", group: "store", needs: "consul", strike: func(s *soak) func() {
			return s.instead(func(key string) { s.consul.Delete(s.top, key) })
		}},
		{kind: "store: another cluster's id", group: "store", needs: "consul", strike: func(s *soak) func() {
			return s.instead(func(key string) { s.consul.Put(s.top, key, "0123456789abcdef") })
		}},
	}
}

// instead does something to the cluster's id in one of the lists, or in all, and then to what the list says: a daemon that believed
// it would act. It returns what puts all of it back, the ids last: nobody ever said what stands beside an id that is not ours.
func (s *soak) instead(do func(key string)) func() {
	keys := vouched
	if i := s.rng.IntN(len(vouched) + 1); i < len(vouched) {
		keys = vouched[i : i+1]
	}
	for _, key := range keys {
		do(key)
		switch path.Dir(key) {
		case "brambled/stacks":
			s.consul.Delete(s.top, "brambled/stacks/"+s.wish.names()[s.rng.IntN(len(s.wish.stacks))])
			s.consul.Put(s.top, "brambled/stacks/nobodys", small)
		case "brambled/vars":
			s.consul.Put(s.top, "brambled/vars/WORDS", "nobody's words")
		case "brambled/secrets":
			s.consul.Put(s.top, "brambled/secrets/key", "nobody's secret")
		}
	}
	return func() {
		s.consul.Delete(s.top, "brambled/stacks/nobodys")
		for key, value := range s.wish.keys() {
			s.consul.Put(s.top, "brambled/"+key, value)
		}
		for _, key := range keys {
			s.consul.Put(s.top, key, s.cluster)
		}
	}
}

// putStack writes a stack as persons want it now.
func (s *soak) putStack(stack string) {
	s.consul.Put(s.top, "brambled/stacks/"+stack, s.wish.file(stack))
}

// userFaults are what the owner of the stacks does.
func userFaults() []fault {
	does := func(kind string, strike func(*soak) func()) fault {
		return fault{kind: "user: " + kind, group: "store", needs: "consul", works: true, strike: strike}
	}
	none := func() {}
	return []fault{
		does("edits a stack", func(s *soak) func() {
			s.saveOlder()
			stack, replaced := s.wish.edit(s.rng)
			s.touch(replaced...)
			s.putStack(stack)
			return none
		}),
		does("edits twice in a row", func(s *soak) func() {
			for range 2 {
				stack, replaced := s.wish.edit(s.rng)
				s.touch(replaced...)
				s.putStack(stack)
				s.lasts(s.upTo(700))
			}
			return none
		}),
		does("puts a bad file and repairs it", func(s *soak) func() {
			stack := s.wish.names()[s.rng.IntN(len(s.wish.stacks))]
			bad := []string{"services: [", "services:\n  app: { imgae: x }\n", "x-brambled: { nodes: all }\nservices:\n  app: { image: \"${NOVALUE}\" }\n"}
			s.consul.Put(s.top, "brambled/stacks/"+stack, bad[s.rng.IntN(len(bad))])
			return func() { s.putStack(stack) }
		}),
		does("deletes a stack and puts it back", func(s *soak) func() {
			stack := s.wish.names()[s.rng.IntN(len(s.wish.stacks))]
			s.touch(s.wish.named(func(name string, _ *wished) bool { return strings.HasPrefix(name, stack+"-") })...)
			s.consul.Delete(s.top, "brambled/stacks/"+stack)
			return func() {
				s.saveOlder() // a restore of it lacks the stack, and no key of it is older than known
				s.putStack(stack)
			}
		}),
		does("changes a variable", func(s *soak) func() {
			s.wish.version++
			s.wish.words = fmt.Sprintf("words %d", s.wish.version)
			s.touch(s.wish.named(func(_ string, w *wished) bool { return w.words == "${WORDS}" })...)
			s.consul.Put(s.top, "brambled/vars/WORDS", s.wish.words)
			return none
		}),
		does("changes a secret", func(s *soak) func() {
			s.wish.version++
			s.wish.secret = fmt.Sprintf("hush %d", s.wish.version)
			s.touch(s.wish.named(func(_ string, w *wished) bool { return strings.Contains(w.more, "secrets:") })...)
			s.consul.Put(s.top, "brambled/secrets/key", s.wish.secret)
			return none
		}),
	}
}

// saveOlder keeps the store as it is for a restore that comes too late.
func (s *soak) saveOlder() {
	s.older = filepath.Join(s.consul.Dir, "older.snap")
	s.consul.CLI(s.top, "snapshot", "save", s.older)
}

// personFaults are what somebody does with docker, past brambled.
func personFaults() []fault {
	does := func(kind string, strike func(s *soak, name string) func()) fault {
		return fault{kind: "person: " + kind, group: "person", needs: "engine", works: true, strike: func(s *soak) func() {
			return strike(s, s.wish.lasting(s.rng))
		}}
	}
	docker := func(command string) func(*soak, string) func() {
		return func(s *soak, name string) func() {
			s.touch(name)
			if _, err := s.engine.TryDocker(append(strings.Fields(command), name)...); err != nil {
				return nil // it is being replaced right now
			}
			return func() {}
		}
	}
	return []fault{
		does("docker rm -f", docker("rm -f")),
		does("docker kill", docker("kill")),
		does("docker stop", docker("stop -t 1")),
		does("docker restart", docker("restart -t 1")),
		does("docker network disconnect", func(s *soak, name string) func() {
			stack, _, _ := strings.Cut(name, "-")
			if _, err := s.engine.TryDocker("network", "disconnect", "-f", stack+"_default", name); err != nil {
				return nil
			}
			return func() {}
		}),
		{kind: "stranger: a name that will be needed", group: "stranger", needs: "engine", strike: func(s *soak) func() {
			name := s.wish.lasting(s.rng) + []string{".prev", ".next", ".failed"}[s.rng.IntN(3)]
			return s.stranger(name)
		}},
		{kind: "stranger: the name of one that was removed", group: "stranger", needs: "engine", works: true, strike: func(s *soak) func() {
			name := s.wish.lasting(s.rng)
			s.touch(name)
			if _, err := s.engine.TryDocker("rm", "-f", name); err != nil {
				return nil
			}
			return s.stranger(name)
		}},
	}
}

// stranger starts a container that looks like one of ours and belongs to another cluster, and returns what removes it. Where
// the name is taken meanwhile, there is none.
func (s *soak) stranger(name string) func() {
	s.top.Helper()
	stack, _, _ := strings.Cut(name, "-")
	id, err := s.engine.TryDocker("run", "-d", "--name", name, "--label", "com.docker.compose.project="+stack,
		"--label", spec.LabelCluster+"=fedcba9876543210", "--label", spec.LabelStack+"="+stack, "brambled/hello:2")
	if err != nil {
		return func() {}
	}
	var c container
	if err := s.ask("/containers/"+id+"/json", &c); err != nil || c.State.Status != "running" {
		s.top.Fatalf("the stranger is %q: %v", c.State.Status, err)
	}
	s.strangers[id] = c
	return func() {
		s.strangersSame()
		delete(s.strangers, id)
		s.gone = append(s.gone, id)
		s.engine.Docker(s.top, "rm", "-f", id)
	}
}
