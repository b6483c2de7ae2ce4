package session

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var getRoomsCommand = &command{
	slow: true,
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetRooms()
		if err := checkCursor(g.Cursor); err != nil {
			return err
		}
		by, err := sortOf(g.Sort)
		switch {
		case err != nil:
			return err
		case by == registryv1.Sort_SORT_NAME:
			err = checkLine("prefix", g.GetPrefix(), maxRoomName)
		case g.GetPrefix() != "":
			err = ids.CheckRoom("prefix", g.GetPrefix())
		}
		if err != nil {
			return err
		}
		_, err = checkLimit("limit", g.Limit, 1, defaultList)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetRooms()
		limit, err := checkLimit("limit", g.Limit, 1, defaultList)
		if err != nil {
			return err
		}
		by, err := sortOf(g.Sort)
		if err != nil {
			return err
		}
		page, err := s.hub.opts.Registry.ListRooms(ctx, &registryv1.ListRoomsRequest{
			Limit: int32(limit), Cursor: g.GetCursor(), Prefix: g.GetPrefix(), Sort: by, Actor: s.who().actor(),
		})
		if err != nil {
			return err
		}
		answer := &wirev1.RoomsList{NextCursor: page.NextCursor}
		counts, err := s.hub.countsOf(ctx, page)
		if err != nil {
			return err
		}
		for _, r := range page.Rooms {
			answer.Rooms = append(answer.Rooms, &wirev1.RoomSummary{Id: r.Id, Name: r.Name, MemberCount: counts[r.Id]})
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_RoomsList{RoomsList: answer}})
		return nil
	},
}

// countsOf tells how many users are in the rooms of a page: what it was sorted
// by, or else what presence says.
func (h *Hub) countsOf(ctx context.Context, page *registryv1.ListRoomsResponse) (map[string]int64, error) {
	if len(page.MemberCounts) == len(page.Rooms) {
		counts := make(map[string]int64, len(page.Rooms))
		for i, r := range page.Rooms {
			counts[r.Id] = page.MemberCounts[i]
		}
		return counts, nil
	}
	names := make([]string, len(page.Rooms))
	for i, r := range page.Rooms {
		names[i] = r.Id
	}
	return h.countRooms(ctx, names)
}

func sortOf(word *string) (registryv1.Sort, error) {
	switch {
	case word == nil, *word == "id":
		return registryv1.Sort_SORT_ID, nil
	case *word == "name":
		return registryv1.Sort_SORT_NAME, nil
	case *word == "members":
		return registryv1.Sort_SORT_MEMBERS, nil
	}
	return 0, errs.Invalid("sort", `is not "id", "name" or "members"`)
}

// countRooms tells how many users are in each of some rooms.
func (h *Hub) countRooms(ctx context.Context, rooms []string) (map[string]int64, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	answer, err := h.opts.Presence.CountRooms(ctx, &presencev1.CountRoomsRequest{RoomIds: rooms, Seen: h.seen()})
	if err != nil {
		return nil, err
	}
	return answer.Counts, nil
}

var getRoomInfoCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetGetRoomInfo().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		return ids.CheckRoom("roomId", f.GetGetRoomInfo().RoomId)
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		id := f.GetGetRoomInfo().RoomId
		answer := &wirev1.RoomInfo{RoomId: id}
		room, err := s.hub.opts.Registry.GetRoom(ctx, &registryv1.GetRoomRequest{RoomId: id, Actor: s.who().actor()})
		if err != nil && errs.CodeOf(err) != errs.NotFound {
			return err
		}
		if err == nil {
			counts, err := s.hub.countRooms(ctx, []string{id})
			if err != nil {
				return err
			}
			answer.Exists = true
			answer.MemberCount = counts[id]
			answer.Name = &room.Name
			answer.Topic = &room.Topic
			answer.Visibility = proto.String(visibilityWord(room.Visibility))
			answer.Persistent = &room.Persistent
			answer.Epoch = &room.Epoch
			answer.CreatedAt = room.CreatedAt
			answer.Owner = room.Owner
			answer.Attributes = room.Attributes
			answer.Policy = rights.Told(room)
			answer.Revision = proto.Int64(int64(room.Revision))
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_RoomInfo{RoomInfo: answer}})
		return nil
	},
}

func visibilityWord(v registryv1.Visibility) string {
	if v == registryv1.Visibility_VISIBILITY_PRIVATE {
		return "private"
	}
	return "public"
}
