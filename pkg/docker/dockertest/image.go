package dockertest

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// Image is a local image.
type Image struct {
	ID          string
	Cmd         []string
	Entrypoint  []string
	Volumes     []string
	Healthcheck *container.HealthConfig
	Os, Arch    string // linux/amd64 when empty
}

// AddImage puts an image on the engine.
func (s *Server) AddImage(ref string, img Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addImage(ref, img)
}

func (s *Server) addImage(ref string, img Image) {
	if img.ID == "" {
		img.ID = "sha256:" + s.id("image")
	}
	s.images[ref] = &img
	s.event(events.ImageEventType, events.ActionTag, img.ID, ref)
}

// RemoveImage takes an image from the engine.
func (s *Server) RemoveImage(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.images, ref)
	s.event(events.ImageEventType, events.ActionDelete, ref, ref)
}

func (s *Server) image(ref string) *Image {
	if img := s.images[ref]; img != nil {
		return img
	}
	return s.images[strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")]
}

func (s *Server) inspectImage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/images/"), "/json")
	img := s.image(ref)
	if img == nil {
		fail(w, http.StatusNotFound, "No such image: "+ref)
		return
	}
	goos, arch := img.Os, img.Arch
	if goos == "" {
		goos, arch = "linux", "amd64"
	}
	volumes := map[string]struct{}{}
	for _, v := range img.Volumes {
		volumes[v] = struct{}{}
	}
	reply(w, 200, map[string]any{"Id": img.ID, "Os": goos, "Architecture": arch, "RepoTags": []string{ref}, "Config": map[string]any{
		"Cmd": img.Cmd, "Entrypoint": img.Entrypoint, "Volumes": volumes, "Healthcheck": img.Healthcheck,
	}})
}

// Pull says how pulls of a reference go.
type Pull struct {
	Status  int      // of the reply; 200 when 0
	Message string   // of a reply that is no 200
	Lines   []string // JSON messages of the stream
	Gate    <-chan struct{}
	Adds    *Image // what the pull brings; nil brings nothing
}

// SetPull sets how pulls of a reference go. Without it they are "not found".
func (s *Server) SetPull(ref string, p Pull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls[ref] = p
}

func (s *Server) pullImage(w http.ResponseWriter, r *http.Request) {
	name, tag := strings.TrimPrefix(r.URL.Query().Get("fromImage"), "docker.io/"), r.URL.Query().Get("tag")
	ref := strings.TrimPrefix(name, "library/") + ":" + tag
	if digested.MatchString(tag) {
		ref = name + "@" + tag
	}
	s.mu.Lock()
	p, ok := s.pulls[ref]
	hung := s.hung
	s.mu.Unlock()
	switch {
	case !ok:
		fail(w, http.StatusNotFound, "manifest for "+ref+" not found: manifest unknown: manifest unknown")
		return
	case p.Status != 0 && p.Status != 200:
		fail(w, p.Status, p.Message)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	for _, line := range p.Lines {
		_, _ = fmt.Fprintln(w, line)
		w.(http.Flusher).Flush()
	}
	if p.Gate != nil {
		select {
		case <-p.Gate:
		case <-r.Context().Done():
			return
		case <-hung:
			panic(http.ErrAbortHandler)
		}
	}
	if p.Adds != nil {
		s.AddImage(ref, *p.Adds)
	}
}

var digested = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
