package quorum_test

import (
	"strings"
	"testing"

	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/quorum"
	"github.com/brambled/brambled/reconciler/quorum/quorumtest"
	"github.com/brambled/brambled/reconciler/spec"
)

// The worlds in which plans are made by hand.
const (
	threeAndOne = "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4\npi pi5 ready=10s\n"
	oneDead     = "pi pi1 leader\npi pi2 manager down=9m\npi pi3 manager\npi pi4\n"
	oneAway     = "pi pi1 leader\npi pi2 manager down=1m\npi pi3 manager\npi pi4\n"
	deadAlone   = "pi pi1 leader\npi pi2 manager down=9m\npi pi3 manager\npi pi4 ready=10s\n"
	oneAndTwo   = "pi pi1 leader\npi pi2\npi pi3\n"
	blank       = "pi pi1 out\npi pi2 out\nrecord - forming=pi1\n"
)

// TestCheck plans by hand what the planner must never plan.
func TestCheck(t *testing.T) {
	up := func(name string) plan.Action { return plan.PromoteNode{ID: "@" + name, Name: name, Version: 10} }
	down := func(name string) plan.Action { return plan.DemoteNode{ID: "@" + name, Name: name, Version: 10} }
	drop := func(id string) plan.Action { return plan.DropNode{ID: "@" + id, Name: id} }
	set := func(name, availability string, labels ...string) plan.Action {
		l := map[string]string{spec.LabelCluster: "c1", spec.LabelNode: name}
		for i := 0; i < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		return plan.SetNode{ID: "@" + name, Name: name, Version: 10, Labels: l, Availability: availability}
	}
	form := plan.InitSwarm{Node: "pi1", Cluster: "c1", Address: "10.0.0.1"}
	configure := plan.ConfigureSwarm{ID: "swarm1", Version: 3, Cluster: "c1", Settings: spec.SwarmSettings{TaskHistory: 1}}
	publish := plan.PublishSwarm{ID: "swarm1", Cluster: "c1", Managers: []string{"x"}}
	tests := []struct {
		rule, desired, world string
		action               plan.Action
		want                 string // "" for a plan that is fine
	}{
		{"nothing without a sound state", "cluster -", oneDead, down("pi2"), "rule 1: fail static"},
		{"nor where the Swarm is not to be managed", "nomanage", oneDead, down("pi2"), "swarm.manage"},
		{"nothing without quorum", "", "pi pi1 manager\npi pi2 leader down=9m\npi pi3", up("pi3"), "none without quorum"},
		{"nothing in a Swarm that is not ours", "", "swarm swarm1 foreign\n" + oneDead, down("pi2"), "rule 3: ownership"},
		{"or another cluster's", "", "swarm swarm1 cluster=c9\n" + oneAndTwo, up("pi2"), "rule 3: ownership"},
		{"or that is not the store's", "", "record swarm7\n" + oneAndTwo, up("pi2"), "another one"},

		{"a dead manager goes when a replacement stands by", "", oneDead, down("pi2"), ""},
		{"not before the hold-down", "", oneAway, down("pi2"), "the hold-down"},
		{"not without a replacement", "", deadAlone, down("pi2"), "no Ready replacement"},
		{"one that is well stays", "", threeAndOne, down("pi2"), "not one too many"},
		{"also while another is dead", "managers 1", oneDead, down("pi3"), "the others alone have no quorum"},
		{"a dead one goes first", "managers 1", "pi pi1 leader\npi pi2 manager down=9m\npi pi3 manager\npi pi4 manager\npi pi5 manager", down("pi4"), "a dead one goes first"},
		{"who has no seat loses none", "", threeAndOne, down("pi4"), "no manager"},
		{"a re-imaged one goes at once", "", "record-of pi2 manager down=1s id=@old\npi pi2\npi pi1 leader\npi pi3 manager", plan.DemoteNode{ID: "@old", Name: "pi2", Version: 10}, ""},
		{"a drained one goes while there is one too many", "node pi2 drain", "pi pi1 leader\npi pi2 manager\npi pi3 manager\npi pi4 manager", down("pi2"), ""},
		{"a removed one goes at once", "node pi2 gone", "pi pi1 leader\npi pi2 manager down=1s\npi pi3 manager", down("pi2"), ""},

		{"a promotion of one of two candidates is fine", "", oneAndTwo, up("pi2"), ""},
		{"of a single one is not", "", "pi pi1 leader\npi pi2\npi pi3 down=1m", up("pi2"), "rest at an even number"},
		{"of one that only just came is not", "", "pi pi1 leader\npi pi2 manager\npi pi3 ready=10s", up("pi3"), "no candidate"},
		{"nor of one that is drained", "node pi3 drain", "pi pi1 leader\npi pi2 manager\npi pi3", up("pi3"), "no candidate"},
		{"nor of one that may ask a dead manager for its seat", "", "pi pi1 leader\npi pi2 manager\npi pi3 knows=10.0.0.1:2377,10.0.0.9:2377", up("pi3"), "a manager that is not there"},
		{"promoting first would risk the quorum", "", "pi pi5\n" + oneDead, up("pi4"), "demote first, promote next"},
		{"four are too many", "managers 1", "pi pi1 leader\npi pi2 manager\npi pi3\npi pi4", up("pi3"), "enough managers"},
		{"the version is the one that was observed", "", oneAndTwo, plan.PromoteNode{ID: "@pi2", Version: 9}, "rule 9: fenced"},
		{"what is not there cannot be promoted", "", oneAndTwo, up("pi9"), "no such node"},
		{"a seat that is needed after all is kept", "", "pi pi1 leader\npi pi2 leaving=1s\npi pi3 manager down=9m", up("pi2"), ""},
		{"another change is under way", "", "pi pi1 leader\npi pi2 joining=1s\npi pi3\npi pi4", up("pi3"), "one at a time"},
		{"also for a demotion", "", "pi pi1 leader\npi pi2 manager down=9m\npi pi3 manager\npi pi4 joining=1s\npi pi5", down("pi2"), "one at a time"},
		{"and for a removal", "node pi4 gone", "pi pi1 leader\npi pi2 joining=1s\npi pi4 down=1m", drop("pi4"), "one at a time"},

		{"a ghost may go", "", "record-of pi2 down=1s id=@old\npi pi2\npi pi1 leader", drop("old"), ""},
		{"what may come back stays", "", "pi pi1 leader\npi pi2 down=1m", drop("pi2"), "the hold-down"},
		{"what nothing has replaced stays", "", "pi pi1 leader\npi pi2 down=9m", drop("pi2"), "nothing has taken its place"},
		{"what is there stays", "node pi2 gone", "pi pi1 leader\npi pi2", drop("pi2"), "it is there"},
		{"a seat is not removed", "", oneDead, drop("pi2"), "it has a seat"},
		{"who died on the way to its seat may go", "", "pi pi1 leader\npi pi2 joining=9m down=9m", drop("pi2"), ""},

		{"labels are fine", "node pi2 labels=role:edge", "pi pi1 leader\npi pi2", set("pi2", plan.Active, "role", "edge"), ""},
		{"a person's label stays", "", "pi pi1 leader\npi pi2 person=disk:ssd", set("pi2", plan.Active), "rule 3: ownership"},
		{"one of an earlier file may go", "", "pi pi1 leader\npi pi2 config=role:edge", set("pi2", plan.Active), ""},
		{"a person's drain stays", "", "pi pi1 leader\npi pi2 drained", set("pi2", plan.Active), "rule 3: ownership"},
		{"ours may be undone", "", "pi pi1 leader\npi pi2 drained-by-us", set("pi2", plan.Active), ""},
		{"but not while it is wanted", "node pi2 drain", "pi pi1 leader\npi pi2 drained-by-us", set("pi2", plan.Active), "rule 3: ownership"},
		{"nobody is drained unasked", "", "pi pi1 leader\npi pi2", set("pi2", plan.Drained, spec.LabelDrained, "true"), "rule 3: ownership"},
		{"one whom a person wants drained is", "node pi2 drain", "pi pi1 leader\npi pi2", set("pi2", plan.Drained, spec.LabelDrained, "true"), ""},
		{"nothing is written without a difference", "", "pi pi1 leader\npi pi2", set("pi2", plan.Active), "converged means silent"},

		{"a Swarm is formed where none is", "", blank, form, ""},
		{"not without a claim", "", "pi pi1 out\nrecord -", form, "not claimed"},
		{"not over another node's", "", "pi pi1 out\npi pi2 in=swarm9\nrecord - forming=pi1", form, "never over an existing one"},
		{"not over the store's", "", "pi pi1 out\nrecord swarm1 forming=pi1", form, "never over an existing one"},
		{"not over one's own", "", "pi pi1 leader\nrecord - forming=pi1", form, "never over an existing one"},
		{"not unless it is wanted", "unwanted", blank, form, "no stack wants"},
		{"nor claimed", "", "pi pi1 out\npi pi2 in=swarm9\nrecord -", plan.ClaimSwarm{Node: "pi1"}, "never over an existing one"},
		{"settings may be written", "", oneAndTwo, configure, ""},
		{"with the version that was observed", "", oneAndTwo, plan.ConfigureSwarm{ID: "swarm1", Version: 2, Cluster: "c1"}, "rule 9: fenced"},
		{"with a difference", "", oneAndTwo, plan.ConfigureSwarm{ID: "swarm1", Version: 3, Cluster: "c1"}, "converged means silent"},
		{"under this cluster's id", "", oneAndTwo, plan.ConfigureSwarm{ID: "swarm1", Version: 3, Cluster: "c9"}, "not this cluster's"},
		{"in a Swarm that is ours", "", "swarm swarm1 foreign\n" + oneAndTwo, configure, "rule 3: ownership"},
		{"or was adopted", "adopt swarm1", "swarm swarm1 foreign\n" + oneAndTwo, configure, ""},
		{"and with quorum", "", "pi pi1 manager\npi pi2 leader down=9m", configure, "no control"},
		{"what is so may be published", "", oneAndTwo, publish, ""},
		{"of a Swarm that is ours", "", "swarm swarm1 foreign\n" + oneAndTwo, publish, "rule 3: ownership"},
		{"and of no other", "", oneAndTwo, plan.PublishSwarm{ID: "swarm2", Cluster: "c1", Managers: []string{"x"}}, "not the Swarm"},
		{"with somewhere to join", "", oneAndTwo, plan.PublishSwarm{ID: "swarm1", Cluster: "c1"}, "nobody could join"},
		{"containers are none of its business", "", oneAndTwo, plan.Stop{ID: "x"}, "no action of the quorum keeper"},
		{"nor does a leader join for others", "", oneAndTwo, plan.JoinSwarm{Node: "pi2"}, "no action of the quorum keeper"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			d, o := quorumtest.ParseDesired(tt.desired), quorumtest.ParseWorld(tt.world).View()
			err := quorum.Check(d, o, plan.Plan{Lanes: []plan.Lane{{Key: "x", Steps: []plan.Step{{Action: tt.action}}}}})
			if got := message(err); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestCheckLanes holds what is true of lanes whatever is in them.
func TestCheckLanes(t *testing.T) {
	promote := func(key, id string) plan.Lane {
		return plan.Lane{Key: key, Steps: []plan.Step{{Action: plan.PromoteNode{ID: id, Version: 10}}}}
	}
	for _, tt := range []struct {
		world string
		lanes []plan.Lane
		want  string
	}{
		{"", []plan.Lane{promote("a", "@pi2")}, ""},
		{"", []plan.Lane{promote("a", "@pi2"), promote("b", "@pi3")}, "one change of membership at a time"},
		{"busy a", []plan.Lane{promote("a", "@pi2")}, "still runs"},
		{"busy swarm managers", []plan.Lane{promote("a", "@pi2")}, "at a time"},
		{"", []plan.Lane{promote("a", "@pi2"), promote("a", "@pi3")}, "two lanes"},
		{"", []plan.Lane{{Key: "a"}}, "without a step"},
	} {
		o := quorumtest.ParseWorld(oneAndTwo + tt.world).View()
		err := quorum.Check(quorumtest.ParseDesired(""), o, plan.Plan{Lanes: tt.lanes})
		if got := message(err); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.world, got, tt.want)
		}
	}
}

// A node's own view of its part, for the cases a world does not come to.
func ours(state quorum.State) quorum.Member {
	return quorum.Member{
		Node: "pi2", Address: "10.0.0.2", State: state, ID: "id2", Swarm: "swarm1",
		Record: quorum.Record{SwarmID: "swarm1", Cluster: "c1", Managers: []string{"10.0.0.1:2377"}, Token: true},
	}
}

// TestMemberSays holds row 31 and its like: what a node does when something is wrong with its part, and what it only says.
func TestMemberSays(t *testing.T) {
	expired := func(m quorum.Member) quorum.Member {
		m.Expired, m.Err = true, "Swarm certificates have expired."
		return m
	}
	seated := expired(ours(quorum.Errored))
	seated.Record.Managers = []string{"10.0.0.1:2377", "10.0.0.2:2377"}
	lately := expired(ours(quorum.Errored))
	lately.Left = 10 * 60e9
	longAgo := lately
	longAgo.Left = 61 * 60e9
	unknown := expired(ours(quorum.Errored))
	unknown.Swarm = ""
	other := expired(ours(quorum.Errored))
	other.Swarm = "swarm9"
	stranded := ours(quorum.Errored)
	stranded.Err, stranded.StrandedFor, stranded.ID = "can't initialize raft node: connection error", quorum.Patience, ""
	briefly, strandedSeat, strandedElsewhere := stranded, stranded, stranded
	briefly.StrandedFor = 1
	strandedSeat.Record.Managers = seated.Record.Managers
	strandedElsewhere.Swarm = ""
	broken := ours(quorum.Errored)
	broken.Err = "boom"
	former := ours(quorum.Active)
	former.Swarm, former.Record.Former, former.Manager = "swarm0", []string{"swarm0"}, true
	outcast := ours(quorum.Pending)
	outcast.Record.Removed = []string{"id2"}
	exManager := outcast
	exManager.Manager = true
	stranger := ours(quorum.Active)
	stranger.Swarm = ""
	for _, tt := range []struct {
		hazard, desired string
		m               quorum.Member
		want            string
	}{
		{"a worker whose certificate has expired joins anew", "", expired(ours(quorum.Errored)), "leave the Swarm, as node id2 (its certificate has expired)"},
		{"at most once an hour", "", lately, "waits for a retry: the certificate has expired although it is new"},
		{"and then again", "", longAgo, "leave the Swarm"},
		{"a manager keeps its seat until the others have taken it", "", seated, "waits for a person: the certificate of this manager has expired"},
		{"which Swarm it is must be known", "", unknown, "waits for a person: the certificate has expired, and it is not known of which Swarm"},
		{"somebody else's is not left", "", other, "waits for a person: this engine is in Swarm swarm9"},
		{"one that is stranded on its way to a seat joins anew", "", stranded, "leave the Swarm, as node (it reaches none of the managers it knows)"},
		{"after a while", "", briefly, "waits for Swarm: the engine was to become a manager"},
		{"one that has a seat keeps it", "", strandedSeat, "waits for a person: this manager's engine asks only"},
		{"and which Swarm it is must be known", "", strandedElsewhere, "waits for a person: the engine says"},
		{"any other error is said", "", broken, "waits for a person: the engine says: boom"},
		{"a locked Swarm is said", "", ours(quorum.Locked), "docker swarm unlock"},
		{"a manager does not leave, even a Swarm that was ours", "", former, "waits for a person: this engine is in Swarm swarm0"},
		{"one that was removed leaves", "", outcast, "leave the Swarm, as node id2 (the Swarm has removed it)"},
		{"one that was a manager is told how", "node pi2 gone", exManager, "docker swarm leave --force"},
		{"one that cannot reach a manager waits", "", ours(quorum.Pending), "waits for Swarm"},
		{"one that was removed by a person, of an unknown Swarm", "node pi2 gone", stranger, "docker swarm leave"},
		{"an engine that does not answer is left alone", "", ours(quorum.Unknown), ""},
	} {
		d := quorumtest.ParseDesired(tt.desired)
		p := quorum.PlanMember(d, tt.m)
		if got := p.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.hazard, got, tt.want)
		}
		if err := quorum.CheckMember(d, tt.m, p); err != nil {
			t.Errorf("%s: %v", tt.hazard, err)
		}
	}
}

