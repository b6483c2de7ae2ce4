package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// look is how often it is seen whether the gateway is quiet.
	look = 5 * time.Second
	// quiet is how much a quiet gateway allocates between two looks, bytes; the
	// comparison of 10,000 rooms with the log takes about 15 MiB every 10 s.
	quiet = 32 << 20
	// busyPercent and quietPercent are what GOGC is: Go's default, and what
	// costs a collection more often where there is next to nothing to collect.
	busyPercent, quietPercent = 100, 25
)

// settle has a gateway that falls quiet give back the memory that a storm of
// connections or messages has left behind, until ctx ends. Where somebody has
// set GOGC it changes nothing. See services/adr/0008-idle-connections.md.
func settle(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	settled := false
	for last := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		allocated := sample[0].Value.Uint64()
		switch isQuiet := allocated-last < quiet; {
		case isQuiet && !settled:
			debug.SetGCPercent(quietPercent)
			debug.FreeOSMemory() // collects, and gives back what is free
			settled = true
		case !isQuiet && settled:
			debug.SetGCPercent(busyPercent)
			settled = false
		}
		last = allocated
	}
}
