package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/status"
)

func (c *cli) why() *cobra.Command {
	return &cobra.Command{
		Use: "why STACK[/SERVICE]", Short: "Say why a service is as it is", Args: args(cobra.ExactArgs(1)),
		Long:    "Says of each service of a stack, or of one, in a sentence, why it is as it is: from the cause to the symptom.",
		Example: "  brambled why web/app",
		RunE: func(cmd *cobra.Command, a []string) error {
			stack, service, _ := strings.Cut(a[0], "/")
			op, err := c.operator()
			if err != nil {
				return err
			}
			nodes, err := op.Reports(cmd.Context())
			if err != nil {
				return err
			}
			if c.json() {
				return printJSON(cmd.OutOrStdout(), status.Reasons(nodes, stack, service))
			}
			if !status.Why(cmd.OutOrStdout(), nodes, stack, service) {
				return fmt.Errorf("no node reports %s; is its key %s there?", a[0], "stacks/"+stack)
			}
			return nil
		},
	}
}
