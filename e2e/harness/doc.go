// Package harness starts the real things that integration and end-to-end tests run against: a Docker Engine,
// a Consul agent, brambled itself, and a proxy in front of the engine or of Consul that writes down every request
// and does to it what a test asks for.
//
// Each Start function takes the test, returns when the thing answers, and removes it again when the test
// ends, whichever way it ends: cleanups for tests that pass, fail or panic, and for a test process that is
// interrupted or killed, children that die with their parent. Logs are kept when a test fails. Nothing is
// ever looked up by name to be stopped: only what was started here, by its process id.
//
// Missing packages are installed by the scripts that the functions call (scripts/require); what cannot be
// installed fails the test. Nothing is skipped.
//
// Environment:
//
//	BRAMBLED_TEST_CONSUL       a consul binary to use instead of the one from PATH or the cache
//	BRAMBLED_TEST_DOCKER_HOST  an engine to use instead of a private one; never stopped
//	BRAMBLED_TEST_DOCKER_ADDRESS  where that engine's published ports are reached (127.0.0.1)
//	BRAMBLED_TEST_BINARY       a brambled binary to use instead of building one
//	BRAMBLED_TEST_LONG         a file to which long tests add a line each (scripts/test-long)
//	BRAMBLED_SEED              the seed of a random test, to run one again that failed
//	BRAMBLED_TEST_ARTIFACTS    a directory for logs, kept even when tests pass
package harness
