package docker

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/brambled/brambled/reconciler/spec"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// mounts adds volumes, binds, file systems in memory and files.
func mounts(c spec.Container, s surroundings, h *container.HostConfig) error {
	taken := map[string]bool{}
	for _, v := range c.Volumes {
		taken[v.Target] = true
		h.Mounts = append(h.Mounts, volumeMount(v, s.inherited[v.Target]))
	}
	for _, b := range c.Body.Binds {
		taken[b.Target] = true
		addBind(b, s.api, h)
	}
	for _, t := range c.Body.Tmpfs {
		taken[t.Target] = true
		addTmpfs(t, h)
	}
	for _, f := range c.Files {
		if f.Digest == "" || f.Digest != filepath.Base(f.Digest) {
			return fmt.Errorf("file %s: digest %q is not valid", f.Target, f.Digest)
		}
		taken[f.Target] = true
		h.Mounts = append(h.Mounts, mount.Mount{
			Type: mount.TypeBind, Source: filepath.Join(s.fileDir, f.Digest), Target: f.Target, ReadOnly: true,
		})
	}
	// What is left of the predecessor's comes from the image's VOLUME lines.
	for _, target := range sortedKeys(s.inherited) {
		if !taken[target] {
			h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: s.inherited[target], Target: target})
		}
	}
	return nil
}

// volumeMount mounts a named volume, an anonymous one passed on, or a new anonymous one.
func volumeMount(v spec.VolumeMount, inherited string) mount.Mount {
	m := mount.Mount{Type: mount.TypeVolume, Source: v.Volume, Target: v.Target, ReadOnly: v.ReadOnly}
	if m.Source == "" {
		m.Source = inherited
	}
	if v.NoCopy || v.Subpath != "" {
		m.VolumeOptions = &mount.VolumeOptions{NoCopy: v.NoCopy, Subpath: v.Subpath}
	}
	return m
}

// shortForm reports whether a bind has to be sent as text: SELinux labels exist only there, and before API 1.42 so does the
// making of a missing source.
func shortForm(b spec.Bind, api string) bool {
	return b.SELinux != "" || b.CreateSource && !speaks(api, "1.42")
}

func addBind(b spec.Bind, api string, h *container.HostConfig) {
	if shortForm(b, api) {
		var options []string
		if b.ReadOnly {
			options = append(options, "ro")
		}
		for _, o := range []string{b.SELinux, b.Propagation} {
			if o != "" {
				options = append(options, o)
			}
		}
		text := b.Source + ":" + b.Target
		if len(options) > 0 {
			text += ":" + strings.Join(options, ",")
		}
		h.Binds = append(h.Binds, text)
		return
	}
	o := mount.BindOptions{
		Propagation: mount.Propagation(b.Propagation), CreateMountpoint: b.CreateSource,
		NonRecursive:           b.Recursive == "disabled",
		ReadOnlyNonRecursive:   b.Recursive == "writable",
		ReadOnlyForceRecursive: b.Recursive == "readonly",
	}
	m := mount.Mount{Type: mount.TypeBind, Source: b.Source, Target: b.Target, ReadOnly: b.ReadOnly}
	if o != (mount.BindOptions{}) {
		m.BindOptions = &o
	}
	h.Mounts = append(h.Mounts, m)
}

// addTmpfs uses the form that takes options as text, which knows them all, where the file gave text.
func addTmpfs(t spec.Tmpfs, h *container.HostConfig) {
	if t.Options == "" && (t.SizeBytes != 0 || t.Mode != 0 || t.ReadOnly) {
		m := mount.Mount{Type: mount.TypeTmpfs, Target: t.Target, ReadOnly: t.ReadOnly}
		if t.SizeBytes != 0 || t.Mode != 0 {
			m.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: t.SizeBytes, Mode: fs.FileMode(t.Mode)}
		}
		h.Mounts = append(h.Mounts, m)
		return
	}
	options := []string{}
	if t.Options != "" {
		options = append(options, t.Options)
	}
	if t.ReadOnly {
		options = append(options, "ro")
	}
	if t.SizeBytes != 0 {
		options = append(options, fmt.Sprintf("size=%d", t.SizeBytes))
	}
	if t.Mode != 0 {
		options = append(options, fmt.Sprintf("mode=%o", t.Mode))
	}
	if h.Tmpfs == nil {
		h.Tmpfs = map[string]string{}
	}
	h.Tmpfs[t.Target] = strings.Join(options, ",")
}
