package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) validate() *cobra.Command {
	var stack string
	cmd := &cobra.Command{
		Use: "validate FILE...", Short: "Check Compose files as the daemon would", Args: args(cobra.MinimumNArgs(1)),
		Long: `Checks Compose files as the daemon would, with the variables and secrets of the store. Every problem is
shown with file, line, key and what to do. Nothing is written. A FILE of - is standard input.`,
		Example: "  brambled validate compose.yaml",
		RunE: func(cmd *cobra.Command, paths []string) error {
			op, list, err := c.prepare(paths, stack)
			if err != nil {
				return err
			}
			problems := op.Validate(cmd.Context(), list)
			if c.json() {
				err = printJSON(cmd.OutOrStdout(), texts(problems))
			} else {
				for _, p := range problems {
					fmt.Fprintln(cmd.OutOrStdout(), p)
				}
			}
			if len(problems) > 0 {
				return exitError{code: exitFailed}
			}
			if !c.json() {
				fmt.Fprintln(cmd.OutOrStdout(), "valid")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&stack, "stack", "", "name of the stack (default: the file's name: key, else its file name)")
	return cmd
}

func texts(errs []error) []string {
	out := []string{}
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}
