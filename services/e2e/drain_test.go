package e2e

import (
	"context"
	"log/slog"
	"testing"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// turnstile is a log that lets sessions say that they are open when the test
// does: each waits for one value of pass, and then says so in held.
type turnstile struct {
	slog.Handler
	held chan struct{}
	pass chan struct{}
}

func (h turnstile) Enabled(context.Context, slog.Level) bool { return true }
func (h turnstile) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h turnstile) WithGroup(string) slog.Handler            { return h }

func (h turnstile) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "opened" {
		h.held <- struct{}{}
		<-h.pass
	}
	return nil
}

// A connection that is being opened while a drain lists the sessions is not in
// the list, and is told to go all the same.
func TestDrainFindsWhoIsOpening(t *testing.T) {
	door := turnstile{slog.DiscardHandler, make(chan struct{}, 2), make(chan struct{})}
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret, o.Logger = secret, slog.New(door)
	}})
	go func() {
		<-door.held
		door.pass <- struct{}{}
	}()
	listed := client.Dial(t, s.URLs[0], client.Options{})
	listed.SignIn(signHS256(t, secret, claims{"sub": "listed"}))

	// It has its answer with the welcome, once it is opened.
	opened := make(chan *client.Client, 1)
	go func() {
		defer close(opened)
		if c, err := client.TryDial(t, s.URLs[0], client.Options{Encoding: frame.Proto}); err == nil {
			opened <- c
		}
	}()
	<-door.held
	done := s.StopGateway(0)
	listed.Want("going-away") // and so the list is made
	close(door.pass)
	opening := <-opened
	if opening == nil {
		t.Fatal("it was not opened")
	}
	if code := opening.Closed(); code != 1001 {
		t.Errorf("closed with %d, want 1001", code)
	}
	<-done
}
