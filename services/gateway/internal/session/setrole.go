package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// roles are those of a room, by their words on the wire.
var roles = map[string]registryv1.Role{
	"member":    registryv1.Role_ROLE_MEMBER,
	"moderator": registryv1.Role_ROLE_MODERATOR,
	"owner":     registryv1.Role_ROLE_OWNER,
}

// setRoleCommand has the registry give a user a role in a room; the registry
// says who may. Rights are looked up there whenever they decide, so the role
// counts from then on everywhere.
var setRoleCommand = &command{
	slow: true,
	room: func(f *wirev1.ClientFrame) string { return f.GetSetRole().RoomId },
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		m := f.GetSetRole()
		if err := ids.CheckRoom("roomId", m.RoomId); err != nil {
			return err
		}
		if err := ids.CheckUser("userId", m.UserId); err != nil {
			return err
		}
		if m.Role == nil {
			return errs.Invalid("role", "is missing")
		}
		if _, ok := roles[*m.Role]; !ok {
			return errs.Invalid("role", `is not "owner", "moderator" or "member"`)
		}
		return nil
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		m := f.GetSetRole()
		_, err := s.hub.opts.Registry.SetMember(ctx, &registryv1.SetMemberRequest{
			RoomId: m.RoomId, User: &wirev1.User{Id: m.UserId}, Role: roles[m.GetRole()], Actor: s.who().actor(),
		})
		if err != nil {
			return err
		}
		s.done(f, m.RoomId)
		return nil
	},
}
