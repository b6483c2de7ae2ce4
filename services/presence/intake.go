package presence

import (
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

const (
	// maxHeldDeltas bounds what is kept per gateway while its snapshot is on
	// its way: at least ten seconds of a busy gateway's deltas. More are
	// dropped, which is one more hole, and another snapshot.
	maxHeldDeltas = 4096
)

// intake takes in what the gateways say, in the order of their numbers, and
// says whose snapshot is missing. Time is passed in; it is not safe for
// concurrent use.
type intake struct {
	picture *picture
	feeds   map[string]*feed // bounded by silence: see expire
	asks    []string         // gateways whose snapshot is wanted now
	waits   map[string][]wait
	// askedAll is when all gateways were asked together.
	askedAll time.Time

	silence  time.Duration // after which a gateway is given up
	lease    time.Duration // of what a gateway left or lost without saying how
	patience time.Duration // before a delta that is late is taken as lost, and between asks

	deltas, holes, snapshots int64 // taken in, noticed, taken in
}

// feed is what one gateway has said.
type feed struct {
	id    string
	known uint64 // the number of the newest delta taken in
	// settled says that all up to known is in the picture. Until then deltas
	// are held.
	settled bool
	held    []*busv1.PresenceDelta // newer than known, ascending
	leaving bool
	heard   time.Time // the newest beat
	askedAt time.Time

	// A delta that a beat spoke of before it was here, and since when it is
	// missed. The next beat's counts only once this one is here, or a busy
	// gateway would seem to be late for ever.
	promised      uint64
	promisedSince time.Time
}

// wait is somebody who waits for a delta.
type wait struct {
	delta uint64
	done  chan struct{} // closed when it is taken in
}

func newIntake(o Options) *intake {
	return &intake{
		picture:  newPicture(),
		feeds:    make(map[string]*feed),
		waits:    make(map[string][]wait),
		silence:  o.GatewayTimeout,
		lease:    o.Lease,
		patience: o.HoleWait,
	}
}

func (in *intake) feed(gateway string, now time.Time) *feed {
	f := in.feeds[gateway]
	if f == nil {
		f = &feed{id: gateway, heard: now}
		in.feeds[gateway] = f
	}
	return f
}

// beat takes in that a gateway is alive.
func (in *intake) beat(b *busv1.GatewayBeat, now time.Time) {
	if b.GatewayId == "" {
		return
	}
	if b.Leaving {
		if f := in.feeds[b.GatewayId]; f != nil && !f.leaving {
			f.leaving, f.heard = true, now
			in.picture.leaving(f.id, now.Add(in.lease))
		}
		return
	}
	f := in.feed(b.GatewayId, now)
	f.heard = now
	if b.Delta == 0 {
		f.settled = true // it has said nothing yet
	}
	if b.Delta > f.known && f.promised <= f.known {
		f.promised, f.promisedSince = b.Delta, now
	}
	if !f.settled {
		in.ask(f, now)
	}
}

// delta takes in what happened on a gateway, or holds it until what came
// before is known.
func (in *intake) delta(d *busv1.PresenceDelta, now time.Time) {
	if d.GatewayId == "" {
		return
	}
	f := in.feed(d.GatewayId, now)
	switch {
	case d.Number <= f.known:
		return
	case d.Number == f.known+1 && (f.settled || d.Number == 1):
		f.settled = true
		in.apply(f, d, now)
		in.release(f, now)
	default:
		if f.settled {
			f.settled = false
			in.holes++
		}
		in.hold(f, d)
		in.ask(f, now)
	}
}

func (in *intake) hold(f *feed, d *busv1.PresenceDelta) {
	if n := len(f.held); n > 0 && d.Number <= f.held[n-1].Number {
		return
	}
	if len(f.held) >= maxHeldDeltas {
		clear(f.held)
		f.held = f.held[:0]
	}
	f.held = append(f.held, d)
}

// release applies what was held as far as it follows what is known.
func (in *intake) release(f *feed, now time.Time) {
	held := f.held
	f.held = nil
	for i, d := range held {
		if d.Number <= f.known {
			continue
		}
		if d.Number > f.known+1 {
			f.held = held[i:]
			f.settled = false
			in.holes++
			f.askedAt = time.Time{} // the answer to the last one did not help
			in.ask(f, now)
			return
		}
		in.apply(f, d, now)
	}
}

func (in *intake) apply(f *feed, d *busv1.PresenceDelta, now time.Time) {
	in.deltas++
	in.picture.applyDelta(f.id, d.Changes, now)
	if f.leaving {
		// Whatever it still takes on ends with it.
		in.picture.leaving(f.id, now.Add(in.lease))
	}
	in.advance(f, d.Number)
}

// snapshot takes in all that a gateway announces, as of its delta number. One
// that is older than what is known is passed over.
func (in *intake) snapshot(gateway string, number uint64, sessions []*busv1.SnapshotSession, now time.Time) {
	if gateway == "" {
		return
	}
	f := in.feed(gateway, now)
	if number < f.known {
		return
	}
	in.snapshots++
	in.picture.applySnapshot(gateway, sessions, now.Add(in.lease))
	if f.leaving {
		in.picture.leaving(gateway, now.Add(in.lease))
	}
	f.settled = true
	in.advance(f, number)
	in.release(f, now)
}

func (in *intake) advance(f *feed, number uint64) {
	f.known = number
	waits := in.waits[f.id]
	if len(waits) == 0 {
		return
	}
	left := waits[:0]
	for _, w := range waits {
		if w.delta <= number {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	if len(left) == 0 {
		delete(in.waits, f.id)
	} else {
		in.waits[f.id] = left
	}
}

// reached says whether a gateway's delta is taken in.
func (in *intake) reached(gateway string, delta uint64) bool {
	f := in.feeds[gateway]
	return f != nil && f.known >= delta
}

// ask wants a gateway's snapshot, but not more often than every patience.
func (in *intake) ask(f *feed, now time.Time) {
	if now.Sub(f.askedAt) < in.patience || now.Sub(in.askedAll) < in.patience {
		return
	}
	f.askedAt = now
	in.asks = append(in.asks, f.id)
}

// coming notes that parts of a gateway's snapshot are arriving, so that it is
// not asked again meanwhile.
func (in *intake) coming(gateway string, now time.Time) { in.feed(gateway, now).askedAt = now }

// expire ends what has run out: leases, gateways that are silent since before
// now-silence (but were not out of hearing before heardSince), deltas that were
// promised and did not come.
func (in *intake) expire(now, heardSince time.Time) {
	for id, f := range in.feeds {
		quiet := f.heard
		if heardSince.After(quiet) {
			quiet = heardSince
		}
		if now.Sub(quiet) >= in.silence {
			in.picture.gatewayGone(id)
			if in.picture.gateways[id] == nil {
				delete(in.feeds, id)
			}
			continue
		}
		if f.settled && f.known < f.promised && now.Sub(f.promisedSince) >= in.patience {
			f.settled = false
			in.holes++
		}
		if !f.settled {
			in.ask(f, now)
		}
	}
	in.picture.expire(now)
}

// whole says whether every gateway heard since then is in the picture.
func (in *intake) whole(since time.Time) bool {
	for _, f := range in.feeds {
		if !f.leaving && !f.heard.Before(since) && (!f.settled || f.known < f.promised) {
			return false
		}
	}
	return true
}
