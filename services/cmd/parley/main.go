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
	"github.com/parley-im/parley/services/e2e/bench"
)

// command is one of the program's commands; one without a word about it is for
// the others' use.
type command struct {
	name, about string
	run         func(ctx context.Context, args []string) error
}

var commands = []command{
	{"serve", "Run everything in one process, with NATS inside.", serve},
	{"admin", "Make and disable users, give roles, end sessions, invite, rotate keys, back up.", admin.Run},
	{"check", "Check that a deployment loses, repeats and reorders nothing.", checkDelivery},
	{"bench", "Measure what deliveries and connections cost.", benchmark},
	{"echo", "Serve a WebSocket that sends everything back, for conformance suites.", echo},
	{bench.ProcessCommand, "", benchProcess},
	{"version", "Tell which version this is.", version},
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
		usage()
		return fmt.Errorf("%q is not a command", args[0])
	})
}

func usage() {
	var b strings.Builder
	b.WriteString("Parley: real-time rooms over WebSocket.\n\nUsage: parley COMMAND [flags]\n\n")
	for _, c := range commands {
		if c.about != "" {
			fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.about)
		}
	}
	b.WriteString("\nTry it:\n\n  parley serve            then open http://localhost:8080\n  parley serve --help     all settings\n")
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
