//go:build e2e && long

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brambled/brambled/e2e/harness"
	"github.com/brambled/brambled/e2e/lab"
)

const (
	interrupt   = syscall.SIGINT
	mapVIP      = "192.168.77.50"
	consulVIP   = "192.168.77.51"
	gisPassword = "a password of the test"
)

// gis is the GIS stack on three Pis that begin without anything but brambled and the images.
type gis struct {
	*lab.Lab
	*probe
	table gaps
	test  *testing.T // the client outlives the scenario that starts it
}

// TestGIS: the workload this project exists for, and no Pi of it is a single point of failure. GeoServer's place is taken by a
// small web server that draws from the database.
func TestGIS(t *testing.T) {
	g := startGIS(t)
	for _, s := range []scenario{
		{"the static tier of blank Pis brings Consul", g.bringsConsul},
		{"one file brings the map", g.bringsMap},
		{"the Pi with the virtual address loses power", func(t *testing.T) { g.cutPi(t, "virtual address", g.holder(t)) }},
		{"the Pi with the primary database loses power", func(t *testing.T) { g.cutPi(t, "primary database", g.primary(t)) }},
		{"the Pi that leads Consul loses power", func(t *testing.T) { g.cutPi(t, "leader of Consul", g.consulLeader(t)) }},
		{"each container is killed", g.killsEach},
		{"a new version goes from Pi to Pi", g.updates},
		{"all Pis lose power at once", g.blackout},
		{"every committed row is there", g.keepsRows},
	} {
		if !t.Run(s.name, s.run) {
			return // the next one begins where this should have ended
		}
	}
}

func startGIS(t *testing.T) *gis {
	t.Helper()
	long := harness.Long(t, 1, 0)
	g := &gis{Lab: lab.StartBlank(t, 3), test: t}
	g.probe = &probe{
		lab: g.Lab, binary: buildProbe(t),
		mapURL:   "http://" + mapVIP + "/geoserver/wms?service=WMS&version=1.1.1&request=GetMap&layers=gis:islands&styles=&srs=EPSG:4326&bbox=0,0,10,10&width=256&height=256&format=image/png",
		database: fmt.Sprintf("postgres://gis:%s@%s:5432/gis?sslmode=disable", strings.ReplaceAll(gisPassword, " ", "%20"), mapVIP),
	}
	t.Cleanup(func() {
		t.Logf("requests twice a second, through the virtual address:\n%s", &g.table)
		long.Note = fmt.Sprintf("%d faults, %d rows acknowledged; longest gap of maps %.1f s, of inserts %.1f s",
			len(g.table.lines), len(g.committed()), g.table.maps.Seconds(), g.table.inserts.Seconds())
	})
	g.loadImages(t, "keepalived", "haproxy", "consul", "postgis", "pgpool")
	return g
}

// loadImages builds what has changed of images/ and gives it to every Pi, with the stand-in for GeoServer.
func (g *gis) loadImages(t *testing.T, names ...string) {
	t.Helper()
	cmd := exec.Command(harness.Script(t, "images"), names...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build images: %v", err)
	}
	archives := strings.Fields(string(out))
	g.each(t, func(p *lab.Pi) error {
		for _, a := range archives {
			if _, err := p.Docker(t).TryDocker("load", "-q", "-i", a); err != nil {
				return err
			}
		}
		return g.importStandIn(p.Docker(t))
	})
}

// importStandIn makes an image of the probe: the same file under two tags, so that there is a new version to go to.
func (g *gis) importStandIn(e *harness.Engine) error {
	for _, tag := range []string{"1", "2"} {
		tar := exec.Command("tar", "-C", filepath.Dir(g.binary), "--owner=0", "--group=0", "-c", filepath.Base(g.binary))
		pipe, err := tar.StdoutPipe()
		if err != nil {
			return err
		}
		load := exec.Command("docker", "-H", e.Host, "import", "--change", "ENV VERSION="+tag, "--change", `ENTRYPOINT ["/gisprobe", "serve"]`,
			"--change", `HEALTHCHECK --interval=2s --timeout=5s CMD ["/gisprobe", "healthcheck"]`, "-", "brambled/gis-stand-in:"+tag)
		load.Stdin = pipe
		if err := errors.Join(tar.Start(), load.Run(), tar.Wait()); err != nil {
			return fmt.Errorf("import the stand-in: %w", err)
		}
	}
	return nil
}

// each does something on all Pis at once.
func (g *gis) each(t *testing.T, do func(*lab.Pi) error) {
	t.Helper()
	errs := make([]error, len(g.Pis))
	var wg sync.WaitGroup
	for i, p := range g.Pis {
		wg.Go(func() { errs[i] = do(p) })
	}
	if wg.Wait(); errors.Join(errs...) != nil {
		t.Fatal(errors.Join(errs...))
	}
}

