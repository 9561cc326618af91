//go:build !failpoint

package failpoint

import "github.com/brambled/brambled/reconciler/plan"

// Hit is where a point is.
func Hit(Name) {}

// Before is the point before an action on the engine, After the one after it.
func Before(plan.Action) {}

// After is the point after an action.
func After(plan.Action) {}
