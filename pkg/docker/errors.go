package docker

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// UnreachableError says that no engine answered.
type UnreachableError struct {
	Host string
	Err  error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	if errors.Is(e.Err, os.ErrPermission) || strings.Contains(e.Err.Error(), "permission denied") {
		return fmt.Sprintf("the Docker Engine at %s may not be used by this user: run as root, or join the group docker", e.Host)
	}
	return fmt.Sprintf("the Docker Engine at %s does not answer: is docker.service running?", e.Host)
}

// Unwrap returns the client's own error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// NameTakenError says that a container, or an object of Swarm, which is not ours has the name one of ours should get.
type NameTakenError struct {
	Name, ID string
	Kind     string // "service", "config", "secret"; "" for a container
}

// Error implements error.
func (e *NameTakenError) Error() string {
	if e.Kind != "" {
		return fmt.Sprintf("the name %s is taken by a %s that brambled did not make (%s): docker %s rm %s, or give yours another name", e.Name, e.Kind, short(e.ID), e.Kind, e.Name)
	}
	return fmt.Sprintf("the name %s is taken by a container that brambled did not make (%s): docker rename %s NEW_NAME, or remove it", e.Name, short(e.ID), e.Name)
}

// UnsupportedError says what this engine lacks.
type UnsupportedError struct{ Lacks string }

// Error implements error.
func (e *UnsupportedError) Error() string { return e.Lacks }

// engineError is an error of the engine without the client's preamble; its class is kept.
type engineError struct {
	text string
	err  error
}

func (e *engineError) Error() string { return e.text }
func (e *engineError) Unwrap() error { return e.err }

// rpcPreamble stands in front of what an engine passes on from Swarm.
var rpcPreamble = regexp.MustCompile(`^rpc error: code = \w+ desc = `)

// plain takes the preamble from an engine's message.
func plain(err error) error {
	text := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	text = rpcPreamble.ReplaceAllString(text, "")
	if strings.Contains(text, "no space left on device") {
		text += ": the engine's disk is full; see docker system df, and make room with docker image prune or a larger disk"
	}
	if text == err.Error() {
		return err
	}
	return &engineError{text: text, err: err}
}

// short is an id as people know it.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
