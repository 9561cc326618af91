package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, opts options, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler(opts, time.Now()).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder
}

func TestGreetingComesFromTheEnvironment(t *testing.T) {
	if body := get(t, options{}, "/").Body.String(); !strings.HasPrefix(body, "hello from ") {
		t.Errorf("greeting by default is %q, want hello from …", body)
	}
	t.Setenv("GREETING", "good day")
	if body := get(t, options{}, "/").Body.String(); !strings.HasPrefix(body, "good day from ") {
		t.Errorf("greeting is %q, want good day from …", body)
	}
}

func TestHealthFollowsTheUnhealthyFlag(t *testing.T) {
	for _, tc := range []struct {
		unhealthy time.Duration
		want      int
	}{{0, http.StatusOK}, {-1, http.StatusServiceUnavailable}, {time.Hour, http.StatusServiceUnavailable}} {
		if got := get(t, options{unhealthy: tc.unhealthy}, "/healthz").Code; got != tc.want {
			t.Errorf("-unhealthy %v: /healthz answered %d, want %d", tc.unhealthy, got, tc.want)
		}
	}
}

func TestHealthTurnsBad(t *testing.T) {
	if got := get(t, options{sick: time.Nanosecond}, "/healthz").Code; got != http.StatusServiceUnavailable {
		t.Errorf("after -sick: /healthz answered %d", got)
	}
	h := handler(options{sick: time.Hour}, time.Now())
	for _, tc := range []struct {
		method, path string
		want         int
	}{{http.MethodGet, "/healthz", http.StatusOK}, {http.MethodPost, "/sick", http.StatusOK}, {http.MethodGet, "/healthz", http.StatusServiceUnavailable}} {
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, httptest.NewRequest(tc.method, tc.path, nil))
		if recorder.Code != tc.want {
			t.Errorf("%s %s answered %d, want %d", tc.method, tc.path, recorder.Code, tc.want)
		}
	}
}

func TestHealthcheckAsksTheServerOnPort(t *testing.T) {
	server := httptest.NewServer(handler(options{}, time.Now()))
	t.Setenv("PORT", server.URL[strings.LastIndex(server.URL, ":")+1:])
	if err := checkHealth(); err != nil {
		t.Errorf("health of a healthy server: %v", err)
	}
	server.Close()
	if err := checkHealth(); err == nil {
		t.Error("health of a stopped server is nil, want an error")
	}
}

// The image is imported with settings that repeat the Dockerfile's; see scripts/hello.
func TestTheImportRepeatsTheDockerfile(t *testing.T) {
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../../scripts/hello")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for line := range strings.Lines(string(dockerfile)) {
		instruction, _, _ := strings.Cut(line, " ")
		switch instruction {
		case "EXPOSE", "HEALTHCHECK", "ENTRYPOINT":
			checked++
			if !strings.Contains(string(script), strings.TrimSpace(line)) {
				t.Errorf("scripts/hello lacks %s", line)
			}
		}
	}
	if checked != 3 {
		t.Errorf("%d instructions compared, want 3", checked)
	}
}

// Two that run at once on one volume are seen, and stay seen.
func TestAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(path); err == nil {
		t.Error("a second one has the lock, too")
	}
	if _, err := os.Stat(path + ".overlap"); err != nil {
		t.Errorf("the overlap is not noted: %v", err)
	}
	unlock()
	if unlock, err = lock(path); err != nil {
		t.Fatalf("the lock is not given back: %v", err)
	}
	unlock()
}
