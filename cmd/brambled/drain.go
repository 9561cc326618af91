package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/app"
	"github.com/brambled/brambled/pkg/status"
)

func (c *cli) drain() *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "drain NODE", Short: "Take a Pi out of service for maintenance", Args: args(cobra.ExactArgs(1)),
		Long: `Stops the Pi's container services, what depends on something before that, and keeps them on disk; nothing of them starts,
also not when the Pi is started again, until "brambled undrain". New files wait, what is deleted goes. The Swarm runs no task
there, and its seat among the managers is moved to another Pi. A job that is to run once is not cut short but waited for.

The static tier (/etc/brambled/manifests) goes on running: it holds Consul itself. To stop that too, stop the Pi.

Exit codes: 0 it is drained, 3 it is not yet within the time, or the Pi is away.`,
		Example: "  brambled drain pi2\n  brambled drain pi2 --wait=false",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			n, err := op.Drain(cmd.Context(), a[0])
			if err != nil {
				return err
			}
			if !n.Present {
				return exitError{exitHeld, fmt.Errorf("%s is not present: it is drained when it is back", a[0])}
			}
			if !wait {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is being drained; see brambled node list\n", a[0])
				return nil
			}
			return c.awaitDrain(cmd, op, a[0], timeout)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until it is drained")
	cmd.Flags().DurationVar(&timeout, "timeout", 15*time.Minute, "how long to wait")
	return cmd
}

// awaitDrain shows what a drain waits for, each time that changes, until it is done.
func (c *cli) awaitDrain(cmd *cobra.Command, op *app.Operator, node string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	var last string
	err := op.Follow(ctx, func(reports []status.Node) bool {
		waits := app.Draining(node, reports)
		for i := range waits {
			waits[i] = status.Clean(waits[i])
		}
		if text := strings.Join(waits, "\n  "); text != last && text != "" && !c.json() {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is being drained:\n  %s\n", node, text)
			last = text
		}
		return len(waits) == 0
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return exitError{exitHeld, fmt.Errorf("%s is not drained after %s; it goes on, see brambled node list", node, timeout)}
	case err != nil:
		return err
	case c.json():
		return printJSON(cmd.OutOrStdout(), map[string]any{"node": node, "drain": status.DrainDone})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is drained; brambled undrain %s puts it back into service\n", node, node)
	return nil
}

func (c *cli) undrain() *cobra.Command {
	return &cobra.Command{
		Use: "undrain NODE", Short: "Put a Pi back into service", Args: args(cobra.ExactArgs(1)),
		Long: `Takes "brambled drain" back: the Pi's services start again in the order of depends_on, those whose file changed meanwhile in
the new version, and Swarm may run tasks there again.`,
		Example: "  brambled undrain pi2",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			if err := op.Undrain(cmd.Context(), a[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is put back into service; see brambled status\n", a[0])
			return nil
		},
	}
}
