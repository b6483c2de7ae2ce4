package presence

import (
	"time"

	"github.com/tidwall/btree"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// maxLease bounds what a gateway may ask for, so that no session stays for ever.
const maxLease = 10 * time.Minute

// picture is everything that is known about who is where: gateways have
// sessions, sessions are of users and in rooms, and a user is in a room while
// one of the user's sessions is. It knows neither NATS nor a clock and is not
// safe for concurrent use.
//
// One session id may be announced by two gateways, when the client has resumed
// on one and the other has not noticed yet; each announcement is an entry of
// its own, and what one gateway says about its entry leaves the other's alone.
// An online in a delta is newer than all that is known, so it takes the place
// of other gateways' entries; one in a snapshot may be old and replaces only
// entries that live on a lease.
//
// It is made for a million sessions: everything is found through trees of
// pointers (about 12 bytes an entry, a third of a map's), and what few sessions
// have (leases, status texts) lies beside them.
type picture struct {
	sessions *btree.BTreeG[*session] // by id, then gateway
	users    *btree.BTreeG[*user]    // by id
	rooms    *btree.BTreeG[*room]    // by id; only those with members
	gateways map[string]*gateway     // only those with sessions
	leases   map[*session]time.Time  // ends of those that are cut off
	ends     byEnd                   // of leases, and of some that are none any more
	texts    map[*session]string     // status texts
	// held is until when no lease ends.
	held time.Time

	lastGateway uint32
	version     uint64 // grows by one with every change
	changes     []change

	// For look-ups without an allocation; only writers may use them.
	probeSession session
	probeUser    user
	probeRoom    room
}

// session is 80 bytes, which is exactly a size class of Go's allocator.
type session struct {
	id              string
	user            *user
	gateway         *gateway
	next            *session // of the same user
	rooms           []*room  // few
	authenticatedMS int64
	at              int32 // its place in gateway.sessions
	status          status
	serial          uint8 // of the snapshot that had it, see arrival
}

type user struct {
	id    string
	name  string
	first *session
}

type room struct {
	id      string
	members members
}

type gateway struct {
	id       string
	number   uint32 // orders entries of one session id
	sessions []*session
	// leaves is when the leases end of whatever is announced by a gateway that
	// has said that it ends; zero for all others.
	leaves time.Time
}

// changeKind says what happened to a user.
type changeKind uint8

const (
	userOnline  changeKind = iota // the first session came
	userOffline                   // the last session went
	userUpdated                   // name, status or sign-in differ
	userJoined                    // came into room with the first session
	userLeft                      // left room with the last session
)

// change is one transition of the picture.
type change struct {
	kind    changeKind
	user    *user
	room    *room  // of userJoined and userLeft
	count   int    // of the room's members after it
	version uint64 // of the picture after it
	// restated, of userUpdated: status or text differ.
	restated bool
}

// noGateway comes before all others.
var noGateway gateway

func newPicture() *picture {
	return &picture{
		sessions: newIndex(func(a, b *session) bool {
			return a.id < b.id || a.id == b.id && a.gateway.number < b.gateway.number
		}),
		users:    newIndex(userLess),
		rooms:    newIndex(func(a, b *room) bool { return a.id < b.id }),
		gateways: make(map[string]*gateway),
		leases:   make(map[*session]time.Time),
		texts:    make(map[*session]string),
	}
}

func newIndex[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	// Locking is the service's.
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func userLess(a, b *user) bool { return a.id < b.id }

// take gives the changes since the last take. They may be read until the
// picture is changed again.
func (p *picture) take() []change {
	changes := p.changes
	if cap(changes) > 4096 {
		p.changes = nil // a storm's slice is not kept for ever
	} else {
		p.changes = changes[:0]
	}
	return changes
}

func (p *picture) note(kind changeKind, u *user, r *room) {
	p.version++
	c := change{kind: kind, user: u, room: r, version: p.version}
	if r != nil {
		c.count = r.members.len()
	}
	p.changes = append(p.changes, c)
}

// applyDelta takes in what happened on one gateway.
func (p *picture) applyDelta(gatewayID string, changes []*busv1.PresenceChange, now time.Time) {
	for _, c := range changes {
		if online, ok := c.Change.(*busv1.PresenceChange_Online); ok {
			p.online(gatewayID, c.SessionId, online.Online, true)
			continue
		}
		s := p.session(gatewayID, c.SessionId)
		if s == nil {
			continue // it has resumed on another gateway, or is over
		}
		switch change := c.Change.(type) {
		case *busv1.PresenceChange_Joined:
			p.join(s, change.Joined)
		case *busv1.PresenceChange_Left:
			if r := p.room(change.Left); r != nil {
				p.leave(s, r)
			}
		case *busv1.PresenceChange_Offline:
			lease := min(time.Duration(change.Offline.GetLeaseMs())*time.Millisecond, maxLease)
			if lease <= 0 {
				p.remove(s)
			} else {
				p.setLease(s, now.Add(lease))
			}
		case *busv1.PresenceChange_Status:
			before := p.rollUp(s.user)
			p.setStatus(s, change.Status)
			p.noteIfUpdated(s.user, before)
		}
	}
}

// online adds or renews a gateway's entry of a session and returns it; nil if
// the announcement is not a session's.
func (p *picture) online(gatewayID, id string, o *busv1.SessionOnline, newest bool) *session {
	if id == "" || ids.CheckUser("userId", o.GetUser().GetId()) != nil {
		return nil
	}
	s := p.session(gatewayID, id)
	if s != nil && s.user.id != o.User.Id {
		p.remove(s)
		s = nil
	}
	u, isNew := p.findOrAddUser(o.User.Id, o.User.Username)
	before := p.rollUp(u)
	u.name = o.User.Username
	added := s == nil
	if added {
		s = p.add(gatewayID, id, u)
	}
	delete(p.leases, s)
	if end := s.gateway.leaves; !end.IsZero() {
		p.setLease(s, end)
	}
	s.authenticatedMS = o.AuthenticatedAtMs
	others := p.others(s)
	switch {
	case o.Status != nil:
		p.setStatus(s, o.Status)
	case added && len(others) > 0 && others[0].user == u:
		// Resumed on a gateway that does not know what it had set.
		p.copyStatus(s, others[0])
	}
	if isNew {
		p.note(userOnline, u, nil)
	}
	p.setRooms(s, o.Rooms)
	// Only now, so that what the session keeps is never seen to go.
	for _, other := range others {
		if _, leased := p.leases[other]; newest || leased {
			p.drop(other)
		}
	}
	if !isNew {
		p.noteIfUpdated(u, before)
	}
	return s
}

func (p *picture) add(gatewayID, id string, u *user) *session {
	g := p.gateways[gatewayID]
	if g == nil {
		p.lastGateway++
		g = &gateway{id: gatewayID, number: p.lastGateway}
		p.gateways[gatewayID] = g
	}
	s := &session{id: id, user: u, gateway: g, next: u.first, at: int32(len(g.sessions))}
	u.first = s
	g.sessions = append(g.sessions, s)
	p.sessions.Set(s)
	return s
}

// remove ends an entry and what only it kept: places in rooms, the user.
func (p *picture) remove(s *session) {
	u := s.user
	before := p.rollUp(u)
	p.drop(s)
	if u.first != nil {
		p.noteIfUpdated(u, before)
	}
}

// drop is remove without looking whether the user's summary changes.
func (p *picture) drop(s *session) {
	u, g := s.user, s.gateway
	for len(s.rooms) > 0 {
		p.leave(s, s.rooms[len(s.rooms)-1])
	}
	p.sessions.Delete(s)
	delete(p.leases, s)
	delete(p.texts, s)

	last := g.sessions[len(g.sessions)-1]
	g.sessions[s.at], last.at = last, s.at
	g.sessions[len(g.sessions)-1] = nil
	g.sessions = g.sessions[:len(g.sessions)-1]
	if len(g.sessions) == 0 {
		delete(p.gateways, g.id)
	}

	for link := &u.first; *link != nil; link = &(*link).next {
		if *link == s {
			*link = s.next
			break
		}
	}
	if u.first == nil {
		p.users.Delete(u)
		p.note(userOffline, u, nil)
	}
}

// session finds a gateway's entry, nil if there is none.
func (p *picture) session(gatewayID, id string) *session {
	g := p.gateways[gatewayID]
	if g == nil {
		return nil
	}
	p.probeSession.id, p.probeSession.gateway = id, g
	s, _ := p.sessions.Get(&p.probeSession)
	return s
}

// others gives the entries of the same session id on other gateways.
func (p *picture) others(s *session) []*session {
	var others []*session
	p.probeSession.id, p.probeSession.gateway = s.id, &noGateway
	p.sessions.Ascend(&p.probeSession, func(other *session) bool {
		if other.id != s.id {
			return false
		}
		if other != s {
			others = append(others, other)
		}
		return true
	})
	return others
}

func (p *picture) findOrAddUser(id, name string) (u *user, isNew bool) {
	p.probeUser.id = id
	if u, ok := p.users.Get(&p.probeUser); ok {
		return u, false
	}
	u = &user{id: id, name: name}
	p.users.Set(u)
	return u, true
}
