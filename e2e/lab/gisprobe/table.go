package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// prepare makes the table that watch inserts into.
func prepare(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is left to be said on it
	_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS probe (number int PRIMARY KEY, inserted timestamptz NOT NULL DEFAULT now())")
	return err
}

// rows prints the numbers of the rows that are there, a line each.
func rows(ctx context.Context, database string, out io.Writer) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is left to be said on it
	found, err := conn.Query(ctx, "SELECT number FROM probe ORDER BY number")
	if err != nil {
		return err
	}
	numbers, err := pgx.CollectRows(found, pgx.RowTo[int])
	for _, n := range numbers {
		_, _ = fmt.Fprintln(out, n) // a broken pipe is seen by who reads it
	}
	return err
}
