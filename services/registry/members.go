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
	err = s.optimistic(ctx, subject{actor: a, room: req.RoomId, user: user.Id}, func() error {
		room := s.picture.room(req.RoomId)
		if err := s.visible(a, req.RoomId, room); err != nil {
			return err
		}
		if err := s.mayGive(a, room, user.Id, s.picture.role(room, user.Id), role); err != nil {
			return err
		}
		old := s.picture.stored(req.RoomId, user.Id)
		given = &registryv1.Member{User: user, Role: role, Epoch: room.Epoch}
		if user.Username == "" {
			given.User = s.known(room, user.Id, old)
		}
		return s.storeStanding(ctx, req.RoomId, given, old)
	})
	if err != nil {
		return nil, err
	}
	return given, nil
}

// known gives a user with the name that the room knows, if it knows one.
func (s *Service) known(room *registryv1.Room, id string, old *standing) *wirev1.User {
	switch {
	case old != nil && old.member.User.GetUsername() != "":
		return old.member.User
	case room.Owner.GetId() == id:
		return room.Owner
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
	err = s.optimistic(ctx, subject{actor: a, room: req.RoomId, user: req.UserId}, func() error {
		room := s.picture.room(req.RoomId)
		if err := s.visible(a, req.RoomId, room); err != nil {
			return err
		}
		role := s.picture.role(room, req.UserId)
		if err := s.mayGive(a, room, req.UserId, role, none); err != nil {
			return err
		}
		old := s.picture.stored(req.RoomId, req.UserId)
		switch {
		case role == none:
			return nil
		case room.Owner.GetId() == req.UserId:
			// Without a standing the maker would be the owner again.
			return s.storeStanding(ctx, req.RoomId, &registryv1.Member{User: room.Owner, Epoch: room.Epoch}, old)
		}
		return s.delete(ctx, memberKey(req.RoomId, req.UserId), old.revision)
	})
	if err != nil {
		return nil, err
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
	return &registryv1.GetMembersResponse{Members: s.picture.someMembers(room, req.UserIds)}, nil
}
