package consul

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// DefaultPrefix is where brambled's keys are unless configured otherwise.
const DefaultPrefix = "brambled/"

// MaxValue is the most bytes Consul takes as the value of one key.
const MaxValue = 512 * 1024

// answerTimeout bounds a request that does not block. Without a leader an agent retries for 7 s by itself before it says
// so; giving up earlier would hide that reason.
const answerTimeout = 10 * time.Second

// Config says how to reach Consul. What is empty falls back to CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_CACERT and the
// other variables Consul's own tools read, then to the agent on this machine.
type Config struct {
	Address   string // "127.0.0.1:8500", "https://consul:8501", "unix:///run/consul.sock"
	Token     string
	TokenFile string // read once; wins over Token
	CAFile    string
	CertFile  string
	KeyFile   string
	Prefix    string // of all keys; "brambled/"

	// Metrics counts requests; nil counts them for nobody.
	Metrics *Metrics

	// Transport replaces the connection itself, for tests. TLS settings are not used then.
	Transport http.RoundTripper
}

// Client talks to one Consul agent. Keys given to it and taken from it are relative to the prefix.
type Client struct {
	api     *api.Client
	watches *api.Client // for queries that block
	address string
	prefix  string
	metrics *Metrics
}

// New returns a client. It does not connect: an agent that is not there yet is a matter of every day.
func New(cfg Config) (*Client, error) {
	c := cfg.api()
	address := c.Address
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to Consul at %s: %w", address, err)
	}
	// Go's HTTP client sends a request again by itself when a connection it had used before breaks. A blocking query must
	// not be: its index belongs to the Consul that gave it, and whoever listens there now may be another. On a connection
	// of its own it is not.
	c = cfg.api()
	c.Transport.DisableKeepAlives = true
	watches, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to Consul at %s: %w", address, err)
	}
	prefix := strings.Trim(cmp.Or(cfg.Prefix, DefaultPrefix), "/") + "/"
	m := cfg.Metrics
	if m == nil {
		m = NewMetrics(nil)
	}
	return &Client{api: client, watches: watches, address: address, prefix: prefix, metrics: m}, nil
}

// api returns the library's configuration.
func (cfg Config) api() *api.Config {
	c := api.DefaultConfig()
	c.Address = cmp.Or(cfg.Address, c.Address)
	c.Token = cmp.Or(cfg.Token, c.Token)
	c.TokenFile = cmp.Or(cfg.TokenFile, c.TokenFile)
	if cfg.Token != "" && cfg.TokenFile == "" {
		c.TokenFile = "" // a token that is set here stands over a file that only the environment names
	}
	c.TLSConfig.CAFile = cmp.Or(cfg.CAFile, c.TLSConfig.CAFile)
	c.TLSConfig.CertFile = cmp.Or(cfg.CertFile, c.TLSConfig.CertFile)
	c.TLSConfig.KeyFile = cmp.Or(cfg.KeyFile, c.TLSConfig.KeyFile)
	if cfg.Transport != nil {
		c.HttpClient = &http.Client{Transport: cfg.Transport}
	}
	return c
}

// Prefix returns what all keys begin with, ending with a slash.
func (c *Client) Prefix() string { return c.prefix }

// Address returns where the agent is expected.
func (c *Client) Address() string { return c.address }

// read returns the options of a consistent read. Nothing else is ever used: a default read may be answered by a leader
// that was deposed and does not know it yet.
func (c *Client) read(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

func (c *Client) write(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{}).WithContext(ctx)
}

// call runs one request under a deadline, counts it and gives its error a cause and a name.
func (c *Client) call(ctx context.Context, op op, subject string, timeout time.Duration, do func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	err := do(limited)
	if err != nil && limited.Err() != nil {
		err = context.Cause(limited)
	}
	if ctx.Err() == nil {
		c.metrics.request(op, err) // one that was given up says nothing about Consul
	}
	if err == nil {
		return nil
	}
	return &Error{Op: string(op), Subject: subject, Address: c.address, Cause: classify(err), Err: err}
}
