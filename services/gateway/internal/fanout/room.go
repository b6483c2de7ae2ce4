package fanout

import (
	"container/list"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// Member is a session in a room. Its methods are called by the room's worker
// and must not wait for anything. What goes to the member's connection is written
// when the worker flushes.
type Member interface {
	// Deliver hands the member frames; the Burst is the worker's own and good
	// until it returns.
	Deliver(*Burst, *conn.Flusher)
	// PutOut tells that the member is not in a room any more, because that has
	// ended or the member may not be in it; word is what it is told.
	PutOut(room string, word *Burst, f *conn.Flusher)
	// Missed tells that the log has dropped messages of a room before they
	// could be delivered; the member is not in the room any more, and must come
	// back with its place to learn what is left.
	Missed(room string)
	SessionID() string
	UserID() string
	// Roles are those of the account.
	Roles() []string
	// InAny says whether the member is in one of these rooms.
	InAny(rooms []string) bool
}

// Membership is one member's place in one room.
type Membership struct {
	room   string
	member Member
	index  int // in room.members; -1 when it has left
	// muted is until when the member may not write, milliseconds since 1970;
	// or outOfRoom.
	muted atomic.Int64
	// grant is what the member may do (policy.go); nil where nothing is
	// restricted.
	grant atomic.Pointer[grant]
	role  atomic.Int32  // a registryv1.Role
	keep  atomic.Uint32 // entries that the log keeps; 0 for what the deployment does
}

// Room is the room's id.
func (m *Membership) Room() string { return m.room }

// room is one room with members on this gateway. Only its worker touches it.
type room struct {
	hub    *Hub
	worker *worker
	id     string
	sub    subscription
	// epoch is the life of the room that its members are in; "" where no
	// joiner told.
	epoch string

	// rules are those of the record that was told last, which has this
	// revision; 0 where none was.
	rules    rights.Rules
	revision uint64
	paces    map[string]*pace // by user, where there is a rate; nil while none is needed
	// untrimmed is how many entries this gateway has stored since it last had
	// the log trimmed; trimming: that is going on.
	untrimmed uint32
	trimming  bool

	// pinned rooms stay when nobody is in them.
	pinned  bool
	members []*Membership
	// pending are frames that all members are due and have not been given yet,
	// so that each gets those of one turn of the worker in one piece.
	pending      []*Outgoing
	pendingBytes int
	// joining are those whose join is not settled; the room stays for them.
	joining map[*join]struct{} // nil while there are none

	heat heat // of what was delivered

	// last is the seq that was delivered last, or was the log's newest when the
	// room was loaded: no entry up to it is still to come.
	last uint64
	// told is the newest entry that was shown to anybody. It may be smaller
	// than last, where that was erased or is no entry of ours.
	told    uint64
	recent  recent
	place   *list.Element // in the worker's memory; nil where it is not
	counted int           // bytes of recent as memory knows them
	// current is when everything stored was delivered, as far as is known; no
	// entry after last is older.
	current time.Time

	// loaded: last and recent are known.
	loaded bool
	// reading: the log is being read to load the room or to fill a hole, up to
	// reach at least. Until then, what comes is held.
	reading   bool
	reach     uint64
	held      []bus.Stored
	heldBytes int
	// waiting are joins that wait until the reading is over.
	waiting []*join

	// comparing: the log's tail is being read. again: once more after that,
	// for something was lost meanwhile.
	comparing, again bool

	gone bool
}

// These bound what a room holds back while the log is being read. What is
// dropped beyond is read from the log as well.
const (
	maxHeld      = 1024
	maxHeldBytes = 1 << 20
)

// stored takes in an entry that came out of the log live.
func (r *room) stored(s bus.Stored) {
	switch {
	case s.Seq <= r.last:
		// A new leader repeats what the old one had sent.
		r.hub.repeats.Add(1)
	case r.reading:
		r.hold(s)
	case s.Prev == 0 && r.stale():
		r.hold(s)
		r.read(s.Seq)
	case s.Prev > r.last:
		r.hub.holes.Add(1)
		r.hub.log.Info("hole in a room, reading the log", "room", r.id, "last", r.last, "prev", s.Prev)
		r.hold(s)
		r.read(s.Prev)
	default:
		r.deliver(s, s.Prev)
	}
}

func (r *room) hold(s bus.Stored) {
	size := entrySize(s)
	if len(r.held) == maxHeld || r.heldBytes+size > maxHeldBytes {
		r.reach = max(r.reach, s.Seq)
		return
	}
	r.held = append(r.held, s)
	r.heldBytes += size
	r.hub.heldBytes.Add(int64(size))
}

// deliver hands the next entry to every member.
func (r *room) deliver(s bus.Stored, prev uint64) {
	r.last = s.Seq
	if s.Entry == nil {
		return // not ours; it only has a place
	}
	// A predecessor that no member was shown would look like a hole to them.
	prev = min(prev, r.told)
	r.told = s.Seq
	traced := s.Trace
	s.Trace = nil // recent keeps the entry
	r.recent.add(s, r.keeps())
	r.worker.memory.used(r)
	if len(r.members) == 0 {
		return
	}
	if traced != nil {
		r.delivering(s.Seq, traced)
	}
	r.heat.add(s.Entry.TimeMs)
	r.toAll(NewOutgoing(liveEvent(s, prev)), entrySize(s))
	r.hub.delivered(len(r.members), s.Entry.TimeMs)
}

// live takes in something that is not stored.
func (r *room) live(event *busv1.LiveEvent) {
	if gone := event.GetGone(); gone != nil {
		if r.isNow(gone.Epoch) {
			r.end()
		}
		return
	}
	if r.rights(event) {
		return
	}
	if roster := event.GetRoster(); roster != nil && r.worker.retold.news(r, roster, time.Now()) == nil {
		return
	}
	pieces := liveFrames(r.id, event)
	if err := sendable(pieces); err != nil {
		r.hub.passOver(r.id, err)
		return
	}
	r.flush()
	if changed := event.GetChanged(); changed != nil {
		defer r.obey(changed.Record) // who is put out is told of the change, too
	}
	for _, a := range pieces {
		burst := Burst{Frames: a.frames}
		for _, m := range r.members {
			switch {
			case a.except != "" && m.member.SessionID() == a.except:
			case a.told != nil && m.member.InAny(a.told):
			case a.isAbout(m.member):
				r.others(m, a)
			default:
				m.member.Deliver(&burst, &r.worker.flusher)
			}
		}
	}
}

// others hands a member the frames that are not about its own user.
func (r *room) others(m *Membership, a addressed) {
	for i, out := range a.frames {
		if a.about[i] != m.member.UserID() {
			m.member.Deliver(r.worker.only(out), &r.worker.flusher)
		}
	}
}

// end takes everybody out of a room that was deleted.
func (r *room) end() {
	r.flush()
	word := r.worker.only(roomDeleted(r.id))
	for _, m := range r.members {
		m.index = -1
		m.muted.Store(outOfRoom)
		m.member.PutOut(r.id, word, &r.worker.flusher)
	}
	r.members = nil
	r.refuseAll(errRoomGone)
	if r.pinned {
		r.recent = recent{floor: r.last}
		r.worker.memory.left(r)
		return
	}
	r.close()
}

func (r *room) close() {
	r.gone = true
	r.hub.heldBytes.Add(-int64(r.heldBytes))
	r.recent = recent{}
	r.worker.memory.left(r)
	r.sub.Stop()
	r.hub.forget(r)
}

// settled forgets a join. Most rooms have none for most of the time, and then
// keep no map.
func (r *room) settled(j *join) {
	delete(r.joining, j)
	if len(r.joining) == 0 {
		r.joining = nil
	}
}

// refuse ends a join that comes to nothing.
func (r *room) refuse(j *join, err error) {
	r.settled(j)
	j.finish(Place{}, err)
	r.closeIfEmpty()
}

func (r *room) refuseAll(err error) {
	for j := range r.joining {
		j.finish(Place{}, err)
	}
	r.joining, r.waiting = nil, nil
}

// drop forgets a joiner that does not wait any more.
func (r *room) drop(j *join) {
	r.settled(j)
	r.waiting = slices.DeleteFunc(r.waiting, func(w *join) bool { return w == j })
	r.closeIfEmpty()
}

// leave takes a member out.
func (r *room) leave(m *Membership) {
	if m.index < 0 {
		return
	}
	r.flush()
	r.remove(m)
	r.closeIfEmpty()
}

func (r *room) closeIfEmpty() {
	if len(r.members) == 0 && len(r.joining) == 0 && !r.pinned && !r.gone {
		r.close()
	}
}
