package registry

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// CreateRoom makes a room.
func (s *Service) CreateRoom(ctx context.Context, req *registryv1.CreateRoomRequest) (*registryv1.Room, error) {
	a, err := s.begin(ctx, req.Actor)
	if err != nil {
		return nil, err
	}
	room := &registryv1.Room{
		Id:         req.RoomId,
		Name:       req.Name,
		Topic:      req.Topic,
		Visibility: req.Visibility,
		Persistent: req.Persistent,
		Owner:      a.user,
		CreatedAt:  timestamppb.Now(),
	}
	if room.Name == "" {
		room.Name = room.Id
	}
	if room.Visibility == registryv1.Visibility_VISIBILITY_UNSPECIFIED {
		room.Visibility = registryv1.Visibility_VISIBILITY_PUBLIC
	}
	if err := errors.Join( // the first is told
		ids.CheckNewRoom("roomId", room.Id),
		checkName(room.Name),
		checkText("topic", room.Topic, maxTopic),
		checkVisibility(room.Visibility),
	); err != nil {
		return nil, errs.From(err)
	}
	var made *registryv1.Room
	err = s.optimistic(ctx, subject{actor: a, room: room.Id}, func() error {
		if s.picture.room(room.Id) != nil {
			return errs.New(errs.AlreadyExists, "the room id %q is taken", room.Id)
		}
		if err := s.clearWay(ctx, room.Id); err != nil {
			return err
		}
		made, err = s.create(ctx, room)
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// GetRoom tells a room's record.
func (s *Service) GetRoom(ctx context.Context, req *registryv1.GetRoomRequest) (*registryv1.Room, error) {
	a, room, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	if err := s.notBanned(a, room); err != nil {
		return nil, err
	}
	if err := s.visible(a, req.RoomId, room); err != nil {
		return nil, err
	}
	return room, nil
}

// ListRooms pages through the rooms.
func (s *Service) ListRooms(ctx context.Context, req *registryv1.ListRoomsRequest) (*registryv1.ListRoomsResponse, error) {
	a, err := s.begin(ctx, req.Actor)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(req.Limit)
	if err != nil {
		return nil, err
	}
	after, err := fromCursor(req.Cursor, ids.CheckRoom)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(req.Prefix); err != nil {
		return nil, err
	}
	from := ""
	if after != "" {
		from = after + "\x00" // the first id that comes after it
	}
	// One more tells whether there is a page behind this one.
	rooms := s.picture.list(a.user.GetId(), a.all, from, req.Prefix, limit+1)
	answer := &registryv1.ListRoomsResponse{Rooms: rooms}
	if len(rooms) > limit {
		answer.Rooms = rooms[:limit]
		answer.NextCursor = cursorOf(rooms[limit-1].Id)
	}
	return answer, nil
}

// UpdateRoom changes the fields that are given.
func (s *Service) UpdateRoom(ctx context.Context, req *registryv1.UpdateRoomRequest) (*registryv1.Room, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	if err := checkUpdate(req); err != nil {
		return nil, err
	}
	changed, closed := false, false
	room, err := s.changeRoom(ctx, a, req.RoomId, func(room *registryv1.Room) (bool, error) {
		if err := s.visible(a, req.RoomId, room); err != nil {
			return false, err
		}
		if err := s.needs(a, room, owner); err != nil {
			return false, err
		}
		if req.Revision != 0 && req.Revision != room.Revision {
			return false, errs.New(errs.AlreadyExists, "the room was changed by somebody else (revision %d)", room.Revision)
		}
		before := proto.CloneOf(room)
		update(room, req)
		if room.Id == ids.Lobby && (!room.Persistent || room.Visibility != registryv1.Visibility_VISIBILITY_PUBLIC) {
			return false, errs.New(errs.Forbidden, "the lobby stays public and persistent")
		}
		if len(room.Direct) > 0 && room.Visibility != registryv1.Visibility_VISIBILITY_PRIVATE {
			return false, errs.New(errs.Forbidden, "a direct room stays private")
		}
		changed = !proto.Equal(before, room)
		closed = room.Visibility == registryv1.Visibility_VISIBILITY_PRIVATE && room.Visibility != before.Visibility
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	if changed {
		s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_Changed{Changed: changedEvent(room)}})
	}
	if closed {
		s.tellPrivate(room, a)
		s.later(func() {
			if now := s.picture.room(room.Id); now.GetEpoch() == room.Epoch && now.Visibility == registryv1.Visibility_VISIBILITY_PRIVATE {
				s.tellPrivate(now, a)
			}
		})
	}
	return room, nil
}

func checkUpdate(req *registryv1.UpdateRoomRequest) error {
	if req.Name != nil {
		if err := checkName(*req.Name); err != nil {
			return err
		}
	}
	if req.Visibility != nil {
		if err := checkVisibility(*req.Visibility); err != nil {
			return err
		}
	}
	return checkText("topic", req.GetTopic(), maxTopic)
}

func update(room *registryv1.Room, req *registryv1.UpdateRoomRequest) {
	if req.Name != nil {
		room.Name = *req.Name
	}
	if req.Topic != nil {
		room.Topic = *req.Topic
	}
	if req.Visibility != nil {
		room.Visibility = *req.Visibility
	}
	if req.Persistent != nil {
		room.Persistent = *req.Persistent
	}
	if room.Persistent {
		room.HiddenAt = nil
	}
}

// changedEvent is what the members of a room are told of its new record.
func changedEvent(room *registryv1.Room) *busv1.RoomChanged {
	visibility := "public"
	if room.Visibility == registryv1.Visibility_VISIBILITY_PRIVATE {
		visibility = "private"
	}
	told := &wirev1.RoomUpdated{
		RoomId:     room.Id,
		Name:       room.Name,
		Visibility: visibility,
		Persistent: room.Persistent,
	}
	if room.Topic != "" {
		told.Topic = &room.Topic
	}
	return &busv1.RoomChanged{Revision: room.Revision, Room: told}
}

// DeleteRoom ends a room.
func (s *Service) DeleteRoom(ctx context.Context, req *registryv1.DeleteRoomRequest) (*registryv1.DeleteRoomResponse, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	err = s.optimistic(ctx, subject{actor: a, room: req.RoomId}, func() error {
		room := s.picture.room(req.RoomId)
		if err := s.visible(a, req.RoomId, room); err != nil {
			return err
		}
		if room.Id == ids.Lobby {
			return errs.New(errs.Forbidden, "the lobby stays")
		}
		if err := s.needs(a, room, owner); err != nil {
			return err
		}
		_, err := s.end(ctx, room)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.DeleteRoomResponse{}, nil
}

// Admit answers whether a user may join a room, and may make it.
//
// An id that a private room has taken cannot be made by joining, and that
// shows: where joining would have made the room the answer is forbidden, and
// otherwise not-found as if there were none.
func (s *Service) Admit(ctx context.Context, req *registryv1.AdmitRequest) (*registryv1.AdmitResponse, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	makes := req.Create && !s.opts.RefuseCreateByJoin && ids.CheckNewRoom("roomId", req.RoomId) == nil
	answer := new(registryv1.AdmitResponse)
	err = s.optimistic(ctx, subject{actor: a, room: req.RoomId}, func() error {
		room := s.picture.room(req.RoomId)
		if room == nil && makes {
			if err := s.clearWay(ctx, req.RoomId); err != nil {
				return err
			}
			if room, err = s.create(ctx, &registryv1.Room{
				Id:         req.RoomId,
				Name:       req.RoomId,
				Visibility: registryv1.Visibility_VISIBILITY_PUBLIC,
				CreatedAt:  timestamppb.Now(),
			}); err != nil {
				return err
			}
			answer.Created = true
		}
		if err := s.notBanned(a, room); err != nil {
			return err
		}
		if err := s.visible(a, req.RoomId, room); err != nil {
			if room != nil && makes {
				return errs.New(errs.Forbidden, "the room is private")
			}
			return err
		}
		if room.HiddenAt != nil && a.user != nil {
			if room, err = s.unhide(ctx, room); err != nil {
				return err
			}
		}
		answer.Room = room
		return nil
	})
	if err != nil {
		return nil, err
	}
	if a.user != nil {
		answer.Role = max(s.picture.role(answer.Room, a.user.Id), member)
		answer.Mute = inForce(s.picture.standingNow(answer.Room, a.user.Id).GetMute())
		if req.ReadMark {
			answer.ReadSeq = s.readSeq(ctx, answer.Room, a.user.Id)
		}
	}
	return answer, nil
}

// unhide brings a room that was empty back into the lists. Without NATS it is
// left hidden: it cannot expire meanwhile either. Errors: bus.ErrConflict.
func (s *Service) unhide(ctx context.Context, room *registryv1.Room) (*registryv1.Room, error) {
	shown, err := s.replaceHidden(ctx, room, nil)
	if errors.Is(err, bus.ErrConflict) {
		return nil, err
	}
	if err != nil {
		s.log.Warn("a room in use stays hidden for now", "room", room.Id, "error", err)
		return room, nil
	}
	return shown, nil
}

// begin is what every call begins with.
func (s *Service) begin(ctx context.Context, a *registryv1.Actor) (actor, error) {
	if err := s.Ready(ctx); err != nil {
		return actor{}, err
	}
	return actorOf(a)
}

// find begins a call about one room, which is nil where there is none.
func (s *Service) find(ctx context.Context, id string, a *registryv1.Actor) (actor, *registryv1.Room, error) {
	who, err := s.begin(ctx, a)
	if err != nil {
		return actor{}, nil, err
	}
	if err := ids.CheckRoom("roomId", id); err != nil {
		return actor{}, nil, err
	}
	return who, s.picture.room(id), nil
}
