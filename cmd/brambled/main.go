// Command brambled runs Compose stacks from Consul KV on a bramble, a cluster of Raspberry Pis.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "dev"

// The exit codes, the same for every command.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitHeld    = 3 // held, or not converged
	exitChanges = 4 // plan found changes
)

// exitError ends the command with a code of its own.
type exitError struct {
	code int
	err  error // nil when all was said already
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	os.Exit(report(err))
}

// report says what went wrong and returns the exit code.
func report(err error) int {
	if err == nil {
		return 0
	}
	code := exitFailed
	if e := (exitError{}); errors.As(err, &e) {
		code = e.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "brambled:", text)
	}
	return code
}
