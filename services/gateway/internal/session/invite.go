package session

import (
	"context"

	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// inviteCommand lets a user belong to a room.
var inviteCommand = standingCommand((*wirev1.ClientFrame).GetInvite, nil, func(ctx context.Context, r registryv1.RegistryClient, i *wirev1.Invite, who *registryv1.Actor) error {
	_, err := r.SetMember(ctx, &registryv1.SetMemberRequest{
		RoomId: i.RoomId, User: &wirev1.User{Id: i.UserId}, Role: registryv1.Role_ROLE_MEMBER, Keep: true, Actor: who,
	})
	return err
})

// uninviteCommand ends that a user belongs to a room; the registry has the
// user put out where the room is private.
var uninviteCommand = standingCommand((*wirev1.ClientFrame).GetUninvite, nil, func(ctx context.Context, r registryv1.RegistryClient, i *wirev1.Invite, who *registryv1.Actor) error {
	_, err := r.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: i.RoomId, UserId: i.UserId, Actor: who})
	return err
})
