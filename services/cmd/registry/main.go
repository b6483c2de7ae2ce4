// Command registry runs one replica of the registry service.
package main

import (
	"context"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("registry", "Knows Parley's rooms: who may be in them, and what they are.")
		settings := p.Registry()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.Registry(settings, env.Dialer()) })
	})
}
