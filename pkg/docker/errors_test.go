package docker

import (
	"errors"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
)

// Errors are read by people: the client's preamble goes, the class stays.
func TestErrors(t *testing.T) {
	err := plain(&engineError{text: "Error response from daemon: no such image", err: cerrdefs.ErrNotFound})
	if err.Error() != "no such image" || !cerrdefs.IsNotFound(err) {
		t.Errorf("plain: %q, not found: %t", err, cerrdefs.IsNotFound(err))
	}
	for text, want := range map[string]string{
		"permission denied while trying to connect":     "join the group docker",
		"dial unix: connect: no such file or directory": "is docker.service running?",
	} {
		err := &UnreachableError{Host: "unix:///x", Err: errors.New(text)}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "unix:///x") {
			t.Errorf("%q is reported as %q", text, err)
		}
	}
	for _, host := range []string{"nonsense", "ssh://pi", "npipe:////./pipe/x"} {
		if _, err := New(Config{Host: host, StateDir: t.TempDir()}, nil, nil); err == nil || !strings.Contains(err.Error(), "docker.host") {
			t.Errorf("host %q: %v", host, err)
		}
	}
}
