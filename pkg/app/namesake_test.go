package app

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/brambled/brambled/pkg/config"
	"github.com/brambled/brambled/pkg/status"
)

// A Pi that boots finds its name held by its own session of before; when that has ended, the hold goes at once. Nothing else
// happens on the Pi then, and the resync may be an hour away.
func TestNameThatIsFreeAgain(t *testing.T) {
	var before string
	d := start(t, func(c *config.Config) {
		c.Resync = time.Hour
		before = occupy(t, "http://"+c.Consul.Address)
	})
	d.store.Put("brambled/stacks/web", small)
	d.is(t, "web", status.Converged)
	d.holds(t, "not present")
	d.store.Expire(before)
	d.lifts(t)
}

// occupy holds the presence key of pi1 from another machine, and returns its session.
func occupy(t *testing.T, consul string) string {
	t.Helper()
	put := func(path, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, consul+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s, %v", path, res.Status, data, err)
		}
		return string(data)
	}
	var session struct{ ID string }
	if err := json.Unmarshal([]byte(put("/v1/session/create", `{"LockDelay":"1ms"}`)), &session); err != nil {
		t.Fatal(err)
	}
	put("/v1/kv/brambled/presence/pi1?acquire="+session.ID, `{"node":"pi1","address":"192.0.2.9","serial":"another"}`)
	return session.ID
}
