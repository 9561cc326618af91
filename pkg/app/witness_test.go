package app

import (
	"fmt"
	"testing"

	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/status"
)

// unreported starts with a stack that is reported and puts another one while no report can be written.
func unreported(t *testing.T, failure consultest.Failure) (d *instance, old consultest.Image, heal func()) {
	t.Helper()
	d = start(t, nil)
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	d.reported(t, `"web"`)
	d.witnessed(t, "web")
	old = d.store.Save()
	failure.Path = "txn"
	heal = d.store.Break(failure)
	d.store.Put("brambled/stacks/late", small)
	d.is(t, "late", status.Converged)
	d.remembers(t, "web", "late")
	d.engine.Forget()
	return d, old, heal
}

// witnessed waits until the report vouches for a stack.
func (d *instance) witnessed(t *testing.T, stack string) {
	t.Helper()
	eventually(t, stack+" has a witness", func() error {
		p, _ := d.store.Get("brambled/stacks/" + stack)
		if has := d.app.memory.get().ReportIndex; has < p.ModifyIndex {
			return fmt.Errorf("the report is at %d, the stack at %d", has, p.ModifyIndex)
		}
		return nil
	})
}

// gone waits until a stack is no longer in the report.
func (d *instance) gone(t *testing.T, stack string) {
	t.Helper()
	eventually(t, stack+" is gone", func() error {
		if st, there := d.app.Status().Stack(stack); there {
			return fmt.Errorf("it is %+v", st)
		}
		return nil
	})
}

// A store is restored to a snapshot without a stack of which this node has written no report yet, say because the token may
// not: nothing in the store tells that from a deletion, but nothing shows a deletion either.
func TestLostBeforeItWasReported(t *testing.T) {
	t.Parallel()
	d, old, heal := unreported(t, consultest.Failure{Status: 403, Body: "Permission denied"})
	d.restores(t, old)
	hold := d.holds(t, "store went back")
	// Whatever is written or deleted afterwards, and whoever starts anew, knows no more.
	d.store.Put("brambled/stacks/other", small)
	d.store.Delete("brambled/stacks/other")
	heal()
	d.reported(t, hold.ID)
	d.restart(t)
	hold = d.holds(t, "store went back")
	d.takesNothing(t)
	d.is(t, "late", status.Converged)
	d.store.Put("brambled/approvals/"+hold.ID, "")
	d.lifts(t)
	d.gone(t, "late")
}

// The store goes back in the moment between this node's look at its report and the next report: that one vouches for nothing
// that is gone by then.
func TestLostWhileItWasReported(t *testing.T) {
	t.Parallel()
	d, old, heal := unreported(t, consultest.Failure{Late: true})
	eventually(t, "the report is on its way", func() error {
		if d.store.Waiting() == 0 {
			return fmt.Errorf("no report was sent")
		}
		return nil
	})
	d.restores(t, old)
	heal()
	d.holds(t, "store went back")
	d.takesNothing(t)
	d.is(t, "late", status.Converged)
	d.store.Put("brambled/stacks/late", small)
	d.lifts(t)
	d.takesNothing(t)
}

// Somebody deletes a stack of which no report could be written: the store shows the deletion, which is a command.
func TestDeletedBeforeItWasReported(t *testing.T) {
	t.Parallel()
	d, _, _ := unreported(t, consultest.Failure{Status: 403, Body: "Permission denied"})
	d.store.Delete("brambled/stacks/late")
	d.gone(t, "late")
	if list := d.app.Status().Holds; len(list) > 0 {
		t.Errorf("holds are %+v", list)
	}
}
