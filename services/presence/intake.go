package presence

import (
	"time"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

const (
	// stepSize bounds what is done in one step of work that may be long, in
	// sessions and their rooms: some milliseconds, for which queries wait.
	stepSize = 1000
	// maxHeldDeltas bounds what is kept per gateway while its snapshot is on
	// its way: at least ten seconds of a busy gateway's deltas. More are
	// dropped, which is one more hole, and another snapshot.
	maxHeldDeltas = 4096
	// maxGateways bounds how many gateways are listened to. More than any
	// deployment has come of somebody who makes names up.
	maxGateways = 4096
)

// intake takes in what the gateways say, in the order of their numbers, and
// says whose snapshot is missing. Time is passed in; it is not safe for
// concurrent use.
type intake struct {
	picture *picture
	feeds   map[string]*feed // bounded by silence: see expire
	asks    []string         // gateways whose snapshot is wanted now
	// todo are the feeds with work that step does.
	todo  map[*feed]struct{}
	waits map[string][]wait
	// askedAll is when all gateways were asked together.
	askedAll time.Time

	silence  time.Duration // after which a gateway is given up
	lease    time.Duration // of what a gateway left or lost without saying how
	patience time.Duration // before a delta that is late is taken as lost, a gateway as begun anew, and between asks

	deltas, holes, snapshots int64 // taken in, noticed, taken in
	strangers                int64 // what was said by no gateway, or by one too many
}

// feed is what one gateway has said.
type feed struct {
	id    string
	known uint64 // the number of the newest delta taken in
	// settled says that all up to known is in the picture. Until then deltas
	// are held.
	settled bool
	held    []*busv1.PresenceDelta // newer than known, ascending
	heard   time.Time              // the newest beat
	askedAt time.Time

	// arriving is its snapshot while that is taken in; deltas are held
	// meanwhile.
	arriving *arrival
	serial   uint8 // of the newest arrival
	// leaving says that the gateway ends, and its sessions then with it.
	leaving bool
	leaves  time.Time
	parted  sweep
	// silent says that it is given up.
	silent bool
	gaveUp sweep

	// A delta that a beat spoke of before it was here, and since when it is
	// missed. The next beat's counts only once this one is here, or a busy
	// gateway would seem to be late for ever.
	promised      uint64
	promisedSince time.Time
	// What was known when a beat told of less, and since when none has told of as
	// much; 0 while nothing is doubted. Each that does begins it anew, or a busy
	// gateway whose beats lag would be doubted for ever.
	doubted      uint64
	doubtedSince time.Time
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
		todo:     make(map[*feed]struct{}),
		waits:    make(map[string][]wait),
		silence:  o.GatewayTimeout,
		lease:    o.Lease,
		patience: o.HoleWait,
	}
}

// feed gives what a gateway has said; nil where that is none, or one too many.
func (in *intake) feed(gateway string, now time.Time) *feed {
	f := in.feeds[gateway]
	if f == nil && len(in.feeds) < maxGateways && ids.CheckRoom("gateway", gateway) == nil { // it would become a subject
		f = &feed{id: gateway, heard: now}
		in.feeds[gateway] = f
	}
	if f == nil {
		in.strangers++
	}
	return f
}

