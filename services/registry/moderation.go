package registry

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Kick puts a user out of a room, who may come back.
func (s *Service) Kick(ctx context.Context, req *registryv1.KickRequest) (*registryv1.KickResponse, error) {
	room, err := s.judge(ctx, req, kicked, req.Reason, nil, nil)
	if err != nil {
		return nil, err
	}
	s.tellOut(room, req.UserId, req.Reason, "")
	return &registryv1.KickResponse{}, nil
}

// Ban puts a user out of a room and keeps the user from coming back.
func (s *Service) Ban(ctx context.Context, req *registryv1.BanRequest) (*registryv1.BanResponse, error) {
	room, err := s.judge(ctx, req, banned, req.Reason, req.Until, func(m *registryv1.Member) {
		m.Role = none
		m.Ban = &registryv1.Sanction{Until: req.Until, Reason: req.Reason}
	})
	if err != nil {
		return nil, err
	}
	s.tellOut(room, req.UserId, req.Reason, errs.Banned)
	s.tellRole(room, req.UserId, none)
	s.tellAgain(room, req.UserId)
	return &registryv1.BanResponse{}, nil
}

// Unban ends a ban.
func (s *Service) Unban(ctx context.Context, req *registryv1.UnbanRequest) (*registryv1.UnbanResponse, error) {
	if _, err := s.judge(ctx, req, unbanned, "", nil, func(m *registryv1.Member) { m.Ban = nil }); err != nil {
		return nil, err
	}
	return &registryv1.UnbanResponse{}, nil
}

// Mute keeps a user from writing in a room.
func (s *Service) Mute(ctx context.Context, req *registryv1.MuteRequest) (*registryv1.MuteResponse, error) {
	mute := &registryv1.Sanction{Until: req.Until, Reason: req.Reason}
	room, err := s.judge(ctx, req, muted, req.Reason, req.Until, func(m *registryv1.Member) { m.Mute = mute })
	if err != nil {
		return nil, err
	}
	s.tellMute(room, req.UserId, mute)
	s.tellAgain(room, req.UserId)
	return &registryv1.MuteResponse{}, nil
}

// Unmute ends a muting.
func (s *Service) Unmute(ctx context.Context, req *registryv1.UnmuteRequest) (*registryv1.UnmuteResponse, error) {
	room, err := s.judge(ctx, req, unmuted, "", nil, func(m *registryv1.Member) { m.Mute = nil })
	if err != nil {
		return nil, err
	}
	s.tellMute(room, req.UserId, nil)
	s.tellAgain(room, req.UserId)
	return &registryv1.UnmuteResponse{}, nil
}

// moderating is what all requests about a user's sanctions have.
type moderating interface {
	GetRoomId() string
	GetUserId() string
	GetActor() *registryv1.Actor
}

const maxReason = 256 // characters

// changeKind says what is done to a standing.
type changeKind = registryv1.StandingChange_Kind

const (
	roleGiven = registryv1.StandingChange_KIND_ROLE
	kicked    = registryv1.StandingChange_KIND_KICK
	banned    = registryv1.StandingChange_KIND_BAN
	unbanned  = registryv1.StandingChange_KIND_UNBAN
	muted     = registryv1.StandingChange_KIND_MUTE
	unmuted   = registryv1.StandingChange_KIND_UNMUTE
)

// judge checks that the actor may moderate the user, and has change do so with
// the user's standing; nil changes nothing of it. It gives the room.
func (s *Service) judge(ctx context.Context, req moderating, kind changeKind, reason string, until *timestamppb.Timestamp, change func(*registryv1.Member)) (*registryv1.Room, error) {
	id, user := req.GetRoomId(), req.GetUserId()
	a, _, err := s.find(ctx, id, req.GetActor())
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ids.CheckUser("userId", user), checkText("reason", reason, maxReason), checkUntil(until)); err != nil {
		return nil, errs.From(err)
	}
	if a.user.GetId() == user {
		return nil, errs.Invalid("userId", "is your own")
	}
	return s.changeStanding(ctx, a, id, user, kind, reason, func(room *registryv1.Room, m *registryv1.Member) error {
		least := moderator
		if m.Role >= moderator {
			least = owner
		}
		if err := s.needs(a, room, least); err != nil {
			return err
		}
		before := m.Ban
		if change != nil {
			change(m)
		}
		if out := change == nil || m.Ban != nil && m.Ban != before; out {
			return mayBePutOut(room)
		}
		return nil
	})
}

// mayBePutOut says whether anybody may be put out of a room.
func mayBePutOut(room *registryv1.Room) error {
	switch {
	case room.Id == ids.Lobby:
		return errs.New(errs.Forbidden, "nobody can be put out of the lobby")
	case len(room.Direct) > 0:
		return errs.New(errs.Forbidden, "a direct room belongs to its two")
	}
	return nil
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

// inForce gives a sanction where it counts, nil where it does not.
func inForce(sanction *registryv1.Sanction) *registryv1.Sanction {
	if sanction == nil || sanction.Until != nil && !sanction.Until.AsTime().After(time.Now()) {
		return nil
	}
	return sanction
}

// notBanned is banned where the actor is kept out of the room.
func (s *Service) notBanned(a actor, room *registryv1.Room) error {
	if room == nil || a.all {
		return nil
	}
	ban := inForce(s.picture.standingNow(room, a.user.GetId()).GetBan())
	if ban == nil {
		return nil
	}
	err := errs.New(errs.Banned, "you are banned from the room %q", room.Id)
	if ban.Until != nil {
		err.RetryAfter = time.Until(ban.Until.AsTime())
	}
	return err
}
