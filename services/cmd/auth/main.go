// Command auth runs one replica of the auth service.
package main

import (
	"context"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

func main() {
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("auth", "Keeps Parley's accounts, sign-ins and signing keys.")
		settings := p.Auth()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.Auth(settings) })
	})
}
