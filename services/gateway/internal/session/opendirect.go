package session

import (
	"context"

	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var openDirectCommand = &command{
	slow: true,
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		return ids.CheckUser("userId", f.GetOpenDirect().UserId)
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		room, err := s.hub.opts.Registry.OpenDirect(ctx, &registryv1.OpenDirectRequest{
			UserId: f.GetOpenDirect().UserId, Actor: s.who().actor(),
		})
		if err != nil {
			return err
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_DirectOpened{DirectOpened: &wirev1.DirectOpened{RoomId: room.Id}}})
		return nil
	},
}
