package fanout

import (
	"slices"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	// retoldFor is how long it is remembered at least what rooms were told: for
	// longer than presence needs to notice that its speaker is dead or was only
	// stopped, 3 s, and to tell what the other may have told already.
	retoldFor = 10 * time.Second
	// maxRetold bounds what is remembered for as long, a worker.
	maxRetold = 4096
)

// retold remembers who was last told to have come to a room or to have left it,
// and passes over what says the same again. Users only ever come and leave in
// turn, so that is a repetition: two presence replicas have told it, because one
// was killed behind it or took a pause. It is two halves, of which the older is
// thrown away when the younger is full or old enough. A room that was left by
// all members here and entered again is another one: what happened in between
// nobody has heard here.
type retold struct {
	young, old map[place]bool // joined
	since      time.Time      // of young
}

type place struct {
	room *room
	user string
}

// news takes out of an event what the room was told already; nil if that is all
// of it.
func (t *retold) news(r *room, event *busv1.RosterEvent, now time.Time) *busv1.RosterEvent {
	if len(event.Joined)+len(event.Left) == 0 {
		return event
	}
	t.turn(now)
	again := func(joined bool) func(*wirev1.User) bool {
		return func(u *wirev1.User) bool { return t.again(place{r, u.GetId()}, joined) }
	}
	event.Joined = slices.DeleteFunc(event.Joined, again(true))
	event.Left = slices.DeleteFunc(event.Left, again(false))
	if len(event.Joined)+len(event.Left) == 0 {
		return nil
	}
	return event
}

func (t *retold) again(at place, joined bool) bool {
	before, known := t.young[at]
	if !known {
		before, known = t.old[at]
	}
	if known && before == joined {
		return true
	}
	if t.young == nil {
		t.young = make(map[place]bool)
	}
	if known || len(t.young) < maxRetold {
		t.young[at] = joined
	}
	return false
}

func (t *retold) turn(now time.Time) {
	if len(t.young) >= maxRetold || now.Sub(t.since) >= retoldFor {
		t.old, t.young, t.since = t.young, nil, now
	}
}
