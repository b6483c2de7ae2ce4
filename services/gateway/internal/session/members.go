package session

import (
	"context"

	"github.com/parley-im/parley/pkg/ids"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var getRoomMembersCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetGetRoomMembers().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetRoomMembers()
		if err := ids.CheckRoom("roomId", g.RoomId); err != nil {
			return err
		}
		if err := notLobby("roomId", g.RoomId, "has no member list"); err != nil {
			return err
		}
		if err := checkCursor(g.Cursor); err != nil {
			return err
		}
		_, err := checkLimit("limit", g.Limit, 1, defaultList)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetRoomMembers()
		limit, err := checkLimit("limit", g.Limit, 1, defaultList)
		if err != nil {
			return err
		}
		present, next, err := s.roomUsers(ctx, g.RoomId, limit, g.GetCursor())
		if err != nil {
			return err
		}
		users := make([]string, len(present))
		for i, p := range present {
			users[i] = p.User.Id
		}
		roles := make(map[string]registryv1.Role, len(users))
		if len(users) > 0 {
			standing, err := s.hub.opts.Registry.GetMembers(ctx, &registryv1.GetMembersRequest{RoomId: g.RoomId, UserIds: users})
			if err != nil {
				return err
			}
			for _, m := range standing.Members {
				roles[m.User.GetId()] = m.Role
			}
		}
		answer := &wirev1.RoomMembers{RoomId: g.RoomId, NextCursor: next}
		for _, p := range present {
			answer.Members = append(answer.Members, &wirev1.Member{
				Id: p.User.Id, Username: p.User.Username, Role: roleWord(roles[p.User.Id]),
				Status: &p.Status, Text: optionalText(p.Text),
			})
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_RoomMembers{RoomMembers: answer}})
		return nil
	},
}

// roomUsers pages through the users in a room that the asker may know of.
func (s *Session) roomUsers(ctx context.Context, room string, limit int, cursor string) ([]*presencev1.OnlineUser, string, error) {
	if s.room(room) == nil {
		if _, err := s.hub.opts.Registry.GetRoom(ctx, &registryv1.GetRoomRequest{RoomId: room, Actor: s.who().actor(), Read: true}); err != nil {
			return nil, "", err
		}
	}
	page, err := s.hub.opts.Presence.ListRoomMembers(ctx, &presencev1.ListRoomMembersRequest{
		RoomId: room, Limit: int32(limit), Cursor: cursor, Seen: s.hub.seen(),
	})
	if err != nil {
		return nil, "", err
	}
	return page.Members, page.NextCursor, nil
}

// optionalText leaves out a status text that is none.
func optionalText(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func roleWord(r registryv1.Role) string {
	switch r {
	case registryv1.Role_ROLE_OWNER:
		return "owner"
	case registryv1.Role_ROLE_MODERATOR:
		return "moderator"
	}
	return "member"
}

var getOnlineUsersCommand = &command{
	slow: true,
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetOnlineUsers()
		if g.RoomId != nil {
			if err := ids.CheckRoom("roomId", *g.RoomId); err != nil {
				return err
			}
		}
		if err := checkCursor(g.Cursor); err != nil {
			return err
		}
		_, err := checkLimit("limit", g.Limit, 1, defaultList)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetOnlineUsers()
		limit, err := checkLimit("limit", g.Limit, 1, defaultList)
		if err != nil {
			return err
		}
		answer := new(wirev1.OnlineUsers)
		var users []*presencev1.OnlineUser
		if g.RoomId != nil && *g.RoomId != ids.Lobby {
			users, answer.NextCursor, err = s.roomUsers(ctx, *g.RoomId, limit, g.GetCursor())
		} else { // everybody who is online is in the lobby
			var page *presencev1.ListOnlineResponse
			page, err = s.hub.opts.Presence.ListOnline(ctx, &presencev1.ListOnlineRequest{
				Limit: int32(limit), Cursor: g.GetCursor(), Seen: s.hub.seen(),
			})
			users, answer.NextCursor = page.GetUsers(), page.GetNextCursor()
		}
		if err != nil {
			return err
		}
		for _, u := range users {
			answer.Users = append(answer.Users, &wirev1.OnlineUser{
				Id: u.User.Id, Username: u.User.Username, AuthenticatedAt: u.AuthenticatedAt,
				Status: &u.Status, Text: optionalText(u.Text),
			})
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_OnlineUsers{OnlineUsers: answer}})
		return nil
	},
}
