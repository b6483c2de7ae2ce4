package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
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
var setRoleCommand = standingCommand((*wirev1.ClientFrame).GetSetRole, func(m *wirev1.Moderate) error {
	if m.Role == nil {
		return errs.Invalid("role", "is missing")
	}
	if _, ok := roles[*m.Role]; !ok {
		return errs.Invalid("role", `is not "owner", "moderator" or "member"`)
	}
	return nil
}, func(ctx context.Context, r registryv1.RegistryClient, m *wirev1.Moderate, who *registryv1.Actor) error {
	_, err := r.SetMember(ctx, &registryv1.SetMemberRequest{
		RoomId: m.RoomId, User: &wirev1.User{Id: m.UserId}, Role: roles[m.GetRole()], Actor: who,
	})
	return err
})
