package presence

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// status is how available a session is; the smaller the more.
type status uint8

const (
	statusOnline status = iota
	statusAway
	statusBusy
)

func (s status) String() string {
	switch s {
	case statusAway:
		return "away"
	case statusBusy:
		return "busy"
	default:
		return "online"
	}
}

// parseStatus takes what a newer gateway may know and we do not as online.
func parseStatus(text string) status {
	switch text {
	case "away":
		return statusAway
	case "busy":
		return statusBusy
	default:
		return statusOnline
	}
}

// summary is what a user's sessions amount to.
type summary struct {
	name            string
	authenticatedMS int64 // the earliest
	status          status
	text            string
}

// rollUp sums a user's sessions up: the earliest sign-in and the most available
// status, with the text of the newest session that has it.
func (p *picture) rollUp(u *user) summary {
	sum := summary{name: u.name}
	for s := u.first; s != nil; s = s.next {
		if s == u.first || s.authenticatedMS < sum.authenticatedMS {
			sum.authenticatedMS = s.authenticatedMS
		}
		if s == u.first || s.status < sum.status {
			sum.status, sum.text = s.status, p.texts[s]
		}
	}
	return sum
}

func (p *picture) noteIfUpdated(u *user, before summary) {
	if after := p.rollUp(u); after != before {
		p.note(userUpdated, u, nil)
		p.changes[len(p.changes)-1].restated = after.status != before.status || after.text != before.text
	}
}

func (p *picture) setStatus(s *session, set *busv1.SessionStatus) {
	s.status = parseStatus(set.GetStatus())
	if text := set.GetText(); text != "" {
		p.texts[s] = text
	} else {
		delete(p.texts, s)
	}
}

// copyStatus gives a session what another one has set.
func (p *picture) copyStatus(s, from *session) {
	s.status = from.status
	if text, ok := p.texts[from]; ok {
		p.texts[s] = text
	}
}

// ---- For readers: nothing below changes the picture. ----

// sessionStatus is what a session has set; nil where that is nothing, or it is
// not known. The one that the gateway has is meant, or any other.
func (p *picture) sessionStatus(id, gatewayID string) *presencev1.SessionStatus {
	var found *session
	p.sessions.Ascend(&session{id: id, gateway: &noGateway}, func(s *session) bool {
		if s.id != id {
			return false
		}
		found = s
		return s.gateway.id != gatewayID
	})
	if found == nil || found.status == statusOnline && p.texts[found] == "" {
		return nil
	}
	return &presencev1.SessionStatus{Status: found.status.String(), Text: p.texts[found]}
}

func (p *picture) onlineUser(u *user) *presencev1.OnlineUser {
	sum := p.rollUp(u)
	return &presencev1.OnlineUser{
		User:            wireUser(u),
		AuthenticatedAt: timestamppb.New(time.UnixMilli(sum.authenticatedMS)),
		Status:          sum.status.String(),
		Text:            sum.text,
	}
}

func wireUser(u *user) *wirev1.User { return &wirev1.User{Id: u.id, Username: u.name} }

// usersAfter gives at most limit users whose ids follow id, all users or those
// of a room where one is named, and whether there are more.
func (p *picture) usersAfter(roomID, id string, limit int) (page []*presencev1.OnlineUser, more bool) {
	collect := func(u *user) bool {
		if len(page) == limit {
			more = true
			return false
		}
		page = append(page, p.onlineUser(u))
		return true
	}
	if roomID == "" {
		usersAfter(p.users, id, collect)
	} else if r, ok := p.rooms.Get(&room{id: roomID}); ok {
		r.members.after(id, collect)
	}
	return page, more
}

// roomsAfter calls f with the rooms whose ids follow id, until f returns false.
func (p *picture) roomsAfter(id string, f func(*room) bool) {
	p.rooms.Ascend(&room{id: id}, func(r *room) bool { return r.id == id || f(r) })
}

// isIn says whether a user is in a room.
func (p *picture) isIn(userID, roomID string) bool {
	r, ok := p.rooms.Get(&room{id: roomID})
	return ok && r.members.has(userID)
}

func (p *picture) roomCount(id string) int { return p.roomCountWithout(id, "") }

// roomCountWithout is roomCount of the others, for who asks whether there is
// room for one user more.
func (p *picture) roomCountWithout(id, user string) int {
	r, ok := p.rooms.Get(&room{id: id})
	if !ok {
		return 0
	}
	n := r.members.len()
	if user != "" && r.members.has(user) {
		n--
	}
	return n
}
