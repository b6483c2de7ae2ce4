//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/e2e/bench/floor"
)

// benchProcess runs one process of a deployment that bench started: a service
// as its own program would run it, a NATS server, or the floor.
func benchProcess(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("a process's name is missing")
	}
	name, args := args[0], args[1:]
	p := program.New(name, "Runs one process of parley bench.")
	var build func(*program.Env) (*program.Part, error)
	switch name {
	case "floor":
		return benchFloor(ctx, args)
	case "nats":
		return benchNATS(ctx, args)
	case "gateway":
		settings := p.Gateway()
		build = func(env *program.Env) (*program.Part, error) { return env.Gateway(settings, env.Dialer()) }
	case "auth":
		settings := p.Auth()
		build = func(env *program.Env) (*program.Part, error) { return env.Auth(settings) }
	case "registry":
		settings := p.Registry()
		build = func(env *program.Env) (*program.Part, error) { return env.Registry(settings, env.Dialer()) }
	case "history":
		settings := p.History()
		build = func(env *program.Env) (*program.Part, error) { return env.History(settings) }
	case "presence":
		settings := p.Presence()
		build = func(env *program.Env) (*program.Part, error) { return env.Presence(settings) }
	default:
		return fmt.Errorf("%q is not a process", name)
	}
	return p.Run(ctx, args, build)
}

func benchFloor(ctx context.Context, args []string) error {
	var o floor.Options
	s := config.New("floor", "Delivers messages and does nothing else.")
	s.String(&o.Addr, "addr", "where to listen: an IPv4 address with a port").Required()
	s.Bool(&o.Coalesce, "coalesce", "write pending messages together")
	s.String(&o.Other, "other", "another floor, with members of the same rooms")
	if action, err := s.Load(args, nil, os.Stdout); err != nil || action == config.Stop {
		return err
	}
	return floor.Run(ctx, o)
}

// benchNATS runs the server that parley serve has inside, with its settings.
func benchNATS(ctx context.Context, args []string) error {
	o := embedded.Options{Name: "parley", Sync: time.Second, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	s := config.New("nats", "Runs a NATS server.")
	s.String(&o.Addr, "addr", "where to listen").Required()
	s.String(&o.Dir, "data-dir", "where everything is kept").Required()
	if action, err := s.Load(args, nil, os.Stdout); err != nil || action == config.Stop {
		return err
	}
	server, err := embedded.Start(o)
	if err != nil {
		return err
	}
	defer server.Shutdown()
	<-ctx.Done()
	return nil
}
