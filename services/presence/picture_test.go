package presence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// model is the picture as one would write it without a thought for size: every
// answer is counted anew from a flat list of entries.
type model map[entryKey]*entry

type entryKey struct{ gateway, id string }

type entry struct {
	user  string
	auth  int64
	rooms map[string]bool
	lease time.Time // zero: none
}

func (m model) online(gateway, id string, o *busv1.SessionOnline, newest bool) {
	for k, e := range m {
		if k.id == id && k.gateway != gateway && (newest || !e.lease.IsZero()) {
			delete(m, k)
		}
	}
	rooms := map[string]bool{}
	for _, r := range o.Rooms {
		rooms[r] = true
	}
	m[entryKey{gateway, id}] = &entry{user: o.User.Id, auth: o.AuthenticatedAtMs, rooms: rooms}
}

func (m model) lease(gateway string, end time.Time, keep map[string]bool) {
	for k, e := range m {
		if k.gateway == gateway && !keep[k.id] && e.lease.IsZero() {
			e.lease = end
		}
	}
}

// view is all that a picture says.
type view struct {
	rooms map[string][]string // members in order
	users map[string]int64    // earliest sign-in
}

func (m model) view() view {
	v := view{map[string][]string{}, map[string]int64{}}
	for _, e := range m {
		if auth, ok := v.users[e.user]; !ok || e.auth < auth {
			v.users[e.user] = e.auth
		}
		for r := range e.rooms {
			if !slices.Contains(v.rooms[r], e.user) {
				v.rooms[r] = append(v.rooms[r], e.user)
			}
		}
	}
	for _, members := range v.rooms {
		slices.Sort(members)
	}
	return v
}

func viewOf(p *picture) view {
	v := view{map[string][]string{}, map[string]int64{}}
	p.roomsAfter("", func(r *room) bool {
		v.rooms[r.id] = nil
		r.members.after("", func(u *user) bool {
			v.rooms[r.id] = append(v.rooms[r.id], u.id)
			return true
		})
		return true
	})
	usersAfter(p.users, "", func(u *user) bool {
		v.users[u.id] = p.rollUp(u).authenticatedMS
		return true
	})
	return v
}

func (v view) equal(w view) bool {
	return maps.Equal(v.users, w.users) && maps.EqualFunc(v.rooms, w.rooms, slices.Equal[[]string])
}

// replay brings a view forward by changes and fails where one is no change.
func (v view) replay(t *testing.T, changes []change) {
	t.Helper()
	for _, c := range changes {
		u := c.user.id
		_, here := v.users[u]
		switch c.kind {
		case userOnline:
			if here {
				t.Fatalf("%s came online twice", u)
			}
			v.users[u] = 0
		case userOffline:
			if !here {
				t.Fatalf("%s went offline twice", u)
			}
			delete(v.users, u)
		case userUpdated:
			if !here {
				t.Fatalf("%s was updated while offline", u)
			}
		case userJoined, userLeft:
			members := v.rooms[c.room.id]
			i, in := slices.BinarySearch(members, u)
			if in == (c.kind == userJoined) {
				t.Fatalf("%s joined or left %s twice", u, c.room.id)
			}
			if in {
				members = slices.Delete(members, i, i+1)
			} else {
				members = slices.Insert(members, i, u)
			}
			if len(members) != c.count {
				t.Fatalf("%s has %d members, the change says %d", c.room.id, len(members), c.count)
			}
			if v.rooms[c.room.id] = members; len(members) == 0 {
				delete(v.rooms, c.room.id)
			}
		}
	}
}

// all does something that takes a budget as often as it needs, a little at a
// time.
func all(step func(budget int) (over bool)) {
	for !step(2) {
	}
}

// applySnapshot makes a gateway's sessions those given.
func (p *picture) applySnapshot(gateway string, serial uint8, sessions []*busv1.SnapshotSession, vanished time.Time) {
	a := &arrival{sessions: slices.Clone(sessions), vanished: vanished, serial: serial, swept: beginning}
	all(func(budget int) bool { p.arrive(gateway, a, budget); return a.done })
}

