package session

import (
	"context"

	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// getRoomSanctionsCommand lists who is banned and muted in a room, for those
// who may end that.
var getRoomSanctionsCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetGetRoomSanctions().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetRoomSanctions()
		if err := ids.CheckRoom("roomId", g.RoomId); err != nil {
			return err
		}
		if err := checkCursor(g.Cursor); err != nil {
			return err
		}
		_, err := checkLimit("limit", g.Limit, 1, defaultList)
		return err
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		g := f.GetGetRoomSanctions()
		limit, err := checkLimit("limit", g.Limit, 1, defaultList)
		if err != nil {
			return err
		}
		page, err := s.hub.opts.Registry.ListSanctions(ctx, &registryv1.ListSanctionsRequest{
			RoomId: g.RoomId, Limit: int32(limit), Cursor: g.GetCursor(), Actor: s.who().actor(),
		})
		if err != nil {
			return err
		}
		answer := &wirev1.RoomSanctions{RoomId: g.RoomId, NextCursor: page.NextCursor}
		for _, m := range page.Members {
			answer.Users = append(answer.Users, &wirev1.SanctionedUser{
				Id: m.User.GetId(), Username: m.User.GetUsername(), Ban: sanctionTold(m.Ban), Mute: sanctionTold(m.Mute),
			})
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_RoomSanctions{RoomSanctions: answer}})
		return nil
	},
}

func sanctionTold(sanction *registryv1.Sanction) *wirev1.Sanction {
	if sanction == nil {
		return nil
	}
	told := &wirev1.Sanction{Until: sanction.Until}
	if sanction.Reason != "" {
		told.Reason = &sanction.Reason
	}
	return told
}
