package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/reconciler/plan"
)

func (c *cli) plan() *cobra.Command {
	var stack string
	cmd := &cobra.Command{
		Use: "plan [FILE...]", Short: "Show what would change on this Pi, and why; touch nothing", Args: args(cobra.ArbitraryArgs),
		Long: `Shows the steps that would follow if the files were applied now, and what would be waited for, as if each step
went well. Without files: what the daemon would do about the store as it is. Nothing is touched. Exit code 4: there
are changes.`,
		Example: "  brambled plan compose.yaml --stack web",
		RunE: func(cmd *cobra.Command, paths []string) error {
			op, list, err := c.prepare(paths, stack)
			if err != nil {
				return err
			}
			plans, err := op.Preview(cmd.Context(), list)
			if err != nil {
				return err
			}
			return c.printPlans(cmd.OutOrStdout(), plans)
		},
	}
	cmd.Flags().StringVar(&stack, "stack", "", "name of the stack (default: the file's name: key, else its file name)")
	return cmd
}

// planStep is one line of `plan --output json`.
type planStep struct {
	Pass   int    `json:"pass"`
	Lane   string `json:"lane"`
	Action string `json:"action"`
	Reason string `json:"reason"`
}

func (c *cli) printPlans(w io.Writer, plans []plan.Plan) error {
	steps := []planStep{}
	for i, p := range plans {
		for _, l := range p.Lanes {
			for _, s := range l.Steps {
				steps = append(steps, planStep{i + 1, l.Key, s.Action.String(), string(s.Reason)})
			}
		}
	}
	switch {
	case c.json():
		if err := printJSON(w, steps); err != nil {
			return err
		}
	case len(plans) == 0:
		fmt.Fprintln(w, "nothing to do")
	default:
		for i, p := range plans {
			fmt.Fprintf(w, "pass %d\n%s", i+1, p)
		}
	}
	if len(steps) > 0 {
		return exitError{code: exitChanges}
	}
	return nil
}
