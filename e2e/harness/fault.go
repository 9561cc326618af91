package harness

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// Fault plays the server's part for one request: it answers by itself, breaks the connection, or hands the request on and
// does something to the answer. A nil Fault hands it on.
type Fault func(w http.ResponseWriter, r *http.Request, server http.Handler)

// LoseRequest cuts the connection before the server was asked.
func LoseRequest(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// LoseReply lets the server do it and cuts the connection before the answer: the caller cannot know.
func LoseReply(_ http.ResponseWriter, r *http.Request, server http.Handler) {
	server.ServeHTTP(lost{http.Header{}}, r)
	panic(http.ErrAbortHandler)
}

// lost is where a reply ends that nobody gets.
type lost struct{ header http.Header }

// Header implements [http.ResponseWriter].
func (l lost) Header() http.Header { return l.header }

// WriteHeader cuts as soon as the server answers: some answers, a stream of events, have no end to wait for.
func (l lost) WriteHeader(status int) {
	if status >= http.StatusOK {
		panic(http.ErrAbortHandler)
	}
}

// Write implements [http.ResponseWriter].
func (l lost) Write(p []byte) (int, error) { return len(p), nil }

// Hang takes the request and never answers, as a peer behind a wall that drops packets. It ends by a cut when the client
// gives up or the proxy is told of another fault, or of none.
func Hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // only behind the body the server hears that the client went away
	select {
	case <-r.Context().Done():
	case <-call(r).lifted:
	}
	panic(http.ErrAbortHandler)
}

// Mute answers that all is well and then says nothing: a stream that is open, and over which nothing comes.
func Mute(w http.ResponseWriter, r *http.Request, server http.Handler) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // a client that is gone already needs no header
	Hang(w, r, server)
}

// Delay hands the request on after a while.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			server.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// Answer answers in the server's place: the engine's errors are JSON, Consul's plain text.
func Answer(status int, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Truncate cuts the connection in the middle of the answer's body. An answer without a body passes.
func Truncate(w http.ResponseWriter, r *http.Request, server http.Handler) {
	server.ServeHTTP(&half{ResponseWriter: w}, r)
}

// half passes on the first half of what is written first.
type half struct {
	http.ResponseWriter
	cut bool
}

var errHalf = errors.New("cut in the middle on purpose")

// Write implements [http.ResponseWriter]. Its error makes the reverse proxy cut the connection.
func (h *half) Write(p []byte) (int, error) {
	if h.cut || len(p) == 0 {
		return 0, errHalf
	}
	h.cut = true
	n, err := h.ResponseWriter.Write(p[:len(p)/2])
	return n, errors.Join(err, http.NewResponseController(h.ResponseWriter).Flush(), errHalf)
}

// Unwrap lets [http.ResponseController] through.
func (h *half) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Only narrows a fault to the requests that match; all others pass.
func Only(match func(*http.Request) bool, f Fault) func(*http.Request) Fault {
	return func(r *http.Request) Fault {
		if match(r) {
			return f
		}
		return nil
	}
}

// passing is what the proxy knows of a request on its way.
type passing struct {
	entry  *Request
	lifted <-chan struct{} // closed when the fault that met it is over
}

type passingKey struct{}

func call(r *http.Request) passing {
	p, _ := r.Context().Value(passingKey{}).(passing)
	return p
}

func (p passing) on(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), passingKey{}, p))
}