// TestCheckMember plans by hand what a node must never plan.
func TestCheckMember(t *testing.T) {
	join := plan.JoinSwarm{Swarm: "swarm1", Node: "pi2", Managers: []string{"x"}}
	leave := plan.LeaveSwarm{Swarm: "swarm1", Node: "pi2", ID: "id2"}
	out := ours(quorum.Inactive)
	uninvited := out
	uninvited.Record.Token = false
	manager := ours(quorum.Active)
	manager.Manager = true
	noted := ours(quorum.Active)
	noted.Record.Removed = []string{"id2"}
	foreign := ours(quorum.Active)
	foreign.Record.Cluster = "c9"
	busy := out
	busy.Busy = map[string]bool{"x": true}
	for _, tt := range []struct {
		rule, desired string
		m             quorum.Member
		action        plan.Action
		want          string
	}{
		{"who is in none may join", "", out, join, ""},
		{"but not twice", "", busy, join, "still runs"},
		{"nor from another", "", ours(quorum.Active), join, "is in a Swarm"},
		{"nor uninvited", "", uninvited, join, "not invited"},
		{"nor when a person removed it", "node pi2 gone", out, join, "not invited"},
		{"nor without a sound state", "cluster -", out, join, "rules 1 and 3"},
		{"nor one that is not ours", "", foreign, leave, "rules 1 and 3"},
		{"who has a place stays", "", ours(quorum.Active), leave, "has a place there"},
		{"also when it is only noted as removed", "", noted, leave, "has a place there"},
		{"who was removed by a person leaves", "node pi2 gone", ours(quorum.Active), leave, ""},
		{"but not as a manager", "node pi2 gone", manager, leave, "never by force"},
		{"nor what it did not see", "node pi2 gone", ours(quorum.Active), plan.LeaveSwarm{Swarm: "swarm1", Node: "pi2", ID: "other"}, "not the Swarm that was observed"},
		{"the rest is the leader's", "", ours(quorum.Active), plan.DropNode{ID: "id2"}, "no action of a node"},
	} {
		err := quorum.CheckMember(quorumtest.ParseDesired(tt.desired), tt.m, plan.Plan{Lanes: []plan.Lane{{Key: "x", Steps: []plan.Step{{Action: tt.action}}}}})
		if got := message(err); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.rule, got, tt.want)
		}
	}
}
