package session

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var pingCommand = &command{
	anonymous: true,
	run: func(_ context.Context, s *Session, f *wirev1.ClientFrame) error {
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Pong{Pong: &wirev1.Pong{Timestamp: timestamppb.Now()}}})
		return nil
	},
}
