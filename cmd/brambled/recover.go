package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/app"
	"github.com/brambled/brambled/pkg/status"
)

func (c *cli) swarmRecover() *cobra.Command {
	var r app.Recovery
	cmd := &cobra.Command{
		Use: "recover", Short: "Have a Swarm that lost its quorum for good go on with this manager", Args: args(cobra.NoArgs),
		Long: `For a Swarm most of whose managers are gone for good; while they may come back, wait for them. Run it as root on one manager that
is left. It makes this one the only manager, with all the services that the Swarm had, and brambled then makes managers of
other Pis until there are three again.

Every other manager that does not answer must be named with --lost. It is refused while the Swarm has a leader, while one of the lost
is present in Consul, and while Consul does not answer, unless --without-consul says that it has gone with them.

What is lost must never come back with its old state: two old managers would go on as a second Swarm of the same name. Before such a
Pi is started again, without network: docker swarm leave --force.`,
		Example: "  brambled swarm recover                             # shows who would be given up\n  brambled swarm recover --lost pi2 --lost pi3",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errors.New("swarm recover: only root may do this")
			}
			op, err := c.operator()
			if err != nil {
				return err
			}
			given, err := op.Recover(cmd.Context(), r)
			if err != nil {
				return err
			}
			if c.json() {
				return printJSON(cmd.OutOrStdout(), given)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "this engine is the only manager of its Swarm now; given up were:")
			for _, p := range given {
				line := "  " + p.String()
				if p.Answers {
					line += ", which answers: there, docker swarm leave --force, and it joins anew"
				}
				fmt.Fprintln(cmd.OutOrStdout(), status.Clean(line))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "brambled makes more managers as soon as it can, see brambled status; those that do not come back: brambled node rm")
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&r.Lost, "lost", nil, "a manager that is gone for good, by name or address; once for each")
	cmd.Flags().BoolVar(&r.WithoutConsul, "without-consul", false, "although Consul does not say who is present")
	return cmd
}
