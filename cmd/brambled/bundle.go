package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/compose"
)

func (c *cli) bundle() *cobra.Command {
	return &cobra.Command{
		Use: "bundle FILE...", Short: "Make one file of several, with all they refer to inlined", Args: args(cobra.MinimumNArgs(1)),
		Long: `Merges Compose files like "docker compose -f A -f B" and inlines what they refer to on disk: env_file, include,
extends.file, file-based configs. KV has no files; what cannot be inlined is refused with what to do. ${VARIABLES} stay.`,
		Example: "  brambled bundle compose.yaml compose.prod.yaml | consul kv put brambled/stacks/web -",
		RunE: func(cmd *cobra.Command, paths []string) error {
			out, warnings, err := compose.Bundle(paths)
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		},
	}
}
