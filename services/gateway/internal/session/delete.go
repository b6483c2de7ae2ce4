package session

import (
	"context"

	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var deleteMessageCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetDeleteMessage().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		return checkTarget(f.GetDeleteMessage().RoomId, f.GetDeleteMessage().Target)
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		d := f.GetDeleteMessage()
		request := &historyv1.DeleteMessageRequest{
			RoomId: d.RoomId, Id: f.GetId(), Target: uint64(d.Target), User: s.who().User,
		}
		return s.amend(ctx, f.Id, d.RoomId, func(moderator bool) (*historyv1.AmendResponse, error) {
			request.Moderator = moderator
			return s.hub.opts.History.DeleteMessage(ctx, request)
		})
	},
}
