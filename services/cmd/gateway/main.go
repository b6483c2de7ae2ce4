// Command gateway runs one gateway.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

// gcPercent is what GOGC is where nobody has set it. Most of a gateway's memory
// is connections that wait; at 100, the garbage of a storm of them would go on
// to take about as much again as they need (services/adr/0008-idle-connections.md).
const gcPercent = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	run.Main(func(ctx context.Context, args []string) error {
		p := program.New("gateway", "Terminates WebSocket for Parley: any number of gateways serve the same rooms.")
		settings := p.Gateway()
		return p.Run(ctx, args, func(env *program.Env) (*program.Part, error) { return env.Gateway(settings, env.Dialer()) })
	})
}
