package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/brambled/brambled/pkg/app"
)

func (c *cli) run() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the daemon on this Pi", Args: args(cobra.NoArgs),
		Long: `Runs the daemon in the foreground, as systemd does. SIGTERM ends it and stops no container;
SIGHUP reads the static tier (manifests_dir) again.`,
		Example: "  brambled run --node pi1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			log, err := app.NewLogger(cfg)
			if err != nil {
				return err
			}
			defer func() { _ = log.Sync() }() // what is lost when standard error is gone cannot be told anyway
			reload := make(chan struct{})
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			go func() {
				for range hangup {
					reload <- struct{}{}
				}
			}()
			a, err := app.New(app.Options{Config: cfg, Version: version, Log: log, Reload: reload})
			if err != nil {
				return err
			}
			return a.Run(cmd.Context())
		},
	}
}
