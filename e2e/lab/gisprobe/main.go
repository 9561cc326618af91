// Command gisprobe is both ends of the map service as the tests of the GIS stack need them: a client that asks for a map and
// inserts a row twice a second and writes down what came of it, and a small web server that draws from the database, in the
// place of GeoServer where there is no archive of that.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gisprobe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(ctx, os.Getenv)
	case len(args) == 1 && args[0] == "healthcheck":
		_, err := get(ctx, "http://127.0.0.1:"+port(os.Getenv)+"/geoserver/ows")
		return err
	case len(args) == 2 && args[0] == "map":
		return ask(ctx, args[1])
	case len(args) == 2 && args[0] == "prepare":
		return prepare(ctx, args[1])
	case len(args) == 2 && args[0] == "rows":
		return rows(ctx, args[1], os.Stdout)
	case len(args) == 3 && args[0] == "watch":
		return watch(ctx, args[1], args[2], os.Stdout)
	default:
		return fmt.Errorf("usage: gisprobe serve | healthcheck | map MAP-URL | prepare DATABASE-URL | rows DATABASE-URL | watch MAP-URL DATABASE-URL")
	}
}
