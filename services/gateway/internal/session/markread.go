package session

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var markReadCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetMarkRead().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		m := f.GetMarkRead()
		if err := ids.CheckRoom("roomId", m.RoomId); err != nil {
			return err
		}
		if m.Seq < 1 {
			return errs.Invalid("seq", "is missing, or less than 1")
		}
		return nil
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		m := f.GetMarkRead()
		if s.room(m.RoomId) == nil {
			return notJoined(m.RoomId)
		}
		mark, err := s.hub.opts.Registry.MarkRead(ctx, &registryv1.MarkReadRequest{
			RoomId: m.RoomId, Actor: s.who().actor(), Seq: uint64(m.Seq),
		})
		if err != nil {
			return err
		}
		if f.Id != nil {
			s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Ack{Ack: &wirev1.Ack{
				RoomId: m.RoomId, Seq: proto.Int64(int64(mark.GetSeq())),
			}}})
		}
		return nil
	},
}
