// Command parley is all of Parley in one program.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/admin"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/cmd/internal/shell"
	"github.com/parley-im/parley/services/cmd/internal/talk"
	"github.com/parley-im/parley/services/e2e/bench"
)

// command is one of the program's commands; one without a word about it is for
// the others' use.
type command struct {
	name, about string
	run         func(ctx context.Context, args []string) error
}

// commands is filled by init, for completion writes their names.
var commands []command

func init() {
	commands = []command{
		{"serve", "Run everything in one process, with NATS inside.", serve},
		{"chat", "Talk in a room, on this terminal.", talk.Chat},
		{"tail", "Write what is said in a room, as it comes.", talk.Tail},
		{"send", "Say something in a room.", talk.Send},
		{"rooms", "List the rooms that there are.", talk.Rooms},
		{"users", "List who is online, or in a room.", talk.Users},
		{"token", "Write a token that signs somebody in.", talk.Token},
		{"admin", "Make and disable users, give roles, end sessions, invite, rotate keys, back up.", admin.Run},
		{"check", "Check that a deployment loses, repeats and reorders nothing.", checkDelivery},
		{"bench", "Measure what deliveries and connections cost.", benchmark},
		{"echo", "Serve a WebSocket that sends everything back, for conformance suites.", echo},
		{"config", "Show or check the settings that serve would run with.", showConfig},
		{"completion", "Write a script that completes commands in bash, zsh or fish.", completion},
		{bench.ProcessCommand, "", benchProcess},
		{"version", "Tell which version this is.", version},
	}
}

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
			usage()
			return nil
		}
		if args[0] == "--version" {
			args[0] = "version"
		}
		for _, c := range commands {
			if c.name == args[0] {
				return c.run(ctx, args[1:])
			}
		}
		return fmt.Errorf("%q is not a command; parley --help lists them", args[0])
	})
}

func usage() {
	var b strings.Builder
	b.WriteString("Parley: real-time rooms over WebSocket.\n\nUsage: parley COMMAND [flags]\n\n")
	for _, c := range commands {
		if c.about != "" {
			fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.about)
		}
	}
	b.WriteString(`
Try it:

  parley serve                                 then open http://localhost:8080
  PARLEY_PASSWORD=secret parley chat general   in another terminal
  PARLEY_PASSWORD=secret parley send general "the build is green"
  parley COMMAND --help                        what it takes, with examples

` + shell.Statuses + "\n")
	fmt.Fprint(os.Stdout, b.String())
}

func serve(ctx context.Context, args []string) error {
	return program.New("parley serve", "Runs all of Parley in one process: a gateway, the four services, and a NATS server that\nkeeps its data in --data-dir. Needs no settings.").Serve(ctx, args)
}

func version(_ context.Context, args []string) error {
	if len(args) > 0 {
		return errors.New("version takes no arguments")
	}
	fmt.Println(config.Line("parley"))
	return nil
}
