package run

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// programs are run by the test binary itself, as processes of their own.
var programs = map[string]func(ctx context.Context, args []string) error{
	"good":   func(context.Context, []string) error { return nil },
	"bad":    func(context.Context, []string) error { return errors.Join(errors.New("one"), errors.New("two")) },
	"coded":  func(context.Context, []string) error { return fmt.Errorf("no such room: %w", ExitCode(3)) },
	"silent": func(context.Context, []string) error { return ExitCode(4) },
	"args":   func(_ context.Context, args []string) error { return fmt.Errorf("%q", args) },
	"drains": func(ctx context.Context, _ []string) error {
		fmt.Println("running")
		<-ctx.Done()
		fmt.Println("draining:", context.Cause(ctx))
		return fmt.Errorf("serve: %w", ctx.Err())
	},
	"fails to drain": func(ctx context.Context, _ []string) error {
		fmt.Println("running")
		<-ctx.Done()
		return errors.Join(ctx.Err(), errors.New("lost a message"))
	},
	"hangs": func(ctx context.Context, _ []string) error {
		fmt.Println("running")
		<-ctx.Done()
		fmt.Println("hanging")
		select {}
	},
}

func TestMain(m *testing.M) {
	if program, ok := programs[os.Getenv("RUN_TEST_PROGRAM")]; ok {
		Main(program)
	}
	goleak.VerifyTestMain(m)
}

type process struct {
	*exec.Cmd
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.Env = append(os.Environ(), "RUN_TEST_PROGRAM="+program)
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// line waits for the program's next line.
func (p *process) line(t *testing.T) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("no line: %v %s", p.out.Err(), p.stderr.String())
	}
	return p.out.Text()
}

// end waits for the program's end.
func (p *process) end(t *testing.T) (code int, stderr string) {
	t.Helper()
	for p.out.Scan() {
	}
	err := p.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), p.stderr.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, p.stderr.String()
}

func TestExitStatus(t *testing.T) {
	name := program()
	for _, test := range []struct {
		program, stderr string
		code            int
	}{
		{"good", "", 0},
		{"bad", name + ": one\n" + name + ": two\n", 1},
		{"coded", name + ": no such room: exit status 3\n", 3},
		{"silent", "", 4},
		{"args", name + ": [\"a\" \"--b\"]\n", 1},
	} {
		code, stderr := start(t, test.program, "a", "--b").end(t)
		if code != test.code || stderr != test.stderr {
			t.Errorf("%s: status %d, %q", test.program, code, stderr)
		}
	}
}

func TestSignalStops(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := start(t, "drains")
		p.line(t)
		if err := p.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if got := p.line(t); got != "draining: stopped by signal: "+s.String() {
			t.Error(got)
		}
		if code, stderr := p.end(t); code != 0 || stderr != "" {
			t.Errorf("%v: status %d, %q", s, code, stderr)
		}
	}
}

func TestErrorWhileStoppingCounts(t *testing.T) {
	p := start(t, "fails to drain")
	p.line(t)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, stderr := p.end(t); code != 1 || !strings.Contains(stderr, "lost a message") {
		t.Error(code, stderr)
	}
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	p := start(t, "hangs")
	p.line(t)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := p.line(t); got != "hanging" {
		t.Fatal(got)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code, stderr := p.end(t); code != 1 || !strings.Contains(stderr, "second signal (interrupt), exiting at once") {
		t.Error(code, stderr)
	}
}

func TestEnded(t *testing.T) {
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	real := errors.New("real")
	for _, test := range []struct {
		err  error
		want bool
	}{
		{context.Canceled, true}, {cause, true}, {real, false}, {io.EOF, false}, {context.DeadlineExceeded, false},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", context.Canceled)), true},
		{errors.Join(context.Canceled, cause), true},
		{errors.Join(context.Canceled, real), false},
		{fmt.Errorf("%w, %w", real, context.Canceled), false},
	} {
		if got := ended(ctx, test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
