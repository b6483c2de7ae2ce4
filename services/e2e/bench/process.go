//go:build linux

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// part is which column a process's cost goes to.
type part int

const (
	gatewayPart part = iota // also the floor, and all of parley serve
	natsPart
	restPart
)

// process is one that was started.
type process struct {
	name string
	part part
	cmd  *exec.Cmd
	said *os.File
	// ready is asked until it is.
	ready func(context.Context) error
	done  chan struct{} // closed when it has ended
}

// start starts the program with what any process needs of the environment, and
// nothing of the bench's own settings.
func (d *deployment) start(name string, p part, ready func(context.Context) error, args, env []string) error {
	said, err := os.CreateTemp(d.dir, name+"-*.log")
	if err != nil {
		return err
	}
	cmd := exec.Command(d.program, args...)
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOMAXPROCS"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = said
	// A Ctrl-C is the bench's, which then ends what it has started; the kernel
	// does that where the bench cannot any more. It goes by the thread that
	// started the process (prctl(2), PR_SET_PDEATHSIG), which Run keeps.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		said.Close()
		return fmt.Errorf("starting %s: %w", name, err)
	}
	started := &process{name: name, part: p, cmd: cmd, said: said, ready: ready, done: make(chan struct{})}
	go func() {
		defer close(started.done)
		_ = cmd.Wait() // ProcessState tells
	}()
	d.processes = append(d.processes, started)
	return nil
}

// readyPatience is how long a process may take until it is ready.
const readyPatience = 30 * time.Second

// await waits until all processes are ready.
func (d *deployment) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("not ready after %v", readyPatience))
	defer cancel()
	for _, p := range d.processes {
		for {
			err := p.ready(ctx)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("starting %s: %w: %w\n%s", p.name, context.Cause(ctx), err, p.tail())
			case <-p.done:
				return fmt.Errorf("starting %s: it ended: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// tail is what a process said last.
func (p *process) tail() string {
	text, err := os.ReadFile(p.said.Name())
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// kill ends the process at once: what it holds is thrown away.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails where it has ended
	<-p.done
	p.said.Close()
}

var asker = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answers says whether an admin port tells that its process is ready.
func answers(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := asker.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
}

// listens says whether somebody takes connections at an address.
func listens(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}
}
