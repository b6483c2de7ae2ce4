// Command presence runs one replica of the presence service.
package main

import (
	"context"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("presence", "Knows who is online, and in which of Parley's rooms.")
		settings := p.Presence()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.Presence(settings) })
	})
}
