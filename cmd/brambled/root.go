package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/app"
	"github.com/brambled/brambled/pkg/config"
)

const about = `brambled keeps the containers of a bramble, a cluster of Raspberry Pis, as the Compose
files in Consul KV say.

  consul kv put brambled/stacks/web @compose.yaml    what shall run
  brambled status                                    what runs where, and why not

Exit codes: 0 done, 1 failed, 2 usage, 3 held or not converged, 4 plan found changes.`

// cli is what all commands share.
type cli struct {
	file   string // --config
	output string // --output
	cmd    *cobra.Command
}

func root() *cobra.Command {
	c := &cli{}
	cmd := &cobra.Command{
		Use: "brambled", Short: "Runs Compose stacks from Consul KV on a cluster of Raspberry Pis", Long: about,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			c.cmd = cmd
			if c.output != "text" && c.output != "json" {
				return usage(fmt.Errorf("--output %q: use text or json", c.output))
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	cmd.PersistentFlags().StringVar(&c.file, "config", "", "configuration file (default "+config.DefaultFile+", if it is there)")
	cmd.PersistentFlags().StringVarP(&c.output, "output", "o", "text", "text or json")
	config.Flags(cmd.PersistentFlags())
	cmd.AddCommand(c.run(), c.validate(), c.bundle(), c.plan(), c.apply(), c.status(), c.why(), c.delete(), c.retry(), c.approve(),
		c.drain(), c.undrain(), c.node(), c.swarm(), c.snapshot(), c.version())
	return cmd
}

// usage marks an error in how the command was called.
func usage(err error) error { return exitError{exitUsage, err} }

// args turns a wrong number of arguments into a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
		}
		return nil
	}
}

// config reads the settings from file, environment and flags.
func (c *cli) config() (config.Config, error) {
	cfg, err := config.Load(config.LoadOptions{File: c.file, Flags: c.cmd.Flags()})
	if err != nil {
		return cfg, usage(err)
	}
	return cfg, nil
}

// operator is what the commands other than run work with. It logs nothing: what a command has to say, it prints.
func (c *cli) operator() (*app.Operator, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	return app.NewOperator(cfg, zap.NewNop())
}

// prepare is what the commands on files begin with: the files read, and who works on them.
func (c *cli) prepare(paths []string, stack string) (*app.Operator, []app.File, error) {
	list, err := files(paths, stack)
	if err != nil {
		return nil, nil, err
	}
	op, err := c.operator()
	return op, list, err
}

// files reads Compose files; --stack names the stack of a single one.
func files(paths []string, stack string) ([]app.File, error) {
	if stack != "" && len(paths) > 1 {
		return nil, usage(fmt.Errorf("--stack names one stack, and there are %d files", len(paths)))
	}
	var out []app.File
	for _, p := range paths {
		f, err := app.ReadFile(p, stack)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func (c *cli) json() bool { return c.output == "json" }

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// terminal reports whether a person watches.
func terminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
