package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Main runs f with the command line (without the program's name) and exits: with status 0 when f returns nil, else with
// 1, or what an [ExitCode] in the error says, after it wrote the error to stderr, a line for each of joined errors.
//
// The first SIGTERM or SIGINT ends the context, whose cause then is a [Stopped]; f is expected to finish its work and
// return. An error that only says that the context ended counts as nil then. A second signal exits at once with status
// 1.
func Main(f func(ctx context.Context, args []string) error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		cancel(Stopped{<-signals})
		fmt.Fprintf(os.Stderr, "%s: second signal (%v), exiting at once\n", program(), <-signals)
		os.Exit(1)
	}()
	os.Exit(report(os.Stderr, ctx, f(ctx, os.Args[1:])))
}

// Stopped is the cause of a context that [Main] ended.
type Stopped struct{ Signal os.Signal }

func (s Stopped) Error() string { return "stopped by signal: " + s.Signal.String() }

// ExitCode is an error that chooses the exit status. On its own it is not printed; wrapped, what is around it is.
type ExitCode int

func (c ExitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

// report writes err and returns the exit status.
func report(w io.Writer, ctx context.Context, err error) int {
	if err == nil || ctx.Err() != nil && ended(ctx, err) {
		return 0
	}
	code := 1
	if chosen, ok := errors.AsType[ExitCode](err); ok {
		code = int(chosen)
	}
	for _, err := range flatten(err) {
		if _, bare := err.(ExitCode); !bare {
			fmt.Fprintf(w, "%s: %s\n", program(), strings.TrimRight(err.Error(), "\n"))
		}
	}
	return code
}

func program() string { return filepath.Base(os.Args[0]) }

// flatten returns the errors that were joined to err, unless err says more than they do (as fmt.Errorf makes them).
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	var texts []string
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return all
}

// ended reports whether err says nothing but that ctx has ended.
func ended(ctx context.Context, err error) bool {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if !ended(ctx, one) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return ended(ctx, inner)
		}
	}
	return err == ctx.Err() || err == context.Cause(ctx)
}
