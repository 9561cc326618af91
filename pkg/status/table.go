package status

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
)

// row is one service on one node, or a stack that has none there.
type row struct {
	node  string
	stack Stack
	svc   Service
}

// rows lists what the reports say of the stacks and services that are asked for ("" is all), worst first. A service that
// some Pi runs is not listed for the Pis it is not for.
func rows(nodes []Node, stack, service string) []row {
	var out []row
	for _, n := range nodes {
		for _, st := range n.Stacks {
			if stack == "" || st.Name == stack {
				out = append(out, st.rows(n.Node, service)...)
			}
		}
	}
	placed := map[[2]string]bool{}
	for _, r := range out {
		if r.svc.State != Elsewhere {
			placed[[2]string{r.stack.Name, r.svc.Name}] = true
		}
	}
	out = slices.DeleteFunc(out, func(r row) bool { return r.svc.State == Elsewhere && placed[[2]string{r.stack.Name, r.svc.Name}] })
	slices.SortStableFunc(out, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.stack.Name, b.stack.Name),
			cmp.Compare(a.svc.Name, b.svc.Name), cmp.Compare(a.node, b.node))
	})
	return out
}

// rows are a stack's services on one node. One without any has a row of its own.
func (s Stack) rows(node, service string) []row {
	if len(s.Services) == 0 && service == "" {
		return []row{{node, s, Service{Name: "-", State: s.State, Why: s.Why}}}
	}
	var out []row
	for _, svc := range s.Services {
		if service == "" || svc.Name == service {
			out = append(out, row{node, s, svc})
		}
	}
	return out
}

// rank keeps a stack together at the place of the worst of its parts, so far as it has a place at all.
func (r row) rank() int {
	if r.stack.State.ok() {
		return len(States())
	}
	return r.stack.State.rank()
}

// running is how many containers run of those desired.
func (r row) running() string {
	if r.svc.State == Elsewhere || r.svc.State == Done || r.svc.Name == "-" || r.svc.State == Unknown {
		return "-"
	}
	return fmt.Sprintf("%d/%d", r.svc.Running, r.svc.Desired)
}

// sentence is Why with Progress behind it.
func (r row) sentence() string {
	if r.svc.Progress == "" {
		return r.svc.Why
	}
	return r.svc.Why + " (" + r.svc.Progress + ")"
}

