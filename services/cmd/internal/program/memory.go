package program

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// look is how often it is seen whether a gateway is quiet.
	look = 5 * time.Second
	// quiet is how much a quiet gateway allocates between two looks, bytes; the
	// comparison of 10,000 rooms with the log takes about 15 MiB every 10 s.
	quiet = 32 << 20
	// quietPercent is what GOGC is then: it costs a collection more often where
	// there is next to nothing to collect.
	quietPercent = 25
	// breath is what a busy gateway may allocate between two collections even
	// where it holds less, bytes: each of them looks through the stacks of all
	// connections.
	breath = 16 << 20
	// busyLeast is what GOGC is at least for a busy gateway, however much it
	// holds: what it allocates beside what it keeps, and throws away, is left as
	// holes.
	busyLeast = 35
)

// busyPercent is what GOGC is for a busy gateway on which a collection has so
// much to look at, bytes: GOGC is a part of that (runtime/debug.SetGCPercent).
func busyPercent(seen uint64) int {
	return int(min(max(breath*100/max(seen, 1), busyLeast), 800))
}

// settling runs a gateway, and has it give back the memory that a storm of
// connections or messages has left behind when it falls quiet. Where somebody
// has set GOGC it changes nothing. See services/adr/0008-idle-connections.md.
func settling(run func(context.Context) error) func(context.Context) error {
	if os.Getenv("GOGC") != "" {
		return run
	}
	return func(ctx context.Context) error {
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		wg.Go(func() { settle(watching) })
		return run(ctx)
	}
}

func settle(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	collected := collections(ctx)
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(sample)
	last, percent, settled := sample[0].Value.Uint64(), 0, false
	seen := func() uint64 { return sample[1].Value.Uint64() + sample[2].Value.Uint64() }
	set := func(p int) {
		if p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
	}
	set(busyPercent(seen()))
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
			metrics.Read(sample)
			if settled && sample[0].Value.Uint64()-last >= quiet {
				settled = false // a storm does not wait for the next look
			}
			if !settled {
				// What was little may not be little any more.
				set(busyPercent(seen()))
			}
			continue
		case <-tick.C:
		}
		metrics.Read(sample)
		allocated := sample[0].Value.Uint64()
		was := settled
		settled = allocated-last < quiet
		last = allocated
		switch {
		case settled && !was:
			set(quietPercent)
			debug.FreeOSMemory() // collects, and gives back what is free
		case was && !settled:
			set(busyPercent(seen()))
		}
	}
}

// collections tells of every collection, until ctx ends: an object that nobody
// holds is found by each, and then made anew.
func collections(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	var watch func(int)
	watch = func(int) {
		select {
		case c <- struct{}{}:
		default:
		}
		if ctx.Err() == nil {
			runtime.AddCleanup(new([16]byte), watch, 0)
		}
	}
	watch(0)
	return c
}
