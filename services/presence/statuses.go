package presence

import (
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// maxStatusRooms bounds how many rooms are told of one status, the first by
// their ids: each event names those that were told before it.
const maxStatusRooms = 100

// statuses gathers whose status has changed until those who share a room with
// the user are told: at once where the user was quiet, else a while after the
// time before, and not at all where everything is again as it was told. So one
// who changes it all the time costs the others little. Time is passed in; it is
// not safe for concurrent use.
//
// It holds nobody longer than the pause after the last change.
type statuses struct {
	pause   time.Duration
	large   int // rooms of more members are not told
	users   map[string]*restating
	now     []*restating // to be told at once
	resting []*restating // told, those that may be told again first in front
}

type restating struct {
	user    string
	told    summary
	until   time.Time
	changed bool
}

// statusEvent is one event and the room it is for.
type statusEvent struct {
	room  string
	event *busv1.StatusEvent
}

func newStatuses(o Options) *statuses {
	return &statuses{pause: o.Gather, large: o.LargeRoom, users: make(map[string]*restating)}
}

// note takes in that a user's status has changed.
func (st *statuses) note(user string) {
	if r := st.users[user]; r != nil {
		r.changed = true
		return
	}
	r := &restating{user: user, changed: true}
	st.users[user] = r
	st.now = append(st.now, r)
}

// due takes out the events whose time has come; next is when to ask again, zero
// if nothing waits.
func (st *statuses) due(now time.Time, p *picture) (events []statusEvent, next time.Time) {
	for len(st.resting) > 0 && !now.Before(st.resting[0].until) {
		r := st.resting[0]
		st.resting = slices.Delete(st.resting, 0, 1)
		if r.changed {
			st.now = append(st.now, r)
		} else {
			delete(st.users, r.user)
		}
	}
	for _, r := range st.now {
		r.changed = false
		u, online := p.users.Get(&user{id: r.user})
		if !online {
			delete(st.users, r.user) // the rooms are told that the user has left
			continue
		}
		is := p.rollUp(u)
		if r.until.IsZero() || is.status != r.told.status || is.text != r.told.text {
			r.told = is
			events = append(events, st.events(p, u, is)...)
		}
		r.until = now.Add(st.pause)
		st.resting = append(st.resting, r)
	}
	st.now = nil
	if len(st.resting) > 0 {
		next = st.resting[0].until
	}
	return events, next
}

// events is what the rooms of a user are told.
func (st *statuses) events(p *picture, u *user, is summary) (events []statusEvent) {
	var rooms []*room
	for s := u.first; s != nil; s = s.next {
		rooms = append(rooms, s.rooms...)
	}
	slices.SortFunc(rooms, func(a, b *room) int { return strings.Compare(a.id, b.id) })
	rooms = slices.DeleteFunc(slices.Compact(rooms), func(r *room) bool {
		return r.id == ids.Lobby || r.members.len() > st.large
	})
	told := make([]string, 0, min(len(rooms), maxStatusRooms))
	for _, r := range rooms[:cap(told)] {
		events = append(events, statusEvent{r.id, &busv1.StatusEvent{
			User: wireUser(u), Status: is.status.String(), Text: is.text, Told: told,
		}})
		told = append(told, r.id)
	}
	return events
}

func (st *statuses) clear() {
	clear(st.users)
	st.now, st.resting = nil, nil
}
