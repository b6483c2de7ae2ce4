package presence

import (
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// lastSeen remembers when users who have gone were online last. It is two
// halves: the young one is filled, and takes the place of the old one when it is
// full or has been filled for as long as is remembered. So it holds the newest
// users, at least half of the most it may hold, and nothing has to be removed
// one by one. A user takes about 90 bytes. It is not safe for concurrent use.
type lastSeen struct {
	most       int // in a half
	keep       time.Duration
	young, old half
}

type half struct {
	since  time.Time // when it was begun
	places map[string]uint32
	users  []gone
}

type gone struct {
	id string
	ms int64
}

func newLastSeen(o Options) *lastSeen {
	return &lastSeen{most: max(1, o.LastSeenUsers/2), keep: o.LastSeenFor}
}

// note remembers that a user was online until then.
func (l *lastSeen) note(user string, then, now time.Time) {
	ms := then.UnixMilli()
	if at, ok := l.young.places[user]; ok {
		l.young.users[at].ms = max(l.young.users[at].ms, ms)
		return
	}
	if l.young.places == nil || len(l.young.users) >= l.most || now.Sub(l.young.since) > l.keep {
		l.old, l.young = l.young, half{since: now, places: make(map[string]uint32)}
	}
	l.young.places[user] = uint32(len(l.young.users))
	l.young.users = append(l.young.users, gone{user, ms})
}

// of tells when a user was online last, zero where that is not remembered.
func (l *lastSeen) of(user string, now time.Time) time.Time {
	for _, h := range []*half{&l.young, &l.old} {
		if at, ok := h.places[user]; ok {
			if then := time.UnixMilli(h.users[at].ms); now.Sub(then) <= l.keep {
				return then
			}
		}
	}
	return time.Time{}
}

// page gives some users from a place on, the old ones first, and the next place;
// none at the end.
func (l *lastSeen) page(from, limit int) ([]*busv1.LastSeen, int) {
	var page []*busv1.LastSeen
	for ; from < l.len() && len(page) < limit; from++ {
		g := gone{}
		if from < len(l.old.users) {
			g = l.old.users[from]
		} else {
			g = l.young.users[from-len(l.old.users)]
		}
		page = append(page, &busv1.LastSeen{UserId: g.id, TimeMs: g.ms})
	}
	return page, from
}

// merge takes in what another replica remembers.
func (l *lastSeen) merge(page []*busv1.LastSeen, now time.Time) {
	for _, g := range page {
		then := time.UnixMilli(g.TimeMs)
		if g.UserId != "" && !then.After(now) && then.After(l.of(g.UserId, now)) {
			l.note(g.UserId, then, now)
		}
	}
}

func (l *lastSeen) len() int { return len(l.young.users) + len(l.old.users) }
