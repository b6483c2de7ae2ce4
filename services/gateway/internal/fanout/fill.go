package fanout

import (
	"context"
	"time"

	"github.com/parley-im/parley/pkg/bus"
)

// load finds out where the log stands. Live entries are held meanwhile; the
// subscription was made before, so nothing is stored unseen in between.
func (r *room) load() {
	r.reading = true
	log := r.kept()
	r.hub.read(r, func(ctx context.Context) (func(), error) {
		asked := time.Now()
		r.hub.trim(ctx, log)
		tail, err := r.hub.source.Tail(ctx, r.id)
		if err != nil {
			return nil, err
		}
		page, first, whole, err := r.hub.readWhole(ctx, log, 0, time.Time{}, func(least uint64) (bus.Page, error) {
			if tail == 0 {
				return bus.Page{}, nil
			}
			return r.hub.source.ReadNewest(ctx, r.id, 0, recentEntries, max(tail, least))
		})
		if err != nil {
			return nil, err
		}
		return func() {
			r.last, r.current = tail, asked
			if n := len(page.Entries); n > 0 {
				r.told = page.Entries[n-1].Seq
				r.last = max(tail, r.told)
			}
			r.recent.reset(from(page, first), r.last, whole, r.keeps())
			r.worker.memory.used(r)
			r.loaded = true
			r.proceed()
		}, nil
	})
}

// catchUp makes sure that the room comes to a seq that the log is known to
// have come to.
func (r *room) catchUp(seq uint64) {
	switch {
	case seq <= r.last:
	case r.reading:
		r.reach = max(r.reach, seq)
	default:
		r.read(seq)
	}
}

// read brings in from the log what lies between the last delivered entry and
// reach, the seq of an entry that was stored.
func (r *room) read(reach uint64) {
	r.reading = true
	r.reach = max(r.reach, reach)
	log, last, reach, current := r.kept(), r.last, r.reach, r.current
	r.hub.read(r, func(ctx context.Context) (func(), error) {
		page, first, whole, err := r.hub.readWhole(ctx, log, last, current, func(least uint64) (bus.Page, error) {
			return r.hub.source.ReadAfter(ctx, r.id, last, bus.MaxPage, max(reach, least))
		})
		gap := false
		if err == nil && !whole {
			gap, err = r.hub.missed(ctx, log, last, reach, current)
		}
		if err != nil {
			return nil, err
		}
		return func() {
			if gap {
				r.tellGap()
			}
			if r.gone {
				return
			}
			if !whole {
				r.recent.forget(page, reach)
			}
			for _, s := range page.Entries {
				if s.Seq > r.last {
					r.hub.filled.Add(1)
					r.deliver(s, r.told)
				}
			}
			if !whole && first > last {
				r.recent.reset(from(page, first), max(r.last, reach), false, r.keeps())
			}
			r.worker.memory.used(r)
			if page.More || r.reach > reach { // the latter was dropped meanwhile
				r.read(r.reach)
				return
			}
			// What was stored up to reach and is not in the page has been
			// erased since; ReadAfter waits until that is certain.
			r.last = max(r.last, reach)
			r.proceed()
		}, nil
	})
}

// proceed goes on with what had to wait while the log was read.
func (r *room) proceed() {
	held, reach := r.held, r.reach
	r.hub.heldBytes.Add(-int64(r.heldBytes))
	r.reading, r.held, r.heldBytes, r.reach = false, nil, 0, 0
	for _, s := range held {
		r.stored(s)
	}
	r.catchUp(reach)
	if r.reading { // there is another hole
		return
	}
	waiting := r.waiting
	r.waiting = nil
	for _, j := range waiting {
		r.join(j)
	}
	r.closeIfEmpty()
}

// compare reads the log's tail and fills what is missing up to it; for when
// something may have been lost without a trace.
func (r *room) compare() {
	if r.comparing {
		// The tail may have been read before the loss.
		r.again = true
		return
	}
	r.comparing = true
	r.hub.read(r, func(ctx context.Context) (func(), error) {
		tail, err := r.hub.source.Tail(ctx, r.id)
		if err != nil {
			return nil, err
		}
		return func() {
			r.comparing = false
			r.catchUp(tail)
			if r.again {
				r.again = false
				r.compare()
			}
		}, nil
	})
}
