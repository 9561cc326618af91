package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) delete() *cobra.Command {
	return &cobra.Command{
		Use: "delete STACK", Short: "Remove a stack; its volumes stay", Args: args(cobra.ExactArgs(1)),
		Long:    `Removes the stack's key, as "consul kv delete" does. Containers and networks go, volumes stay.`,
		Example: "  brambled delete web",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			if err := op.Delete(cmd.Context(), a[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", a[0])
			return nil
		},
	}
}
