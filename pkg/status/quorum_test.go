package status

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/quorum/quorumtest"
)

// keeping is one pass of the leader over a world.
func keeping(desired, world string) QuorumInput {
	d, o := quorumtest.ParseDesired(desired), quorumtest.ParseWorld(world).View()
	return QuorumInput{Desired: d, Observed: o, Plan: quorum.Plan(d, o)}
}

const three = "pi pi1 leader\npi pi2 manager\npi pi3 manager\n"

func TestBuildQuorum(t *testing.T) {
	for _, tt := range []struct{ name, desired, world, want string }{
		{"three managers", "", three, "converged: SWARM: managers pi1 (leads), pi2, pi3; 2 of 3 needed: one manager may be lost\n"},
		{
			"one is away", "", "pi pi1 leader\npi pi2 manager\npi pi3 manager down=1m\npi pi4",
			"converging: SWARM: managers pi1 (leads), pi2, pi3 (away); 2 of 3 needed: if one more manager is lost, nothing can be changed until it is back\n" +
				"  manager pi3 waits for the hold-down: it is away, and counts as dead in 4m0s\n",
		},
		{
			"one is dead and nobody takes its seat", "", "pi pi1 leader\npi pi2 manager\npi pi3 manager down=9m",
			"converging: SWARM: managers pi1 (leads), pi2, pi3 (away); 2 of 3 needed: if one more manager is lost, nothing can be changed until it is back\n" +
				"  managers waits for a candidate: pi3 is dead and keeps its seat until a node can take it over\n",
		},
		{"two of three are away", "", "pi pi1 leader\npi pi2 manager down=1m\npi pi3 manager down=1m", "held: SWARM on pi1: held: swarm waits for the quorum: most of the managers cannot be reached, and nothing is changed without them; tasks go on running. It heals when they return; if they are gone for good, on one that is left: "},
		{"a person's", "", "swarm swarm1 foreign\nrecord -\n" + three, "converged: SWARM: managers pi1 (leads), pi2, pi3; 2 of 3 needed: one manager may be lost (not managed: brambled did not form it)\n"},
		{"not to be managed", "nomanage", three, "converged: SWARM: managers pi1 (leads), pi2, pi3; 2 of 3 needed: one manager may be lost (not managed: brambled did not form it)\n"},
		{"nobody wants one", "unwanted", "pi pi1 out\npi pi2 out", ""},
		{"one is being formed", "", "pi pi1 out\npi pi2 out", "converging: SWARM on pi1: converging: claim the forming of the Swarm for pi1 (a stack wants a Swarm)\n"},
		{"somebody else's is in the way", "", "pi pi1 out\npi pi2 in=swarm9", "failed: SWARM on pi1: failed: swarm waits for a person: the engine of pi2 is in a Swarm that brambled did not form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := BuildQuorum(keeping(tt.desired, tt.world))
			got := ""
			if q != nil {
				var b strings.Builder
				q.print(&b, "pi1")
				got = string(q.State) + ": " + b.String()
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("(-want +got)\n%s", cmp.Diff(tt.want, got))
			}
		})
	}
}

func TestMemberQuorum(t *testing.T) {
	joining := plan.Wait{Subject: "swarm", For: plan.WaitInvitation}
	locked := plan.Wait{Subject: "swarm", For: plan.WaitForeign, Detail: "the Swarm is locked"}
	for _, tt := range []struct {
		name       string
		leaderless bool
		waits      []plan.Wait
		state      State
		why        string
	}{
		{"nothing is wrong", false, nil, "", ""},
		{"it waits", false, []plan.Wait{joining}, Converging, "waits for an invitation"},
		{"a person is needed", false, []plan.Wait{joining, locked}, Failed, "locked"},
		{"no quorum comes first", true, []plan.Wait{locked}, Held, "docs/cluster.md"},
	} {
		q := MemberQuorum(tt.leaderless, tt.waits)
		if q == nil {
			q = &Quorum{}
		}
		if q.State != tt.state || !strings.Contains(q.Why, tt.why) {
			t.Errorf("%s: %+v", tt.name, q)
		}
	}
}

// What is wrong with the Swarm itself is part of the whole, and of a stack only where Swarm runs a service of it.
func TestQuorumInTable(t *testing.T) {
	lost := MemberQuorum(true, nil)
	n := Node{Node: "pi1", Quorum: lost, Stacks: []Stack{
		{Name: "own", State: Converged, Services: []Service{{Name: "app", State: Running}}},
		{Name: "web", State: Converged, Services: []Service{{Name: "app", Swarm: true, State: Elsewhere}}},
	}}
	if worst, _ := Worst([]Node{n}, ""); worst != Held {
		t.Errorf("all is %s", worst)
	}
	if worst, _ := Worst([]Node{n}, "own"); worst != Converged {
		t.Errorf("a stack of containers is %s", worst)
	}
	for stack, want := range map[string]bool{"own": false, "web": true} {
		var b strings.Builder
		Why(&b, []Node{n}, stack, "")
		if strings.Contains(b.String(), "no quorum") != want {
			t.Errorf("why %s: %s", stack, b.String())
		}
	}
}

func TestQuorumMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewSwarmMetrics(reg)
	m.Set(Node{Leader: "pi1", Quorum: BuildQuorum(keeping("", "pi pi1 leader\npi pi2 manager\npi pi3 manager down=1m"))})
	text := scrape(t, reg)
	for _, want := range []string{
		`brambled_swarm_managers{reachable="true"} 2`, `brambled_swarm_managers{reachable="false"} 1`, "brambled_swarm_managers_spare 0", "brambled_swarm_managers_target 3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	m.Set(Node{Leader: "pi1", Quorum: MemberQuorum(true, nil)})
	if text := scrape(t, reg); !strings.Contains(text, "brambled_swarm_managers_spare -1") || strings.Contains(text, "brambled_swarm_managers{") {
		t.Errorf("without quorum:\n%s", text)
	}
}