func (p *picture) partAll(gateway string, end time.Time) {
	walk := beginning
	all(func(budget int) bool { p.part(gateway, &walk, end, budget); return walk.over() })
}

func (p *picture) giveUpAll(gateway string) {
	walk := beginning
	all(func(budget int) bool { p.giveUp(gateway, &walk, budget); return walk.over() })
}

func (p *picture) expireAll(now time.Time) {
	all(func(budget int) bool { return p.expire(now, budget) == budget })
}

func announce(user string, auth int64, rooms ...string) *busv1.SessionOnline {
	return &busv1.SessionOnline{
		User:              &wirev1.User{Id: user, Username: "name of " + user},
		AuthenticatedAtMs: auth,
		Rooms:             rooms,
	}
}

func changeOf(session string, what any) *busv1.PresenceChange {
	c := &busv1.PresenceChange{SessionId: session}
	switch what := what.(type) {
	case *busv1.SessionOnline:
		c.Change = &busv1.PresenceChange_Online{Online: what}
	case *busv1.SessionOffline:
		c.Change = &busv1.PresenceChange_Offline{Offline: what}
	case *busv1.SessionStatus:
		c.Change = &busv1.PresenceChange_Status{Status: what}
	case *busv1.PresenceChange_Joined:
		c.Change = what
	case *busv1.PresenceChange_Left:
		c.Change = what
	default:
		panic("no such change")
	}
	return c
}

func join(room string) any  { return &busv1.PresenceChange_Joined{Joined: room} }
func leave(room string) any { return &busv1.PresenceChange_Left{Left: room} }
func offline(lease time.Duration) any {
	return &busv1.SessionOffline{LeaseMs: lease.Milliseconds()}
}

// TestPictureIsTheModel does random things to both and wants the same picture,
// and that the transitions lead from one picture to the next.
func TestPictureIsTheModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, m := newPicture(), model{}
		now := time.Unix(1000, 0)
		seen := view{map[string][]string{}, map[string]int64{}}
		serials := map[string]uint8{}
		oneOf := func(prefix string, n int) string { return fmt.Sprint(prefix, r.IntN(n)) }
		// A session id is always of one user, as in life.
		online := func(session string) *busv1.SessionOnline {
			var rooms []string
			for range r.IntN(4) {
				rooms = append(rooms, oneOf("r", 6))
			}
			return announce("u"+session[len(session)-1:], r.Int64N(100), rooms...)
		}
		for step := range 2000 {
			gateway, session, roomID := oneOf("g", 3), oneOf("s", 40), oneOf("r", 6)
			e := m[entryKey{gateway, session}]
			delta := func(what any) {
				p.applyDelta(gateway, []*busv1.PresenceChange{changeOf(session, what)}, now)
			}
			switch what := r.IntN(100); {
			case what < 25:
				o := online(session)
				delta(o)
				m.online(gateway, session, o, true)
			case what < 50:
				delta(join(roomID))
				if e != nil {
					e.rooms[roomID] = true
				}
			case what < 65:
				delta(leave(roomID))
				if e != nil {
					delete(e.rooms, roomID)
				}
			case what < 75:
				delta(offline(0))
				delete(m, entryKey{gateway, session})
			case what < 85:
				delta(offline(time.Second))
				if e != nil {
					e.lease = now.Add(time.Second)
				}
			case what < 90:
				var sessions []*busv1.SnapshotSession
				keep := map[string]bool{}
				for range r.IntN(10) {
					if id := oneOf("s", 40); !keep[id] {
						keep[id] = true
						sessions = append(sessions, &busv1.SnapshotSession{SessionId: id, Online: online(id)})
					}
				}
				if serials[gateway]++; serials[gateway] == 0 {
					serials[gateway] = 1
				}
				p.applySnapshot(gateway, serials[gateway], sessions, now.Add(time.Second))
				for _, s := range sessions {
					m.online(gateway, s.SessionId, s.Online, false)
				}
				m.lease(gateway, now.Add(time.Second), keep)
			case what < 92:
				p.giveUpAll(gateway)
				maps.DeleteFunc(m, func(k entryKey, e *entry) bool { return k.gateway == gateway && e.lease.IsZero() })
			case what < 93:
				p.partAll(gateway, now.Add(time.Second))
				m.lease(gateway, now.Add(time.Second), nil)
			default:
				now = now.Add(time.Duration(r.IntN(600)) * time.Millisecond)
				p.expireAll(now)
				maps.DeleteFunc(m, func(_ entryKey, e *entry) bool { return !e.lease.IsZero() && !now.Before(e.lease) })
			}
			seen.replay(t, p.take())
			want, got := m.view(), viewOf(p)
			if !got.equal(want) {
				t.Fatalf("seed %d, step %d: the picture is\n%v, want\n%v", seed, step, got, want)
			}
			if !maps.EqualFunc(seen.rooms, want.rooms, slices.Equal[[]string]) || len(seen.users) != len(want.users) {
				t.Fatalf("seed %d, step %d: the changes lead to\n%v, want\n%v", seed, step, seen, want)
			}
			if p.sessions.Len() != len(m) {
				t.Fatalf("seed %d, step %d: %d sessions, want %d", seed, step, p.sessions.Len(), len(m))
			}
		}
		for g := range 3 {
			p.partAll(fmt.Sprint("g", g), now)
		}
		p.expireAll(now.Add(time.Hour))
		if p.users.Len()+p.rooms.Len()+p.sessions.Len()+len(p.gateways)+len(p.leases)+len(p.ends)+len(p.texts) > 0 {
			t.Fatalf("seed %d: something is left of an empty picture", seed)
		}
	}
}

