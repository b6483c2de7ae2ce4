package session

import (
	"context"

	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// inviteCommand lets a user belong to a room.
var inviteCommand = belongCommand((*wirev1.ClientFrame).GetInvite, func(ctx context.Context, r registryv1.RegistryClient, i *wirev1.Invite, who *registryv1.Actor) error {
	_, err := r.SetMember(ctx, &registryv1.SetMemberRequest{
		RoomId: i.RoomId, User: &wirev1.User{Id: i.UserId}, Role: registryv1.Role_ROLE_MEMBER, Keep: true, Actor: who,
	})
	return err
})

// uninviteCommand ends that a user belongs to a room; the registry has the
// user put out where the room is private.
var uninviteCommand = belongCommand((*wirev1.ClientFrame).GetUninvite, func(ctx context.Context, r registryv1.RegistryClient, i *wirev1.Invite, who *registryv1.Actor) error {
	_, err := r.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: i.RoomId, UserId: i.UserId, Actor: who})
	return err
})

func belongCommand(get func(*wirev1.ClientFrame) *wirev1.Invite, do func(context.Context, registryv1.RegistryClient, *wirev1.Invite, *registryv1.Actor) error) *command {
	return &command{
		slow: true,
		room: func(f *wirev1.ClientFrame) string { return get(f).RoomId },
		check: func(_ *Session, f *wirev1.ClientFrame) error {
			if err := ids.CheckRoom("roomId", get(f).RoomId); err != nil {
				return err
			}
			return ids.CheckUser("userId", get(f).UserId)
		},
		run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
			i := get(f)
			if err := do(ctx, s.hub.opts.Registry, i, s.who().actor()); err != nil {
				return err
			}
			s.done(f, i.RoomId)
			return nil
		},
	}
}
