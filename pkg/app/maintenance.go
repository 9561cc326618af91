package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/lease"
	"github.com/brambled/brambled/pkg/status"
)

// This file is about what persons decide about nodes: drain, node rm, swarm adopt. Each is a key, and the key alone is the word.

// Node is one node as `node list` shows it.
type Node struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	Version string `json:"version,omitempty"`
	Present bool   `json:"present"`
	Leader  bool   `json:"leader"`
	// Swarm is its role: "manager", "worker", "" where it is in no Swarm or that is not known. Reachable and SwarmLeader are of
	// managers.
	Swarm       string `json:"swarm,omitempty"`
	Reachable   bool   `json:"reachable"`
	SwarmLeader bool   `json:"swarm_leader"`
	// Drained is what was decided, Drain how far it is.
	Drained bool         `json:"drained"`
	Drain   status.Drain `json:"drain,omitempty"`
	Gone    bool         `json:"gone"` // removed for good by a person
}

// bramble is what the store says of all nodes.
type bramble struct {
	cluster string
	leader  string // the node that leads now, "" while none does
	present []consul.Presence
	reports []status.Node
	drains  map[string]consul.Decision
	record  consul.SwarmRecord
}

func (o *Operator) bramble(ctx context.Context) (b bramble, err error) {
	id, _, err := o.store.Get(ctx, consul.Stacks+consul.ClusterKey)
	if err != nil {
		return b, err
	}
	b.cluster = strings.TrimSpace(string(id.Value))
	lead, _, err := o.store.Get(ctx, lease.Key)
	if err != nil {
		return b, err
	}
	b.leader = lease.Holder(lead.Session, lead.Value)
	if b.present, err = o.store.Present(ctx); err != nil {
		return b, err
	}
	l, err := o.store.List(ctx, "status/")
	if err != nil {
		return b, err
	}
	b.reports = decodeReports(l.Entries)
	if b.drains, err = o.store.Drains(ctx); err != nil {
		return b, err
	}
	b.record, err = o.store.SwarmRecord(ctx)
	return b, err
}

// leads is the leader's report, the zero value where there is none.
func (b bramble) leads() status.Node {
	i := slices.IndexFunc(b.reports, func(n status.Node) bool { return n.Leader != "" })
	if i < 0 {
		return status.Node{}
	}
	return b.reports[i]
}

// nodes are all that are known: present, reported, a manager of the Swarm, or decided about; sorted by name.
func (b bramble) nodes() []Node {
	all := map[string]*Node{}
	at := func(name string) *Node {
		if all[name] == nil {
			all[name] = &Node{Name: name}
		}
		return all[name]
	}
	for _, r := range b.reports {
		if r.Leader == "" && r.Node != "" {
			n := at(r.Node)
			n.Address, n.Version, n.Drain = r.Address, r.Version, r.Drain
		}
	}
	for _, p := range b.present {
		n := at(p.Node)
		n.Address, n.Version, n.Present = p.Address, p.Version, true
		if p.Swarm != "" {
			n.Swarm = "worker"
		}
	}
	leads := b.leads()
	if leads.Quorum != nil {
		for _, m := range leads.Quorum.Managers {
			n := at(m.Name)
			n.Swarm, n.Reachable, n.SwarmLeader = "manager", m.Reachable, m.Leader
		}
	}
	for name, d := range b.record.Gone {
		if d.Yes(b.cluster) {
			at(name)
		}
	}
	var out []Node
	for name, n := range all {
		n.Leader = name == b.leader
		n.Drained, n.Gone = b.drains[name].Yes(b.cluster), b.record.Gone[name].Yes(b.cluster)
		out = append(out, *n)
	}
	slices.SortFunc(out, func(x, y Node) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// Nodes lists the nodes of the cluster.
func (o *Operator) Nodes(ctx context.Context) ([]Node, error) {
	b, err := o.bramble(ctx)
	return b.nodes(), err
}

// known returns one node, or an error that names those that there are.
func (b bramble) known(name string) (Node, error) {
	list := b.nodes()
	i := slices.IndexFunc(list, func(n Node) bool { return n.Name == name })
	if i >= 0 {
		return list[i], nil
	}
	var names []string
	for _, n := range list {
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return Node{}, fmt.Errorf("there is no node %s: no node is present or has reported yet", name)
	}
	return Node{}, fmt.Errorf("there is no node %s; known are %s", name, strings.Join(names, ", "))
}

// Drain takes a node out of service. It reports how the node was before.
func (o *Operator) Drain(ctx context.Context, node string) (Node, error) {
	b, err := o.bramble(ctx)
	if err != nil {
		return Node{}, err
	}
	n, err := b.known(node)
	if err != nil || n.Drained {
		return n, err
	}
	return n, o.decideOn(ctx, consul.DrainKey(node), b.decision(b.drains[node], true))
}

// ErrNotDrained is a node that is in service.
var ErrNotDrained = errors.New("it is not drained")

// Undrain puts a node back into service. The key stays and says so: that a key is gone may also be a loss.
func (o *Operator) Undrain(ctx context.Context, node string) error {
	b, err := o.bramble(ctx)
	if err != nil {
		return err
	}
	was := b.drains[node]
	if n, err := b.known(node); err != nil && was.Index == 0 {
		return err
	} else if !was.Yes(b.cluster) && n.Drain == "" {
		return fmt.Errorf("undrain %s: %w; see brambled node list", node, ErrNotDrained)
	}
	return o.decideOn(ctx, consul.DrainKey(node), b.decision(was, false))
}

// decision is one of the person who calls the command, over the one that was read.
func (b bramble) decision(was consul.Decision, on bool) consul.Decision {
	return consul.Decision{On: &on, Cluster: b.cluster, By: caller(), At: time.Now(), Index: was.Index}
}

func (o *Operator) decideOn(ctx context.Context, key string, d consul.Decision) error {
	if err := o.store.Decide(ctx, key, d); err != nil {
		return fmt.Errorf("%w; look at brambled node list and try again", err)
	}
	return nil
}

// caller is who calls the command, for those who find the key later.
func caller() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); err == nil && name == "" {
		name = u.Username
	}
	return name + "@" + host
}

