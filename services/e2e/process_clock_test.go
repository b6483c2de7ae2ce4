package e2e

import (
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// A clock that is set back holds nobody up who is connected: how much one may send
// in a time is not counted by the time of day.
func TestProcessClock(t *testing.T) {
	process.NeedClocks(t)
	p := serve(t)
	p.WaitReady()
	c := client.Dial(t, p.url, client.Options{})
	c.Ask(ask.Ping())
	p.SetClock(-time.Hour)
	for range 3 {
		c.Ask(ask.Ping())
	}
}
