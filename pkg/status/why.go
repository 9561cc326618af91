package status

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/brambled/brambled/reconciler/node"
	"github.com/brambled/brambled/reconciler/plan"
	"github.com/brambled/brambled/reconciler/spec"
)

// chain is how far a cause is followed through depends_on.
const chain = 5

// explain sets Why, from the cause to the symptom, and Progress.
func (b *builder) explain(out *Service, f *findings) {
	subject := f.stack.Name + "/" + f.svc.Name
	urgent := len(f.waits) > 0 && weight(f.waits[0].For) < weight(plan.WaitEngine)
	switch {
	case urgent:
		out.Why, out.Progress = b.cause(f.stack, f.waits[0], chain), b.progress(f)
	case f.looping != nil:
		out.Why = fmt.Sprintf("%s ends and is restarted again and again; see docker logs %s", subject, f.looping.Name)
		out.Progress = fmt.Sprintf("exit code %d, restarted %d times", f.looping.ExitCode, f.loops)
	case f.failed:
		out.Why = subject + " did not get through with its newest revision"
	case len(f.steps) > 0:
		out.Why = fmt.Sprintf("%s is being changed: %s", subject, f.steps[0])
	case len(f.waits) > 0:
		out.Why = b.stable(f.waits[0])
	case f.busy:
		out.Why = subject + " is being changed"
	default:
		out.Why = subject + " " + f.condition(*out) + b.treatment(*out, f)
	}
	if f.stack.Held != "" {
		out.Why += "; its stack is held, this is the last version that could be read"
	}
}

// progress is what changes by itself about the wait that counts most.
func (b *builder) progress(f *findings) string {
	if f.waits[0].For == plan.WaitPull {
		return b.pullProgress(f.svc)
	}
	return b.retry("container " + f.waits[0].Subject)
}

// condition says how a service is for which nothing is planned or waited for.
func (f *findings) condition(s Service) string {
	count := fmt.Sprintf("%d of %d", s.Running, s.Desired)
	switch {
	case s.State == Done:
		return "is done (exit 0)"
	case s.Desired == 0:
		return "is scaled to none"
	case s.State == Unhealthy:
		return fmt.Sprintf("is unhealthy: the health check of %s fails (%s running)", f.sick.Name, count)
	case s.State == Running && f.checked():
		return "is running (" + count + ", healthy)"
	case s.State == Running:
		return "is running (" + count + ")"
	case f.fresh != nil:
		return fmt.Sprintf("is starting: the health check of %s has not passed yet (%s running)", f.fresh.Name, count)
	case f.svc.Restart.Job() && s.Running > 0:
		return "is a job that has not ended yet"
	}
	return "is not running yet (" + count + ")"
}

// treatment is what follows from a service being unhealthy.
func (b *builder) treatment(s Service, f *findings) string {
	if s.State != Unhealthy {
		return ""
	}
	if why := node.Unhealed(b.Desired.Healing, f.svc); why != "" {
		return "; it is not restarted: " + why
	}
	return "; it is restarted if that lasts"
}

// checked reports whether the service defines a health check.
func (f *findings) checked() bool { return f.svc.Container.HasHealthcheck }

// cause is a wait as a sentence. A wait for another service of the stack begins with what that one waits for.
func (b *builder) cause(st spec.Stack, w plan.Wait, depth int) string {
	if depth > 0 {
		switch w.For {
		case plan.WaitDependency:
			if root := b.dependency(st, w, depth); root != "" {
				return root + "; therefore " + b.stable(w)
			}
		case plan.WaitNetwork:
			if own := b.waits["network "+w.Detail]; len(own) > 0 {
				return b.stable(own[0]) + "; therefore " + b.stable(w)
			}
		case plan.WaitVolume:
			if own := b.waits["volume "+w.Detail]; len(own) > 0 {
				return b.stable(own[0]) + "; therefore " + b.stable(w)
			}
		default:
		}
	}
	return b.stable(w)
}

// dependency is what keeps the service that a wait names, "" where nothing does.
func (b *builder) dependency(st spec.Stack, w plan.Wait, depth int) string {
	name, _, _ := strings.Cut(w.Detail, " ")
	svc, ok := st.Service(name)
	if !ok {
		return ""
	}
	var all []plan.Wait
	for n := 1; n <= svc.Replicas; n++ {
		all = append(all, b.waits[subjectOf(st.Name, name, n)]...)
	}
	if len(all) == 0 {
		return ""
	}
	first := slices.MinFunc(all, func(x, y plan.Wait) int {
		return cmp.Or(cmp.Compare(weight(x.For), weight(y.For)), cmp.Compare(x.String(), y.String()))
	})
	return b.cause(st, first, depth-1)
}

