package presence

import (
	"container/heap"
	"slices"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// maxMoves bounds what is gathered of all rooms together; what is above is told
// as a count.
const maxMoves = 1 << 17

// roster gathers who came to which room and left it until the room is due for
// an event: at once where it was quiet, else a while after the one before, so
// that a storm makes few events. Time is passed in; it is not safe for
// concurrent use.
//
// A replica that does not speak gathers as well and forgets what the speaker
// vouches for by its next beat. So when the speaker dies, nothing that it had
// not told is lost; what it told after its last beat is told twice, each time
// as where the user is now.
type roster struct {
	large      int
	gather     time.Duration
	statsEvery time.Duration
	rooms      map[string]*gathering
	queue      byTime // the same, the next that is due first
	moves      int    // of all rooms
}

// gathering is what a room has not been told.
type gathering struct {
	room  string
	index int    // in the queue
	moves []move // one per user, in the order they happened
	// countOnly: the room was large, or there was too much to tell.
	countOnly bool
	changed   time.Time // the newest change
	next      time.Time // no event before this
}

type move struct {
	user   *wirev1.User
	joined bool
	at     time.Time
}

// rosterEvent is one event and the room it is for.
type rosterEvent struct {
	room  string
	event *busv1.RosterEvent
}

func newRoster(o Options) *roster {
	return &roster{large: o.LargeRoom, gather: o.Gather, statsEvery: o.StatsEvery, rooms: make(map[string]*gathering)}
}

// note takes in a change of a room. speaking says that nothing gathered was
// told yet, so that coming and going again is nothing; otherwise the speaker may
// have told one of the two, and the newer stays.
func (r *roster) note(c change, now time.Time, speaking bool) {
	g := r.rooms[c.room.id]
	if g == nil {
		g = &gathering{room: c.room.id}
		r.rooms[c.room.id] = g
		heap.Push(&r.queue, g)
	}
	g.changed = now
	if g.countOnly || c.count > r.large || len(g.moves) >= r.large || r.moves >= maxMoves {
		r.forget(g, len(g.moves))
		g.countOnly = true
		return
	}
	joined := c.kind == userJoined
	if i := slices.IndexFunc(g.moves, func(m move) bool { return m.user.Id == c.user.id }); i >= 0 {
		before := g.moves[i]
		g.moves = slices.Delete(g.moves, i, i+1)
		r.moves--
		if speaking && before.joined != joined {
			return
		}
	}
	g.moves = append(g.moves, move{user: wireUser(c.user), joined: joined, at: now})
	r.moves++
}

// due takes out the events whose time has come; next is when to ask again, zero
// if nothing waits. count tells a room's members.
func (r *roster) due(now time.Time, count func(room string) int) (events []rosterEvent, next time.Time) {
	for len(r.queue) > 0 {
		g := r.queue[0]
		if now.Before(g.next) {
			return events, g.next
		}
		if len(g.moves) == 0 && !g.countOnly {
			r.drop(g)
			continue
		}
		event := &busv1.RosterEvent{MemberCount: int64(count(g.room)), TimeMs: now.UnixMilli()}
		for _, m := range g.moves {
			if m.joined {
				event.Joined = append(event.Joined, m.user)
			} else {
				event.Left = append(event.Left, m.user)
			}
		}
		events = append(events, rosterEvent{g.room, event})
		pause := r.gather
		if g.countOnly {
			pause = r.statsEvery
		}
		r.forget(g, len(g.moves))
		g.countOnly = false
		g.next = now.Add(pause)
		heap.Fix(&r.queue, g.index)
	}
	return events, time.Time{}
}

// onItsWay is how much later than here the speaker may have heard of a change,
// and told it.
const onItsWay = 50 * time.Millisecond

// vouched forgets what the speaker, alive at now, must have told: what is older
// than an event may wait and be on its way. One that is leaving has told all that
// had reached it, without waiting; what was on its way to it meanwhile is ours.
func (r *roster) vouched(now time.Time, leaving bool) {
	listed, counted := now.Add(-r.gather-onItsWay), now.Add(-2*r.statsEvery)
	if leaving {
		listed = now.Add(-onItsWay)
		counted = listed
	}
	for _, g := range r.rooms {
		n := 0
		for n < len(g.moves) && g.moves[n].at.Before(listed) {
			n++
		}
		r.forget(g, n)
		if g.countOnly && g.changed.Before(counted) {
			g.countOnly = false
		}
		if len(g.moves) == 0 && !g.countOnly {
			r.drop(g)
		}
	}
}

// drop forgets a room of which nothing is left to tell.
func (r *roster) drop(g *gathering) {
	heap.Remove(&r.queue, g.index)
	delete(r.rooms, g.room)
}

// forget drops the oldest n moves of a room.
func (r *roster) forget(g *gathering, n int) {
	r.moves -= n
	g.moves = slices.Delete(g.moves, 0, n)
}

func (r *roster) clear() {
	clear(r.rooms)
	r.queue = nil
	r.moves = 0
}

// byTime is a heap of what is gathered, for package heap.
type byTime []*gathering

func (q byTime) Len() int           { return len(q) }
func (q byTime) Less(i, j int) bool { return q[i].next.Before(q[j].next) }
func (q byTime) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *byTime) Push(x any) {
	g := x.(*gathering)
	g.index = len(*q)
	*q = append(*q, g)
}

func (q *byTime) Pop() any {
	last := len(*q) - 1
	g := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return g
}
