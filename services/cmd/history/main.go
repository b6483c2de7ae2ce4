// Command history runs one replica of the history service.
package main

import (
	"context"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("history", "Owns the log of Parley's rooms: makes its streams, reads and replays it.")
		settings := p.History()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.History(settings) })
	})
}
