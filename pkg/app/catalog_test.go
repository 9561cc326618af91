package app

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/brambled/brambled/pkg/consul/consultest"
	"github.com/brambled/brambled/pkg/status"
)

// listed is a stack of one container that is registered, and publishes port 80 as this one.
func listed(port string) string {
	return "services:\n  app:\n    image: hello:1\n    ports: [\"" + port + ":80\"]\n" +
		"    healthcheck: { test: [CMD, \"true\"] }\n    x-brambled: { nodes: all, register: { name: front, port: 80, tags: [a] } }\n"
}

// catalogIs waits until a service is in the catalog with this status.
func (d *instance) catalogIs(t *testing.T, id, status string) (svc consultest.Service) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %s in the catalog", id, status), func() error {
		var there bool
		if svc, there = d.store.Services()[id]; !there || svc.Status != status {
			return fmt.Errorf("the agent has %+v", d.store.Services())
		}
		return nil
	})
	return svc
}

func (d *instance) notInCatalog(t *testing.T, id string) {
	t.Helper()
	eventually(t, id+" is out of the catalog", func() error {
		if svc, there := d.store.Services()[id]; there {
			return fmt.Errorf("it is %+v", svc)
		}
		return nil
	})
}

// runs waits until the container of web/app runs.
func (d *instance) runs(t *testing.T) {
	t.Helper()
	eventually(t, "web-app-1 runs", func() error {
		for _, st := range d.app.Status().Stacks {
			for _, svc := range st.Services {
				if st.Name == "web" && svc.Running == 1 {
					return nil
				}
			}
		}
		return errors.New("it does not")
	})
}

func (d *instance) healthy(t *testing.T) {
	t.Helper()
	d.runs(t)
	d.engine.SetHealth("web-app-1", "healthy")
}

func (d *instance) unhealthy(t *testing.T) {
	t.Helper()
	d.runs(t)
	d.engine.SetHealth("web-app-1", "unhealthy")
}

