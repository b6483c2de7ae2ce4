package registry

import (
	"context"
	"errors"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// SetMember gives a user a role in a room.
func (s *Service) SetMember(ctx context.Context, req *registryv1.SetMemberRequest) (*registryv1.Member, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	role := req.Role
	if role == none {
		role = member
	}
	user := &wirev1.User{Id: req.User.GetId(), Username: req.User.GetUsername()}
	if err := errors.Join(ids.CheckUser("userId", user.Id), checkRole(role)); err != nil {
		return nil, errs.From(err)
	}
	if user.Username != "" {
		if user.Username, err = ids.Username("username", user.Username); err != nil {
			return nil, err
		}
	}
	var given *registryv1.Member
	before := none
	room, err := s.changeStanding(ctx, a, req.RoomId, user.Id, roleGiven, "", func(room *registryv1.Room, m *registryv1.Member) error {
		if req.Revision != 0 && req.Revision != m.Revision {
			return changedSince("the user's standing", m.Revision)
		}
		to := role
		if req.Keep {
			to = max(role, m.Role)
		}
		if err := s.mayGive(a, room, user.Id, m.Role, to); err != nil {
			return err
		}
		switch {
		case len(room.Direct) > 0:
			return errs.New(errs.Forbidden, "a direct room belongs to its two")
		case inForce(m.Ban) != nil:
			return errs.New(errs.Forbidden, "the user is banned from the room; end that first")
		}
		before = m.Role
		m.Role, m.Ban = to, nil
		if user.Username != "" {
			m.User = user
		}
		given = m
		return nil
	})
	if err != nil {
		return nil, err
	}
	if before == none {
		s.tellGiven(room, user.Id, a.user)
	}
	if given.Role != before {
		s.tellRole(room, user.Id, given.Role)
		s.later(func() {
			if now := s.picture.room(room.Id); now.GetEpoch() == room.Epoch {
				s.tellRole(now, user.Id, s.picture.role(now, user.Id))
			}
		})
	}
	return given, nil
}

// known gives a user with the name that the room knows, if it knows one.
func (s *Service) known(room *registryv1.Room, id string, old *standing) *wirev1.User {
	switch {
	case old != nil && old.member.User.GetUsername() != "":
		return old.member.User
	case implied(room, id) != nil:
		return implied(room, id)
	}
	return &wirev1.User{Id: id}
}

// RemoveMember takes a user's role away.
func (s *Service) RemoveMember(ctx context.Context, req *registryv1.RemoveMemberRequest) (*registryv1.RemoveMemberResponse, error) {
	a, _, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil {
		return nil, err
	}
	if err := ids.CheckUser("userId", req.UserId); err != nil {
		return nil, err
	}
	left := false
	room, err := s.changeStanding(ctx, a, req.RoomId, req.UserId, roleGiven, "", func(room *registryv1.Room, m *registryv1.Member) error {
		if err := s.mayGive(a, room, req.UserId, m.Role, none); err != nil {
			return err
		}
		if len(room.Direct) > 0 {
			return errs.New(errs.Forbidden, "a direct room belongs to its two")
		}
		left = m.Role != none
		m.Role = none // stored where the maker would be the owner again without
		return nil
	})
	if err != nil {
		return nil, err
	}
	if left {
		if isPrivate(room) {
			s.tellOut(room, req.UserId, "", errs.NotFound)
		}
		s.tellRole(room, req.UserId, none)
		s.tellAgain(room, req.UserId)
	}
	return &registryv1.RemoveMemberResponse{}, nil
}

// ListMembers pages through the users who have a role in a room.
func (s *Service) ListMembers(ctx context.Context, req *registryv1.ListMembersRequest) (*registryv1.ListMembersResponse, error) {
	a, room, err := s.find(ctx, req.RoomId, nil)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(req.Limit)
	if err != nil {
		return nil, err
	}
	after, err := fromCursor(req.Cursor, ids.CheckUser)
	if err != nil {
		return nil, err
	}
	if err := s.visible(a, req.RoomId, room); err != nil {
		return nil, err
	}
	members := s.picture.members(room, after, limit+1)
	answer := &registryv1.ListMembersResponse{Members: members}
	if len(members) > limit {
		answer.Members = members[:limit]
		answer.NextCursor = cursorOf(members[limit-1].User.Id)
	}
	return answer, nil
}

// GetMembers tells the roles of some users in one room.
func (s *Service) GetMembers(ctx context.Context, req *registryv1.GetMembersRequest) (*registryv1.GetMembersResponse, error) {
	a, room, err := s.find(ctx, req.RoomId, nil)
	if err != nil {
		return nil, err
	}
	if len(req.UserIds) > maxUsers {
		return nil, errs.Invalid("userIds", "are more than %d", maxUsers)
	}
	for _, user := range req.UserIds {
		if err := ids.CheckUser("userIds", user); err != nil {
			return nil, err
		}
	}
	if err := s.visible(a, req.RoomId, room); err != nil {
		return nil, err
	}
	answer := &registryv1.GetMembersResponse{Members: s.picture.someMembers(room, req.UserIds, req.Sanctioned)}
	if req.WithRoom {
		answer.Room = room
	}
	return answer, nil
}
