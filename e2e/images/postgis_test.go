//go:build e2e

package images_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

const databasePeers = "172.30.10.11 172.30.10.12 172.30.10.13 172.30.10.20"

// database is the cluster of three Pis with a pgpool in front, and a Consul that Patroni keeps its own in.
type database struct {
	*harness.Engine
	secrets string
}

func startDatabase(t *testing.T) database {
	t.Helper()
	d := database{harness.StartDockerd(t), t.TempDir()}
	load(t, d.Engine, "consul", "postgis", "pgpool")
	for _, user := range []string{"postgres", "replication", "gis"} {
		if err := os.WriteFile(filepath.Join(d.secrets, user+"_password"), []byte("of-"+user+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(d.logs(t))
	d.Docker(t, "network", "create", "--subnet", "172.30.10.0/24", "lan")
	startConsul(t, d.Engine, "172.30.10.2")
	for _, pi := range []string{"pi1", "pi2", "pi3"} {
		d.postgis(t, pi)
	}
	return d
}

// logs prints what the containers have said last, of a test that failed.
func (d database) logs(t *testing.T) func() {
	return func() {
		for _, name := range []string{"pgpool", "pi1", "pi2", "pi3"} {
			if t.Failed() {
				t.Logf("the end of the log of %s:\n%s", name, d.said(name, "--tail", "30"))
			}
		}
	}
}

// said is what a container wrote on both of its outputs, or why that cannot be told.
func (d database) said(name string, options ...string) string {
	logs := exec.Command("docker", append(append([]string{"logs"}, options...), name)...)
	logs.Env = append(os.Environ(), "DOCKER_HOST="+d.Host)
	out, err := logs.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\n%v", out, err)
	}
	return string(out)
}

// postgis starts the database of a Pi, whose data is on a volume of its own.
func (d database) postgis(t *testing.T, pi string) {
	t.Helper()
	address := "172.30.10.1" + strings.TrimPrefix(pi, "pi")
	d.Docker(t, "run", "--detach", "--restart", "unless-stopped", "--name", pi, "--hostname", pi, "--network", "lan", "--ip", address, "--memory", "400m",
		"--volume", pi+":/var/lib/postgresql", "--volume", d.secrets+":/run/secrets:ro", "--stop-timeout", "90",
		"--env", "POSTGIS_NODE="+pi, "--env", "POSTGIS_ADDRESS="+address, "--env", "POSTGIS_PEERS="+databasePeers,
		"--env", "CONSUL_HTTP_ADDR=http://172.30.10.2:8500", "brambled/postgis:dev")
}

// settle waits until exactly one of some Pis has the primary and the others stream from it and may take over, and returns the one.
func (d database) settle(t *testing.T, what string, pis ...string) (primary string) {
	t.Helper()
	harness.Eventually(t, what, func() error {
		primary = ""
		for _, pi := range pis {
			out, err := d.TryDocker("exec", pi, "healthcheck")
			switch {
			case err != nil:
				return fmt.Errorf("%s: %s: %w", pi, out, err)
			case out == "primary" && primary == "":
				primary = pi
			case out != "streaming":
				return fmt.Errorf("%s is %q, and %q is the primary", pi, out, primary)
			}
		}
		return d.inStep(primary, len(pis)-1)
	})
	return primary
}

// inStep tells whether so many standbys have what the primary has acknowledged, as Patroni wrote down: none else is promoted.
func (d database) inStep(primary string, count int) error {
	out, err := d.TryDocker("exec", "consul", "consul", "kv", "get", "service/gis/sync")
	var sync struct {
		Leader   string
		Standbys string `json:"sync_standby"`
	}
	if err := errors.Join(err, json.Unmarshal([]byte(out), &sync)); err != nil {
		return fmt.Errorf("read what Patroni wrote down: %q: %w", out, err)
	}
	standbys := strings.FieldsFunc(sync.Standbys, func(r rune) bool { return r == ',' })
	if primary == "" || sync.Leader != primary || len(standbys) != count {
		return fmt.Errorf("the primary is %q, and Patroni wrote down %s", primary, out)
	}
	return nil
}

// sql asks as a client of pgpool, in one session.
func (d database) sql(statements string) (string, error) {
	return d.TryDocker("exec", "--env", "PGPASSWORD=of-gis", "--env", "PGCONNECT_TIMEOUT=5", "pgpool",
		"psql", "-h", "172.30.10.20", "-p", "9999", "-U", "gis", "-d", "gis", "-Atq", "-v", "ON_ERROR_STOP=1", "-c", statements)
}

// insert adds a place until that is acknowledged.
func (d database) insert(t *testing.T, name string) {
	t.Helper()
	harness.Eventually(t, name+" is written", func() error {
		out, err := d.sql("INSERT INTO places VALUES ('" + name + "', ST_SetSRID(ST_MakePoint(8.5, 47.4), 4326)) ON CONFLICT DO NOTHING")
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	})
}

// The database through pgpool: what is acknowledged stays, whoever dies; a Pi comes back by itself, also without its volume.
func TestPostGIS(t *testing.T) {
	t.Parallel()
	d := startDatabase(t)
	d.Docker(t, "run", "--detach", "--name", "pgpool", "--network", "lan", "--ip", "172.30.10.20", "--volume", d.secrets+":/run/secrets:ro",
		"--env", "PGPOOL_BACKENDS=172.30.10.11:5433 172.30.10.12:5433 172.30.10.13:5433", "brambled/pgpool:dev")
	first := d.settle(t, "three databases make one cluster", "pi1", "pi2", "pi3")
	harness.Eventually(t, "the extension is there, through pgpool", func() error {
		out, err := d.sql("SELECT postgis_version()")
		if err == nil && !strings.HasPrefix(out, "3.") {
			err = fmt.Errorf("it is %q", out)
		}
		return err
	})
	if out, err := d.sql("CREATE TABLE places (name text PRIMARY KEY, at geometry(Point, 4326)); CREATE INDEX ON places USING gist (at)"); err != nil {
		t.Fatalf("make a table: %s: %v", out, err)
	}
	d.insert(t, "first")
	harness.Eventually(t, "the primary and a standby are read from", func() error {
		seen := map[string]bool{}
		for range 8 {
			// Pgpool-II gives the primary what may write; this function is stable, others of the kind are not.
			out, err := d.sql("SELECT inet_server_addr()")
			if err != nil {
				return err
			}
			seen[out] = true
		}
		if len(seen) < 2 {
			return fmt.Errorf("answers are %v", seen)
		}
		return nil
	})

	// The primary's container dies for good: a standby is promoted, and pgpool writes to it.
	d.Docker(t, "rm", "--force", first)
	second := d.settle(t, "a standby is the primary", without(first)...)
	d.insert(t, "second")
	d.postgis(t, first)
	d.settle(t, "the one that died streams again", "pi1", "pi2", "pi3")

	// A card is new: what was on the volume is copied from the others.
	d.Docker(t, "rm", "--force", first)
	d.Docker(t, "volume", "rm", first)
	d.postgis(t, first)
	if now := d.settle(t, "the one without a volume streams again", "pi1", "pi2", "pi3"); now != second {
		t.Errorf("%s is the primary, and %s was: a copy moves nothing", now, second)
	}

	// A planned stop hands over.
	d.Docker(t, "stop", second)
	d.settle(t, "another is the primary", without(second)...)
	d.insert(t, "third")
	d.Docker(t, "start", second)
	d.settle(t, "all three are back", "pi1", "pi2", "pi3")
	for _, pi := range []string{"pi1", "pi2", "pi3"} {
		harness.Eventually(t, pi+" has every row", func() error {
			out, err := d.TryDocker("exec", "--user", "postgres", pi, "psql", "-h", "/run/postgresql", "-p", "5433", "-d", "gis", "-Atc",
				"SELECT string_agg(name, ' ' ORDER BY name) FROM places")
			if err == nil && out != "first second third" {
				err = fmt.Errorf("it has %q", out)
			}
			return err
		})
	}
	d.restores(t)
	d.secretsStaySecret(t)
}

// restores tries what the README says of a backup.
func (d database) restores(t *testing.T) {
	t.Helper()
	primary := d.settle(t, "all three are one cluster", "pi1", "pi2", "pi3")
	const connect = " -h /run/postgresql -p 5433 "
	d.Docker(t, "exec", "--user", "postgres", primary, "sh", "-c", "pg_dump"+connect+"-Fc gis >/tmp/gis.dump")
	if out, err := d.sql("DELETE FROM places"); err != nil {
		t.Fatalf("lose the rows: %s: %v", out, err)
	}
	d.Docker(t, "exec", "--user", "postgres", primary, "sh", "-c", "pg_restore"+connect+"--clean --if-exists -d gis </tmp/gis.dump")
	harness.Eventually(t, "what was saved is there again, in step on a standby", func() error {
		out, err := d.sql("SELECT count(*), min(ST_X(at)) FROM places")
		if err == nil && out != "3|8.5" {
			err = fmt.Errorf("there is %q", out)
		}
		return err
	})
}

// secretsStaySecret looks for passwords where anybody who may ask the engine, or list processes, sees them.
func (d database) secretsStaySecret(t *testing.T) {
	t.Helper()
	for _, name := range []string{"pi1", "pgpool"} {
		seen := d.Docker(t, "inspect", name) + d.Docker(t, "top", name, "-eo", "pid,args") + d.said(name)
		for _, user := range []string{"postgres", "replication", "gis"} {
			if strings.Contains(seen, "of-"+user) {
				t.Errorf("%s shows the password of %s", name, user)
			}
		}
	}
}

// without are the Pis but one.
func without(gone string) []string {
	var rest []string
	for _, pi := range []string{"pi1", "pi2", "pi3"} {
		if pi != gone {
			rest = append(rest, pi)
		}
	}
	return rest
}
