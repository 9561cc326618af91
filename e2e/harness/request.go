package harness

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"time"
)

// Request is one request that passed the proxy.
type Request struct {
	// Time is when it arrived.
	Time time.Time
	// Method and Path are as sent, the path without the API version; Query is the raw query.
	Method, Path, Query string
	// Status is the server's answer; 0 while it is on its way or when there was none.
	Status int
}

// String is the request as the audit log shows it.
func (r Request) String() string {
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	return fmt.Sprintf("%s %s → %d", r.Method, target, r.Status)
}

// readOnlyPosts are the engine's POSTs that change nothing: they wait, stream or check.
var readOnlyPosts = regexp.MustCompile(`^/(auth|session|grpc|containers/[^/]+/(wait|attach|resize)|build/cancel)$`)

// Mutating says whether the request asks the server to change something.
func (r Request) Mutating() bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !readOnlyPosts.MatchString(r.Path)
}

// apiVersion is the part of a path that depends on what client and engine have agreed on.
var apiVersion = regexp.MustCompile(`^/v1\.\d+`)

func requestOf(r *http.Request) Request {
	return Request{Time: time.Now(), Method: r.Method, Path: apiVersion.ReplaceAllString(r.URL.Path, ""), Query: r.URL.RawQuery}
}

// Streaming says whether a request waits for news: the engine's events, a blocking query of Consul's.
func Streaming(r *http.Request) bool {
	return path.Base(r.URL.Path) == "events" || r.URL.Query().Has("index")
}

// Changing is [Request.Mutating] of a request on its way.
func Changing(r *http.Request) bool { return requestOf(r).Mutating() }
