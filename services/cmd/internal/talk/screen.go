package talk

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/parley-im/parley/services/cmd/internal/shell"
)

// screen is where a chat is written, and what is typed comes from. print may be
// called from any goroutine.
type screen interface {
	print(line string)
	// readLine gives the next line; io.EOF behind the last.
	readLine() (string, error)
	// echoes tells whether what is typed stands on the screen already.
	echoes() bool
	close() error
}

// openScreen gives the terminal's, or the plain one where there is none. key is
// called with each key.
func openScreen(username string, plain bool, key func()) (screen, error) {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if plain || !term.IsTerminal(in) || !term.IsTerminal(out) || os.Getenv("TERM") == "dumb" {
		return newPlain(os.Stdin, os.Stdout), nil
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		return nil, fmt.Errorf("the terminal: %w", err)
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}, shell.Printable(username)+"> ")
	t.AutoCompleteCallback = func(string, int, rune) (string, int, bool) {
		key()
		return "", 0, false
	}
	s := &terminal{t: t, restore: func() error { return term.Restore(in, before) }}
	s.fit()
	return s, nil
}

// terminal has a line to type on below what is written.
type terminal struct {
	t       *term.Terminal
	restore func() error
}

// fit takes the terminal's size, which may have changed.
func (s *terminal) fit() {
	if width, height, err := term.GetSize(int(os.Stdout.Fd())); err == nil && width > 0 {
		_ = s.t.SetSize(width, height) // it writes, and a terminal that is gone ends reading
	}
}

func (s *terminal) print(line string) {
	s.fit()
	_, _ = s.t.Write([]byte(line + "\n")) // a terminal that is gone ends reading
}

func (s *terminal) readLine() (string, error) {
	text, err := s.t.ReadLine()
	if err == term.ErrPasteIndicator {
		err = nil
	}
	return text, err
}

func (s *terminal) echoes() bool { return true }
func (s *terminal) close() error { return s.restore() }

// plainScreen reads and writes lines.
type plainScreen struct {
	in  *bufio.Scanner
	mu  sync.Mutex
	out io.Writer
}

func newPlain(in io.Reader, out io.Writer) *plainScreen {
	s := &plainScreen{in: bufio.NewScanner(in), out: out}
	s.in.Buffer(nil, 1<<20)
	return s
}

func (s *plainScreen) print(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, line)
}

func (s *plainScreen) readLine() (string, error) {
	if s.in.Scan() {
		return strings.ToValidUTF8(s.in.Text(), "�"), nil
	}
	if err := s.in.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

func (s *plainScreen) echoes() bool { return false }
func (s *plainScreen) close() error { return nil }
