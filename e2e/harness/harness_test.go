//go:build e2e

package harness_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

func TestHelloRunsThroughTheProxyAndIsAudited(t *testing.T) {
	engine := harness.StartDockerd(t)
	engine.LoadHello(t)
	proxy := harness.SocketProxy(t, engine.Socket)
	audited := *engine
	audited.Host = proxy.Host

	id := audited.Docker(t, "run", "-d", "-p", "8080:8080", "-e", "GREETING=good day", "brambled/hello:1")
	harness.Eventually(t, "hello answers on its published port", func() error {
		body, err := harness.Fetch("http://" + engine.Address + ":8080/")
		if err == nil && !strings.HasPrefix(body, "good day from ") {
			err = fmt.Errorf("it says %q", body)
		}
		return err
	})
	// exec hijacks its connection: the proxy must let both directions through and keep the exit code.
	audited.Docker(t, "exec", id, "/hello", "-healthcheck")
	if got := audited.Docker(t, "run", "--rm", "brambled/hello:2", "-env", "-exit", "0"); !strings.Contains(got, "HELLO_VERSION=2") {
		t.Errorf("attached run printed %q, want the environment of version 2", got)
	}
	var changes []string
	for _, r := range proxy.Mutating() {
		changes = append(changes, r.Method+" "+strings.NewReplacer(id, "ID").Replace(r.Path))
	}
	for _, want := range []string{"POST /containers/create", "POST /containers/ID/start", "POST /containers/ID/exec"} {
		if !strings.Contains(strings.Join(changes, "\n"), want) {
			t.Errorf("audit log has no %s; it has\n%s", want, strings.Join(changes, "\n"))
		}
	}
	proxy.Forget()
	audited.Docker(t, "ps")
	audited.Docker(t, "logs", id)
	if got := proxy.Mutating(); len(got) > 0 {
		t.Errorf("looking counts as changing: %v", got)
	}
	if got := proxy.Requests(); len(got) == 0 {
		t.Error("looking is not in the audit log")
	}
}

func TestTheProxyLosesRepliesOnRequest(t *testing.T) {
	engine := harness.StartDockerd(t)
	engine.LoadHello(t)
	proxy := harness.SocketProxy(t, engine.Socket)
	proxy.Break(harness.Only(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/containers/create") }, harness.LoseReply))
	audited := *engine
	audited.Host = proxy.Host
	if _, err := audited.TryDocker("create", "--name", "lost", "brambled/hello:1"); err == nil {
		t.Error("create succeeded though its reply was lost")
	}
	if got := engine.Docker(t, "ps", "-aq", "--filter", "name=lost"); got == "" {
		t.Error("the engine did not create the container whose reply was lost")
	}
}

func TestDockerdComesBackAfterACrash(t *testing.T) {
	engine := harness.StartDockerd(t, "--live-restore")
	engine.LoadHello(t)
	id := engine.Docker(t, "run", "-d", "brambled/hello:1")
	pid := engine.Docker(t, "inspect", "-f", "{{.State.Pid}}", id)
	engine.Kill(t)
	if _, err := engine.TryDocker("ps"); err == nil {
		t.Fatal("the engine answers after Kill")
	}
	engine.Again(t, "--live-restore")
	if got := engine.Docker(t, "inspect", "-f", "{{.State.Pid}}", id); got != pid {
		t.Errorf("process of the container is %s after the crash, want %s", got, pid)
	}
}

func TestComposeRunsAgainstTheEngine(t *testing.T) {
	engine := harness.StartDockerd(t)
	engine.LoadHello(t)
	file := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(file, []byte("services: { web: { image: \"brambled/hello:1\" } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	engine.Compose(t, "-p", "demo", "-f", file, "up", "-d")
	if got := engine.Docker(t, "ps", "--format", "{{.Names}}"); got != "demo-web-1" {
		t.Errorf("containers are %q, want demo-web-1", got)
	}
}

func TestEnginesLeaveNothingBehind(t *testing.T) {
	var dir, pid, namespace string
	t.Run("engine", func(t *testing.T) {
		engine := harness.StartDockerd(t)
		engine.LoadHello(t)
		// It ignores nothing but takes a minute to stop: the end of a test must not wait for it.
		id := engine.Docker(t, "run", "-d", "--restart", "always", "brambled/hello:1", "-stop", "1m")
		dir, namespace = engine.Dir, engine.Namespace
		pid = engine.Docker(t, "inspect", "-f", "{{.State.Pid}}", id)
	})
	if _, err := os.Stat("/proc/" + pid + "/root/hello"); err == nil {
		t.Errorf("container process %s outlives its engine", pid)
	}
	for _, path := range []string{dir, namespace} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind", path)
		}
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left below %s", dir)
	}
}

func TestConsulKeepsItsKeysOverACrash(t *testing.T) {
	consul := harness.StartConsul(t)
	consul.Put(t, "brambled/stacks/web", "services: {}")
	consul.Kill(t)
	consul.Again(t)
	if got := consul.CLI(t, "kv", "get", "brambled/stacks/web"); got != "services: {}" {
		t.Errorf("key is %q after the crash", got)
	}
	consul.Delete(t, "brambled/stacks/web")
	if _, found := consul.Get(t, "brambled/stacks/web"); found {
		t.Error("the deleted key is still there")
	}
}

// TestPlayTheVictim is no test of its own: it starts an engine and a Consul, says where, and waits to be killed.
func TestPlayTheVictim(t *testing.T) {
	if os.Getenv("BRAMBLED_TEST_VICTIM") == "" {
		return
	}
	engine, consul := harness.StartDockerd(t), harness.StartConsul(t)
	err := json.NewEncoder(os.NewFile(3, "report")).Encode([]string{engine.Namespace, strconv.Itoa(consul.PID())})
	if err != nil {
		t.Fatal(err)
	}
	select {}
}

func TestChildrenDieWithTheTestProcess(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.Command(os.Args[0], "-test.run", "^TestPlayTheVictim$")
	victim.Env = append(os.Environ(), "BRAMBLED_TEST_VICTIM=yes", "TMPDIR="+harness.Workspace(t, "v"))
	victim.ExtraFiles = []*os.File{write}
	victim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var report []string
	if err := json.NewDecoder(read).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	harness.Eventually(t, "the victim's engine and Consul are gone", func() error {
		if _, err := os.Stat(report[0]); err == nil {
			return fmt.Errorf("%s is still there", report[0])
		}
		status, err := os.ReadFile("/proc/" + report[1] + "/status")
		if err == nil && !strings.Contains(string(status), "State:\tZ") {
			return fmt.Errorf("Consul %s still runs", report[1])
		}
		return nil
	})
}
