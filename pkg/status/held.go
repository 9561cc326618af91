package status

import "errors"

// HeldError is why a pass ended early where that is no failure: something must not be done, and the hold says what.
type HeldError struct{ Hold Hold }

// Error implements error.
func (e *HeldError) Error() string { return e.Hold.Cause + ": " + e.Hold.Detail }

// unseen is what is said of a service in a pass that saw nothing to go by.
func (b *builder) unseen() (State, string) {
	if held, ok := errors.AsType[*HeldError](b.Err); ok {
		return Held, held.Error()
	}
	return Unknown, "the engine does not answer; what runs goes on"
}
