package compose

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// Bundle makes one file of several, merged as `docker compose -f A -f B` does, with all they refer to on disk inlined:
// include, extends.file, env_file, label_file, file-based configs. Variables stay as they are written. It is run by a
// person, so that, unlike [Load], it may read files; the daemon never calls it.
//
// Warnings are for the person: things to do that a file cannot say.
func Bundle(paths []string) (out []byte, warnings []string, err error) {
	quiet()
	details := types.ConfigDetails{WorkingDir: filepath.Dir(paths[0]), Environment: types.Mapping{}}
	for _, p := range paths {
		content, err := os.ReadFile(p)
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", p, err)
		}
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: p, Content: content})
	}
	model, err := loader.LoadModelWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName("bundle", true)
		o.SkipInterpolation, o.SkipNormalization, o.SkipConsistencyCheck = true, true, true
		o.SkipResolveEnvironment, o.SkipResolveLabels, o.SkipDefaultValues = true, true, true
		o.ResolvePaths = false
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", strings.Join(paths, ", "), err)
	}
	b := bundler{dir: details.WorkingDir, source: paths[0]}
	b.model(model)
	if err := b.found.err(); err != nil {
		return nil, nil, err
	}
	slices.Sort(b.warnings)
	out, err = yaml.Marshal(model)
	if err != nil {
		return nil, nil, fmt.Errorf("write bundle: %w", err)
	}
	if len(out) > MaxFile {
		return nil, nil, fmt.Errorf("the bundle has %d bytes; Consul KV holds %d: put large content into an image", len(out), MaxFile)
	}
	return out, b.warnings, nil
}

type bundler struct {
	dir, source string
	found       Problems
	warnings    []string
}

func (b *bundler) fault(key, text, hint string) {
	b.found = append(b.found, Problem{Source: b.source, Key: key, Text: text, Hint: hint})
}

func (b *bundler) model(m map[string]any) {
	for name, v := range section(m, "services") {
		if svc, ok := v.(map[string]any); ok {
			b.service("services."+name, svc)
		}
	}
	for name, v := range section(m, "configs") {
		cfg, ok := v.(map[string]any)
		file, isFile := cfg["file"].(string)
		if !ok || !isFile {
			continue
		}
		if content, ok := b.read("configs."+name+".file", file); ok {
			delete(cfg, "file")
			delete(cfg, "name")
			cfg["content"] = escape(content)
		}
	}
	for name, v := range section(m, "secrets") {
		cfg, ok := v.(map[string]any)
		file, isFile := cfg["file"].(string)
		if !ok || !isFile {
			continue
		}
		for k := range cfg {
			delete(cfg, k)
		}
		cfg["external"] = true
		b.warn("secrets.%s is not put into the bundle: consul kv put brambled/secrets/%s @%s", name, name, b.path(file))
	}
}

func (b *bundler) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// section returns a top-level mapping.
func section(m map[string]any, key string) map[string]any {
	s, _ := m[key].(map[string]any)
	return s
}

func (b *bundler) service(path string, svc map[string]any) {
	b.inline(path, svc, "env_file", "environment")
	b.inline(path, svc, "label_file", "labels")
	b.build(path, svc)
	b.volumes(path, svc)
	ports, _ := svc["ports"].([]any)
	for _, p := range ports {
		// compose-go writes Swarm's default out when it turns the short form into the long one.
		if m, ok := p.(map[string]any); ok && m["mode"] == "ingress" {
			delete(m, "mode")
		}
	}
}

// volumes refuses folders of this machine.
func (b *bundler) volumes(path string, svc map[string]any) {
	volumes, _ := svc["volumes"].([]any)
	for i, v := range volumes {
		m, _ := v.(map[string]any)
		source, _ := m["source"].(string)
		key := fmt.Sprintf("%s.volumes[%d]", path, i)
		switch {
		case m["type"] == types.VolumeTypeVolume && strings.Contains(source, "$"):
			volumes[i] = short(m) // whether it is a volume or a path shows when the variable is known
		case m["type"] != types.VolumeTypeBind || strings.HasPrefix(source, "$"):
		case !filepath.IsAbs(source):
			b.fault(key, fmt.Sprintf("%q is a folder of this machine", source), "put its files into the image or into configs, or write the absolute path that each Pi has")
		default:
			// An included file's relative path has become an absolute one.
			if here, err := filepath.Abs(b.dir); err == nil && strings.HasPrefix(source, here+"/") {
				b.warn("%s: %s is below the folder of the bundle; each Pi needs it at that path", key, source)
			}
		}
	}
}

