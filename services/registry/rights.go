package registry

import (
	"slices"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Roles of a room; each may do what the ones before it may.
const (
	none      = registryv1.Role_ROLE_UNSPECIFIED
	member    = registryv1.Role_ROLE_MEMBER
	moderator = registryv1.Role_ROLE_MODERATOR
	owner     = registryv1.Role_ROLE_OWNER
)

// actor is who a call is made for. Without a user it is the calling back end.
type actor struct {
	user *wirev1.User
	// all: nothing is refused, because it is a back end or an admin.
	all bool
	// guest: makes nothing, and may in rooms what their policies grant guests.
	guest bool
}

func actorOf(a *registryv1.Actor) (actor, error) {
	if a == nil {
		return actor{all: true}, nil
	}
	if err := ids.CheckUser("actor", a.User.GetId()); err != nil {
		return actor{}, err
	}
	return actor{
		user: a.User, all: slices.Contains(a.Roles, rights.RoleAdmin), guest: slices.Contains(a.Roles, rights.RoleGuest),
	}, nil
}

// notGuest is forbidden where the actor is a guest.
func (a actor) notGuest(what string) error {
	if a.guest && !a.all {
		return errs.New(errs.Forbidden, "guests %s; sign in first", what)
	}
	return nil
}

// roleOf tells what the actor may do in a room: an admin and a back end as
// much as an owner.
func (s *Service) roleOf(a actor, room *registryv1.Room) registryv1.Role {
	if a.all {
		return owner
	}
	return s.picture.role(room, a.user.GetId())
}

// mayRead is forbidden where the actor may know of a room, and not be in it or
// see what was said there.
func (s *Service) mayRead(a actor, room *registryv1.Room) error {
	rules := rights.RulesOf(room)
	if a.all || rules.May(rights.Who{Role: s.roleOf(a, room), Guest: a.guest}, rights.Read) {
		return nil
	}
	return errs.New(errs.Forbidden, "the room %q does not let you in", room.Id)
}

// visible is not-found where there is no room, or none that the actor may
// know of; the two look alike.
func (s *Service) visible(a actor, id string, room *registryv1.Room) error {
	if room == nil || room.Visibility == registryv1.Visibility_VISIBILITY_PRIVATE && s.roleOf(a, room) == none {
		return errs.New(errs.NotFound, "there is no room %q", id)
	}
	return nil
}

// needs is forbidden where the actor's role in a room is less than least.
func (s *Service) needs(a actor, room *registryv1.Room, least registryv1.Role) error {
	if err := s.visible(a, room.GetId(), room); err != nil {
		return err
	}
	if s.roleOf(a, room) < least {
		return errs.New(errs.Forbidden, "that takes the role %s in the room", roleName(least))
	}
	return nil
}

// mayGive says whether the actor may turn a user's role in a room from one
// into another: a moderator makes and removes members, and an owner everybody.
// The room's policy may let others make members, too.
func (s *Service) mayGive(a actor, room *registryv1.Room, user string, from, to registryv1.Role) error {
	if err := s.visible(a, room.GetId(), room); err != nil {
		return err
	}
	lowering := a.user.GetId() == user && to < from // one's own role, which anybody may
	if !lowering {
		least := moderator
		switch rules := rights.RulesOf(room); {
		case from >= moderator || to >= moderator:
			least = owner
		case from == none && rules.May(rights.Who{Role: s.roleOf(a, room), Guest: a.guest}, rights.Invite):
			least = none
		case from == none && rules.Least(rights.Invite) > registryv1.Who_WHO_MODERATORS:
			least = owner
		}
		if err := s.needs(a, room, least); err != nil {
			return err
		}
	}
	if !a.all && from == owner && to != owner && !s.picture.hasOtherOwner(room, user) {
		return errs.New(errs.Forbidden, "the room would be left without an owner; give the role to somebody else first")
	}
	return nil
}

func roleName(role registryv1.Role) string {
	switch role {
	case member:
		return "member"
	case moderator:
		return "moderator"
	case owner:
		return "owner"
	}
	return "none"
}
