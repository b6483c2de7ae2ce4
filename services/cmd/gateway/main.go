// Command gateway runs one gateway.
package main

import (
	"context"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("gateway", "Terminates WebSocket for Parley: any number of gateways serve the same rooms.")
		settings := p.Gateway()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.Gateway(settings, env.Dialer()) })
	})
}
