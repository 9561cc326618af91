package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/app"
	"github.com/brambled/brambled/pkg/status"
)

func (c *cli) apply() *cobra.Command {
	var stack string
	var timeout time.Duration
	var detach bool
	cmd := &cobra.Command{
		Use: "apply FILE...", Short: "Check, write and follow stacks until they run or fail", Args: args(cobra.MinimumNArgs(1)),
		Long: `Checks the files, writes each unless somebody else changed the stack meanwhile, and follows the nodes until every one
runs it or one failed. "consul kv put" does the same, less the check and the waiting. Exit codes: 0 it runs, 1 it
failed, 3 it is held or not there within the time.`,
		Example: "  brambled apply compose.yaml --stack web",
		RunE: func(cmd *cobra.Command, paths []string) error {
			op, list, err := c.prepare(paths, stack)
			if err != nil {
				return err
			}
			for _, f := range list {
				index, err := op.Put(cmd.Context(), f)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: written\n", f.Stack)
				if detach {
					continue
				}
				if err := follow(cmd, op, f.Stack, index, timeout); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&stack, "stack", "", "name of the stack (default: the file's name: key, else its file name)")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to follow")
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "do not follow")
	return cmd
}

// follow shows the way of a stack until it has an end.
func follow(cmd *cobra.Command, op *app.Operator, stack string, index uint64, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	var last string
	var state status.State
	err := op.Follow(ctx, func(nodes []status.Node) bool {
		var done bool
		state, done = status.Progress(nodes, stack, index)
		last = line(cmd.OutOrStdout(), status.Summary(nodes, stack), last)
		return done
	})
	if terminal() {
		fmt.Fprintln(cmd.OutOrStdout())
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return exitError{exitHeld, fmt.Errorf("%s is not there within %s; see brambled why %s", stack, timeout, stack)}
	case err != nil:
		return err
	case state == status.Failed:
		return fmt.Errorf("%s failed; see brambled why %s", stack, stack)
	case state == status.Held:
		return exitError{exitHeld, fmt.Errorf("%s is held; see brambled why %s", stack, stack)}
	}
	return nil
}

// line shows progress: in place on a terminal, and elsewhere a line for each change.
func line(w io.Writer, now, last string) string {
	switch {
	case now == last:
	case terminal():
		fmt.Fprintf(w, "\r\x1b[K%s", now)
	default:
		fmt.Fprintln(w, now)
	}
	return now
}
