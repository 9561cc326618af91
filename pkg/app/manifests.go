package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tier is the static tier as it was read from disk: Compose files that always run on this Pi, with their own variables
// and secrets beside the manifests folder.
type tier struct {
	Files   []manifest
	Vars    map[string]string
	Secrets map[string][]byte
}

type manifest struct {
	Name, Path string
	Content    []byte
}

// readTier reads the manifests folder, vars.yaml and secrets/ beside it. A folder that does not exist is an empty tier. An
// error means that the tier as it was before stays in force: unreadable is not absent.
func readTier(dir string) (tier, error) {
	t := tier{Vars: map[string]string{}, Secrets: map[string][]byte{}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("read manifests: %w", err)
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || (ext != ".yaml" && ext != ".yml") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return t, fmt.Errorf("read manifest: %w", err)
		}
		t.Files = append(t.Files, manifest{strings.TrimSuffix(e.Name(), ext), path, content})
	}
	if err := t.readVars(filepath.Join(filepath.Dir(dir), "vars.yaml")); err != nil {
		return t, err
	}
	return t, t.readSecrets(filepath.Join(filepath.Dir(dir), "secrets"))
}

func (t *tier) readVars(path string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read vars: %w", err)
	}
	if err := yaml.Unmarshal(content, &t.Vars); err != nil {
		return fmt.Errorf("read vars: %s: %w; write one NAME: value a line", path, err)
	}
	return nil
}

func (t *tier) readSecrets(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read secrets: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("read secret: %w", err)
		}
		t.Secrets[e.Name()] = content
	}
	return nil
}

// stamp tells whether the static tier's files may have changed since another stamp: names, sizes and times, no contents.
func stamp(dir string) string {
	var b strings.Builder
	for _, p := range []string{dir, filepath.Join(filepath.Dir(dir), "vars.yaml"), filepath.Join(filepath.Dir(dir), "secrets")} {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		fmt.Fprintln(&b, p, info.Size(), info.ModTime().UnixNano())
		entries, err := os.ReadDir(p)
		if err != nil {
			continue // a file
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	return b.String()
}