// stable is a wait as text, without what changes by itself, and without the replica where there is but one.
func (b *builder) stable(w plan.Wait) string {
	w.Detail = scrub(w.Detail)
	stack, rest, ok := strings.Cut(w.Subject, "/")
	service, replica, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return w.String()
	}
	st, _ := b.Desired.Stack(stack)
	svc, desired := st.Service(service)
	if desired && svc.Replicas == 1 {
		w.Subject = stack + "/" + service
	} else {
		w.Subject = fmt.Sprintf("%s/%s (replica %s)", stack, service, replica)
	}
	switch {
	case w.For == plan.WaitPull && desired:
		if p, ok := b.pullOf(svc); ok && p.Running {
			w.Detail = svc.Container.Image + " is being pulled"
		}
	case w.For == plan.WaitEngine:
		w.Detail = "it ended, and the engine restarts it"
	}
	return w.String()
}

var (
	// ownPort is our own end of a connection, with a port that differs each time: "read tcp 10.0.0.2:41234->1.1.1.1:443".
	ownPort = regexp.MustCompile(`((?:tcp|udp)[46]?) \S+->`)
	// fullID is an id that the engine gives to what it makes in each attempt, such as a network endpoint.
	fullID = regexp.MustCompile(`\s?\(?\b[0-9a-f]{64}\b\)?`)
)

// scrub drops from an error what differs between two attempts that fail for one reason: each would be a change to write.
func scrub(text string) string {
	return fullID.ReplaceAllString(ownPort.ReplaceAllString(text, "$1 "), "")
}

func (b *builder) texts(waits []plan.Wait) []string {
	var out []string
	for _, w := range waits {
		out = append(out, b.stable(w))
	}
	return slices.Compact(out)
}

func (b *builder) pullOf(svc spec.Service) (node.Pull, bool) {
	p, ok := b.Observed.Pulls[node.ImageRef{Ref: svc.Container.Image, Platform: svc.Container.Platform}]
	return p, ok
}

func (b *builder) pullProgress(svc spec.Service) string {
	p, ok := b.pullOf(svc)
	switch {
	case !ok:
		return ""
	case p.Running && p.Total > 0:
		return fmt.Sprintf("%d of %d MB", p.Done>>20, p.Total>>20)
	case !p.Running && p.RetryIn > 0:
		return "retry in " + round(p.RetryIn)
	}
	return ""
}

func (b *builder) retry(lane string) string {
	if f, ok := b.Observed.Failures[lane]; ok && f.RetryIn > 0 {
		return fmt.Sprintf("attempt %d failed, retry in %s", f.Count, round(f.RetryIn))
	}
	return ""
}

// round shows a time to go in whole seconds: "40 s", "3 min".
func round(d time.Duration) string {
	if d >= 2*time.Minute {
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	}
	return fmt.Sprintf("%d s", int(max(d, time.Second).Round(time.Second).Seconds()))
}

// stackWhy is one sentence on a stack: its error, else what keeps the worst of its parts.
func stackWhy(st Stack) string {
	switch {
	case st.Error != "":
		return "held: " + FirstLine(st.Error)
	case len(st.Waits) > 0:
		return st.Waits[0]
	}
	var worst *Service
	for i := range st.Services {
		s := &st.Services[i]
		if worst == nil || s.State.rank() < worst.State.rank() {
			worst = s
		}
	}
	switch {
	case worst == nil && st.State == Converged:
		return st.Name + " has nothing to run on this Pi"
	case worst == nil:
		return st.Name + " is " + string(st.State)
	case st.State == Converged:
		return st.Name + " is converged"
	case stackLevel(worst.State) == Converged && worst.State != Unhealthy:
		return st.Name + " is " + string(st.State) + ": its networks or volumes are being changed"
	}
	return worst.Why
}

// FirstLine is the first line of a text, and how many more there are.
func FirstLine(text string) string {
	text = strings.TrimSpace(text)
	first, rest, more := strings.Cut(text, "\n")
	if !more {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, strings.Count(rest, "\n")+1)
}