// A container is in the catalog with the port of the Pi and its own health, and out of it when it is gone. Others' registrations
// are left alone all the while.
func TestCatalogOfAContainer(t *testing.T) {
	const id, next = "brambled-pi1:web:app:front:8080", "brambled-pi1:web:app:front:8081"
	d := start(t, nil)
	stranger := consultest.Service{ID: "brambled-pi1:db:db:db:5432", Service: "db", Port: 5432, Tags: []string{}, Meta: map[string]string{"brambled_node": "pi1"}}
	d.store.AddService(stranger)
	d.store.Put("brambled/stacks/web", listed("8080"))
	d.healthy(t)
	svc := d.catalogIs(t, id, "passing")
	want := consultest.Service{ID: id, Service: "front", Address: "192.0.2.1", Port: 8080, Tags: []string{"a"}, Status: "passing"}
	if diff := cmp.Diff(want, svc, cmpopts.IgnoreUnexported(svc), cmpopts.IgnoreFields(svc, "Meta")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	d.unhealthy(t)
	d.catalogIs(t, id, "critical")
	d.healthy(t)
	d.catalogIs(t, id, "passing")
	d.engine.Forget()
	d.store.Put("brambled/stacks/web", listed("8081"))
	d.called(t, "/start") // of the successor, which has the name by then
	d.healthy(t)
	d.catalogIs(t, next, "passing")
	d.notInCatalog(t, id)
	d.store.Delete("brambled/stacks/web")
	d.notInCatalog(t, next)
	if diff := cmp.Diff(stranger, d.store.Services()[stranger.ID], cmpopts.IgnoreUnexported(stranger)); diff != "" {
		t.Errorf("a stranger's registration: -want +got:\n%s", diff)
	}
}

// A daemon that was killed left things registered. The next one keeps what still runs as it is, and takes out the rest: what was
// removed while it was away, and what its predecessor's predecessor forgot.
func TestCatalogOfAnEarlierLife(t *testing.T) {
	const id, gone, old = "brambled-pi1:web:app:front:8080", "brambled-pi1:shop:app:front:8090", "brambled-pi1:x:y:z:1"
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", listed("8080"))
	d.store.Put("brambled/stacks/shop", "x-brambled: { nodes: all }\nservices:\n  app: { image: hello:1, ports: [\"8090:80\"], x-brambled: { register: { name: front, port: 80 } } }\n")
	d.healthy(t)
	svc := d.catalogIs(t, id, "passing")
	d.catalogIs(t, gone, "passing")
	d.remembers(t, "web", "shop")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(d.store.Services()); n != 2 {
		t.Errorf("a daemon that stops leaves %d of 2 registered", n)
	}
	svc.ID = old
	d.store.AddService(svc)
	d.store.Delete("brambled/stacks/shop")
	made := d.store.Requests("PUT agent/service/register")
	d.run(t)
	d.notInCatalog(t, gone)
	d.notInCatalog(t, old)
	d.catalogIs(t, id, "passing")
	if n := d.store.Requests("PUT agent/service/register"); n != made {
		t.Errorf("registered %d times more", n-made)
	}
}

// A stack that can no longer be read keeps its place in the catalog, after a restart too.
func TestCatalogOfAnUnreadableStack(t *testing.T) {
	const id = "brambled-pi1:web:app:front:8080"
	d := start(t, nil)
	d.store.Put("brambled/stacks/web", listed("8080"))
	d.healthy(t)
	d.catalogIs(t, id, "passing")
	d.store.Put("brambled/stacks/web", "services: [")
	d.is(t, "web", status.Held)
	d.unhealthy(t)
	d.catalogIs(t, id, "critical")
	d.restart(t)
	d.is(t, "web", status.Held)
	d.healthy(t)
	d.catalogIs(t, id, "passing")
}

// A task of Swarm is in the catalog of the Pi that runs it, and of no other.
func TestCatalogOfSwarmTasks(t *testing.T) {
	const id, local = "brambled-pi1:web:app:web:8080", "brambled-pi1:box:app:front:8081"
	deployed := "services:\n  app:\n    image: hello:1\n    command: [-listen, \":80\"]\n    ports: [\"8080:80\"]\n    x-brambled: { register: { name: web, port: 80 } }\n"
	d := start(t, quickly)
	d.formSwarm(t)
	d.store.Put("brambled/stacks/web", deployed)
	d.swarmIs(t, "web", status.Running)
	if svc := d.catalogIs(t, id, "passing"); svc.Address != "192.0.2.1" || svc.Port != 8080 {
		t.Errorf("it is %+v", svc)
	}
	d.store.Delete("brambled/stacks/web")
	d.notInCatalog(t, id)

	d.engine.AddNode("pi2")
	d.engine.Drain("fake")
	d.store.Put("brambled/stacks/web", deployed)
	d.swarmIs(t, "web", status.Running)
	d.store.Put("brambled/stacks/box", "x-brambled: { nodes: all }\nservices:\n  app: { image: hello:1, ports: [\"8081:80\"], x-brambled: { register: { name: front, port: 80 } } }\n")
	d.catalogIs(t, local, "passing") // by then it was looked at all that runs
	if svc, there := d.store.Services()[id]; there {
		t.Errorf("a task of another Pi is in the catalog: %+v", svc)
	}
}

// An engine that does not answer, and one that does again: while it is away, what was last seen of it is no proof of anything.
func TestCatalogNeedsTheEngine(t *testing.T) {
	d := start(t, nil)
	vouches := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("it vouches for what runs: %v", want), func() error {
			if _, known := d.app.runningHere(); known != want {
				return fmt.Errorf("known: %v", known)
			}
			return nil
		})
	}
	vouches(true)
	d.engine.Kill()
	vouches(false)
	d.engine.Again()
	vouches(true)
}
