package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// EchoOptions are what Echo serves.
type EchoOptions struct {
	// Listener is where; needed. Echo closes it.
	Listener net.Listener
	// MaxMessage is the largest message that is taken, bytes; default 64 KiB. A
	// larger one closes its connection with 1009.
	MaxMessage int64
	// NoDeflate refuses permessage-deflate.
	NoDeflate bool
	// Logger gets what the HTTP server complains of; nil discards.
	Logger *slog.Logger
}

// Echo serves a WebSocket on every path that sends each message back, over the
// very code that a gateway's clients talk to, so that a conformance suite can
// judge that code. It returns nil when ctx has ended, and the connections with
// it. It knows no users and no rooms: it is not for a network that strangers reach.
func Echo(ctx context.Context, o EchoOptions) error {
	if o.Listener == nil {
		return errors.New("echo: a listener is needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	listener := conn.NewListener(conn.Options{MaxMessage: o.MaxMessage, NoDeflate: o.NoDeflate, AnyKind: true})
	group := run.NewGroup(ctx)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := listener.Accept(w, r)
			if err != nil {
				return // the answer is written
			}
			defer listener.Forget(c)
			leave := context.AfterFunc(ctx, func() { c.Close(conn.GoingAway, "the echo ends") })
			defer leave()
			c.Echo()
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	group.Go("heartbeats", listener.Run)
	group.Go("http", func(ctx context.Context) error {
		if err := server.Serve(o.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving: %w", err)
		}
		<-ctx.Done()
		return nil
	})
	group.Go("end", func(ctx context.Context) error {
		<-ctx.Done()
		return server.Close()
	})
	err := group.Wait()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	listener.Wait(ending)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
