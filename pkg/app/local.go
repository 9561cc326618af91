package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/brambled/brambled/pkg/compose"
	"github.com/brambled/brambled/pkg/status"
)

// readAll reads a little more than a stack can hold: the check that follows says that it is too much.
func readAll(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, compose.MaxFile+1))
}

// localReport asks the daemon of this machine.
func (o *Operator) localReport(ctx context.Context) (status.Node, error) {
	var n status.Node
	host, port, err := net.SplitHostPort(o.cfg.Listen)
	if err != nil {
		return n, fmt.Errorf("listen %q: %w", o.cfg.Listen, err)
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/api/v1/status", nil)
	if err != nil {
		return n, fmt.Errorf("ask the daemon: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return n, fmt.Errorf("ask the daemon: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&n); err != nil {
		return n, fmt.Errorf("ask the daemon: %s: %w", res.Status, err)
	}
	return n, nil
}
