package shell

import (
	"github.com/parley-im/parley/pkg/run"
)

// The exit statuses of commands that talk to a deployment, beside 0.
const (
	// Failed: something else went wrong, or the command line is.
	Failed run.ExitCode = 1
	// Unreached: no gateway answered in time.
	Unreached run.ExitCode = 3
	// SignedOut: the token, or the name and password, are not accepted.
	SignedOut run.ExitCode = 4
	// Refused: the gateway or a service said no: forbidden, banned, not-found, …
	Refused run.ExitCode = 5
)

// Statuses tells them in a help text.
const Statuses = `Exit status: 0 done; 1 it failed, or was typed wrong; 3 nobody answered; 4 not signed in; 5 refused.`

// Exit gives err an exit status without a word about it.
func Exit(status run.ExitCode, err error) error {
	if err == nil {
		return nil
	}
	return &failure{err, status}
}

type failure struct {
	err    error
	status run.ExitCode
}

func (f *failure) Error() string   { return f.err.Error() }
func (f *failure) Unwrap() []error { return []error{f.err, f.status} }
