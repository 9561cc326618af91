package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	every   = 500 * time.Millisecond
	patient = 5 * time.Second // how long a request may take before it has failed
)

// Attempt is one request and what came of it: a line of JSON.
type Attempt struct {
	Kind   string    `json:"kind"`             // map or sql
	Number int       `json:"number"`           // of the kind, from 1; the row that was inserted
	Begun  time.Time `json:"begun"`            //
	Ended  time.Time `json:"ended"`            //
	Err    string    `json:"err,omitempty"`    // why it failed
	Unsure bool      `json:"unsure,omitempty"` // the row may have been committed all the same
}

// watch sends both requests twice a second until the context ends, each kind by itself: one that hangs delays only its own.
func watch(ctx context.Context, mapURL, database string, out io.Writer) error {
	r := &recorder{out: json.NewEncoder(out)}
	w := &writer{database: database}
	defer w.close()
	var wg sync.WaitGroup
	wg.Go(func() { r.keepAsking(ctx, "map", func(ctx context.Context, _ int) error { return ask(ctx, mapURL) }) })
	wg.Go(func() { r.keepAsking(ctx, "sql", w.insert) })
	wg.Wait()
	return nil
}

type recorder struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (r *recorder) keepAsking(ctx context.Context, kind string, try func(context.Context, int) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		a := Attempt{Kind: kind, Number: n, Begun: time.Now()}
		// Not the caller's context: a request that is under way at the end is waited for, so that its outcome is known.
		limited, done := context.WithTimeout(context.WithoutCancel(ctx), patient)
		err := try(limited, n)
		done()
		if a.Ended = time.Now(); err != nil {
			a.Err, a.Unsure = err.Error(), !errors.Is(err, errNotSent)
		}
		r.mu.Lock()
		_ = r.out.Encode(a) // nobody reads any more: the end is near
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// ask wants a map.
func ask(ctx context.Context, url string) error {
	body, err := get(ctx, url)
	if err == nil && !bytes.HasPrefix(body, []byte("\x89PNG")) {
		err = fmt.Errorf("this is no picture: %.100q", body)
	}
	return err
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// A new connection each time, as a new visitor has.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.100q", resp.Status, body)
	}
	return body, err
}

// errNotSent says that the row cannot have been committed.
var errNotSent = errors.New("not connected")

// writer keeps its connection as an application does, and makes a new one after trouble.
type writer struct {
	database string
	conn     *pgx.Conn
}

// insert commits one row and nothing else.
func (w *writer) insert(ctx context.Context, n int) error {
	if w.conn == nil {
		conn, err := pgx.Connect(ctx, w.database)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotSent, err)
		}
		w.conn = conn
	}
	_, err := w.conn.Exec(ctx, "INSERT INTO probe (number) VALUES ($1)", n)
	if err != nil {
		w.close()
	}
	return err
}

func (w *writer) close() {
	if w.conn != nil {
		_ = w.conn.Close(context.Background()) // broken already, or no longer needed
		w.conn = nil
	}
}