func TestMembersSmallAndLarge(t *testing.T) {
	var m members
	users := make([]*user, 3*smallRoom)
	for i := range users {
		users[i] = &user{id: fmt.Sprintf("u%05d", i)}
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(users))
	for n, i := range order {
		if m.has(users[i].id) || !m.add(users[i]) || !m.has(users[i].id) || m.add(users[i]) || m.len() != n+1 {
			t.Fatalf("adding the %dth of %d went wrong", n, len(users))
		}
	}
	var got []*user
	m.after("u00009", func(u *user) bool { got = append(got, u); return true })
	if !slices.Equal(got, users[10:]) {
		t.Errorf("after gave %d users, not those after the tenth in order", len(got))
	}
	for n, i := range order {
		m.remove(users[i])
		if m.len() != len(users)-n-1 {
			t.Fatalf("%d members after %d removals", m.len(), n+1)
		}
	}
}

func TestStatusRollsUp(t *testing.T) {
	p, now := newPicture(), time.Unix(1, 0)
	do := func(session string, what any) []change {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf(session, what)}, now)
		return p.take()
	}
	do("phone", announce("u", 20))
	do("laptop", announce("u", 10))
	for _, step := range []struct {
		session, status, text string
		wantStatus, wantText  string
		changed               bool
	}{
		{"phone", "away", "bus", "online", "", false},
		{"laptop", "busy", "work", "away", "bus", true},
		{"laptop", "busy", "home", "away", "bus", false},
		{"phone", "busy", "", "busy", "home", true},
		{"laptop", "something new", "", "online", "", true},
	} {
		changes := do(step.session, &busv1.SessionStatus{Status: step.status, Text: step.text})
		users, _ := p.usersAfter("", "", 10)
		if u := users[0]; u.Status != step.wantStatus || u.Text != step.wantText || u.AuthenticatedAt.AsTime().UnixMilli() != 10 {
			t.Errorf("after %+v: %v", step, u)
		}
		if changed := len(changes) == 1 && changes[0].kind == userUpdated; changed != step.changed {
			t.Errorf("after %+v: changes %v", step, changes)
		}
	}
}

