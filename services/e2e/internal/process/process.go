package process

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// startPatience is how long a program may take to be ready: several start
	// at once, built with the race detector, on a small machine.
	startPatience = 30 * time.Second
	// endPatience is how long one may take to end.
	endPatience = 30 * time.Second
	// taken is what a program says when another has its port.
	taken = "address already in use"
)

// Spec says what to start.
type Spec struct {
	Program string
	// Path is where Program lies when it is not one that this package builds.
	Path string
	Args []string
	// Env is what is set beside what every program needs to run at all; of the
	// test's own environment nothing else is passed on.
	Env []string
	// Admin is the URL of its admin port, where ReadyPath ("/readyz" where it is
	// empty) answers 200 when the process is ready.
	Admin, ReadyPath string
}

// Process is a program that was started. Its methods are for the test's
// goroutine.
type Process struct {
	Spec
	t testing.TB

	cmd  *exec.Cmd
	out  *output
	err  *output
	done chan struct{} // closed when this start has ended
}

// Start starts a program without waiting until it is ready. It ends with the
// test.
func Start(t testing.TB, s Spec) *Process {
	t.Helper()
	if s.ReadyPath == "" {
		s.ReadyPath = "/readyz"
	}
	if s.Path == "" {
		s.Path = Binary(t, s.Program)
	}
	p := &Process{Spec: s, t: t, out: new(output), err: new(output)}
	p.launch()
	t.Cleanup(func() {
		p.Kill()
		if strings.Contains(p.err.String(), "WARNING: DATA RACE") {
			t.Errorf("%s has a data race", s.Program)
		}
		if t.Failed() {
			t.Logf("%s %v said at the end:\n%s", s.Program, s.Args, p.err.tail(40))
		}
	})
	return p
}

func (p *Process) launch() {
	p.t.Helper()
	cmd := exec.Command(p.Path, p.Args...)
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, p.Env...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = p.out, p.err, attributes()
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.Program, err)
	}
	p.cmd, p.done = cmd, make(chan struct{})
	done := p.done
	go func() {
		defer close(done)
		_ = cmd.Wait() // ProcessState tells
	}()
}

// Restart starts an ended program anew, with the same settings and on the same
// ports.
func (p *Process) Restart() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("%s is running", p.Program)
	}
	p.launch()
}

// PID is the number of the process that was started last.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running says whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Signal sends a signal; a process that has ended takes none.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("sending %v to %s: %v", s, p.Program, err)
	}
}

// Stop asks the process to end, waits until it has, and gives its exit status.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Wait waits until the process has ended by itself and gives its exit status,
// -1 when a signal ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(endPatience):
		p.t.Fatalf("%s has not ended after %v", p.Program, endPatience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Ready says why the process is not ready, nil if it is.
func (p *Process) Ready() error {
	if !p.Running() {
		return fmt.Errorf("%s has ended: %v", p.Program, p.cmd.ProcessState)
	}
	status, body, err := Get(p.Admin + p.ReadyPath)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: not ready: %d %s", p.Program, status, body)
	}
	return err
}

// WaitReady waits until the process is ready, and starts it again where
// somebody else had its port for a moment.
func (p *Process) WaitReady() {
	p.t.Helper()
	seen := len(p.err.String())
	Eventually(p.t, startPatience, p.Program+" is ready", func() error {
		err := p.Ready()
		if !p.Running() {
			said := p.err.String()
			if !strings.Contains(said[min(seen, len(said)):], taken) {
				p.t.Fatal(err)
			}
			seen = len(said)
			p.launch()
		}
		return err
	})
}

// WaitSaid waits until text is on its standard error: what a process logs comes
// by a pipe, and may be read after what it does is seen elsewhere.
func (p *Process) WaitSaid(text string) {
	p.t.Helper()
	Eventually(p.t, startPatience, p.Program+" says "+text, func() error {
		if said := p.Stderr(); !strings.Contains(said, text) {
			return errors.New("it has not yet")
		}
		return nil
	})
}

// Stdout and Stderr are what the process has written since its first start.
func (p *Process) Stdout() string { return p.out.String() }

// Stderr is explained at Stdout.
func (p *Process) Stderr() string { return p.err.String() }

// output collects what a process writes. The most of it is bounded: what a
// test's process says beyond that is thrown away.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

const maxOutput = 16 << 20

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < maxOutput {
		o.text.Write(b)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail gives the last lines.
func (o *output) tail(n int) string {
	lines := slices.Collect(strings.Lines(o.String()))
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