func (g *gis) addresses() (all []string) {
	for _, p := range g.Pis {
		all = append(all, p.Address())
	}
	return all
}

// bringsConsul puts the files of deploy/manifests/consul on the Pis, as a person does.
func (g *gis) bringsConsul(t *testing.T) {
	manifest := read(t, "deploy/manifests/consul/consul.yaml")
	vars := fmt.Sprintf("CONSUL_PEERS: %q\nCONSUL_VIP: %q\n", strings.Join(g.addresses(), " "), consulVIP+"/24")
	g.each(t, func(p *lab.Pi) error {
		if err := errors.Join(p.Write("/etc/brambled/vars.yaml", vars), p.Write("/etc/brambled/manifests/consul.yaml", manifest)); err != nil {
			return err
		}
		// It would look within a minute.
		_, err := p.Try("systemctl", "restart", "brambled")
		return err
	})
	harness.Within(t, 3*time.Minute, "Consul answers by its virtual address", func() error {
		out, err := g.Visitor("curl", "-sf", "--max-time", "2", "http://"+consulVIP+":8500/v1/status/leader").Output()
		if err == nil && !strings.Contains(string(out), ":8300") {
			err = fmt.Errorf("no leader: %s", out)
		}
		return err
	})
}

// bringsMap puts the stack's variables, secrets and file.
func (g *gis) bringsMap(t *testing.T) {
	p := g.Pis[0]
	for key, value := range map[string]string{
		"vars/GIS_PEERS": strings.Join(g.addresses(), " "), "vars/GIS_VIP": mapVIP + "/24",
		"vars/GIS_DATABASES":   strings.Join(g.addresses(), ":5433 ") + ":5433",
		"secrets/gis_postgres": gisPassword, "secrets/gis_replication": gisPassword, "secrets/gis_gis": gisPassword,
	} {
		p.Put(t, "brambled/"+key, value)
	}
	p.Put(t, "brambled/stacks/gis", g.stack(t, "1"))
	harness.Within(t, 5*time.Minute, "a map comes through the virtual address", func() error {
		_, err := g.try("map", g.mapURL)
		return err
	})
	harness.Within(t, 2*time.Minute, "the table is made through the virtual address", func() error {
		_, err := g.try("prepare", g.database)
		return err
	})
	g.whole(t)
	g.watch(g.test)
}

// stack is deploy/stacks/gis with a map server, merged as a person would.
func (g *gis) stack(t *testing.T, version string) string {
	t.Helper()
	p := g.Pis[0]
	stack := read(t, "deploy/stacks/gis/compose.yaml")
	override := strings.ReplaceAll(read(t, "e2e/lab/testdata/gis-stand-in.yaml"), "VERSION", version)
	if err := errors.Join(p.Write("/root/gis/compose.yaml", stack), p.Write("/root/gis/override.yaml", override)); err != nil {
		t.Fatal(err)
	}
	return p.Run(t, "brambled", "bundle", "/root/gis/compose.yaml", "/root/gis/override.yaml")
}

// cutPi takes the power of a Pi and gives it back once the others serve.
func (g *gis) cutPi(t *testing.T, what string, p *lab.Pi) {
	t.Helper()
	g.during(t, "power cut of the Pi with the "+what, func() {
		p.PowerCut(t)
		g.servesFrom(t, time.Now())
		p.Boot(t)
	})
}

// during plays a fault, waits until all is whole again and adds a line to the table.
func (g *gis) during(t *testing.T, what string, fault func()) {
	t.Helper()
	began := time.Now()
	fault()
	g.whole(t)
	g.servesFrom(t, time.Now())
	g.table.add(what, g.probe, began)
}

// servesFrom waits until both kinds of request go well, counted from a moment.
func (g *gis) servesFrom(t *testing.T, begin time.Time) {
	t.Helper()
	harness.Within(t, 3*time.Minute, "maps and inserts go well again", func() error { return g.well(begin) })
}

// gisContainers is how many run on each Pi: five of the stack with the stand-in, four of the static tier.
const gisContainers = 9

