package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Process is a child that cannot outlive the test process.
type Process struct {
	// Log is the file with the child's standard output and error.
	Log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	// replaced is set when another process has taken this one's place: its log goes on there.
	replaced bool
}

// startProcess starts a command, its output appended to DIR/NAME.log, and kills it when the test ends.
func startProcess(t testing.TB, dir, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Log: filepath.Join(dir, name+".log"), cmd: cmd, done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("open log of %s: %v", name, err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own keeps Ctrl-C at the terminal away from it: the test decides how it ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the *thread* that forked ends, so this thread stays for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
		_ = log.Close() // the child has written what it had to say
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.Kill(t)
		if t.Failed() && !p.replaced {
			t.Logf("the end of %s:\n%s", p.Log, Tail(p.Log, 40))
		}
	})
	return p
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to this process alone.
func (p *Process) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("send %v to process %d: %v", sig, p.PID(), err)
	}
}

// Kill ends the process as a power cut would, and waits until it is gone. A frozen one dies too.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	<-p.done
}

// Freeze stops the process from running without ending it; Thaw lets it go on.
func (p *Process) Freeze(t testing.TB) { t.Helper(); p.Signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw(t testing.TB) { t.Helper(); p.Signal(t, syscall.SIGCONT) }

// Term asks the process to end, waits for it and returns its exit code. It fails the test when the process
// is still there after limit.
func (p *Process) Term(t testing.TB, limit time.Duration) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		t.Fatalf("process %d still runs %v after SIGTERM\n%s", p.PID(), limit, Tail(p.Log, 20))
	}
	return p.cmd.ProcessState.ExitCode()
}

// Exited says whether the process has ended, and how.
func (p *Process) Exited() (bool, error) {
	select {
	case <-p.done:
		return true, p.err
	default:
		return false, nil
	}
}

// Killed says whether the process has ended by SIGKILL; any other end is an error.
func (p *Process) Killed() (bool, error) {
	ended, err := p.Exited()
	if !ended {
		return false, nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return true, nil
		}
	}
	return true, fmt.Errorf("process %d ended by itself (%w)\n%s", p.PID(), errors.Join(err, errEnded), Tail(p.Log, 20))
}

// alive is an error once the process has ended: polling for its answer is pointless then.
func (p *Process) alive() error {
	if ended, err := p.Exited(); ended {
		return fmt.Errorf("process has ended (%w):\n%s", errors.Join(err, errEnded), Tail(p.Log, 20))
	}
	return nil
}

var errEnded = errors.New("it must keep running")
