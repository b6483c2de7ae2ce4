package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/gateway"
)

const aboutEcho = `Serves a WebSocket that sends every message back, over the code that a gateway's clients talk to, for a
conformance suite to judge it. It knows no users and no limits on connections: not for strangers. Example,
with Autobahn's suite, which sends messages of 16 MiB:

  parley echo --addr 127.0.0.1:9001 --max-message 17MiB
  wstest --mode fuzzingclient --spec spec.json     with "servers": [{"url": "ws://127.0.0.1:9001"}]`

// echo serves until it is told to stop.
func echo(ctx context.Context, args []string) error {
	var o gateway.EchoOptions
	addr := "127.0.0.1:9001"
	s := config.New("parley echo", aboutEcho)
	o.MaxMessage = 64 << 10
	s.String(&addr, "addr", "where to serve")
	s.Bytes(&o.MaxMessage, "max-message", "largest message that is taken; a larger one closes its connection with 1009")
	s.Bool(&o.NoDeflate, "no-deflate", "refuse permessage-deflate")
	s.AlsoKnown(program.Names()...)
	s.Validate(func() error {
		if o.MaxMessage < 1 || o.MaxMessage > maxEcho {
			return fmt.Errorf("max-message: is not between 1 byte and %d MiB", maxEcho>>20)
		}
		return nil
	})
	if action, err := s.Load(args, os.Environ(), os.Stdout); err != nil || action == config.Stop {
		return err
	}
	var err error
	if o.Listener, err = net.Listen("tcp", addr); err != nil {
		return fmt.Errorf("addr: %w", err)
	}
	fmt.Println("echoing on ws://" + o.Listener.Addr().String())
	if err := gateway.Echo(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("echoing: %w", err)
	}
	return nil
}

// maxEcho bounds max-message, bytes: a connection may hold as much three times.
const maxEcho = 256 << 20
