package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/status"
)

func (c *cli) status() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "status [STACK]", Short: "Show what runs where, and why not", Args: args(cobra.MaximumNArgs(1)),
		Long: `Shows each service on each node: its state, how many containers run, and what it waits for. What is held or failed
comes first. Exit code 3: something is held, failed or on its way.`,
		Example: "  brambled status\n  brambled status web --watch",
		RunE: func(cmd *cobra.Command, a []string) error {
			stack := ""
			if len(a) > 0 {
				stack = a[0]
			}
			op, err := c.operator()
			if err != nil {
				return err
			}
			if watch {
				return op.Follow(cmd.Context(), func(nodes []status.Node) bool {
					if terminal() {
						fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J")
					}
					_ = c.show(cmd.OutOrStdout(), nodes, stack) // shown again at the next change
					return false
				})
			}
			nodes, err := op.Reports(cmd.Context())
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), nodes, stack)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show again at each change")
	return cmd
}

func (c *cli) show(w io.Writer, nodes []status.Node, stack string) error {
	if c.json() {
		if err := printJSON(w, nodes); err != nil {
			return err
		}
	} else {
		status.Table(w, nodes, stack)
	}
	worst, found := status.Worst(nodes, stack)
	switch {
	case stack != "" && !found:
		return fmt.Errorf("no node reports a stack %s", stack)
	case worst != status.Converged:
		return exitError{code: exitHeld}
	}
	return nil
}
