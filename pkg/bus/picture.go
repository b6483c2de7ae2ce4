package bus

import (
	"context"
	"sync/atomic"
	"time"
)

// picture is what Revocations and Standings have in common: something kept in
// memory by watches, whole when each of them has given what was there before.
type picture struct {
	b       *Bus
	ready   chan struct{}
	pending atomic.Int32 // watches whose present entries are not in yet
}

func (p *picture) init(b *Bus, watches int32) {
	p.b, p.ready = b, make(chan struct{})
	p.pending.Store(watches)
}

// watch is one of the watches, of the keys below a prefix, until ctx ends.
func (p *picture) watch(ctx context.Context, bucket Bucket, prefix string, note func(Entry)) {
	first := true
	p.b.follow(ctx, bucket, prefix+">", func() {}, func(e Entry) {
		switch {
		case e.Key != "":
			note(e)
		case first:
			first = false
			if p.pending.Add(-1) == 0 {
				close(p.ready)
			}
		}
	})
}

// forget has dropped, once a minute until ctx ends, what came to be known before any
// token that is still good. The times are of the clock that nobody can set.
func forget(ctx context.Context, drop func(until time.Time)) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			drop(now.Add(-SessionTTL - time.Minute)) // a gateway takes a token for good a little longer
		}
	}
}
