package registry

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
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
		Policy:     mergePolicy(nil, req.Policy),
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
		checkPolicy(req.Policy),
	); err != nil {
		return nil, errs.From(err)
	}
	if room.Attributes, err = mergeAttributes(nil, req.Attributes); err != nil {
		return nil, err
	}
	if err := a.notGuest("make no rooms"); err != nil {
		return nil, err
	}
	if err := s.checkRetention(ctx, room.Id, room.Policy); err != nil {
		return nil, err
	}
	lessKept(room)
	if s.picture.room(room.Id) == nil {
		if err := s.mayMake(a, "roomId"); err != nil {
			return nil, err
		}
	}
	done, err := s.turns.take(ctx, room.Id)
	if err != nil {
		return nil, storeError(err)
	}
	defer done()
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
	if req.Read {
		if err := s.mayRead(a, room); err != nil {
			return nil, err
		}
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
	switch req.Sort {
	case registryv1.Sort_SORT_UNSPECIFIED, registryv1.Sort_SORT_ID:
		return s.listByID(a, req, limit)
	case registryv1.Sort_SORT_NAME:
		return s.listByName(a, req, limit)
	case registryv1.Sort_SORT_MEMBERS:
		return s.listByMembers(a, req, limit)
	}
	return nil, errs.Invalid("sort", "is not id, name or members")
}

func (s *Service) listByID(a actor, req *registryv1.ListRoomsRequest, limit int) (*registryv1.ListRoomsResponse, error) {
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

func (s *Service) listByName(a actor, req *registryv1.ListRoomsRequest, limit int) (*registryv1.ListRoomsResponse, error) {
	after, err := fromNameCursor(req.Cursor)
	if err != nil {
		return nil, err
	}
	if err := checkText("prefix", req.Prefix, maxName); err != nil {
		return nil, err
	}
	answer := new(registryv1.ListRoomsResponse)
	var last named
	answer.Rooms, last = s.picture.listNamed(a.user.GetId(), a.all, after, strings.ToLower(req.Prefix), limit)
	if len(answer.Rooms) == limit {
		answer.NextCursor = last.cursor()
	}
	return answer, nil
}

func (s *Service) listByMembers(a actor, req *registryv1.ListRoomsRequest, limit int) (*registryv1.ListRoomsResponse, error) {
	after, err := fromCountCursor(req.Cursor)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(req.Prefix); err != nil {
		return nil, err
	}
	answer := new(registryv1.ListRoomsResponse)
	rooms, counts, last, more, known := s.picture.listCrowded(a.user.GetId(), a.all, after, req.Prefix, limit)
	if !known {
		return nil, errs.Missing("presence", errors.New("it is not known how many users are in rooms"))
	}
	answer.Rooms, answer.MemberCounts = rooms, counts
	if more {
		answer.NextCursor = last.cursor()
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
	if err := s.checkRetention(ctx, req.RoomId, req.Policy); err != nil {
		return nil, err
	}
	changed, closed, binds := false, false, false
	trimTo := uint32(0)
	room, err := s.changeRoom(ctx, a, req.RoomId, func(room *registryv1.Room) (bool, error) {
		if err := s.visible(a, req.RoomId, room); err != nil {
			return false, err
		}
		if err := s.needs(a, room, owner); err != nil {
			return false, err
		}
		if req.Revision != 0 && req.Revision != room.Revision {
			return false, changedSince("the room", room.Revision)
		}
		before := proto.CloneOf(room)
		if err := update(room, req); err != nil {
			return false, err
		}
		if err := suits(room); err != nil {
			return false, err
		}
		changed = !proto.Equal(before, room)
		closed = isPrivate(room) && !isPrivate(before)
		binds = room.Visibility != before.Visibility || !proto.Equal(room.Policy, before.Policy)
		trimTo = trimmedTo(before, room)
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
	}
	if binds {
		s.later(func() {
			now := s.picture.room(room.Id)
			if now.GetEpoch() != room.Epoch {
				return
			}
			s.tellRecord(now)
			if closed && isPrivate(now) {
				s.tellPrivate(now, a)
			}
		})
	}
	s.trimSoon(room, trimTo)
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
	if len(req.Attributes) > 0 {
		if _, err := attributes(req.Attributes); err != nil {
			return err
		}
	}
	if err := checkPolicy(req.Policy); err != nil {
		return err
	}
	return checkText("topic", req.GetTopic(), maxTopic)
}

func update(room *registryv1.Room, req *registryv1.UpdateRoomRequest) (err error) {
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
	if req.Policy != nil {
		room.Policy = mergePolicy(room.Policy, req.Policy)
		lessKept(room)
	}
	room.Attributes, err = mergeAttributes(room.Attributes, req.Attributes)
	return err
}

// changedEvent is what the members of a room are told of its new record.
func changedEvent(room *registryv1.Room) *busv1.RoomChanged {
	visibility := "public"
	if isPrivate(room) {
		visibility = "private"
	}
	told := &wirev1.RoomUpdated{
		RoomId:     room.Id,
		Name:       room.Name,
		Visibility: visibility,
		Persistent: room.Persistent,
		Attributes: room.Attributes,
		Policy:     rights.Told(room),
		Revision:   proto.Int64(int64(room.Revision)),
	}
	if room.Topic != "" {
		told.Topic = &room.Topic
	}
	return &busv1.RoomChanged{Revision: room.Revision, Room: told, Record: room}
}

// DeleteRoom ends a room.
func (s *Service) DeleteRoom(ctx context.Context, req *registryv1.DeleteRoomRequest) (*registryv1.DeleteRoomResponse, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	done, err := s.turns.take(ctx, req.RoomId)
	if err != nil {
		return nil, storeError(err)
	}
	defer done()
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
	a, known, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	makes := req.Create && !s.opts.RefuseCreateByJoin && ids.CheckNewRoom("roomId", req.RoomId) == nil && !(a.guest && !a.all)
	if known == nil && makes {
		if err := s.mayMake(a, "roomId"); err != nil {
			return nil, err
		}
	}
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
		if err := s.admits(a, req.RoomId, room); err != nil {
			if room != nil && makes && errs.CodeOf(err) == errs.NotFound {
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
		s.standIn(answer, a.user.Id)
		if req.ReadMark {
			for _, mark := range s.marksNow(ctx, []string{readsKey(answer.Room.Id, a.user.Id)}) {
				answer.ReadSeq = mark.in(answer.Room)
			}
		}
	}
	return answer, nil
}

// admits says whether a room that is there, or nil, lets the actor in.
func (s *Service) admits(a actor, id string, room *registryv1.Room) error {
	if err := s.notBanned(a, room); err != nil {
		return err
	}
	if err := s.visible(a, id, room); err != nil || a.user == nil {
		return err
	}
	return s.mayRead(a, room)
}

// standIn puts into the answer how the user stands in its room.
func (s *Service) standIn(answer *registryv1.AdmitResponse, user string) {
	answer.Own = s.picture.role(answer.Room, user)
	answer.Role = max(answer.Own, member)
	answer.Mute = inForce(s.picture.standingNow(answer.Room, user).GetMute())
}

// unhide brings a room that was empty back into the lists. Without NATS it is
// left hidden: it cannot expire meanwhile either. Errors: bus.ErrConflict.
func (s *Service) unhide(ctx context.Context, room *registryv1.Room) (*registryv1.Room, error) {
	shown, err := s.replaceHidden(ctx, room, nil)
	if errors.Is(err, bus.ErrConflict) {
		return nil, err
	}
	if err != nil {
		s.log.WarnContext(ctx, "a room in use stays hidden for now", "room", room.Id, "error", err)
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
