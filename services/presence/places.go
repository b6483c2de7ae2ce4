package presence

import (
	"slices"

	"github.com/parley-im/parley/pkg/ids"
)

// setRooms brings a session into these rooms and out of all others.
func (p *picture) setRooms(s *session, rooms []string) {
	for i := len(s.rooms) - 1; i >= 0; i-- {
		if !slices.Contains(rooms, s.rooms[i].id) {
			p.leave(s, s.rooms[i])
		}
	}
	s.rooms = slices.Grow(s.rooms, max(0, len(rooms)-len(s.rooms)))
	for _, id := range rooms {
		p.join(s, id)
	}
}

func (p *picture) join(s *session, roomID string) {
	if slices.ContainsFunc(s.rooms, func(r *room) bool { return r.id == roomID }) {
		return
	}
	r := p.room(roomID)
	if r == nil {
		if ids.CheckRoom("roomId", roomID) != nil {
			return // it would become a subject
		}
		r = &room{id: roomID}
		p.rooms.Set(r)
	}
	s.rooms = append(s.rooms, r)
	if r.members.add(s.user) {
		p.note(userJoined, s.user, r)
	}
}

func (p *picture) leave(s *session, r *room) {
	i := slices.Index(s.rooms, r)
	if i < 0 {
		return
	}
	s.rooms[i] = s.rooms[len(s.rooms)-1]
	s.rooms[len(s.rooms)-1] = nil
	s.rooms = s.rooms[:len(s.rooms)-1]
	for other := s.user.first; other != nil; other = other.next {
		if slices.Contains(other.rooms, r) {
			return // still there with another device
		}
	}
	r.members.remove(s.user)
	if r.members.len() == 0 {
		p.rooms.Delete(r)
	}
	p.note(userLeft, s.user, r)
}

// roomsOf gives the rooms that a user is in, each once. For readers.
func (p *picture) roomsOf(u *user) []*room {
	var rooms []*room
	for s := u.first; s != nil; s = s.next {
		for _, r := range s.rooms {
			if !slices.Contains(rooms, r) {
				rooms = append(rooms, r)
			}
		}
	}
	return rooms
}

// room finds a room with members, nil if there is none. For writers;
// roomCount is for readers.
func (p *picture) room(id string) *room {
	p.probeRoom.id = id
	r, _ := p.rooms.Get(&p.probeRoom)
	return r
}
