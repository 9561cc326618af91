package consul

import "errors"

// Announced reports whether it was tried to hold the presence: before that it is not known whether another machine has the
// name.
func (p *Presenter) Announced() bool { return !errors.Is(p.Problem(), errNotYet) }
