//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/brambled/brambled/reconciler/plan"
)

// point is the one that is armed.
type point struct {
	name  Name
	left  atomic.Int64 // visits until it goes off
	hangs bool
}

var armed = arm(os.Getenv("BRAMBLED_FAILPOINT"))

func arm(spec string) *point {
	p := &point{}
	words := strings.Split(spec, ":")
	p.name = Name(words[0])
	p.left.Store(1)
	for _, w := range words[1:] {
		n, err := strconv.ParseInt(w, 10, 64)
		switch {
		case w == "hang":
			p.hangs = true
		case err != nil || n < 1:
			panic("failpoint: BRAMBLED_FAILPOINT is NAME[:n][:hang], not " + spec)
		default:
			p.left.Store(n)
		}
	}
	if spec != "" {
		known(p.name)
	}
	return p
}

func known(n Name) {
	if !slices.Contains(Names(), n) {
		panic("failpoint: there is no point " + string(n))
	}
}

// Hit is where a point is.
func Hit(n Name) {
	known(n)
	if n != armed.name || armed.left.Add(-1) > 0 {
		return
	}
	if armed.hangs {
		fmt.Fprintln(os.Stderr, "failpoint:", n, "hangs")
		select {}
	}
	fmt.Fprintln(os.Stderr, "failpoint:", n, "kills")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal may take a moment to come, and nothing may be done in it
}

// Before is the point before an action on the engine, After the one after it.
func Before(a plan.Action) { Hit(BeforeAction(a)) }

// After is the point after an action.
func After(a plan.Action) { Hit(AfterAction(a)) }
