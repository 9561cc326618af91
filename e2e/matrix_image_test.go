//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/brambled/brambled/e2e/harness"
)

// registry is a real registry on the loopback, and lines are the ways to it from the engine's network.
type registry struct{ port string }

// startRegistry runs Debian's docker-registry; with a password file it lets only its users in.
func startRegistry(t *testing.T, users string) *registry {
	t.Helper()
	if out, err := exec.Command(harness.Script(t, "require"), "docker-registry").CombinedOutput(); err != nil {
		t.Fatalf("install docker-registry: %v\n%s", err, out)
	}
	dir := harness.Workspace(t, "registry")
	r := &registry{port: fmt.Sprint(harness.FreePorts(t, 1)[0])}
	config := "version: 0.1\nlog: { level: warn }\nstorage:\n  filesystem: { rootdirectory: " + dir + "/data }\nhttp: { addr: \"127.0.0.1:" + r.port + "\" }\n"
	if users != "" {
		write(t, filepath.Join(dir, "users"), users)
		config += "auth:\n  htpasswd: { realm: test, path: " + dir + "/users }\n"
	}
	write(t, filepath.Join(dir, "config.yml"), config)
	output, err := os.Create(filepath.Join(dir, "registry.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, so this thread stays for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		_ = output.Close()
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start docker-registry: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	harness.Eventually(t, "the registry answers", func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+r.port)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return r
}

// line leads from the engine's network to a registry. It can be cut, and it can be held up.
type line struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener
	flow     chan struct{} // closed while bytes flow
	conns    map[net.Conn]bool
}

func (r *registry) line(t *testing.T, gateway string) *line {
	t.Helper()
	l := &line{address: gateway + ":0", target: "127.0.0.1:" + r.port, flow: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(l.flow)
	l.open(t)
	t.Cleanup(l.cut)
	return l
}

func (l *line) open(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		t.Fatalf("open line: %v", err)
	}
	l.mu.Lock()
	l.listener, l.address = listener, listener.Addr().String()
	l.mu.Unlock()
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", l.target)
			if err != nil {
				_ = from.Close()
				continue
			}
			l.mu.Lock()
			l.conns[from], l.conns[to] = true, true
			l.mu.Unlock()
			go l.copy(to, from)
			go l.copy(from, to)
		}
	}()
}

func (l *line) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		flow := l.flow
		l.mu.Unlock()
		<-flow
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut refuses new connections and breaks those that are open.
func (l *line) cut() {
	l.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close()
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

// holdUp lets nothing through and breaks nothing, until release.
func (l *line) holdUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flow = make(chan struct{})
}

func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.flow:
	default:
		close(l.flow)
	}
}

// imageBench is a Pi whose engine has a small disk and three ways to two registries.
type imageBench struct {
	*matrix
	line    *line  // the way that is cut and held up
	side    *line  // the way by which a person pushes, to the same registry
	private *line  // the way to the one that wants a password
	root    string // the engine's data, on a disk of its own
	logins  string // folder of the Docker config file
}

