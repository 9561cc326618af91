//go:build e2e && !long

package e2e

// rounds is how many random rounds a test makes.
const rounds = 6