// beat takes in that a gateway is alive.
func (in *intake) beat(b *busv1.GatewayBeat, now time.Time) {
	if b.Leaving {
		if f := in.feeds[b.GatewayId]; f != nil && !f.leaving {
			f.heard = now
			in.leave(f, now.Add(in.lease))
		}
		return
	}
	f := in.feed(b.GatewayId, now)
	if f == nil {
		return
	}
	f.heard = now
	f.silent = false
	if f.leaving { // another replica thought so
		f.leaving, f.settled = false, false
		in.picture.leaving(f.id, time.Time{})
	}
	if b.Delta == 0 && f.arriving == nil {
		f.settled = true // it has said nothing yet
	}
	switch {
	case b.Delta >= f.known:
		f.doubted = 0
	case f.doubted == 0 || b.Delta >= f.doubted:
		// Deltas may have overtaken it, which are another subscription's; one of
		// those that follow then tells of as much.
		f.doubted, f.doubtedSince = f.known, now
	case now.Sub(f.doubtedSince) >= in.patience && f.arriving == nil:
		// This gateway has never said what is known of it, and would not be
		// believed any more.
		f.doubted, f.settled, f.known, f.promised, f.held = 0, false, 0, 0, nil
		in.holes++
		if b.Delta == 0 {
			in.arrive(f, 0, nil, now) // nor would its snapshot say more
		}
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
	f := in.feed(d.GatewayId, now)
	if f == nil {
		return
	}
	first := d.Number == 1 && f.arriving == nil && !f.silent
	switch {
	case d.Number <= f.known:
	case d.Number == f.known+1 && (f.settled || first) && (len(f.held) == 0 || d.Number < f.held[0].Number):
		f.settled = true
		in.apply(f, d, now)
		if len(f.held) > 0 {
			in.todo[f] = struct{}{}
		}
	case f.settled && len(f.held) > 0:
		in.hold(f, d) // and step comes to it
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

// leave notes that a gateway ends, and its sessions then, unless they resume.
func (in *intake) leave(f *feed, end time.Time) {
	f.leaving, f.leaves = true, end
	in.part(f)
}

// part has all sessions of a gateway that ends end with it.
func (in *intake) part(f *feed) {
	in.picture.leaving(f.id, f.leaves)
	f.parted = beginning
	in.todo[f] = struct{}{}
}

// step does a part of what would take too long at once, and says whether there
// may be more.
func (in *intake) step(now time.Time) (more bool) {
	budget := in.picture.expire(now, stepSize)
	for f := range in.todo {
		if budget <= 0 {
			break
		}
		budget = in.work(f, now, budget)
	}
	return budget <= 0
}

// work does what is to be done about one gateway until that is done or the
// budget is spent, and tells what is left of the budget.
func (in *intake) work(f *feed, now time.Time, budget int) int {
	for budget > 0 {
		switch {
		case f.silent && !f.gaveUp.over():
			budget = in.picture.giveUp(f.id, &f.gaveUp, budget)
		case f.arriving != nil:
			a := f.arriving
			if budget = in.picture.arrive(f.id, a, budget); !a.done {
				continue
			}
			f.arriving = nil
			f.settled = true
			in.snapshots++
			in.advance(f, a.number)
			if f.leaving {
				in.part(f)
			}
		case !f.parted.over():
			budget = in.picture.part(f.id, &f.parted, f.leaves, budget)
		case f.settled && len(f.held) > 0:
			budget -= in.release(f, now)
		default:
			delete(in.todo, f)
			in.forget(f)
			return budget
		}
	}
	return budget
}

// release applies the next delta that was held, if it follows what is known,
// and tells what that cost.
func (in *intake) release(f *feed, now time.Time) (cost int) {
	d := f.held[0]
	if d.Number > f.known+1 {
		f.settled = false
		in.holes++
		f.askedAt = time.Time{} // the answer to the last one did not help
		in.ask(f, now)
		return 0
	}
	f.held[0] = nil
	if f.held = f.held[1:]; len(f.held) == 0 {
		f.held = nil
	}
	if d.Number <= f.known {
		return 0
	}
	for _, c := range d.Changes {
		cost += 1 + len(c.GetOnline().GetRooms())
	}
	in.apply(f, d, now)
	return cost
}

// forget drops a gateway that is silent and of which nothing is left.
func (in *intake) forget(f *feed) {
	if f.silent && f.gaveUp.over() && in.picture.gateways[f.id] == nil {
		delete(in.feeds, f.id)
		delete(in.todo, f)
	}
}

func (in *intake) apply(f *feed, d *busv1.PresenceDelta, now time.Time) {
	in.deltas++
	in.picture.applyDelta(f.id, d.Changes, now)
	if f.leaving {
		// Whatever it still takes on ends with it.
		in.part(f)
	}
	in.advance(f, d.Number)
}

// snapshot begins to take in all that a gateway announces, as of its delta
// number. It is passed over where nothing is missing: what it has more than is
// known is in deltas which it has overtaken, and these say who has gone for good,
// where a snapshot leaves a lease. Is one of them lost, the next beat tells.
func (in *intake) snapshot(gateway string, number uint64, sessions []*busv1.SnapshotSession, now time.Time) {
	f := in.feed(gateway, now)
	switch {
	case f == nil:
		return
	case f.silent || f.settled || number < f.known:
		return
	case f.arriving != nil && number <= f.arriving.number:
		return
	}
	in.arrive(f, number, sessions, now)
}

func (in *intake) arrive(f *feed, number uint64, sessions []*busv1.SnapshotSession, now time.Time) {
	if f.serial++; f.serial == 0 {
		f.serial = 1
	}
	f.settled = false
	f.arriving = &arrival{
		number: number, sessions: sessions, vanished: now.Add(in.lease), serial: f.serial, swept: beginning,
	}
	in.todo[f] = struct{}{}
}

// standIn takes in what another replica says of a gateway that cannot speak for
// itself any more: these sessions were its last, and stay until end unless they
// resume. Of a gateway that was heard here we know more.
func (in *intake) standIn(gateway string, number uint64, sessions []*busv1.SnapshotSession, end, now time.Time) {
	if in.feeds[gateway] != nil {
		return
	}
	f := in.feed(gateway, now)
	if f == nil {
		return
	}
	f.leaving, f.leaves = true, end
	in.arrive(f, number, sessions, now)
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
	if f.arriving != nil {
		return
	}
	if now.Sub(f.askedAt) < in.patience || now.Sub(in.askedAll) < in.patience {
		return
	}
	f.askedAt = now
	in.asks = append(in.asks, f.id)
}

// coming notes that parts of a gateway's snapshot are arriving, so that it is
// not asked again meanwhile.
func (in *intake) coming(gateway string, now time.Time) {
	if f := in.feed(gateway, now); f != nil {
		f.askedAt = now
	}
}

// expire notes what has run out: gateways that are silent since before
// now-silence (but were not out of hearing before heardSince), deltas that were
// promised and did not come. What follows for sessions, and leases, step sees to.
func (in *intake) expire(now, heardSince time.Time) {
	for _, f := range in.feeds {
		quiet := f.heard
		if heardSince.After(quiet) {
			quiet = heardSince
		}
		if now.Sub(quiet) >= in.silence {
			in.giveUp(f)
			continue
		}
		if f.settled && f.known < f.promised && now.Sub(f.promisedSince) >= in.patience && len(f.held) == 0 {
			f.settled = false
			in.holes++
		}
		if !f.settled {
			in.ask(f, now)
		}
	}
}

// giveUp ends a gateway's sessions, but for those on a lease. If it was only
// out of hearing, it is a new one when it is back.
func (in *intake) giveUp(f *feed) {
	if f.silent {
		in.forget(f) // once its leases are over, too
		return
	}
	f.silent, f.gaveUp = true, beginning
	f.settled, f.known, f.promised = false, 0, 0
	f.held, f.arriving = nil, nil
	in.todo[f] = struct{}{}
}

// whole says whether every gateway heard since then is in the picture.
func (in *intake) whole(since time.Time) bool {
	for _, f := range in.feeds {
		if !f.leaving && !f.silent && !f.heard.Before(since) && (!f.settled || f.known < f.promised) {
			return false
		}
	}
	return true
}
