package fanout

import (
	"context"
	"slices"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Member is a session in a room. Its methods are called by the room's worker
// and must not wait for anything.
type Member interface {
	// Deliver hands the member a frame.
	Deliver(*Outgoing)
	// RoomGone tells that a room has ended; the member is not in it any more.
	RoomGone(room string, out *Outgoing)
	SessionID() string
	UserID() string
}

// Membership is one member's place in one room.
type Membership struct {
	room   string
	member Member
	index  int // in room.members; -1 when it has left
}

// room is one room with members on this gateway. Only its worker touches it.
type room struct {
	hub *Hub
	id  string
	sub *bus.RoomSubscription

	// pinned rooms stay when nobody is in them.
	pinned  bool
	members []*Membership

	// last is the seq that was delivered last, or was the log's newest when the
	// room was loaded: no entry up to it is still to come.
	last   uint64
	recent recent

	// loaded: last and recent are known. Until then, joins wait.
	loaded  bool
	waiting []*join

	// reading: the log is being read to load the room or to fill a hole, up to
	// reach at least. Until then, what comes is held.
	reading bool
	reach   uint64
	held    []bus.Stored
	// again: compare with the log's tail when the reading is over.
	again bool

	gone bool
}

// maxHeld bounds what a room holds back while the log is being read. What is
// dropped beyond it is read from the log as well.
const maxHeld = 4096

// stored takes in an entry that came out of the log live.
func (r *room) stored(s bus.Stored) {
	switch {
	case s.Seq <= r.last:
		// A new leader repeats what the old one had sent.
		r.hub.repeats.Add(1)
	case r.reading:
		if len(r.held) < maxHeld {
			r.held = append(r.held, s)
		} else {
			r.reach = max(r.reach, s.Seq)
		}
	case s.Prev > r.last:
		r.hub.holes.Add(1)
		r.hub.log.Info("hole in a room, reading the log", "room", r.id, "last", r.last, "prev", s.Prev)
		r.held = append(r.held, s)
		r.read(s.Prev)
	default:
		r.deliver(s, s.Prev)
	}
}

// deliver hands the next entry to every member.
func (r *room) deliver(s bus.Stored, prev uint64) {
	r.last = s.Seq
	if s.Entry == nil {
		return // not ours; it only has a place
	}
	r.recent.add(s, r.hub.keep())
	out := NewOutgoing(liveEvent(s, prev))
	for _, m := range r.members {
		m.member.Deliver(out)
	}
	r.hub.delivered(len(r.members), s.Entry.TimeMs)
}

// live takes in something that is not stored.
func (r *room) live(event *busv1.LiveEvent) {
	if gone := event.GetGone(); gone != nil {
		r.end()
		return
	}
	for _, a := range liveFrames(r.id, event) {
		for _, m := range r.members {
			if a.to(m.member) {
				m.member.Deliver(a.out)
			}
		}
	}
}

// end takes everybody out of a room that was deleted.
func (r *room) end() {
	out := roomDeleted(r.id)
	for _, m := range r.members {
		m.index = -1
		m.member.RoomGone(r.id, out)
	}
	r.members = nil
	if r.pinned {
		r.recent = recent{floor: r.last}
		return
	}
	r.close()
}

func (r *room) close() {
	r.gone = true
	r.sub.Stop()
	r.hub.forget(r)
	for _, j := range r.waiting {
		j.finish(Place{}, errRoomGone)
	}
	r.waiting = nil
}

// leave takes a member out.
func (r *room) leave(m *Membership) {
	if m.index < 0 {
		return
	}
	last := len(r.members) - 1
	r.members[m.index] = r.members[last]
	r.members[m.index].index = m.index
	r.members[last] = nil
	r.members = r.members[:last]
	m.index = -1
	r.closeIfEmpty()
}

func (r *room) closeIfEmpty() {
	if len(r.members) == 0 && len(r.waiting) == 0 && !r.pinned && !r.gone {
		r.close()
	}
}

// load finds out where the log stands. Live entries are held meanwhile; the
// subscription was made before, so nothing is stored unseen in between.
func (r *room) load() {
	r.reading = true
	r.hub.read(r, func(ctx context.Context) (func(), error) {
		tail, err := r.hub.source.Tail(ctx, r.id)
		if err != nil {
			return nil, err
		}
		var page bus.Page
		if tail > 0 {
			if page, err = r.hub.source.ReadNewest(ctx, r.id, 0, recentEntries, tail); err != nil {
				return nil, err
			}
		}
		return func() {
			r.recent.reset(page.Entries, page.More, r.hub.keep())
			r.last = tail
			if n := len(page.Entries); n > 0 {
				r.last = max(r.last, page.Entries[n-1].Seq)
			}
			r.loaded = true
			r.resume()
			waiting := r.waiting
			r.waiting = nil
			for _, j := range waiting {
				r.join(j)
			}
			r.closeIfEmpty()
		}, nil
	})
}

// read brings in from the log what lies between the last delivered entry and
// reach.
func (r *room) read(reach uint64) {
	r.reading = true
	r.reach = max(r.reach, reach)
	last, reach := r.last, r.reach
	r.hub.read(r, func(ctx context.Context) (func(), error) {
		page, err := r.hub.source.ReadAfter(ctx, r.id, last, bus.MaxPage, reach)
		if err != nil {
			return nil, err
		}
		return func() {
			for _, s := range page.Entries {
				if s.Seq > r.last {
					r.hub.filled.Add(1)
					r.deliver(s, r.last)
				}
			}
			switch {
			case page.More:
				r.read(r.reach)
			case r.reach > reach: // more had to be dropped meanwhile
				r.read(r.reach)
			default:
				// What was known of and is not there has been erased since.
				r.last = max(r.last, reach)
				r.resume()
			}
		}, nil
	})
}

// resume goes on with what was held while the log was read.
func (r *room) resume() {
	r.reading = false
	r.reach = 0
	held := r.held
	r.held = nil
	for _, s := range held {
		r.stored(s)
	}
	if r.again && !r.reading {
		r.again = false
		r.compare()
	}
}

// compare reads the log's tail and fills what is missing up to it; for when
// something may have been lost without a trace.
func (r *room) compare() {
	if r.reading {
		// The reading may have passed the place already.
		r.again = true
		return
	}
	r.hub.read(r, func(ctx context.Context) (func(), error) {
		tail, err := r.hub.source.Tail(ctx, r.id)
		if err != nil {
			return nil, err
		}
		return func() {
			if tail > r.last && !r.reading {
				r.read(tail)
			}
		}, nil
	})
}

// join settles what a new member is told of the past and takes it in, in one
// step where memory has it all, or after reading the log.
func (r *room) join(j *join) {
	if !r.loaded {
		r.waiting = append(slices.DeleteFunc(r.waiting, (*join).abandoned), j)
		return
	}
	r.recent.expire(time.Now(), r.hub.limits().MaxAge)
	switch {
	case j.Silent:
		r.admit(j, nil, history{})
	case j.After != nil && !j.stale && *j.After <= r.last:
		if entries, ok := r.recent.since(*j.After); ok {
			r.admit(j, entries, history{recovered: true, after: true})
			return
		}
		r.recover(j)
	default:
		if entries, more, ok := r.recent.newest(j.History); ok {
			h := history{more: more}
			if j.After != nil {
				h.oldest = r.oldestKnown()
				if r.recent.floor > 0 {
					r.readNewest(j) // the oldest has to be looked up
					return
				}
			}
			r.admit(j, entries, h)
			return
		}
		r.readNewest(j)
	}
}

func (r *room) oldestKnown() uint64 {
	if len(r.recent.entries) == 0 {
		return 0
	}
	return r.recent.entries[0].Seq
}

// settle ends a join for which the log was read up to pos: what came since is
// in memory, or is read too.
func (r *room) settle(j *join, entries []bus.Stored, pos uint64, h history) {
	rest, ok := r.recent.since(pos)
	if !ok {
		r.hub.readJoin(r, j, func(ctx context.Context) (func(), error) {
			page, err := r.hub.source.ReadAfter(ctx, r.id, pos, bus.MaxPage, 0)
			if err != nil {
				return nil, err
			}
			return func() {
				if n := len(page.Entries); n > 0 {
					entries, pos = append(entries, page.Entries...), page.Entries[n-1].Seq
				} else {
					pos = max(pos, r.last)
				}
				r.settle(j, entries, pos, h)
			}, nil
		})
		return
	}
	r.admit(j, append(entries, rest...), h)
}

// admit answers a join and makes its session a member, in one step.
func (r *room) admit(j *join, entries []bus.Stored, h history) {
	if j.abandoned() {
		r.closeIfEmpty()
		return
	}
	if !j.Silent {
		// An entry that is not delivered yet, because a hole before it is
		// being filled, comes live.
		for len(entries) > 0 && entries[len(entries)-1].Seq > r.last {
			entries = entries[:len(entries)-1]
		}
		for _, out := range j.frames(r.id, r.last, entries, h) {
			j.Member.Deliver(out)
		}
	}
	m := &Membership{room: r.id, member: j.Member, index: len(r.members)}
	r.members = append(r.members, m)
	if !j.finish(Place{Membership: m, Seq: r.last, Recovered: h.recovered, Oldest: h.oldest}, nil) {
		r.leave(m)
	}
}
