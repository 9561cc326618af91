//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/brambled/brambled/pkg/lastgood"
)

// sighted is a container as the crash tests look at it.
type sighted struct {
	ID, Name string
	State    struct {
		Status, StartedAt string
		Pid, ExitCode     int
	}
	Config struct {
		Image string
		Env   []string
	}
	Mounts          []struct{ Type, Name, Source string }
	NetworkSettings struct{ Networks map[string]any }
}

// engineAPI asks the engine past the proxy.
type engineAPI struct{ http.Client }

func newEngineAPI(socket string) *engineAPI {
	return &engineAPI{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (a *engineAPI) get(path string, into any) error {
	res, err := a.Get("http://docker" + path)
	if err != nil {
		return fmt.Errorf("ask the engine: %w", err)
	}
	data, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the engine answers %s: %s", res.Status, data)
	}
	return json.Unmarshal(data, into)
}

// sight looks at every container there is, whoever made it.
func (b *crashBench) sight() (map[string]sighted, error) {
	var list []struct {
		ID string `json:"Id"`
	}
	if err := b.api.get("/containers/json?all=1", &list); err != nil {
		return nil, err
	}
	out := map[string]sighted{}
	for _, l := range list {
		var c sighted
		if err := b.api.get("/containers/"+l.ID+"/json", &c); err != nil {
			return nil, err
		}
		out[strings.TrimPrefix(c.Name, "/")] = c
	}
	return out, nil
}

// reached is nil when all there is is what the estate says: nothing is missing, nothing is left over, nothing is there twice,
// and the daemon says so too.
func (b *crashBench) reached(e estate) (map[string]sighted, error) {
	have, err := b.sight()
	if err != nil {
		return nil, err
	}
	if have["mine"].ID != b.foreign.ID || have["mine"].State != b.foreign.State {
		return nil, fmt.Errorf("the foreign container was touched: %+v", have["mine"])
	}
	delete(have, "mine")
	for _, check := range []func(estate, map[string]sighted) error{b.containersAre, b.networksAre, b.volumesAre, b.filesAre, b.reported} {
		if err := check(e, have); err != nil {
			return nil, err
		}
	}
	return have, nil
}

func (b *crashBench) containersAre(e estate, have map[string]sighted) error {
	want := e.containers()
	if got, names := slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, names) {
		return fmt.Errorf("the containers are %v, want %v", got, names)
	}
	for name, w := range want {
		c := have[name]
		if got := b.wantedOf(c); got != w {
			return fmt.Errorf("%s is %+v, want %+v", name, got, w)
		}
		if status := c.State.Status; w.job && (status != "exited" || c.State.ExitCode != 0) || !w.job && status != "running" {
			return fmt.Errorf("%s is %s", name, status)
		}
	}
	return nil
}

// wantedOf is a container in the terms of the estate.
func (b *crashBench) wantedOf(c sighted) wanted {
	w := wanted{image: c.Config.Image, networks: strings.Join(slices.Sorted(maps.Keys(c.NetworkSettings.Networks)), " ")}
	for _, env := range c.Config.Env {
		if mark, ok := strings.CutPrefix(env, "MARK="); ok {
			w.mark = mark
		}
	}
	w.job = strings.HasPrefix(c.Name, "/work-job")
	for _, m := range c.Mounts {
		if m.Type == "bind" {
			content, err := os.ReadFile(m.Source)
			w.file = string(content)
			if err != nil {
				w.file = err.Error()
			}
		}
	}
	return w
}

func (b *crashBench) networksAre(e estate, _ map[string]sighted) error {
	var list []struct {
		Name   string
		Labels map[string]string
	}
	if err := b.api.get("/networks", &list); err != nil {
		return err
	}
	have := map[string]string{}
	for _, n := range list {
		if n.Name == "bridge" || n.Name == "host" || n.Name == "none" {
			continue
		}
		if _, twice := have[n.Name]; twice {
			return fmt.Errorf("network %s is there twice", n.Name)
		}
		have[n.Name] = n.Labels["edit"]
	}
	if want := e.networks(); !maps.Equal(have, want) {
		return fmt.Errorf("the networks are %v, want %v", have, want)
	}
	return nil
}

