package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

const (
	// loopRestarts and loopUp tell a crash loop from a container that was restarted once: so many restarts by the engine,
	// and none of its runs has lasted so long since. The engine itself waits a minute at most between two attempts.
	loopRestarts = 3
	loopUp       = time.Minute
	// stubborn is how many failures of a lane in a row need a person. The first ones are often a Pi that is still booting.
	stubborn = 3
)

func subjectOf(stack, service string, replica int) string {
	return fmt.Sprintf("%s/%s/%d", stack, service, replica)
}

// replicaView is one desired replica with what exists for it.
type replicaView struct {
	subject    string
	containers []node.Container
	cur        *node.Container // that has the canonical name
	serving    *node.Container // that runs, whatever its name; nil in a crash loop, whose moments of running serve nobody
	failed     bool            // the desired revision did not pass
	loops      int             // how often cur was restarted, by the engine or by brambled, if it ends again and again
}

func (b *builder) replica(st spec.Stack, svc spec.Service, n int) replicaView {
	v := replicaView{subject: subjectOf(st.Name, svc.Name, n), containers: b.slots[slotKey{st.Owner, st.Name, svc.Name, n}]}
	canonical := node.ContainerName(st.Name, svc, n)
	for _, c := range v.containers {
		switch {
		case c.Name == canonical:
			v.cur, v.loops = &c, b.loops(v.subject, svc, c)
		case strings.HasSuffix(c.Name, node.SuffixFailed):
			v.failed = v.failed || c.Hash == svc.Container.Hash
			continue // evidence, it serves nobody
		}
		if c.State == node.Running && !looping(c) && !(v.loops > 0 && c.Name == canonical) && (v.serving == nil || c.Name == canonical) {
			v.serving = &c
		}
	}
	return v
}

// service reports on a desired service.
func (b *builder) service(st spec.Stack, svc spec.Service) Service {
	out := Service{
		Name: svc.Name, Nodes: svc.Nodes, Desired: svc.Replicas, Hash: svc.Container.Hash, Image: svc.Container.Image,
	}
	if b.blind {
		state, why := b.unseen()
		out.State, out.Why = state, st.Name+"/"+svc.Name+": "+why
		return out
	}
	f := &findings{stack: st, svc: svc}
	for n := 1; n <= svc.Replicas; n++ {
		b.look(b.replica(st, svc, n), &out, f)
	}
	for k, list := range b.slots { // replicas above the desired count
		if k.owner == st.Owner && k.stack == st.Name && k.service == svc.Name && (k.replica < 1 || k.replica > svc.Replicas) {
			f.busy = true
			for _, c := range list {
				out.Containers = append(out.Containers, container(c))
			}
		}
	}
	slices.SortFunc(out.Containers, func(x, y Container) int { return strings.Compare(x.Name+"\x00"+x.ID, y.Name+"\x00"+y.ID) })
	f.sort()
	if f.looping != nil { // whether it is being restarted at this moment says nothing more
		f.waits = slices.DeleteFunc(f.waits, func(w plan.Wait) bool { return w.For == plan.WaitEngine || w.For == plan.WaitBackoff })
	}
	out.Waits = b.texts(f.waits)
	f.waits = slices.DeleteFunc(f.waits, func(w plan.Wait) bool { return w.For == plan.WaitHealth }) // it is in the state
	out.LastError = b.lastError(f)
	out.State = f.state(out)
	b.explain(&out, f)
	return out
}

// findings are what was found about one service on the way to its state.
type findings struct {
	stack spec.Stack
	svc   spec.Service

	waits   []plan.Wait // the one that counts most first
	steps   []plan.Step // planned now
	busy    bool        // a step runs, or one is planned
	failed  bool        // the desired revision is known to fail
	stuck   bool        // it goes on only with a person
	looping *node.Container
	loops   int
	sick    *node.Container // unhealthy
	fresh   *node.Container // running, health check not passed yet
	done    int             // jobs that ended well
	errs    []string
}

// look adds what one replica shows.
func (b *builder) look(v replicaView, out *Service, f *findings) {
	for _, c := range v.containers {
		k := container(c)
		k.Looping = k.Looping || v.loops > 0 && c.ID == v.cur.ID
		out.Containers = append(out.Containers, k)
		if c.Error != "" && c.State != node.Running {
			f.errs = append(f.errs, c.Name+": "+c.Error)
		}
	}
	f.failed = f.failed || v.failed
	if v.loops > 0 && f.looping == nil {
		f.looping, f.loops = v.cur, v.loops
	}
	f.current(v.cur, out)
	if c := v.serving; c != nil {
		out.Running++
		switch {
		case c.Health == node.Healthy || c.Health == node.NoHealth && !c.HasCheck:
			out.Healthy++
		case c.Health == node.Unhealthy:
			f.sick = c
		default:
			f.fresh = c
		}
	}
	b.doing(v.subject, f)
}

// current adds what the container shows that has the replica's name.
func (f *findings) current(c *node.Container, out *Service) {
	if c == nil {
		return
	}
	if c.Hash != f.svc.Container.Hash {
		return
	}
	out.Updated++
	if f.svc.Restart.Job() && c.State == node.Exited && c.ExitCode == 0 {
		f.done++
	}
}

