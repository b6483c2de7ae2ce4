package session

import (
	"context"
	"sync"

	"github.com/parley-im/parley/pkg/ids"
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
	room := request.Room
	// The room may be joined already, or be the lobby, which everybody is in:
	// then the client wants its history, and the place is taken anew so that
	// nothing is both in that and sent live.
	again := s.room(room)
	admitted, err := s.hub.opts.Registry.Admit(ctx, &registryv1.AdmitRequest{
		RoomId: room,
		Actor:  s.who().actor(),
		Create: !isDirect(room),
	})
	if err != nil {
		return err
	}
	request.Epoch = admitted.Room.Epoch
	if again != nil {
		s.hub.opts.Rooms.Leave(ctx, again)
	} else if room != ids.Lobby {
		s.hub.opts.Announcer.Joined(s.SessionID(), room)
	}
	var reading sync.WaitGroup
	reading.Go(func() { request.ReadSeq = s.readMark(ctx, room) })
	request.MemberCount = s.hub.countRoom(ctx, room)
	reading.Wait()
	place, err := s.hub.opts.Rooms.Join(ctx, request)
	if err != nil {
		s.forget(room)
		return err
	}
	s.enter(ctx, place.Membership)
	return nil
}

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
	answer, err := h.opts.Presence.CountRooms(ctx, &presencev1.CountRoomsRequest{RoomIds: []string{room}, Seen: h.seen()})
	if err != nil {
		h.log.Debug("counting a room", "room", room, "error", err)
		return 1
	}
	return max(answer.Counts[room], 1)
}
