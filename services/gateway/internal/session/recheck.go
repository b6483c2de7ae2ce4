package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// present is a user in a room, with all sessions on this gateway.
type present struct {
	admin bool
	muted int64 // until when, as is known here
	role  registryv1.Role
}

// Recheck asks the registry anew what all who are here may do in their rooms,
// and acts on it. While NATS was out of reach nothing of what the registry told
// has come. Errors: the first that the registry answers with.
func (h *Hub) Recheck(ctx context.Context) error {
	return h.recheckRooms(ctx, h.present(h.directory.everyone()))
}

// RecheckUsers does so for some users, in all rooms that they are in.
func (h *Hub) RecheckUsers(ctx context.Context, users []string) error {
	var sessions []*Session
	for _, user := range users {
		sessions = append(sessions, h.directory.signedIn(user)...)
	}
	return h.recheckRooms(ctx, h.present(sessions))
}

func (h *Hub) recheckRooms(ctx context.Context, rooms map[string]roomUsers) error {
	for room, users := range rooms {
		if err := h.recheckRoom(ctx, room, users); err != nil {
			return fmt.Errorf("looking at the rights in room %s anew: %w", room, err)
		}
	}
	return nil
}

// recheckRoom looks at the rights of all who are in a room.
func (h *Hub) recheckRoom(ctx context.Context, room string, users roomUsers) error {
	asking, cancel := context.WithTimeout(ctx, h.opts.CommandTimeout)
	defer cancel()
	record, err := h.opts.Registry.GetRoom(asking, &registryv1.GetRoomRequest{RoomId: room})
	if errs.CodeOf(err) == errs.NotFound {
		return nil // whoever makes it anew finds that its members are of an earlier life
	}
	if err != nil {
		return err
	}
	changed := &busv1.LiveEvent{Event: &busv1.LiveEvent_Changed{Changed: &busv1.RoomChanged{Revision: record.Revision, Record: record}}}
	if err := h.opts.Rooms.Tell(ctx, room, changed); err != nil {
		return err
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(users)), maxPage) {
		if err := h.recheck(ctx, record, users, some); err != nil {
			return err
		}
	}
	return nil
}

type roomUsers map[string]present

// present gives who of some sessions is in which room.
func (h *Hub) present(sessions []*Session) map[string]roomUsers {
	rooms := make(map[string]roomUsers)
	for _, s := range sessions {
		s.mu.Lock()
		who, places := s.identity, slices.Clone(s.rooms)
		s.mu.Unlock()
		for _, place := range places {
			users := rooms[place.Room()]
			if users == nil {
				users = make(roomUsers)
				rooms[place.Room()] = users
			}
			p := users[who.User.Id]
			users[who.User.Id] = present{p.admin || who.HasRole(RoleAdmin), max(p.muted, place.MutedUntil()), place.Role()}
		}
	}
	return rooms
}

// recheck looks at the rights of some of the users in a room.
func (h *Hub) recheck(ctx context.Context, record *registryv1.Room, users roomUsers, some []string) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.CommandTimeout)
	defer cancel()
	answer, err := h.opts.Registry.GetMembers(ctx, &registryv1.GetMembersRequest{RoomId: record.Id, UserIds: some, Sanctioned: true})
	if err != nil {
		return err
	}
	standings := make(map[string]*registryv1.Member, len(answer.Members))
	for _, m := range answer.Members {
		standings[m.User.GetId()] = m
	}
	private := record.Visibility == registryv1.Visibility_VISIBILITY_PRIVATE
	for _, user := range some {
		m, now := standings[user], time.Now()
		out := &busv1.UserOut{UserId: user, Epoch: record.Epoch}
		switch ban := m.GetBan(); {
		case users[user].admin:
		case ban != nil && (ban.Until == nil || ban.Until.AsTime().After(now)):
			out.Reason, out.Code = ban.Reason, string(errs.Banned)
		case private && m.GetRole() == registryv1.Role_ROLE_UNSPECIFIED:
			out.Code = string(errs.NotFound)
		}
		if role := m.GetRole(); role != users[user].role {
			if err := h.opts.Rooms.Appoint(ctx, record.Id, user, role); err != nil {
				return err
			}
		}
		event := &busv1.LiveEvent{Event: &busv1.LiveEvent_Out{Out: out}}
		if out.Code == "" {
			until := mutedUntil(m.GetMute())
			if until == users[user].muted {
				continue
			}
			event.Event = &busv1.LiveEvent_Muted{Muted: &busv1.UserMuted{UserId: user, UntilMs: until, Epoch: record.Epoch}}
		}
		if err := h.opts.Rooms.Tell(ctx, record.Id, event); err != nil {
			return err
		}
	}
	return nil
}
