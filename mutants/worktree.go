package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// workTree lists the files of a repository as they are now: what git tracks and what it would track.
func workTree(root string) ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list files of the work tree: %w", err)
	}
	return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00"), nil
}

// copied is a copy of the work tree.
type copied struct {
	root, dir string
	files     []string
}

// make brings the copy to the state of the work tree, however it was left: files that a mutant changed are
// written again, files that it added are removed. What is right already is not touched, so that Go's cache
// need not read it again.
func (c copied) make() error {
	wanted := map[string]bool{}
	for _, name := range c.files {
		wanted[name] = true
		if err := c.copyFile(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("make copy: %w", err)
	}
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.dir, path)
		if err != nil || wanted[name] {
			return err
		}
		return os.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("clean copy: %w", err)
	}
	return nil
}

// copyFile copies one file where it differs. A file that git still lists but that is gone stays gone.
func (c copied) copyFile(name string) error {
	from, to := filepath.Join(c.root, name), filepath.Join(c.dir, name)
	info, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return removeIfThere(to)
	}
	if err != nil {
		return fmt.Errorf("copy work tree: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy work tree: %w", err)
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy work tree: %w", err)
	}
	if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
		return fmt.Errorf("copy work tree: %w", err)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean copy: %w", err)
	}
	return nil
}
