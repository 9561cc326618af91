package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) swarm() *cobra.Command {
	cmd := &cobra.Command{Use: "swarm", Short: "The Swarm itself: take one over, recover one", Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error {
		return usage(errors.New("swarm adopt or swarm recover; see brambled swarm --help"))
	}}
	cmd.AddCommand(c.swarmAdopt(), c.swarmRecover())
	return cmd
}

func (c *cli) swarmAdopt() *cobra.Command {
	return &cobra.Command{
		Use: "adopt ID", Short: "Have brambled manage a Swarm that it did not form", Args: args(cobra.ExactArgs(1)),
		Long: `Services are deployed on any Swarm, but only one that brambled formed is managed: managers, labels, settings, nodes. This has the
leader take one over. ID is what "docker info" on a manager shows as ClusterID. It is refused while the cluster has a Swarm
of its own, or while a Pi that is present is in another one.`,
		Example: "  brambled swarm adopt $(docker info --format '{{.Swarm.Cluster.ID}}')",
		RunE: func(cmd *cobra.Command, a []string) error {
			op, err := c.operator()
			if err != nil {
				return err
			}
			if err := op.Adopt(cmd.Context(), a[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the leader takes Swarm %s over as soon as one of its managers leads; see brambled status\n", a[0])
			return nil
		},
	}
}
