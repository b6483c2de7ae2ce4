package run

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Panic is the error of a part that panicked.
type Panic struct {
	Value any
	Stack []byte // of the goroutine, as runtime/debug.Stack writes it
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// Unwrap returns the value, if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// guard runs f and turns a panic into an error.
func guard(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &Panic{value, debug.Stack()}
		}
	}()
	return f(ctx)
}
