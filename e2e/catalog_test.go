//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// A service is in Consul's catalog as long as it runs, whatever happens to brambled and to Consul meanwhile.
func TestCatalog(t *testing.T) {
	t.Parallel()
	p := boot(t)
	listed := func(name string, port int) string {
		return fmt.Sprintf("services:\n  app:\n    image: brambled/hello:1\n    ports: [\"%d:8080\"]\n    x-brambled: { nodes: all, register: { name: %s, port: 8080, tags: [edge] } }\n", port, name)
	}
	p.put(t, "web", listed("front", 8080))
	p.put(t, "shop", listed("shop", 8081))
	p.runs(t, "web", "web-app-1")
	p.answers(t, "8080", "from")
	p.listed(t, "front", 8080)
	p.listed(t, "shop", 8081)

	p.Kill(t)
	p.consul.Delete(t, "brambled/stacks/shop")
	p.Again(p.top)
	p.runs(t, "shop")
	p.listed(t, "shop")
	p.listed(t, "front", 8080)

	p.consul.Kill(t)
	if err := os.RemoveAll(p.consul.DataDir()); err != nil {
		t.Fatal(err)
	}
	p.consul.Again(p.top)
	p.listed(t, "front", 8080)
	p.runs(t, "web", "web-app-1")
}

// listed waits until the catalog has these ports of a service, and all of its checks pass.
func (p *pi) listed(t *testing.T, name string, ports ...int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%s is in the catalog with %v", name, ports), func() error {
		body, err := harness.Fetch("http://" + p.consul.Address + "/v1/health/service/" + name)
		if err != nil {
			return err
		}
		var list []struct {
			Service struct {
				Port int
				Tags []string
			}
			Checks []struct{ Status string }
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			return fmt.Errorf("it says %s: %w", body, err)
		}
		var got []string
		for _, e := range list {
			for _, c := range e.Checks {
				if c.Status != "passing" {
					return fmt.Errorf("a check is %s: %s", c.Status, body)
				}
			}
			got = append(got, fmt.Sprint(e.Service.Port, e.Service.Tags))
		}
		var want []string
		for _, port := range ports {
			want = append(want, fmt.Sprint(port, []string{"edge"}))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("there are %v", got)
		}
		return nil
	})
}
