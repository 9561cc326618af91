package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func port(env func(string) string) string {
	if p := env("GEOSERVER_PORT"); p != "" {
		return p
	}
	return "8080"
}

// serve draws a map of what the database says, on the paths of GeoServer.
func serve(ctx context.Context, env func(string) string) error {
	password, err := os.ReadFile(env("PASSWORD_FILE"))
	if err != nil {
		return fmt.Errorf("PASSWORD_FILE: %w", err)
	}
	config, err := pgxpool.ParseConfig(env("DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	config.ConnConfig.Password = strings.TrimSpace(string(password))
	// Behind pgpool a prepared statement is no longer there when the session goes to another server.
	config.MaxConns, config.ConnConfig.DefaultQueryExecMode = 4, pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/geoserver/", func(w http.ResponseWriter, r *http.Request) {
		// As GeoServer: what is no map needs no database, so that the loss of that is not the loss of this.
		if r.URL.Query().Get("request") == "GetMap" {
			draw(w, r, pool)
		}
	})
	server := &http.Server{Addr: ":" + port(env), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // the end of the process
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// draw paints a bar as long as the area of a unit square is large: a picture that only a database with PostGIS can give.
func draw(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool) {
	ctx, done := context.WithTimeout(r.Context(), 3*time.Second)
	defer done()
	var width float64
	if err := pool.QueryRow(ctx, "SELECT ST_Area('POLYGON((0 0,0 8,8 8,8 0,0 0))'::geometry)").Scan(&width); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	picture := image.NewGray(image.Rect(0, 0, 64, 8))
	for i := range int(width) * 8 {
		picture.SetGray(i%64, i/64, color.Gray{Y: 200})
	}
	w.Header().Set("Content-Type", "image/png")
	_ = png.Encode(w, picture) // the visitor is gone
}
