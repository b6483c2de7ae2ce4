package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var editMessageCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetEditMessage().RoomId },
	check: func(s *Session, f *wirev1.ClientFrame) error {
		e := f.GetEditMessage()
		if err := checkTarget(e.RoomId, e.Target); err != nil {
			return err
		}
		if e.Content == nil {
			return errs.Invalid("content", "is missing")
		}
		return s.checkText("content", *e.Content)
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		e := f.GetEditMessage()
		if _, err := s.may(rights.Post, e.RoomId); err != nil {
			return err
		}
		entry := &busv1.LogEntry{Kind: busv1.LogEntry_KIND_EDIT, Target: uint64(e.Target), Content: e.Content}
		if err := s.mayPublish(ctx, f.Id, e.RoomId, entry); err != nil {
			return err
		}
		request := &historyv1.EditMessageRequest{
			RoomId: e.RoomId, Id: f.GetId(), Target: entry.Target, Content: entry.GetContent(), User: s.who().User,
		}
		return s.amend(ctx, f.Id, e.RoomId, func(moderator bool) (*historyv1.AmendResponse, error) {
			request.Moderator = moderator
			return s.hub.opts.History.EditMessage(ctx, request)
		})
	},
}

// checkTarget looks at what an edit and a deletion name.
func checkTarget(room string, target int64) error {
	if err := ids.CheckRoom("roomId", room); err != nil {
		return err
	}
	if target < 1 {
		return errs.Invalid("target", "is missing, or less than 1")
	}
	return nil
}

// amend has history edit or delete a message of a room that the session is in,
// and acknowledges it. Most amend their own, so the session's role in the room
// is asked for only where that decides.
func (s *Session) amend(ctx context.Context, id *string, room string, do func(moderator bool) (*historyv1.AmendResponse, error)) error {
	if s.room(room) == nil {
		return notJoined(room)
	}
	admin := s.who().HasRole(RoleAdmin)
	answer, err := do(admin)
	if errs.CodeOf(err) == errs.Forbidden && !admin {
		moderates, roleErr := s.moderates(ctx, room)
		switch {
		case roleErr != nil:
			return roleErr
		case moderates:
			answer, err = do(true)
		}
	}
	if err != nil {
		return err
	}
	if id != nil {
		ack := s.hub.ack(room, answer.Seq, answer.Duplicate)
		ack.Timestamp = answer.Timestamp
		s.reply(id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Ack{Ack: ack}})
	}
	return nil
}

// moderates says whether the user is a moderator or an owner of a room.
func (s *Session) moderates(ctx context.Context, room string) (bool, error) {
	user := s.who().User.Id
	answer, err := s.hub.opts.Registry.GetMembers(ctx, &registryv1.GetMembersRequest{RoomId: room, UserIds: []string{user}})
	if err != nil {
		return false, err
	}
	for _, m := range answer.Members {
		if m.User.GetId() == user && m.Role >= registryv1.Role_ROLE_MODERATOR {
			return true, nil
		}
	}
	return false, nil
}