// doing adds what is planned, under way, waited for and failing for one replica.
func (b *builder) doing(subject string, f *findings) {
	lane := "container " + subject
	if l, ok := b.lanes[lane]; ok {
		f.steps, f.busy = append(f.steps, l.Steps...), true
	}
	f.busy = f.busy || b.Observed.Busy[lane]
	f.waits = append(f.waits, b.waits[subject]...)
	f.stuck = f.stuck || b.exhausted(lane, f.svc.Container.Hash)
	if e, ok := b.Observed.Failures[lane]; ok && about(e, f.svc.Container.Hash) {
		f.errs = append(f.errs, e.Step+": "+e.Err)
	}
	for _, w := range b.waits[subject] {
		f.stuck = f.stuck || needsPerson(w.For) || w.For == plan.WaitPull && b.hopeless(f.svc)
	}
}

// exhausted reports whether a lane has failed so often for what is desired now that a person should look.
func (b *builder) exhausted(lane, hash string) bool {
	e, ok := b.Observed.Failures[lane]
	return ok && e.Count >= stubborn && about(e, hash)
}

// about reports whether a failure is of what is desired now, or of the way back from it.
func about(e node.Failure, hash string) bool {
	return e.Hash == "" || hash == "" || e.Hash == hash || strings.HasSuffix(e.Hash, " "+hash)
}

// needsPerson reports whether a wait does not end by itself.
func needsPerson(w plan.WaitFor) bool {
	switch w {
	case plan.WaitFailed, plan.WaitForeign, plan.WaitName, plan.WaitUnsupported, plan.WaitNewer:
		return true
	default:
		return false
	}
}

// hopeless reports whether the image of a service will not come by trying again.
func (b *builder) hopeless(svc spec.Service) bool {
	c := svc.Container
	p, tried := b.Observed.Pulls[node.ImageRef{Ref: c.Image, Platform: c.Platform}]
	return c.PullPolicy == spec.PullNever || tried && !p.Running && permanent(p.Err)
}

// permanent reports whether a registry has said no, rather than nothing. The words are the registries' and the engine's.
func permanent(text string) bool {
	text = strings.ToLower(text)
	for _, word := range []string{
		"manifest unknown", "not found", "name unknown", "no matching manifest", "does not exist", "denied", "unauthorized",
		"authentication required", "invalid reference", "no basic auth",
	} {
		if strings.Contains(text, word) {
			// A resolver says "not found" of a host while the network is not up yet.
			return !strings.Contains(text, "lookup ") && !strings.Contains(text, "no such host")
		}
	}
	return false
}

// looping reports whether the engine restarts a container again and again. One that has run since it was first seen is
// taken to be well: its restarts may be years old.
func looping(c node.Container) bool {
	if c.RestartCount < loopRestarts {
		return false
	}
	return c.State == node.Restarting || c.State == node.Running && c.Up < loopUp && c.Up < c.Seen
}

// loops is how often a container was restarted that ends again and again, 0 for one that does not. Where the engine does not
// restart it, as after a `docker stop`, brambled does.
func (b *builder) loops(subject string, svc spec.Service, c node.Container) int {
	if looping(c) {
		return c.RestartCount
	}
	r := b.Observed.Remedies[plan.Remedy{Lane: "container " + subject, Reason: plan.ReasonExited}]
	ends := c.State == node.Exited || c.State == node.Running && c.Up < loopUp
	if r.For == svc.Container.Hash && r.Count >= loopRestarts && ends {
		return r.Count
	}
	return 0
}

// state is the service's state.
func (f *findings) state(s Service) State {
	switch {
	case f.failed || f.stuck || f.looping != nil:
		return Failed
	case f.rests() && s.Running == 0 && !f.busy:
		return Drained
	case f.busy || s.Updated < s.Desired:
		return Converging
	case f.svc.Restart.Job() && f.done == s.Desired:
		return Done
	case len(f.waits) > 0 || s.Running < s.Desired:
		return Converging
	case f.sick != nil:
		return Unhealthy
	case s.Healthy < s.Desired:
		return Converging
	}
	return Running
}

// sort puts the wait that counts most first.
func (f *findings) sort() {
	slices.SortStableFunc(f.waits, func(x, y plan.Wait) int {
		if d := weight(x.For) - weight(y.For); d != 0 {
			return d
		}
		return strings.Compare(x.Subject+x.Detail, y.Subject+y.Detail)
	})
}

// weight orders waits: what needs a person, what failed, what is fetched, what follows from something else, what is about
// to end anyway.
func weight(w plan.WaitFor) int {
	order := []plan.WaitFor{
		plan.WaitFailed, plan.WaitName, plan.WaitForeign, plan.WaitUnsupported, plan.WaitNewer, plan.WaitContact, plan.WaitPermit,
		plan.WaitBackoff, plan.WaitPull, plan.WaitNetwork, plan.WaitVolume, plan.WaitDependency,
		plan.WaitTasks, plan.WaitEngine, plan.WaitGate, plan.WaitRemoval, plan.WaitLane, plan.WaitUndrain, plan.WaitHealth,
	}
	if i := slices.Index(order, w); i >= 0 {
		return i
	}
	return len(order)
}

// lastError is the newest thing that went wrong for a service.
func (b *builder) lastError(f *findings) string {
	c := f.svc.Container
	if p, ok := b.Observed.Pulls[node.ImageRef{Ref: c.Image, Platform: c.Platform}]; ok && p.Err != "" {
		f.errs = append(f.errs, "pull "+c.Image+": "+p.Err)
	}
	slices.Sort(f.errs)
	return scrub(strings.Join(slices.Compact(f.errs), "; "))
}

func container(c node.Container) Container {
	out := Container{
		Name: c.Name, ID: c.ID, State: string(c.State), Health: string(c.Health), ExitCode: c.ExitCode, Hash: c.Hash,
		Restarts: c.RestartCount, Looping: looping(c),
	}
	if len(out.ID) > 12 {
		out.ID = out.ID[:12]
	}
	return out
}
