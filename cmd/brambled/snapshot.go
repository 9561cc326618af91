package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/app"
)

func (c *cli) snapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Save and restore stacks, variables and secrets", Args: args(cobra.NoArgs),
		Long: `Saves what the store holds for brambled to a file, and puts it back. The file holds secrets and can be read by its owner
only. A node's last-known-good is such a snapshot too: it re-seeds a store that was lost.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(errors.New("snapshot: say save, restore or inspect; see brambled snapshot --help"))
		},
	}
	cmd.AddCommand(c.snapshotSave(), c.snapshotRestore(), c.snapshotInspect())
	return cmd
}

func (c *cli) snapshotSave() *cobra.Command {
	return &cobra.Command{
		Use: "save FILE", Short: "Write stacks, variables and secrets to a file", Args: args(cobra.ExactArgs(1)),
		Example: "  brambled snapshot save bramble.snap",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			s, err := op.SaveSnapshot(cmd.Context(), a[0])
			if err != nil {
				return err
			}
			return c.contents(cmd, s)
		},
	}
}

func (c *cli) snapshotInspect() *cobra.Command {
	var lastGood bool
	cmd := &cobra.Command{
		Use: "inspect [FILE]", Short: "Show what is in a snapshot, without its values", Args: args(cobra.MaximumNArgs(1)),
		Example: "  brambled snapshot inspect bramble.snap\n  brambled snapshot inspect --from-last-good",
		RunE: func(cmd *cobra.Command, a []string) error {
			_, s, err := c.readSnapshot(a, lastGood)
			if err != nil {
				return err
			}
			return c.contents(cmd, s)
		},
	}
	cmd.Flags().BoolVar(&lastGood, "from-last-good", false, "what this node remembers")
	return cmd
}

func (c *cli) snapshotRestore() *cobra.Command {
	var lastGood, force bool
	cmd := &cobra.Command{
		Use: "restore [FILE]", Short: "Put back what the store lacks", Args: args(cobra.MaximumNArgs(1)),
		Long: `Writes the keys that the store lacks, and the cluster id last: until then every node holds. A key that is there with
another value is left alone and named, unless --force is given. Exit code 3: such keys are there.`,
		Example: "  brambled snapshot restore --from-last-good\n  brambled snapshot restore bramble.snap",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, s, err := c.readSnapshot(a, lastGood)
			if err != nil {
				return err
			}
			done, err := op.Restore(cmd.Context(), s, force)
			if err != nil {
				return err
			}
			if c.json() {
				if err := printJSON(cmd.OutOrStdout(), done); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "cluster %s: %d keys written, %d were there\n", done.Cluster, len(done.Written), len(done.Kept))
			}
			if len(done.Differ) > 0 {
				return exitError{exitHeld, fmt.Errorf("left alone, because the store has another value: %s; --force overwrites them", strings.Join(done.Differ, ", "))}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&lastGood, "from-last-good", false, "restore what this node remembers")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite keys that have another value")
	return cmd
}

// readSnapshot reads the named file, or what this node remembers.
func (c *cli) readSnapshot(a []string, lastGood bool) (*app.Operator, app.Snapshot, error) {
	if (len(a) == 1) == lastGood {
		return nil, app.Snapshot{}, usage(errors.New("snapshot: name a file, or give --from-last-good"))
	}
	op, err := c.operator()
	if err != nil {
		return nil, app.Snapshot{}, err
	}
	var s app.Snapshot
	if lastGood {
		s, err = op.LastGood()
	} else {
		s, err = app.ReadSnapshot(a[0])
	}
	return op, s, err
}

func (c *cli) contents(cmd *cobra.Command, s app.Snapshot) error {
	have := s.Contents()
	if c.json() {
		return printJSON(cmd.OutOrStdout(), have)
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "cluster  %s\n", have.Cluster)
	for _, part := range []struct {
		what string
		keys []string
	}{{"stacks", have.Stacks}, {"vars", have.Vars}, {"secrets", have.Secrets}, {"worked", have.Healthy}} {
		if part.what == "worked" && part.keys == nil {
			continue // a file has no such memory
		}
		fmt.Fprintf(w, "%-8s %s\n", part.what, strings.Join(part.keys, ", "))
	}
	return nil
}
