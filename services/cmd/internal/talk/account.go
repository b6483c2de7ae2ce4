package talk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"time"

	"golang.org/x/term"

	"github.com/parley-im/parley/pkg/config"
	parley "github.com/parley-im/parley/pkg/sdk-go"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

// account is which deployment is talked to, and as whom.
type account struct {
	url, username   string
	password, token config.Secret
	guest           bool
	patience        time.Duration
}

func (a *account) register(s *config.Set) {
	a.url, a.patience = "http://127.0.0.1:8080", 5*time.Second
	if u, err := user.Current(); err == nil {
		a.username = u.Username
	}
	s.Section("The deployment, and who you are there")
	s.String(&a.url, "url", "where a gateway, or what stands before them, is")
	s.String(&a.username, "username", "your name")
	s.Secret(&a.password, "password", "your password; asked for on a terminal. parley serve makes an account of a name that is new")
	s.Secret(&a.token, "token", "a token in place of both, as parley token writes it")
	s.Bool(&a.guest, "guest", "be a guest, where the deployment lets them in")
	s.Duration(&a.patience, "patience", "how long to try to connect")
}

// options are the client's.
func (a *account) options() (parley.Options, error) {
	switch {
	case a.guest:
		return parley.Options{}, nil
	case a.token.Reveal() != "":
		return parley.Options{Token: a.token.Reveal()}, nil
	}
	who, err := a.signIn()
	if err != nil {
		return parley.Options{}, err
	}
	return parley.Options{GetToken: who.Token}, nil
}

func (a *account) signIn() (*parley.SignIn, error) {
	password := a.password.Reveal()
	if password == "" {
		var err error
		if password, err = askPassword(a.username); err != nil {
			return nil, shell.Exit(shell.SignedOut, err)
		}
	}
	return &parley.SignIn{URL: a.url, Username: a.username, Password: password}, nil
}

// askPassword asks on the terminal.
func askPassword(username string) (string, error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return "", errors.New("nobody is signed in: set PARLEY_PASSWORD (and PARLEY_USERNAME), or PARLEY_TOKEN, or give --guest")
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", username)
	b, err := term.ReadPassword(in)
	fmt.Fprintln(os.Stderr)
	return string(b), err
}

// dial connects and signs in; ctx is the command's.
func (a *account) dial(ctx context.Context) (*parley.Client, error) {
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	c, err := parley.Dial(within, a.url, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, a.outcome(err)
	}
	return c, nil
}

// outcome gives an error its exit status, and says what can be done.
func (a *account) outcome(err error) error {
	var ours *parley.Error
	var unreached *url.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, parley.ErrSignedOut) || parley.CodeOf(err) == parley.CodeUnauthenticated:
		return shell.Exit(shell.SignedOut, fmt.Errorf("%w; --username with PARLEY_PASSWORD, or PARLEY_TOKEN, say who you are", err))
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &unreached):
		return shell.Exit(shell.Unreached, fmt.Errorf("no answer within %v: is Parley there? --url (PARLEY_URL) says where it is: %w", a.patience, err))
	case !errors.As(err, &ours):
		return err
	}
	switch ours.Code {
	case parley.CodeNoGateway, parley.CodeConnectionLost, parley.CodeTimeout:
		return shell.Exit(shell.Unreached, err)
	case parley.CodeRevoked, parley.CodeDisabled:
		return shell.Exit(shell.SignedOut, err)
	}
	return shell.Exit(shell.Refused, err)
}

// about is what the help of each command ends with.
const about = "\n\n" + shell.Statuses

// load reads a command line: the command's own settings, the account's if there is
// one, and its operands. False says that there is nothing left to do.
func load(name, text, operands string, args []string, a *account, register func(*config.Set)) ([]string, bool, error) {
	s := config.New("parley "+name, text+about)
	var got []string
	if operands != "" {
		s.Operands(&got, operands)
	}
	if register != nil {
		register(s)
	}
	if a != nil {
		a.register(s)
	}
	s.AlsoKnown(program.Names()...)
	s.Validate(func() error { return shell.CheckOperands(operands, got) })
	action, err := s.Load(args, os.Environ(), os.Stdout)
	return got, err == nil && action == config.Run, err
}
