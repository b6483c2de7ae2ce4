package session

import (
	"context"
	"slices"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

var joinRoomCommand = &command{
	slow: true, history: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetJoinRoom().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		j := f.GetJoinRoom()
		if err := ids.CheckRoom("roomId", j.RoomId); err != nil {
			return err
		}
		if err := checkSeq("after", j.After); err != nil {
			return err
		}
		_, err := checkLimit("history", j.History, 0, defaultMessages)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		j := f.GetJoinRoom()
		history, err := checkLimit("history", j.History, 0, defaultMessages)
		if err != nil {
			return err
		}
		request := fanout.Request{
			Room: j.RoomId, Member: s, ReplyID: f.Id, ClientEpoch: j.Epoch, History: history,
		}
		if j.After != nil {
			after := uint64(*j.After)
			request.After = &after
		}
		return s.join(ctx, request)
	},
}

// join takes the session into a room: the registry lets it in, presence is
// told, and the hub sends what was missed and everything from then on.
func (s *Session) join(ctx context.Context, request fanout.Request) error {
	began := s.hub.now()
	defer func() { measure(s.hub.measured.join, s.hub.now()-began) }()
	room := request.Room
	// The room may be joined already, or be the lobby, which everybody is in:
	// then the client wants its history, and the place is taken anew so that
	// nothing is both in that and sent live.
	again := s.room(room)
	if again == nil && room != ids.Lobby && s.inAsManyAsMay() {
		return tooManyRooms(s.hub.opts.MaxRooms)
	}
	create, err := s.mayJoin(ctx, s.who(), s.SessionID(), room)
	if err != nil {
		return err
	}
	admitted, err := s.hub.admit(ctx, &registryv1.AdmitRequest{
		RoomId:   room,
		Actor:    s.who().actor(),
		Create:   create,
		ReadMark: true,
	})
	if err != nil {
		return err
	}
	request.Epoch, request.ReadSeq = admitted.Room.Epoch, admitted.ReadSeq
	request.MutedUntil = mutedUntil(admitted.Mute)
	request.Record, request.Role = admitted.Room, admitted.Own
	limit := s.limitOf(admitted)
	if again == nil && limit > 0 {
		if err := s.hasRoomFor(ctx, room, limit); err != nil {
			return err
		}
	}
	if again != nil {
		s.hub.opts.Rooms.Leave(ctx, again)
	} else if room != ids.Lobby {
		s.hub.opts.Announcer.Joined(s.SessionID(), room)
	}
	request.MemberCount = s.hub.countRoom(ctx, room)
	if again == nil && limit > 0 && request.MemberCount > limit {
		// Somebody has come in the same moment.
		s.forget(room)
		return full(room)
	}
	place, err := s.hub.opts.Rooms.Join(ctx, request)
	if err != nil {
		s.forget(room)
		return err
	}
	s.enter(ctx, place.Membership)
	return nil
}

// limitOf is how many users may be in a room at once, as far as this session is
// concerned; 0 for any number.
func (s *Session) limitOf(admitted *registryv1.AdmitResponse) int64 {
	if rights.Of(admitted.Own, s.Roles()).Moderates() {
		return 0
	}
	return int64(admitted.Room.GetPolicy().GetMaxMembers())
}

// hasRoomFor says whether one user more may be in a room; who is there with
// another device is none. Without presence nobody knows.
func (s *Session) hasRoomFor(ctx context.Context, room string, limit int64) error {
	answer, err := s.hub.opts.Presence.CountRooms(ctx, &presencev1.CountRoomsRequest{
		RoomIds: []string{room}, Seen: s.hub.seen(), WithoutUserId: s.UserID(),
	})
	switch {
	case err != nil:
		return err
	case answer.Counts[room] >= limit:
		return full(room)
	}
	return nil
}

// inAsManyAsMay says whether the session may be in no more rooms.
func (s *Session) inAsManyAsMay() bool {
	most := s.hub.opts.MaxRooms
	if most == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.rooms)
	if s.rooms.in(ids.Lobby) != nil {
		n--
	}
	return n >= most
}

func tooManyRooms(most int) error {
	return errs.New(errs.Forbidden, "a connection may be in %d rooms at once", most)
}

func full(room string) error { return errs.New(errs.Forbidden, "the room %q is full", room) }

// forget takes a room off the session's list, and tells presence.
func (s *Session) forget(room string) {
	s.mu.Lock()
	s.rooms.remove(room)
	session := s.session
	s.mu.Unlock()
	if room != ids.Lobby {
		s.hub.opts.Announcer.Left(session, room)
	}
}

func isDirect(room string) bool {
	return len(room) >= len(ids.DirectPrefix) && room[:len(ids.DirectPrefix)] == ids.DirectPrefix
}

// seen is what this gateway has told presence, so that an answer has it.
func (h *Hub) seen() *presencev1.Seen {
	gateway, delta := h.opts.Announcer.Seen()
	return &presencev1.Seen{GatewayId: gateway, Delta: delta}
}

// countRoom tells how many users are in a room that the asking session has
// just entered. While presence is out of reach it is at least that one: the
// join is worth more than the number.
func (h *Hub) countRoom(ctx context.Context, room string) int64 {
	count, err := h.joinCounts.Ask(ctx, room)
	if err != nil {
		h.log.DebugContext(ctx, "counting a room", "room", room, "error", err)
		return 1
	}
	return max(count, 1)
}

// countJoined counts the rooms of some joins, all of which were announced before.
func (h *Hub) countJoined(ctx context.Context, rooms []string) ([]int64, error) {
	distinct := slices.Compact(slices.Sorted(slices.Values(rooms)))
	found, err := h.countRooms(ctx, distinct)
	if err != nil {
		return nil, err
	}
	counts := make([]int64, len(rooms))
	for i, room := range rooms {
		counts[i] = found[room]
	}
	return counts, nil
}
