package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) approve() *cobra.Command {
	var local bool
	cmd := &cobra.Command{
		Use: "approve HOLD", Short: "Lift a hold that waits for a person", Args: args(cobra.ExactArgs(1)),
		Long: `Lets exactly what a hold names happen, on every node that has it. "brambled status" shows the holds and their ids. A
hold that lifts by itself has no id. With --local the approval is for the daemon of this machine alone, and needs no Consul.`,
		Example: "  brambled approve 3f2a9c01d4e5",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			hold, err := op.Approve(cmd.Context(), a[0], local)
			if err != nil {
				return err
			}
			if c.json() {
				return printJSON(cmd.OutOrStdout(), hold)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "approved: %s: %s\n", hold.Cause, hold.Detail)
			return nil
		},
	}
	cmd.Flags().BoolVar(&local, "local", false, "for the daemon of this machine alone")
	return cmd
}

func (c *cli) retry() *cobra.Command {
	return &cobra.Command{
		Use: "retry STACK", Short: "Try again what failed of a stack", Args: args(cobra.ExactArgs(1)),
		Long: `A revision that did not pass its gate and a job that failed are not tried again until the stack changes. This asks every
node to try once more what failed.`,
		Example: "  brambled retry web",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			if err := op.Retry(cmd.Context(), a[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is tried again; see brambled status %s\n", a[0], a[0])
			return nil
		},
	}
}
