package dockertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// Registry is an image registry whose repositories behave by their names:
//
//	good     is pulled
//	stalled  sends half a layer and no more
//	broken   has a layer that is no archive: the error comes in the middle of the pull
//
// Any other name does not exist. A private registry wants user and password for all.
type Registry struct {
	// Address is "host:port", the first part of an image reference.
	Address        string
	User, Password string

	private bool
	server  *httptest.Server
	stop    chan struct{}
	blobs   map[string][]byte
	images  map[string]manifest
}

type manifest struct {
	MediaType     string       `json:"mediaType"`
	SchemaVersion int          `json:"schemaVersion"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Size      int    `json:"size"`
	Digest    string `json:"digest"`
}

const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	configType   = "application/vnd.docker.container.image.v1+json"
	layerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// NewRegistry serves on a free port of this address.
func NewRegistry(t testing.TB, address string, private bool) *Registry {
	t.Helper()
	r := &Registry{User: "pi", Password: "raspberry", private: private, stop: make(chan struct{}), blobs: map[string][]byte{}, images: map[string]manifest{}}
	for _, name := range []string{"good", "stalled"} {
		r.add(t, name, layerOf(t, name), true)
	}
	r.add(t, "broken", []byte("this is no archive"), false)
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatalf("serve registry: %v", err)
	}
	r.Address = l.Addr().String()
	r.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(r.serve)}}
	r.server.Start()
	t.Cleanup(func() {
		close(r.stop)
		r.server.CloseClientConnections()
		r.server.Close()
	})
	return r
}

// layerOf is an archive with one file that does not compress, so that half of it is some way.
func layerOf(t testing.TB, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	var noise []byte
	for i := range 32 << 10 {
		sum := sha256.Sum256([]byte(fmt.Sprint(name, i)))
		noise = append(noise, sum[:]...)
	}
	if err := w.WriteHeader(&tar.Header{Name: "noise", Size: int64(len(noise)), Mode: 0o444}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() error{func() error { _, err := w.Write(noise); return err }, w.Close, z.Close} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func (r *Registry) blob(kind string, b []byte) descriptor {
	d := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
	r.blobs[d] = b
	return descriptor{MediaType: kind, Size: len(b), Digest: d}
}

func (r *Registry) add(t testing.TB, name string, layer []byte, archive bool) {
	t.Helper()
	diff := fmt.Sprintf("sha256:%x", sha256.Sum256(layer))
	if archive {
		z, err := gzip.NewReader(bytes.NewReader(layer))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, z); err != nil {
			t.Fatal(err)
		}
		diff = fmt.Sprintf("sha256:%x", sum.Sum(nil))
	}
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "config": map[string]any{"Cmd": []string{"/noise"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diff}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.images[name] = manifest{
		MediaType: manifestType, SchemaVersion: 2,
		Config: r.blob(configType, config), Layers: []descriptor{r.blob(layerType, layer)},
	}
}

// Digest is the digest of an image's manifest.
func (r *Registry) Digest(name string) string {
	b, _ := json.Marshal(r.images[name])
	return fmt.Sprintf("sha256:%x", sha256.Sum256(b))
}

func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	path := strings.TrimPrefix(q.URL.Path, "/v2/")
	name, rest, _ := strings.Cut(path, "/")
	user, password, _ := q.BasicAuth()
	if r.private && (user != r.User || password != r.Password) {
		w.Header().Set("Www-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	kind, key, _ := strings.Cut(rest, "/")
	switch m, ok := r.images[name]; {
	case path == "":
		w.WriteHeader(http.StatusOK)
	case ok && kind == "manifests":
		b, _ := json.Marshal(m)
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", r.Digest(name))
		_, _ = w.Write(b)
	case ok && kind == "blobs" && r.blobs[key] != nil:
		r.send(w, q, name == "stalled" && key == m.Layers[0].Digest, r.blobs[key])
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
	}
}

func (r *Registry) send(w http.ResponseWriter, q *http.Request, stall bool, b []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	if !stall {
		_, _ = w.Write(b)
		return
	}
	_, _ = w.Write(b[:len(b)/2])
	w.(http.Flusher).Flush()
	select {
	case <-q.Context().Done():
	case <-r.stop:
	}
}
