package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/app"
	"github.com/brambled/brambled/pkg/status"
)

func (c *cli) node() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "The Pis of the cluster", Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error {
		return usage(errors.New("node list or node rm; see brambled node --help"))
	}}
	cmd.AddCommand(c.nodeList(), c.nodeRemove())
	return cmd
}

func (c *cli) nodeList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "Show the Pis: who is there, who leads, the part of each in the Swarm", Args: args(cobra.NoArgs),
		Example: "  brambled node list --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			nodes, err := op.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			if c.json() {
				return printJSON(cmd.OutOrStdout(), nodes)
			}
			return nodeTable(cmd.OutOrStdout(), nodes)
		},
	}
}

func nodeTable(w io.Writer, nodes []app.Node) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tADDRESS\tSTATE\tSWARM\tVERSION")
	for _, n := range nodes {
		cells := []string{n.Name, cmp.Or(n.Address, "-"), nodeState(n), nodeRole(n), cmp.Or(n.Version, "-")}
		for i := range cells {
			cells[i] = status.Clean(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// nodeState is all that is to be said of a node beside its part in the Swarm.
func nodeState(n app.Node) string {
	words := []string{"away"}
	if n.Present {
		words[0] = "present"
	}
	if n.Leader {
		words = append(words, "leads")
	}
	switch {
	case n.Drained && n.Drain != status.DrainDone:
		words = append(words, "draining")
	case n.Drained:
		words = append(words, "drained")
	case n.Drain != "":
		words = append(words, "drained until it takes the end of that in")
	}
	if n.Gone {
		words = append(words, "removed")
	}
	return strings.Join(words, ", ")
}

func nodeRole(n app.Node) string {
	switch {
	case n.Swarm == "manager" && !n.Reachable:
		return "manager (away)"
	case n.SwarmLeader:
		return "manager (leads)"
	}
	return cmp.Or(n.Swarm, "-")
}

func (c *cli) nodeRemove() *cobra.Command {
	var force, undo bool
	cmd := &cobra.Command{
		Use: "rm NODE", Short: "Remove a Pi that is gone for good", Args: args(cobra.ExactArgs(1)),
		Long: `Says that a Pi does not come back: its seat among the managers of the Swarm is taken as soon as another one can, its record there
is removed, and it no longer counts when the number of managers is chosen. A Pi that is there is not removed without --force;
to take it out of service for a while use "brambled drain". A Pi that comes back under the name joins nothing until --undo.`,
		Example: "  brambled node rm pi3\n  brambled node rm --undo pi3",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			if undo {
				if err := op.RestoreNode(cmd.Context(), a[0]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s may take part again\n", a[0])
				return nil
			}
			if err := op.RemoveNode(cmd.Context(), a[0], force); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is removed; the leader takes it out of the Swarm, see brambled status\n", a[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "although it is present")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the removal back")
	return cmd
}
