// Command events runs one replica of the events service.
package main

import (
	"context"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("events", "Keeps what happens in Parley as events that back ends cannot miss.")
		settings := p.Events()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.Events(settings, env.Dialer()) })
	})
}
