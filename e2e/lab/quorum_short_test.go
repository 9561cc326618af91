//go:build e2e && !long

package lab_test

// longer are the scenarios for which `make test` has no time.
func (*bramble) longer() []scenario { return nil }
