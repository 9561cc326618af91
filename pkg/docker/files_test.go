package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/registry"

	"github.com/brambled/brambled/reconciler/spec"
)

func store(t *testing.T) *fileStore {
	t.Helper()
	s, err := newFiles(filepath.Join(t.TempDir(), "files"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func file(content string, mode uint32) spec.File {
	f := spec.File{Target: "/x", Mode: mode, UID: os.Getuid(), GID: os.Getgid(), Content: []byte(content)}
	f.Digest = spec.FileDigest(f.Content, f.Mode, f.UID, f.GID)
	return f
}

// A card loses or damages files: what is not what its name says is written again.
func TestDamagedFileIsReplaced(t *testing.T) {
	s, f := store(t), file("key", 0o400)
	path := filepath.Join(s.dir, f.Digest)
	for name, damage := range map[string]func() error{
		"gone":    func() error { return os.Remove(path) },
		"content": func() error { return os.WriteFile(path, nil, 0o600) },
		"mode":    func() error { return os.Chmod(path, 0o644) },
		"folder":  func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.Remove(path)) },
		"nothing": func() error { return nil },
	} {
		if err := s.write(f); err != nil {
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if err := s.write(f); err != nil || !sound(path, f) {
			t.Errorf("%s damaged: not repaired: %v", name, err)
		}
	}
}

// A file that is in place needs no content: after a boot without Consul only the digest may be known.
func TestKnownFileNeedsNoContent(t *testing.T) {
	s, f := store(t), file("key", 0o400)
	bare := f
	bare.Content = nil
	if err := s.write(bare); err == nil || !strings.Contains(err.Error(), "/x") {
		t.Errorf("wrote a file of unknown content: %v", err)
	}
	if err := s.write(f); err != nil {
		t.Fatal(err)
	}
	if err := s.write(bare); err != nil {
		t.Errorf("the file is in place: %v", err)
	}
}

// Whoever only looks, such as `brambled plan`, writes nothing; the daemon clears what a crash left.
func TestLookingWritesNothing(t *testing.T) {
	s := store(t)
	if list, err := s.list(); err != nil || len(list) != 0 {
		t.Errorf("list of no folder: %v, %v", list, err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made the folder: %v", err)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, ".half"), []byte("s3cr3t"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := file("key", 0o444)
	if err := s.write(f); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != f.Digest {
		t.Errorf("in the folder: %v, %v", entries, err)
	}
	if list, err := s.list(); err != nil || !slices.Equal(list, []string{f.Digest}) {
		t.Errorf("list: %v, %v", list, err)
	}
}

// Credentials are found as the docker command finds them.
func TestRegistryAuth(t *testing.T) {
	dir := t.TempDir()
	helper := "#!/bin/sh\nread host\necho '{\"ServerURL\":\"'$host'\",\"Username\":\"helped\",\"Secret\":\"s\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	config := `{"auths":{"https://index.docker.io/v1/":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("hub:p")) + `"},
		"pi.lan:5000":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("lan:p")) + `"}},"credHelpers":{"ghcr.io":"test"}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for image, user := range map[string]string{
		"nginx:1": "hub", "docker.io/library/nginx": "hub", "pi.lan:5000/app:1": "lan", "ghcr.io/a/b:1": "helped", "quay.io/a/b": "",
	} {
		text, err := registryAuth(t.Context(), dir, image)
		if err != nil {
			t.Errorf("%s: %v", image, err)
			continue
		}
		var a registry.AuthConfig
		if text != "" {
			b, err := base64.URLEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &a); err != nil {
				t.Fatal(err)
			}
		}
		if a.Username != user {
			t.Errorf("%s: user %q, want %q", image, a.Username, user)
		}
	}
	if text, err := registryAuth(t.Context(), t.TempDir(), "nginx"); err != nil || text != "" {
		t.Errorf("without a config file: %q, %v", text, err)
	}
	if _, err := registryAuth(t.Context(), dir, "UPPER:1"); err == nil || !strings.Contains(err.Error(), "UPPER:1") {
		t.Errorf("a bad reference: %v", err)
	}
}

// A credential helper that hangs does not hang the pull for ever.
func TestHangingCredentialHelper(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-hang"), []byte("#!/bin/sh\nexec sleep 3 2>/dev/null\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"hang"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := registryAuth(ctx, dir, "nginx"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