func TestAnnouncementsThatAreNone(t *testing.T) {
	p := newPicture()
	p.applyDelta("g", []*busv1.PresenceChange{
		changeOf("", announce("u", 1)),
		changeOf("s1", &busv1.SessionOnline{}),
		changeOf("s2", announce("u\n", 1)),
		{SessionId: "s3"},
		changeOf("s4", announce("u", 1, "no.room", "*", "")),
		changeOf("s4", join("a b")),
	}, time.Now())
	if p.sessions.Len() != 1 || p.rooms.Len() != 0 {
		t.Errorf("%d sessions and %d rooms, want 1 and 0", p.sessions.Len(), p.rooms.Len())
	}
}

// TestStatusSurvivesAResume: a gateway that a session resumes on does not know
// its status, and says none.
func TestStatusSurvivesAResume(t *testing.T) {
	p, now := newPicture(), time.Unix(1, 0)
	do := func(gateway, session string, what ...any) (kinds []changeKind) {
		for _, w := range what {
			p.applyDelta(gateway, []*busv1.PresenceChange{changeOf(session, w)}, now)
		}
		for _, c := range p.take() {
			kinds = append(kinds, c.kind)
		}
		return kinds
	}
	away := &busv1.SessionStatus{Status: "away", Text: "lunch"}
	do("g", "s", announce("u", 1, "r"), away, offline(time.Second))
	if changes := do("h", "s", announce("u", 1, "r")); len(changes) != 0 {
		t.Errorf("a resume shows as %v", changes)
	}
	want := func(session, gateway, status, text string) {
		t.Helper()
		if got := p.sessionStatus(session, gateway); got.GetStatus() != status || got.GetText() != text {
			t.Errorf("the status of %s on %s is %v, want %s %q", session, gateway, got, status, text)
		}
	}
	want("s", "h", "away", "lunch")
	want("s", "another", "away", "lunch")
	want("nobody", "h", "", "")
	// A snapshot of who still does not know it leaves it, one that says it sets it.
	sessions := []*busv1.SnapshotSession{{SessionId: "s", Online: announce("u", 1, "r")}}
	p.applySnapshot("h", 1, sessions, now)
	want("s", "h", "away", "lunch")
	sessions[0].Online.Status = &busv1.SessionStatus{Status: "busy"}
	p.applySnapshot("h", 2, sessions, now)
	want("s", "h", "busy", "")
	// It ends with the session, and another user's is nobody's.
	do("h", "s", away, offline(0))
	do("h", "s", announce("u", 1))
	want("s", "h", "", "")
	do("h", "s", away)
	do("g", "s", announce("v", 1))
	want("s", "g", "", "")
}

// TestSweepPassesNobodyOver: sessions go while a gateway's sessions are walked
// through.
func TestSweepPassesNobodyOver(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		p, now := newPicture(), time.Unix(1, 0)
		there := map[string]bool{}
		for i := range 50 {
			id := fmt.Sprint("s", i)
			there[id] = true
			p.applyDelta("g", []*busv1.PresenceChange{changeOf(id, announce("u"+id, 1))}, now)
		}
		walk := beginning
		for !walk.over() {
			p.part("g", &walk, now.Add(time.Second), 1+r.IntN(5))
			for range r.IntN(4) {
				id := fmt.Sprint("s", r.IntN(50))
				delete(there, id)
				p.applyDelta("g", []*busv1.PresenceChange{changeOf(id, offline(0))}, now)
			}
		}
		if len(p.leases) != len(there) || p.sessions.Len() != len(there) {
			t.Fatalf("seed %d: of %d sessions %d are on a lease, %d are there", seed, len(there), len(p.leases), p.sessions.Len())
		}
	}
}

// TestLeasesThatWereGivenUpAreForgotten: who resumes all the time leaves nothing
// behind.
func TestLeasesThatWereGivenUpAreForgotten(t *testing.T) {
	p, now := newPicture(), time.Unix(1, 0)
	for range 10_000 {
		p.applyDelta("g", []*busv1.PresenceChange{changeOf("s", announce("u", 1)), changeOf("s", offline(time.Minute))}, now)
	}
	if len(p.ends) > 2000 {
		t.Errorf("%d ends are kept of one lease", len(p.ends))
	}
	p.expireAll(now.Add(time.Minute))
	if p.sessions.Len() != 0 {
		t.Error("the lease did not end")
	}
}
