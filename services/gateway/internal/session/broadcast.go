package session

import (
	"context"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var adminBroadcastCommand = &command{
	check: func(s *Session, f *wirev1.ClientFrame) error {
		content := f.GetAdminBroadcast().Content
		if content == "" {
			return errs.Invalid("content", "is missing")
		}
		return s.checkText("content", content)
	},
	run: func(_ context.Context, s *Session, f *wirev1.ClientFrame) error {
		who := s.who()
		if !who.HasRole(RoleAdmin) {
			return errs.New(errs.Forbidden, "a broadcast needs the role %q", RoleAdmin)
		}
		err := s.hub.opts.Bus.PublishAll(&busv1.Broadcast{
			Content: f.GetAdminBroadcast().Content, From: who.User, TimeMs: time.Now().UnixMilli(),
		})
		if err != nil {
			return errs.Missing("the gateways", err)
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Ack{Ack: new(wirev1.Ack)}})
		return nil
	},
}
