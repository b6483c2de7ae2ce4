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
)

// breath is what a busy gateway may allocate between two collections, each of
// which looks through the stacks of all connections.
type breath struct {
	bytes   uint64 // as much even where it holds less
	percent int    // GOGC where it holds more
}

var (
	// grows is for a gateway that holds more from one collection to the next, as
	// while connections come: what it allocates beside what stays, and throws
	// away, is left as holes.
	grows = breath{bytes: 16 << 20, percent: 35}
	// steady is for one that throws all of it away.
	steady = breath{bytes: 64 << 20, percent: 100}
)

// of is what GOGC is, where a collection has so much to look at, bytes: GOGC is a
// part of that (runtime/debug.SetGCPercent).
func (b breath) of(seen uint64) int {
	return int(min(max(b.bytes*100/max(seen, 1), uint64(b.percent)), 800))
}

// heap is what collections have found.
type heap struct {
	seen   uint64 // bytes that the last had to look at: the heap, and stacks
	steady bool
	judged found // what there was when that was last decided
}

type found struct {
	at              time.Time
	seen, allocated uint64
}

// judgeAfter is over how long it is decided whether a heap grows: from one
// collection to the next much is chance.
const judgeAfter = time.Second

// collected notes what a collection had to look at, and how much had been
// allocated in all, bytes.
func (h *heap) collected(now time.Time, seen, allocated uint64) {
	h.seen = seen
	// Of what is allocated for connections that sign in and join, an eighth stays;
	// of what messages need, a twenty-fifth, for those who join next.
	growing := int64(seen-h.judged.seen) > int64(allocated-h.judged.allocated)/12
	if growing || now.Sub(h.judged.at) >= judgeAfter {
		h.steady = !growing
		h.judged = found{now, seen, allocated}
	}
}

// busyPercent is what GOGC is for a busy gateway.
func (h *heap) busyPercent() int {
	if h.steady {
		return steady.of(h.seen)
	}
	return grows.of(h.seen)
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
	read := func() (allocated, seen uint64) {
		metrics.Read(sample)
		return sample[0].Value.Uint64(), sample[1].Value.Uint64() + sample[2].Value.Uint64()
	}
	last, seen := read()
	var h heap
	h.collected(time.Now(), seen, last)
	percent, settled := 0, false
	set := func(p int) {
		if p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
	}
	set(h.busyPercent())
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
			allocated, seen := read()
			h.collected(time.Now(), seen, allocated)
			if settled && allocated-last >= quiet {
				settled = false // a storm does not wait for the next look
			}
			if !settled {
				set(h.busyPercent())
			}
			continue
		case <-tick.C:
		}
		allocated, _ := read()
		was := settled
		settled = allocated-last < quiet
		last = allocated
		switch {
		case settled && !was:
			set(quietPercent)
			debug.FreeOSMemory() // collects, and gives back what is free
		case was && !settled:
			set(h.busyPercent())
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