// Table prints what runs where and why not, of one stack or of all (""). Holds and errors come first. What comes from files,
// registries and engines is stripped of control characters.
func Table(w io.Writer, nodes []Node, stack string) {
	top(w, nodes, stack)
	list := rows(nodes, stack, "")
	if len(list) == 0 {
		if stack == "" {
			fmt.Fprintln(w, "no stacks")
		}
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STACK\tSERVICE\tNODE\tSTATE\tRUNNING\tIMAGE\tWHY")
	for _, r := range list {
		why := r.sentence()
		if r.svc.State == Running || r.svc.State == Done || r.svc.State == Converged {
			why = ""
		}
		cells := []string{r.stack.Name, r.svc.Name, r.node, string(r.svc.State), r.running(), cmp.Or(r.svc.Image, "-"), FirstLine(why)}
		for i := range cells {
			cells[i] = Clean(cells[i])
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	_ = t.Flush() // whether the terminal took it is for the caller's last write to find
}

// top prints what stands above the table: failed passes, holds with their full text, and the Swarm itself.
func top(w io.Writer, nodes []Node, stack string) {
	said := false
	for _, n := range nodes {
		if n.Error != "" && !slices.ContainsFunc(n.Holds, func(h Hold) bool { return h.Detail == n.Error }) {
			fmt.Fprintf(w, "ERROR on %s: %s\n", n.Node, indent(n.Error))
			said = true
		}
		for _, h := range n.Holds {
			if other, ok := strings.CutPrefix(h.Scope, "stack "); ok && stack != "" && other != stack {
				continue
			}
			fmt.Fprintf(w, "HELD on %s: %s: %s: %s\n", n.Node, Clean(h.Scope), Clean(h.Cause), indent(h.Detail))
			fmt.Fprintf(w, "  lifts %s\n", lifts(h))
			said = true
		}
		if n.Quorum != nil && stack == "" {
			n.Quorum.print(w, n.Node)
			said = true
		}
	}
	if said {
		fmt.Fprintln(w)
	}
}

func lifts(h Hold) string {
	if h.ID != "" && !strings.Contains(h.Lifts, h.ID) {
		return Clean(h.Lifts) + " (id " + Clean(h.ID) + ")"
	}
	return Clean(h.Lifts)
}

// indent shows a text of several lines below its heading.
func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = Clean(lines[i])
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return "\n    " + strings.Join(lines, "\n    ")
}

// Clean replaces what a terminal would act upon: a name or an error can hold anything.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, s)
}

// Why prints one line for each service of a stack, or for one, on each Pi: from the cause to the symptom, holds first. It
// reports whether there was anything to say.
func Why(w io.Writer, nodes []Node, stack, service string) bool {
	known := false
	for _, n := range nodes {
		if st, ok := n.Stack(stack); ok {
			known = true
			st.whyTop(w, n)
		}
	}
	list := rows(nodes, stack, service)
	for _, r := range list {
		if r.svc.Name == "-" && r.stack.Error != "" {
			continue // said above
		}
		fmt.Fprintf(w, "%s: %s\n", Clean(r.node), indent(r.sentence()))
		if r.svc.LastError != "" && !strings.Contains(r.svc.Why, r.svc.LastError) && !r.svc.State.ok() {
			fmt.Fprintf(w, "  last error: %s\n", indent(r.svc.LastError))
		}
		for _, wait := range r.svc.Waits {
			if !strings.Contains(r.svc.Why, wait) {
				fmt.Fprintf(w, "  %s\n", indent(wait))
			}
		}
	}
	return known && (service == "" || len(list) > 0)
}

// whyTop prints what holds for all services of a stack on a Pi.
func (s Stack) whyTop(w io.Writer, n Node) {
	for _, h := range n.Holds {
		if !strings.HasPrefix(h.Scope, "stack ") {
			fmt.Fprintf(w, "%s: nothing is changed because of the %s: %s: %s; it lifts %s\n", n.Node, Clean(h.Scope), Clean(h.Cause), indent(h.Detail), lifts(h))
		}
	}
	if q := n.Quorum; q != nil && !q.State.ok() && s.waitsForSwarm(q) {
		fmt.Fprintf(w, "%s: the Swarm itself: %s\n", n.Node, Clean(q.Why))
	}
	if s.Error != "" {
		fmt.Fprintf(w, "%s: %s is held, because its newest file cannot be used: %s\n", n.Node, s.Name, indent(s.Error))
	}
	for _, wait := range s.Waits {
		fmt.Fprintf(w, "%s: %s\n", n.Node, indent(wait))
	}
}

// waitsForSwarm reports whether Swarm runs a service of the stack, and none says itself what is wrong with the Swarm.
func (s Stack) waitsForSwarm(q *Quorum) bool {
	inSwarm := slices.ContainsFunc(s.Services, func(svc Service) bool { return svc.Swarm })
	return inSwarm && !slices.ContainsFunc(s.Services, func(svc Service) bool { return strings.Contains(svc.Why, q.Why) })
}

// Reason is one line of `why` in its JSON form.
type Reason struct {
	Stack     string   `json:"stack"`
	Service   string   `json:"service"`
	Node      string   `json:"node"`
	State     State    `json:"state"`
	Why       string   `json:"why,omitempty"`
	Progress  string   `json:"progress,omitempty"`
	Waits     []string `json:"waits,omitempty"`
	LastError string   `json:"last_error,omitempty"`
	Error     string   `json:"error,omitempty"` // of the stack
}

// Reasons is what Why prints, for programs.
func Reasons(nodes []Node, stack, service string) []Reason {
	out := []Reason{}
	for _, r := range rows(nodes, stack, service) {
		out = append(out, Reason{
			Stack: r.stack.Name, Service: r.svc.Name, Node: r.node, State: r.svc.State, Why: r.svc.Why,
			Progress: r.svc.Progress, Waits: r.svc.Waits, LastError: r.svc.LastError, Error: r.stack.Error,
		})
	}
	return out
}
