package registry

import (
	"strings"

	"github.com/tidwall/btree"

	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// room gives a room's record, nil where there is none.
func (p *picture) room(id string) *registryv1.Room {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if e := p.byID[id]; e != nil {
		return e.room
	}
	return nil
}

// rooms tells how many rooms there are.
func (p *picture) rooms() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.byID)
}

// role tells a user's role in a room, given as room told it.
func (p *picture) role(room *registryv1.Room, user string) registryv1.Role {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.roleIn(room, user)
}

// stored gives the standing that is stored, of whatever life of the room.
func (p *picture) stored(room, user string) *standing {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.standing(room, user)
}

// standingNow gives the standing in the present life of a room that is stored,
// nil for none.
func (p *picture) standingNow(room *registryv1.Room, user string) *registryv1.Member {
	if st := p.stored(room.Id, user); st != nil && st.member.Epoch == room.Epoch {
		return st.member
	}
	return nil
}

// hasOtherOwner says whether somebody else than user owns the room.
func (p *picture) hasOtherOwner(room *registryv1.Room, user string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if maker := room.Owner.GetId(); maker != "" && maker != user && p.roleIn(room, maker) == registryv1.Role_ROLE_OWNER {
		return true
	}
	found := false
	if r := p.rosters[room.Id]; r != nil {
		r.Scan(func(other string, _ *standing) bool {
			found = other != user && p.roleIn(room, other) == registryv1.Role_ROLE_OWNER
			return !found
		})
	}
	return found
}

// members gives up to limit members of a room whose ids come after a cursor,
// in the order of their ids.
func (p *picture) members(room *registryv1.Room, after string, limit int) []*registryv1.Member {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var page []*registryv1.Member
	add := func(user string) bool {
		if m := p.member(room, user); m != nil && user > after {
			page = append(page, m)
		}
		return len(page) < limit
	}
	// The implied ones belong between the others where there is no standing to
	// find.
	var waiting []string
	for _, user := range impliedMembers(room) {
		if p.standing(room.Id, user.Id) == nil {
			waiting = append(waiting, user.Id)
		}
	}
	before := func(user string) bool {
		for len(waiting) > 0 && (user == "" || waiting[0] < user) {
			next := waiting[0]
			if waiting = waiting[1:]; !add(next) {
				return false
			}
		}
		return true
	}
	full := false
	if r := p.rosters[room.Id]; r != nil {
		r.Ascend(after, func(user string, _ *standing) bool {
			full = !before(user) || !add(user)
			return !full
		})
	}
	if !full {
		before("")
	}
	return page
}

// someMembers gives those of the users who are members or, where that is wanted,
// whom a sanction in force is about.
func (p *picture) someMembers(room *registryv1.Room, users []string, sanctioned bool) []*registryv1.Member {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var found []*registryv1.Member
	for _, user := range users {
		if m := p.member(room, user); m != nil {
			found = append(found, m)
		} else if st := p.standing(room.Id, user); sanctioned && st != nil && st.member.Epoch == room.Epoch &&
			(inForce(st.member.Ban) != nil || inForce(st.member.Mute) != nil) {
			found = append(found, st.member)
		}
	}
	return found
}

// member gives a user's standing as it is told, nil for none; mu is held.
func (p *picture) member(room *registryv1.Room, user string) *registryv1.Member {
	role := p.roleIn(room, user)
	if role == registryv1.Role_ROLE_UNSPECIFIED {
		return nil
	}
	if st := p.standing(room.Id, user); st != nil && st.member.Epoch == room.Epoch {
		return st.member
	}
	return &registryv1.Member{User: implied(room, user), Role: role, Epoch: room.Epoch}
}

// list gives up to limit listed rooms from an id on, as long as their ids
// begin with prefix: the public ones and the private ones of user, or all of
// them where everything is set. It reads no more than two entries per room it
// gives.
func (p *picture) list(user string, everything bool, from, prefix string, limit int) []*registryv1.Room {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var page []*registryv1.Room
	p.inOrder(user, everything, max(from, prefix), func(room *registryv1.Room) bool {
		if !strings.HasPrefix(room.Id, prefix) {
			return false
		}
		page = append(page, room)
		return len(page) < limit
	})
	return page
}

// inOrder hands the listed rooms that a user may know of to f, from an id on,
// until f returns false; mu is held.
func (p *picture) inOrder(user string, everything bool, from string, f func(*registryv1.Room) bool) {
	rooms := &p.public
	own := new(btree.Set[string])
	if everything {
		rooms = &p.listed
	} else if set := p.private[user]; set != nil {
		own = set
	}
	a, b := rooms.Iter(), own.Iter()
	moreA, moreB := a.Seek(from), b.Seek(from)
	for moreA || moreB {
		var next *registryv1.Room
		if moreA && (!moreB || a.Key() < b.Key()) {
			next, moreA = a.Value(), a.Next()
		} else {
			next, moreB = p.byID[b.Key()].room, b.Next()
		}
		if !f(next) {
			return
		}
	}
}

// some hands up to limit rooms from an id on to f, of the listed or of the
// hidden ones; next is where to go on, "" when all were handed over.
func (p *picture) some(hidden bool, from string, limit int, f func(id string, room *registryv1.Room)) (next string) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	index := &p.listed
	if hidden {
		index = &p.hidden
	}
	index.Ascend(from, func(id string, room *registryv1.Room) bool {
		if limit == 0 {
			next = id
			return false
		}
		limit--
		f(id, room)
		return true
	})
	return next
}

// look hands a room's record to f while nothing can change.
func (p *picture) look(id string, f func(room *registryv1.Room)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var room *registryv1.Room
	if e := p.byID[id]; e != nil {
		room = e.room
	}
	f(room)
}

// end gives what is left to do after the end of a room, nil for nothing.
func (p *picture) end(room string) *endingEntry {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.endings[room]
}