func bootImages(t *testing.T) *imageBench {
	logins := t.TempDir()
	b := &imageBench{logins: logins}
	b.matrix = bootMatrix(t, nil, harness.Options{Env: []string{"DOCKER_CONFIG=" + logins}})
	b.root = filepath.Join(b.engine.Dir, "small")
	b.engine.Kill(t)
	if err := os.MkdirAll(b.root, 0o700); err != nil {
		t.Fatal(err)
	}
	// The engine's own clean-up unmounts it.
	if err := syscall.Mount("tmpfs", b.root, "tmpfs", 0, "size=192m"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	b.flags = []string{"--data-root=" + b.root}
	b.again()
	b.engine.LoadHello(t)
	open := startRegistry(t, "")
	users := startRegistry(t, "pi:$2b$04$.Haeg0B86F1trIcd/xn5ouN718R0iew80mEK99Vj4nBaI8nR8/E5y\n") // raspberry
	b.line, b.side, b.private = open.line(t, b.engine.Gateway), open.line(t, b.engine.Gateway), users.line(t, b.engine.Gateway)
	return b
}

// push puts a local image into a registry and leaves no trace of that on the engine.
func (b *imageBench) push(t *testing.T, local string, to *line, name string) {
	t.Helper()
	ref := to.address + "/" + name
	b.engine.Docker(t, "tag", local, ref)
	b.engine.Docker(t, "push", "-q", ref)
	b.engine.Docker(t, "rmi", ref)
}

// from is a stack of one container with an image from a registry.
func from(ref, words string) string {
	return "x-brambled: { nodes: all }\nservices:\n  app:\n    image: " + ref + "\n    environment: { GREETING: \"" + words + "\" }\n"
}

// Rows 12 and 25 of the fault matrix: a registry and a disk that do not do as they should touch nothing that runs.
func TestMatrixImages(t *testing.T) {
	t.Parallel()
	b := bootImages(t)
	for _, tag := range []string{"hello:1", "hello:3", "hello:4"} {
		b.push(t, "brambled/hello:1", b.side, tag)
	}
	b.put(t, "web", service("good day"))
	b.put(t, "far", from(b.line.address+"/hello:1", "one"))
	b.greets(t, "web-app-1", "good day")
	b.greets(t, "far-app-1", "one")
	b.state(t, "web", "converged")
	b.state(t, "far", "converged")

	for _, row := range []struct {
		name string
		run  func(*testing.T, *imageBench)
	}{
		{"25 a tag that moves is not followed unasked", tagMoves},
		{"25 the registry is down", registryDown},
		{"25 a pull that hangs holds up nothing", pullHangs},
		{"25 a registry that wants a password", registryPrivate},
		{"12 the engine's disk is full", engineDiskFull},
	} {
		if !t.Run(row.name, func(t *testing.T) { row.run(t, b) }) {
			t.Fatal("the rows that follow need a Pi that is sound")
		}
	}
}

func (b *imageBench) imageOf(t *testing.T, name string) string {
	t.Helper()
	return b.engine.Docker(t, "inspect", "--format", "{{.Image}}", name)
}

func tagMoves(t *testing.T, b *imageBench) {
	before := b.runs(t, "far", "far-app-1")
	was := b.imageOf(t, "far-app-1")
	b.push(t, "brambled/hello:2", b.side, "hello:1")
	b.proxy.Forget()
	b.put(t, "web", service("good noon"))
	b.greets(t, "web-app-1", "good noon")
	b.Kill(t)
	b.Again(b.top)
	b.state(t, "far", "converged")
	b.state(t, "web", "converged")
	same(t, before, b.runs(t, "far", "far-app-1"), "far-app-1")
	if n := b.count("POST", "/images/create"); n > 0 {
		t.Errorf("%d pulls nobody asked for", n)
	}
	b.put(t, "far", from(b.line.address+"/hello:1", "two")+"    pull_policy: always\n")
	b.greets(t, "far-app-1", "two")
	b.state(t, "far", "converged")
	if now := b.imageOf(t, "far-app-1"); now == was || now != b.engine.Docker(t, "image", "inspect", "--format", "{{.Id}}", "brambled/hello:2") {
		t.Errorf("pull_policy: always brought %s, it was %s", now, was)
	}
	if n := b.count("POST", "/images/create"); n != 1 {
		t.Errorf("%d pulls for one revision", n)
	}
}

func registryDown(t *testing.T, b *imageBench) {
	before := b.runs(t, "far", "far-app-1")
	b.line.cut()
	b.proxy.Forget()
	b.put(t, "far", from(b.line.address+"/hello:3", "three"))
	b.says(t, []string{"why", "far/app"}, b.line.address+"/hello:3", "refused")
	same(t, before, b.containers(t, "far"), "far-app-1")
	b.put(t, "web", service("good evening"))
	b.greets(t, "web-app-1", "good evening")
	b.state(t, "web", "converged")
	// One attempt, and the next comes after five seconds: whatever else happened, nobody hammers the registry.
	if n := b.count("POST", "/images/create"); n > 3 {
		t.Errorf("%d pulls: no backoff", n)
	}
	same(t, before, b.runs(t, "far", "far-app-1"), "far-app-1")
	b.line.open(t)
	b.greets(t, "far-app-1", "three")
	b.state(t, "far", "converged")
}

func pullHangs(t *testing.T, b *imageBench) {
	before := b.runs(t, "far", "far-app-1")
	b.line.holdUp()
	b.proxy.Forget()
	b.put(t, "far", from(b.line.address+"/hello:4", "four"))
	harness.Eventually(t, "the pull is under way", func() error {
		if b.count("POST", "/images/create") == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	b.engine.Docker(t, "rm", "-f", "web-app-1")
	b.greets(t, "web-app-1", "good evening")
	b.put(t, "web", service("good night")) // replaced: the old one is stopped meanwhile
	b.greets(t, "web-app-1", "good night")
	b.runs(t, "web", "web-app-1")
	b.state(t, "web", "converged")
	b.state(t, "far", "converging")
	same(t, before, b.runs(t, "far", "far-app-1"), "far-app-1")
	b.line.release()
	b.greets(t, "far-app-1", "four")
	b.state(t, "far", "converged")
}

func registryPrivate(t *testing.T, b *imageBench) {
	before := b.runs(t, "far", "far-app-1")
	for _, tag := range []string{"secret:1", "secret:2"} {
		ref := b.private.address + "/" + tag
		b.engine.Docker(t, "tag", "brambled/hello:1", ref)
		login := exec.Command("docker", "--config", t.TempDir(), "login", "-u", "pi", "--password-stdin", b.private.address)
		login.Stdin = strings.NewReader("raspberry")
		login.Env = append(os.Environ(), "DOCKER_HOST="+b.engine.Host)
		if out, err := login.CombinedOutput(); err != nil {
			t.Fatalf("docker login: %v\n%s", err, out)
		}
		b.engine.Docker(t, "--config", login.Args[2], "push", "-q", ref)
		b.engine.Docker(t, "rmi", ref)
	}
	b.put(t, "far", from(b.private.address+"/secret:1", "five"))
	b.says(t, []string{"why", "far/app"}, "secret:1", "docker login "+b.private.address)
	same(t, before, b.runs(t, "far", "far-app-1"), "far-app-1")
	b.state(t, "web", "converged")
	auth := base64.StdEncoding.EncodeToString([]byte("pi:raspberry"))
	write(t, filepath.Join(b.logins, "config.json"), `{"auths":{"`+b.private.address+`":{"auth":"`+auth+`"}}}`)
	b.put(t, "far", from(b.private.address+"/secret:2", "six"))
	b.greets(t, "far-app-1", "six")
	b.state(t, "far", "converged")
}

// engineDiskFull fills the engine's disk to the last page, then asks for a pull and for a container.
func engineDiskFull(t *testing.T, b *imageBench) {
	layer := filepath.Join(t.TempDir(), "layer.tar")
	random, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(filepath.Dir(layer), "blob")
	out, err := os.Create(blob)
	if err == nil {
		_, err = io.CopyN(out, random, 8<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _ = out.Close(), random.Close()
	run(t, "tar", "-C", filepath.Dir(blob), "-cf", layer, "blob")
	b.engine.Docker(t, "import", "--change", `ENTRYPOINT ["/hello"]`, layer, "big:1")
	b.push(t, "big:1", b.side, "big:1")
	b.engine.Docker(t, "rmi", "big:1")
	images := imagesOf(t, b)
	web, far := b.runs(t, "web", "web-app-1"), b.runs(t, "far", "far-app-1")

	fill := filepath.Join(b.root, "fill")
	fillUp(t, fill)
	t.Cleanup(func() { _ = os.Remove(fill) })
	b.proxy.Forget()
	b.put(t, "big", from(b.side.address+"/big:1", "big"))
	b.put(t, "late", service("late"))
	for _, subject := range []string{"big/app", "late/app"} {
		b.says(t, []string{"why", subject}, "no space left on device", "docker system df")
	}
	b.says(t, []string{"status"}, "no space left on device")
	same(t, web, b.runs(t, "web", "web-app-1"), "web-app-1")
	same(t, far, b.runs(t, "far", "far-app-1"), "far-app-1")
	if now := imagesOf(t, b); !slices.Equal(now, images) {
		t.Errorf("images were %v, are %v", images, now)
	}
	if n := b.count("POST", "/images/create"); n > 3 {
		t.Errorf("%d pulls: no backoff", n)
	}
	b.nothingTaken(t)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	b.greets(t, "late-app-1", "late")
	harness.Eventually(t, "the image is here", func() error {
		_, err := b.engine.TryDocker("image", "inspect", b.side.address+"/big:1")
		return err
	})
	b.consul.Delete(t, "brambled/stacks/big")
	b.runs(t, "big")
	same(t, web, b.runs(t, "web", "web-app-1"), "web-app-1")
}

func imagesOf(t *testing.T, b *imageBench) []string {
	t.Helper()
	return slices.Sorted(strings.FieldsSeq(b.engine.Docker(t, "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}}@{{.ID}}")))
}

// fillUp writes until nothing more fits.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 4096; size /= 2 {
		block := make([]byte, size)
		for {
			if _, err := f.Write(block); err != nil {
				break
			}
		}
	}
	_ = f.Close()
}