// whole waits until everything is healthy on every Pi and the database has a primary and two standbys that stream.
func (g *gis) whole(t *testing.T) {
	t.Helper()
	harness.Within(t, 5*time.Minute, "all of it runs on every Pi", func() error {
		for _, p := range g.Pis {
			out, err := p.Try("docker", "ps", "--format", "{{.Names}} {{.Status}}")
			if err == nil && strings.Count(out, "(healthy)") != gisContainers {
				err = fmt.Errorf("on %s run\n%s", p.Name, out)
			}
			if err != nil {
				return err
			}
		}
		if out, err := g.Pis[0].Try("brambled", "status"); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		roles, err := g.roles(g.Pis[0])
		if want := []string{"leader", "replica", "replica"}; err == nil && !slices.Equal(roles, want) {
			err = fmt.Errorf("the databases are %v", roles)
		}
		return err
	})
}

// holder is the Pi that has the virtual address.
func (g *gis) holder(t *testing.T) *lab.Pi {
	t.Helper()
	var found *lab.Pi
	harness.Eventually(t, "one Pi has the virtual address", func() error {
		found = nil
		for _, p := range g.Pis {
			out, err := p.Try("ip", "-o", "addr", "show", "to", mapVIP)
			if err != nil {
				return err
			}
			if out != "" && found != nil {
				return fmt.Errorf("%s and %s have it", p.Name, found.Name)
			}
			if out != "" {
				found = p
			}
		}
		if found == nil {
			return errors.New("none has it")
		}
		return nil
	})
	return found
}

// members asks Patroni of a Pi who is what; sorted roles of those that run and stream.
func (g *gis) members(from *lab.Pi) (all map[string]string, err error) {
	out, err := from.Try("curl", "-sf", "--max-time", "5", "http://"+from.Address()+":8008/cluster")
	if err != nil {
		return nil, err
	}
	var cluster struct {
		Members []struct{ Name, Role, State string }
	}
	if err := json.Unmarshal([]byte(out), &cluster); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	all = map[string]string{}
	for _, m := range cluster.Members {
		if m.State == "running" || m.State == "streaming" {
			all[m.Name] = m.Role
		}
	}
	return all, nil
}

func (g *gis) roles(from *lab.Pi) (roles []string, err error) {
	all, err := g.members(from)
	for _, role := range all {
		if role != "leader" {
			role = "replica" // a synchronous one as well
		}
		roles = append(roles, role)
	}
	slices.Sort(roles)
	return roles, err
}

// primary is the Pi whose database is the primary.
func (g *gis) primary(t *testing.T) *lab.Pi {
	t.Helper()
	all, err := g.members(g.Pis[0])
	for name, role := range all {
		if role == "leader" {
			return g.Pi(t, name)
		}
	}
	t.Fatalf("no primary among %v: %v", all, err)
	return nil
}

// consulLeader is the Pi whose Consul leads.
func (g *gis) consulLeader(t *testing.T) *lab.Pi {
	t.Helper()
	return g.ConsulLeader(t)
}

// killsEach kills each container of the stack and of the static tier once, where it matters most.
func (g *gis) killsEach(t *testing.T) {
	for _, name := range []string{
		"gis-keepalived-1", "gis-haproxy-1", "gis-geoserver-1", "gis-pgpool-1", "gis-postgis-1",
		"consul-consul-1", "consul-haproxy-1", "consul-keepalived-1",
	} {
		p := g.holder(t)
		if name == "gis-postgis-1" {
			p = g.primary(t)
		}
		g.during(t, "kill -9 of "+name, func() { p.Run(t, "docker", "kill", name) })
	}
}

// updates takes the map's own service to another image, Pi by Pi.
func (g *gis) updates(t *testing.T) {
	g.during(t, "rolling update of the map server", func() {
		g.Pis[0].Put(t, "brambled/stacks/gis", g.stack(t, "2"))
		harness.Within(t, 5*time.Minute, "each Pi runs the new version", func() error {
			for _, p := range g.Pis {
				out, err := p.Try("docker", "ps", "--filter", "ancestor=brambled/gis-stand-in:2", "--filter", "health=healthy", "-q")
				if err != nil || out == "" {
					return fmt.Errorf("%s does not: %w", p.Name, err)
				}
			}
			return nil
		})
	})
}

// blackout is a power cut for all at once.
func (g *gis) blackout(t *testing.T) {
	g.during(t, "power cut of all Pis at once", func() { g.AtOnce(t) })
}

// keepsRows compares what was acknowledged with what is there.
func (g *gis) keepsRows(t *testing.T) {
	g.stop()
	committed := g.committed()
	out, err := g.try("rows", g.database)
	if err != nil {
		t.Fatal(err)
	}
	there := map[int]bool{}
	for field := range strings.FieldsSeq(out) {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		there[n] = true
	}
	for _, n := range committed {
		if !there[n] {
			t.Errorf("row %d was committed and is not there", n)
		}
	}
	t.Logf("%d rows were committed, %d are there", len(committed), len(there))
}

// read is a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(harness.Root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
