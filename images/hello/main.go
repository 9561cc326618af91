// Command hello is the web server of the hello image: the smallest thing that a stack can run and that can
// be seen to run.
//
// It serves a greeting on / and its health on /healthz. Flags turn it into what tests need: a health check
// of itself (the image holds no shell and no curl), a job that ends, a process that takes its time to stop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// options are the flags: what hello does instead of, or around, serving.
type options struct {
	healthcheck bool
	exit        int
	after       time.Duration
	stop        time.Duration
	unhealthy   time.Duration
	sick        time.Duration
	dump        bool
	alone       string
}

func main() {
	opts := options{}
	flag.BoolVar(&opts.healthcheck, "healthcheck", false, "ask the server in this container for its health and exit 0 or 1")
	flag.IntVar(&opts.exit, "exit", -1, "serve nothing and exit with this code, after -sleep")
	flag.DurationVar(&opts.after, "sleep", 0, "with -exit: wait so long first; alone: only wait")
	flag.DurationVar(&opts.stop, "stop", 0, "take so long to end after SIGTERM")
	flag.DurationVar(&opts.unhealthy, "unhealthy", 0, "answer 503 on /healthz for so long; a negative value means always")
	flag.DurationVar(&opts.sick, "sick", 0, "answer 503 on /healthz after so long, until the process ends; a POST to /sick does so at once")
	flag.BoolVar(&opts.dump, "env", false, "print the environment to standard output, then go on")
	flag.StringVar(&opts.alone, "alone", "", "lock this file, or note in FILE.overlap that another one has it, and end")
	flag.Parse()
	if err := run(opts); err != nil {
		log.Print(err)
		os.Exit(1)
	}
}

// run does what the flags say. Only the exit codes of -exit leave the process from here.
func run(opts options) error {
	if opts.dump {
		for _, entry := range os.Environ() {
			fmt.Println(entry)
		}
	}
	if opts.healthcheck {
		return checkHealth()
	}
	if opts.alone != "" {
		unlock, err := lock(opts.alone)
		if err != nil {
			return err
		}
		defer unlock()
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if opts.exit >= 0 || opts.after > 0 {
		wait(ctx, opts.after)
		if opts.exit > 0 {
			os.Exit(opts.exit)
		}
		return nil
	}
	return serve(ctx, opts)
}

// lock is for what must never run twice on one volume: that it did once can be seen for ever after.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		note := os.WriteFile(path+".overlap", nil, 0o644)
		return nil, errors.Join(fmt.Errorf("lock %s: another one runs: %w", path, err), note, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// serve answers until SIGTERM, then takes as long as -stop says.
func serve(ctx context.Context, opts options) error {
	server := &http.Server{Addr: ":" + port(), Handler: handler(opts, time.Now()), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.Printf("hello listens on %s", server.Addr)
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", server.Addr, err)
	case <-ctx.Done():
	}
	wait(context.Background(), opts.stop)
	if err := server.Close(); err != nil {
		return fmt.Errorf("close server: %w", err)
	}
	return nil
}

func handler(opts options, started time.Time) http.Handler {
	greeting := os.Getenv("GREETING")
	if greeting == "" {
		greeting = "hello"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s from %s\n", greeting, host)
	})
	sick := atomic.Bool{}
	mux.HandleFunc("POST /sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() || opts.sick > 0 && time.Since(started) >= opts.sick {
			http.Error(w, "sick", http.StatusServiceUnavailable)
			return
		}
		if opts.unhealthy < 0 || time.Since(started) < opts.unhealthy {
			http.Error(w, "not healthy yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// checkHealth is what HEALTHCHECK runs inside the container.
func checkHealth() error {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", port()) + "/healthz")
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // the process ends with the answer
	if resp.StatusCode != http.StatusOK {
		return errors.New("health: " + strconv.Itoa(resp.StatusCode))
	}
	return nil
}

func port() string {
	if p := os.Getenv("PORT"); p != "" {
		return p
	}
	return "8080"
}
