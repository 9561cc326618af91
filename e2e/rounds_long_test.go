//go:build e2e && long

package e2e

// rounds is how many random rounds a test makes in `make test-long`.
const rounds = 100