// Draining is what a node's drain still waits for; nothing where it is drained. The tasks of Swarm are those on the host of the
// node's name, as `node` is the host name unless it was chosen otherwise.
func Draining(node string, reports []status.Node) []string {
	var out []string
	i := slices.IndexFunc(reports, func(n status.Node) bool { return n.Node == node && n.Leader == "" })
	switch {
	case i < 0:
		out = append(out, node+" has not reported")
	case reports[i].Drain == "":
		out = append(out, "brambled on "+node+" has not taken it in yet")
	case reports[i].Drain != status.DrainDone:
		out = append(out, runs(reports[i])...)
	}
	for _, n := range reports {
		if n.Leader != "" {
			out = append(out, inSwarmStill(node, n)...)
		}
	}
	return out
}

// runs says of each service that still runs on a node that drains why.
func runs(n status.Node) []string {
	var out []string
	for _, st := range n.Stacks {
		for _, s := range st.Services {
			if s.Running > 0 && st.Source != "" && st.Index > 0 {
				out = append(out, fmt.Sprintf("%s/%s runs: %s", st.Name, s.Name, s.Why))
			}
		}
	}
	if len(out) == 0 {
		out = append(out, "containers are being stopped")
	}
	return out
}

// inSwarmStill is what of Swarm is still on a node. A Swarm that brambled does not manage is left as it is.
func inSwarmStill(node string, leader status.Node) []string {
	if leader.Quorum == nil || !leader.Quorum.Managed {
		return nil
	}
	var out []string
	if slices.ContainsFunc(leader.Quorum.Managers, func(m status.Manager) bool { return m.Name == node }) {
		why := "it is moved when another node can take it"
		if i := slices.IndexFunc(leader.Quorum.Waits, func(w string) bool { return strings.Contains(w, node) }); i >= 0 {
			why = leader.Quorum.Waits[i]
		}
		out = append(out, fmt.Sprintf("%s has a seat among the managers of the Swarm: %s", node, why))
	}
	for _, st := range leader.Stacks {
		for _, s := range st.Services {
			if slices.ContainsFunc(s.Tasks, func(t status.Task) bool { return t.Node == node && t.State == "running" }) {
				out = append(out, fmt.Sprintf("a task of Swarm service %s/%s runs", st.Name, s.Name))
			}
		}
	}
	return out
}

// RemoveNode says that a node is gone for good. One that is present is removed with force only; it stays in Consul until its daemon
// is stopped.
func (o *Operator) RemoveNode(ctx context.Context, node string, force bool) error {
	b, err := o.bramble(ctx)
	if err != nil {
		return err
	}
	n, err := b.known(node)
	switch {
	case err != nil:
		return err
	case n.Present && !force:
		return fmt.Errorf("%s is present (%s): brambled drain %s takes it out of service; to remove it for good stop its brambled first, or use --force", node, n.Address, node)
	}
	if err := o.decideOn(ctx, consul.GoneKey(node), b.decision(b.record.Gone[node], true)); err != nil {
		return err
	}
	if n.Present {
		return nil // it would take the loss of its own report for a store that went back
	}
	return errors.Join(o.store.Delete(ctx, "status/nodes/"+node), o.store.Delete(ctx, consul.DrainKey(node)))
}

// RestoreNode takes back that a node is gone for good.
func (o *Operator) RestoreNode(ctx context.Context, node string) error {
	record, err := o.store.SwarmRecord(ctx)
	if err != nil {
		return err
	}
	gone, there := record.Gone[node]
	if !there {
		return fmt.Errorf("%s was not removed: there is no key %s%s", node, o.cfg.Prefix, consul.GoneKey(node))
	}
	return o.store.DeleteCAS(ctx, consul.GoneKey(node), gone.Index)
}

// Adopt has the leader take over a Swarm that brambled did not form.
func (o *Operator) Adopt(ctx context.Context, id string) error {
	b, err := o.bramble(ctx)
	if err != nil {
		return err
	}
	if err := b.adoptable(id, o.cfg.Swarm.Manage); err != nil {
		return fmt.Errorf("adopt Swarm %s: %w", id, err)
	}
	d := b.decision(b.record.Adopt, true)
	d.ID = id
	return o.decideOn(ctx, consul.AdoptKey(), d)
}

// adoptable says why a Swarm cannot be taken over, as far as the store tells.
func (b bramble) adoptable(id string, managed bool) error {
	switch {
	case !managed:
		return errors.New("swarm.manage is false, so that brambled manages no Swarm; set it on all nodes first")
	case b.record.ID == id && b.record.Cluster == b.cluster:
		return errors.New("it is the cluster's already")
	case b.record.ID != "" && b.record.ID != id:
		return fmt.Errorf("the cluster has Swarm %s already; docker swarm leave on the nodes of the other one has them join it", b.record.ID)
	}
	var in, others []string
	for _, p := range b.present {
		switch {
		case p.In == id:
			in = append(in, p.Node)
		case p.In != "":
			others = append(others, p.Node+" is in "+p.In)
		}
	}
	switch {
	case len(others) > 0:
		return fmt.Errorf("present nodes are in other Swarms (%s); docker swarm leave there first", strings.Join(others, ", "))
	case len(in) == 0:
		return errors.New("no present node says that it is in it; docker info on a manager shows the id as ClusterID")
	}
	return nil
}