var unnamed = regexp.MustCompile(`^[0-9a-f]{64}$`)

// volumesAre holds that a volume with a name stays for ever, and one without goes with the last of its containers.
func (b *crashBench) volumesAre(_ estate, have map[string]sighted) error {
	used := map[string]bool{}
	for _, c := range have {
		for _, m := range c.Mounts {
			used[m.Name] = m.Type == "volume"
		}
	}
	var list struct{ Volumes []struct{ Name string } }
	if err := b.api.get("/volumes", &list); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, v := range list.Volumes {
		there[v.Name] = true
		if unnamed.MatchString(v.Name) && !used[v.Name] {
			return fmt.Errorf("volume %s is left over", v.Name)
		}
		if !unnamed.MatchString(v.Name) && !used[v.Name] && !b.volumes[v.Name] {
			return fmt.Errorf("volume %s was never asked for", v.Name)
		}
	}
	for name := range used {
		if !unnamed.MatchString(name) {
			b.volumes[name] = true
		}
	}
	for name := range b.volumes {
		if name != "" && !there[name] {
			return fmt.Errorf("volume %s is gone", name)
		}
	}
	return nil
}

// filesAre holds that what is on disk is what is mounted, and that no half of a file is left.
func (b *crashBench) filesAre(_ estate, have map[string]sighted) error {
	var mounted []string
	for _, c := range have {
		for _, m := range c.Mounts {
			if filepath.Dir(m.Source) == filepath.Join(b.StateDir(), "files") {
				mounted = append(mounted, filepath.Base(m.Source))
			}
		}
	}
	slices.Sort(mounted)
	entries, err := os.ReadDir(filepath.Join(b.StateDir(), "files"))
	if err != nil {
		return fmt.Errorf("look at files: %w", err)
	}
	var there []string
	for _, f := range entries {
		there = append(there, f.Name())
	}
	if mounted = slices.Compact(mounted); !slices.Equal(there, mounted) {
		return fmt.Errorf("the files are %v, mounted are %v", there, mounted)
	}
	return nil
}

// reported holds that the daemon is at rest and says so.
func (b *crashBench) reported(e estate, _ map[string]sighted) error {
	var r report
	body, err := b.Fetch("/api/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &r)
	}
	if err != nil {
		return err
	}
	if len(r.Holds) > 0 {
		return fmt.Errorf("the daemon holds: %+v", r.Holds)
	}
	want := map[string]bool{"base": true}
	for key := range e.keys() {
		if stack, ok := strings.CutPrefix(key, "stacks/"); ok {
			want[stack] = true
		}
	}
	for _, s := range r.Stacks {
		if !want[s.Name] || s.State != "converged" {
			return fmt.Errorf("the daemon says that %s is %s", s.Name, s.State)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		return fmt.Errorf("the daemon does not speak of %v", want)
	}
	return nil
}

// remembers holds that last-known-good can be read, each file of it: at any moment, however the daemon ended.
func (b *crashBench) remembers(t *testing.T) lastgood.State {
	t.Helper()
	_, state, problems := lastgood.Open(b.StateDir(), zap.NewNop(), nil)
	if len(problems) > 0 {
		t.Fatalf("last-known-good is damaged: %v", problems)
	}
	return state
}

// undisturbed holds that what an edit does not change kept its process.
func undisturbed(t *testing.T, from, to estate, before, after map[string]sighted) {
	t.Helper()
	want := to.containers()
	for name, w := range from.containers() {
		if now, stays := want[name]; !stays || now != w {
			continue
		}
		if was, is := before[name], after[name]; was.ID != is.ID || was.State != is.State {
			t.Errorf("%s was not edited; it was %s %+v and is %s %+v", name, was.ID, was.State, is.ID, is.State)
		}
	}
}
