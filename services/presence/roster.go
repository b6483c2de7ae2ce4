package presence

import (
	"container/heap"
	"slices"
	"time"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// maxMoves bounds what is gathered of all rooms together; what is above is told
// as a count.
const maxMoves = 1 << 17

// roster gathers who came to which room and left it until the room is due for
// an event: at once where it was quiet, else a while after the one before, the
// longer the more that told, so that a storm makes few events. Time is passed in; it is not safe for
// concurrent use.
//
// A replica that does not speak gathers as well and forgets what the speaker
// says it has told (settle). So it always has the difference between what rooms
// were told and the picture, and when the speaker dies, that is what it tells.
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

// note takes in a change of a room. Coming and going again before the room is
// told is nothing.
func (r *roster) note(c change, now time.Time) {
	g := r.of(c.room.id)
	g.changed = now
	if g.countOnly || c.count > r.large || len(g.moves) >= r.large || r.moves >= maxMoves {
		r.forget(g, len(g.moves))
		g.countOnly = true
		return
	}
	joined := c.kind == userJoined
	if before, ok := r.takeMove(g, c.user.id); !ok || before.joined == joined {
		r.addMove(g, move{user: wireUser(c.user), joined: joined, at: now})
	}
}

// settle takes in what another replica has told a room. Whoever is where the
// room was told is settled; of whoever is not, any more or yet, the room is still
// to be told.
func (r *roster) settle(t *busv1.RoomTold, p *picture, now time.Time) {
	g := r.rooms[t.RoomId]
	event := t.GetEvent()
	if g == nil && ids.CheckRoom("roomId", t.RoomId) != nil {
		return // it would become a subject
	}
	if len(event.GetJoined())+len(event.GetLeft()) == 0 {
		if g != nil && event.GetMemberCount() == int64(p.roomCount(t.RoomId)) {
			r.forget(g, len(g.moves))
			g.countOnly = false
			r.drop(g)
		}
		return
	}
	settle := func(u *wirev1.User, told bool) {
		is := p.isIn(u.GetId(), t.RoomId)
		switch {
		case is == told:
			if g != nil {
				r.takeMove(g, u.GetId())
			}
		case g != nil && (g.countOnly || hasMove(g, u.GetId())):
		case r.moves < maxMoves:
			g = r.of(t.RoomId)
			r.addMove(g, move{user: u, joined: is, at: now})
		}
	}
	for _, u := range event.Joined {
		settle(u, true)
	}
	for _, u := range event.Left {
		settle(u, false)
	}
	if g != nil && len(g.moves) == 0 && !g.countOnly {
		r.drop(g)
	}
}

// of gives what is gathered of a room.
func (r *roster) of(room string) *gathering {
	g := r.rooms[room]
	if g == nil {
		g = &gathering{room: room}
		r.rooms[room] = g
		heap.Push(&r.queue, g)
	}
	return g
}

func (r *roster) addMove(g *gathering, m move) {
	g.moves = append(g.moves, m)
	r.moves++
}

// takeMove takes out what is gathered of a user.
func (r *roster) takeMove(g *gathering, user string) (m move, ok bool) {
	i := slices.IndexFunc(g.moves, func(m move) bool { return m.user.GetId() == user })
	if i < 0 {
		return move{}, false
	}
	m = g.moves[i]
	g.moves = slices.Delete(g.moves, i, i+1)
	r.moves--
	return m, true
}

func hasMove(g *gathering, user string) bool {
	return slices.ContainsFunc(g.moves, func(m move) bool { return m.user.GetId() == user })
}

// maxEvents bounds how many events are made in one go.
const maxEvents = 500

// due takes out the events whose time has come; next is when to ask again, zero
// if nothing waits. count tells a room's members.
func (r *roster) due(now time.Time, count func(room string) int) (events []rosterEvent, next time.Time) {
	for len(r.queue) > 0 {
		g := r.queue[0]
		if now.Before(g.next) {
			return events, g.next
		}
		if len(events) == maxEvents {
			return events, now
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
		g.next = now.Add(r.pause(g))
		r.forget(g, len(g.moves))
		g.countOnly = false
		heap.Fix(&r.queue, g.index)
	}
	return events, time.Time{}
}

// fewMoves is how many moves a room may be told at a time without a longer pause
// behind them.
const fewMoves = 4

// pause is how long a room is left alone when it is told what was gathered. It
// grows with that: who watches a crowd come in loses nothing if that comes in
// larger portions, and a storm of joins is mostly the writing of these events to
// members. Where few move, each is told within the shortest.
func (r *roster) pause(g *gathering) time.Duration {
	longest := max(r.gather, r.statsEvery)
	if g.countOnly {
		return longest
	}
	return min(max(r.gather, r.gather*time.Duration(len(g.moves))/fewMoves), longest)
}

// vouched forgets what the speaker, alive at now, must have told long ago though
// its word of that was lost.
func (r *roster) vouched(now time.Time) {
	listed, counted := now.Add(-4*(r.gather+r.statsEvery)), now.Add(-2*max(r.gather, r.statsEvery))
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
