package session

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const maxReason = 256 // characters

var kickCommand = moderateCommand((*wirev1.ClientFrame).GetKick, func(ctx context.Context, r registryv1.RegistryClient, m *wirev1.Moderate, who *registryv1.Actor) error {
	_, err := r.Kick(ctx, &registryv1.KickRequest{RoomId: m.RoomId, UserId: m.UserId, Reason: m.GetReason(), Actor: who})
	return err
})

var banCommand = moderateCommand((*wirev1.ClientFrame).GetBan, func(ctx context.Context, r registryv1.RegistryClient, m *wirev1.Moderate, who *registryv1.Actor) error {
	_, err := r.Ban(ctx, &registryv1.BanRequest{RoomId: m.RoomId, UserId: m.UserId, Reason: m.GetReason(), Until: m.Until, Actor: who})
	return err
})

var unbanCommand = moderateCommand((*wirev1.ClientFrame).GetUnban, func(ctx context.Context, r registryv1.RegistryClient, m *wirev1.Moderate, who *registryv1.Actor) error {
	_, err := r.Unban(ctx, &registryv1.UnbanRequest{RoomId: m.RoomId, UserId: m.UserId, Actor: who})
	return err
})

var muteCommand = moderateCommand((*wirev1.ClientFrame).GetMute, func(ctx context.Context, r registryv1.RegistryClient, m *wirev1.Moderate, who *registryv1.Actor) error {
	_, err := r.Mute(ctx, &registryv1.MuteRequest{RoomId: m.RoomId, UserId: m.UserId, Reason: m.GetReason(), Until: m.Until, Actor: who})
	return err
})

var unmuteCommand = moderateCommand((*wirev1.ClientFrame).GetUnmute, func(ctx context.Context, r registryv1.RegistryClient, m *wirev1.Moderate, who *registryv1.Actor) error {
	_, err := r.Unmute(ctx, &registryv1.UnmuteRequest{RoomId: m.RoomId, UserId: m.UserId, Actor: who})
	return err
})

func moderateCommand(get func(*wirev1.ClientFrame) *wirev1.Moderate, do func(context.Context, registryv1.RegistryClient, *wirev1.Moderate, *registryv1.Actor) error) *command {
	return standingCommand(get, func(m *wirev1.Moderate) error {
		if err := checkLine("reason", m.GetReason(), maxReason); err != nil {
			return err
		}
		return checkUntil(m.Until)
	}, do)
}

func checkUntil(until *timestamppb.Timestamp) error {
	switch {
	case until == nil:
		return nil
	case !until.IsValid():
		return errs.Invalid("until", "is no time")
	case !until.AsTime().After(time.Now()):
		return errs.Invalid("until", "is over already")
	}
	return nil
}
