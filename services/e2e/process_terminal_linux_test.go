package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	parley "github.com/parley-im/parley/pkg/sdk-go"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// pseudoTerminal is a terminal whose keys a test presses, and that it reads.
type pseudoTerminal struct {
	t            *testing.T
	master, user *os.File

	mu   sync.Mutex
	text strings.Builder
}

func openTerminal(t *testing.T) *pseudoTerminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no terminals: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	user, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	p := &pseudoTerminal{t: t, master: master, user: user}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.text.Write(b[:n])
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = user.Close() // reading ends with the last
		<-read
		_ = master.Close()
	})
	return p
}

func (p *pseudoTerminal) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *pseudoTerminal) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// want waits until the terminal has shown something.
func (p *pseudoTerminal) want(text string) {
	p.t.Helper()
	process.Eventually(p.t, recovery, "the terminal shows "+text, func() error {
		if shown := p.shown(); !strings.Contains(shown, text) {
			return fmt.Errorf("it shows %q", shown)
		}
		return nil
	})
}

// cooked tells whether the terminal echoes what is typed.
func (p *pseudoTerminal) cooked() bool {
	p.t.Helper()
	termios, err := unix.IoctlGetTermios(int(p.user.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return termios.Lflag&(unix.ECHO|unix.ICANON) == unix.ECHO|unix.ICANON
}

// On a terminal a chat asks for the password, has a line to type on, tells others
// of it, and leaves the terminal as it was.
func TestProcessChatOnTerminal(t *testing.T) {
	p := serve(t)
	p.WaitReady()
	alice, err := parley.Dial(t.Context(), p.url, parley.Options{GetToken: (&parley.SignIn{URL: p.url, Username: "alice", Password: password}).Token})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	room := alice.Room("general")
	if err := room.Join(t.Context(), parley.JoinOptions{}); err != nil {
		t.Fatal(err)
	}

	tty := openTerminal(t)
	cmd := exec.CommandContext(t.Context(), process.Binary(t, process.Parley), "chat", "general", "--url", p.url, "--username", "bob")
	cmd.Env = []string{"HOME=/nonexistent", "TERM=xterm"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.user, tty.user, tty.user
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.want("Password of bob: ")
	tty.press("the pass word\n")
	tty.want("bob> ")

	tty.press("hel")
	next := func(wanted string, match func(parley.Event) bool) {
		t.Helper()
		for e, err := range room.Events(t.Context()) {
			if err != nil {
				t.Fatalf("waiting for %s: %v", wanted, err)
			}
			if match(e) {
				return
			}
		}
	}
	next("a sign of typing", func(e parley.Event) bool {
		s, ok := e.(parley.Signal)
		return ok && s.Name == "typing" && s.User.Username == "bob"
	})
	tty.press("lo\r")
	next("the message", func(e parley.Event) bool {
		m, ok := e.(parley.Message)
		return ok && m.Content == "hello" && m.User.Username == "bob"
	})
	if err := room.Signal("typing", nil); err != nil {
		t.Fatal(err)
	}
	tty.want("* alice is typing")
	if _, err := room.Send(t.Context(), "hi \x1b[2J"); err != nil {
		t.Fatal(err)
	}
	tty.want("alice: hi �[2J")
	tty.press("/members\r")
	tty.want("* 2 here: ")
	tty.press("\x04") // the end of the input
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v: %q", err, tty.shown())
		}
	case <-time.After(recovery):
		t.Fatalf("it does not end: %q", tty.shown())
	}
	if !tty.cooked() {
		t.Error("the terminal is not as it was")
	}
	for _, never := range []string{"pass word", "bob: hello", "\x1b[2J"} {
		if strings.Contains(tty.shown(), never) {
			t.Errorf("it shows %q: %q", never, tty.shown())
		}
	}
}