// short writes a volume as one string again.
func short(m map[string]any) string {
	out := fmt.Sprintf("%v:%v", m["source"], m["target"])
	if m["read_only"] == true {
		out += ":ro"
	}
	return out
}

// build goes where an image is named: to build and push it is up to the person.
func (b *bundler) build(path string, svc map[string]any) {
	if _, ok := svc["build"]; !ok {
		return
	}
	image, ok := svc["image"].(string)
	if !ok {
		b.fault(path+".build", "`build` cannot be put into KV", buildHint)
		return
	}
	delete(svc, "build")
	b.warn("%s.build is left out: build %s and push it", path, image)
}

// inline reads NAME=value files into a mapping; what the mapping says itself stands.
func (b *bundler) inline(path string, svc map[string]any, from, into string) {
	list, ok := svc[from]
	if !ok {
		return
	}
	delete(svc, from)
	values := map[string]any{}
	for _, f := range fileList(list) {
		content, err := os.ReadFile(b.path(f.path))
		if err != nil && !f.required && os.IsNotExist(err) {
			continue
		}
		if err != nil {
			b.fault(path+"."+from, err.Error(), "name a file that is there")
			continue
		}
		parsed, err := parseEnv(string(content), f.raw)
		if err != nil {
			b.fault(path+"."+from, f.path+": "+err.Error(), "write one NAME=value a line")
			continue
		}
		for k, v := range parsed {
			values[k] = v
		}
	}
	maps.Copy(values, asMapping(svc[into]))
	svc[into] = values
}

// parseEnv reads NAME=value lines. A variable that the file itself does not define stays one; any other dollar is escaped,
// so that it is not taken for a variable later. Raw values are taken as they stand.
func parseEnv(content string, raw bool) (map[string]string, error) {
	out := map[string]string{}
	if raw {
		for line := range strings.Lines(content) {
			name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
			if ok && !strings.HasPrefix(name, "#") {
				out[name] = escape(value)
			}
		}
		return out, nil
	}
	const open, end = "\x01", "\x02" // no text file has these
	foreign := func(name string) (string, bool) { return open + name + end, true }
	own, err := dotenv.UnmarshalBytesWithLookup([]byte(content), foreign)
	if err != nil {
		return nil, err
	}
	parsed, err := dotenv.UnmarshalBytesWithLookup([]byte(content), func(name string) (string, bool) {
		if _, ok := own[name]; ok {
			return "", false
		}
		return foreign(name)
	})
	for k, v := range parsed {
		out[k] = strings.NewReplacer("$", "$$", open, "${", end, "}").Replace(v)
	}
	return out, err
}

type envFile struct {
	path     string
	required bool
	raw      bool
}

func fileList(v any) []envFile {
	switch v := v.(type) {
	case string:
		return []envFile{{path: v, required: true}}
	case []any:
		var out []envFile
		for _, item := range v {
			out = append(out, fileList(item)...)
		}
		return out
	case []string:
		var out []envFile
		for _, item := range v {
			out = append(out, envFile{path: item, required: true})
		}
		return out
	case map[string]any:
		p, _ := v["path"].(string)
		required, said := v["required"].(bool)
		return []envFile{{path: p, required: required || !said, raw: v["format"] == "raw"}}
	}
	return nil
}

// asMapping reads both ways of writing environment and labels.
func asMapping(v any) map[string]any {
	out := map[string]any{}
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		for _, item := range v {
			k, value, ok := strings.Cut(fmt.Sprint(item), "=")
			if ok {
				out[k] = value
			} else {
				out[k] = nil
			}
		}
	}
	return out
}

// escape keeps a dollar of a file's content from being taken for a variable later.
func escape(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func (b *bundler) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(b.dir, p)
}

func (b *bundler) read(key, file string) (string, bool) {
	content, err := os.ReadFile(b.path(file))
	if err != nil {
		b.fault(key, err.Error(), "name a file that is there")
		return "", false
	}
	if slices.Contains(content, 0) {
		b.fault(key, file+" is not text", "put it into an image")
		return "", false
	}
	return string(content), true
}
