// Package rights answers who may do what in a room. The registry asks it where
// somebody wants to come in or to invite, and gateways ask it for what members
// say, of the room's record as they hold it in memory: no message costs a call.
//
// It knows the policy of a room (proto/registry/v1) and its defaults, and
// nothing of bans and mutes, which are about users and not about roles.
package rights

import (
	"slices"

	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Roles of an account that count in every room.
const (
	RoleAdmin = "admin" // may do everything
	RoleGuest = "guest" // may what the policy grants guests
)

// Action is what somebody may do in a room, or not.
type Action uint8

// The actions.
const (
	Read   Action = iota // be in the room, and see what was said there
	Post                 // store messages, and edit one's own
	Signal               // send what nobody stores
	Invite               // give users who have no role that of a member
	actions
)

func (a Action) String() string {
	return [...]string{Read: "read", Post: "post", Signal: "signal", Invite: "invite"}[a]
}

// Who is somebody as a room sees it.
type Who struct {
	// Role is the one that the user has in the room; unspecified for none.
	Role registryv1.Role
	// Admin and Guest are of the account.
	Admin, Guest bool
}

// Of tells who somebody is with a role in a room and those of an account.
func Of(role registryv1.Role, account []string) Who {
	return Who{Role: role, Admin: slices.Contains(account, RoleAdmin), Guest: slices.Contains(account, RoleGuest)}
}

// Moderates says whether somebody is above what binds members: the rate, and
// the room's size.
func (w Who) Moderates() bool { return w.Admin || w.Role >= registryv1.Role_ROLE_MODERATOR }

// Rules are what a room allows, with the defaults put in.
type Rules struct {
	least  [actions]registryv1.Role // that an action takes
	guests registryv1.Guests

	// Private: only who belongs to the room may be in it.
	Private bool
	// MaxMembers is how many users may be in the room at once; 0 is any number.
	MaxMembers uint32
	// Retention is how many entries its log keeps, and LeastRetention the
	// smallest that this ever was; 0 is the deployment's.
	Retention, LeastRetention uint32
	// Rate is messages a second of each user; 0 is any number.
	Rate float64
}

// RulesOf gives the rules of a room. Of the record it needs the id, the
// visibility and the policy.
func RulesOf(room *registryv1.Room) Rules {
	p := room.GetPolicy()
	r := Rules{
		guests:         p.GetGuests(),
		Private:        room.GetVisibility() == registryv1.Visibility_VISIBILITY_PRIVATE,
		MaxMembers:     p.GetMaxMembers(),
		Retention:      p.GetRetention(),
		LeastRetention: room.GetLeastRetention(),
		Rate:           p.GetRate(),
	}
	everyone := registryv1.Role_ROLE_UNSPECIFIED
	if r.Private {
		everyone = registryv1.Role_ROLE_MEMBER
	}
	set := func(a Action, who registryv1.Who, otherwise registryv1.Role) {
		r.least[a] = otherwise
		if who != registryv1.Who_WHO_UNSPECIFIED {
			r.least[a] = max(everyone, registryv1.Role(who-registryv1.Who_WHO_EVERYONE))
		}
	}
	set(Read, p.GetRead(), everyone)
	set(Post, p.GetPost(), everyone)
	set(Signal, p.GetSignal(), r.least[Post])
	set(Invite, p.GetInvite(), registryv1.Role_ROLE_MODERATOR)
	if r.guests == registryv1.Guests_GUESTS_UNSPECIFIED {
		switch {
		case room.GetId() == ids.Lobby:
			r.guests = registryv1.Guests_GUESTS_WRITE
		case r.Private:
			r.guests = registryv1.Guests_GUESTS_NONE
		default:
			r.guests = registryv1.Guests_GUESTS_READ
		}
	}
	return r
}

// May says whether somebody may do something in the room.
func (r *Rules) May(w Who, a Action) bool {
	switch {
	case w.Admin:
		return true
	case w.Guest && w.Role == registryv1.Role_ROLE_UNSPECIFIED && !r.grantsGuests(a):
		return false
	}
	return w.Role >= r.least[a]
}

func (r *Rules) grantsGuests(a Action) bool {
	switch a {
	case Read:
		return r.guests >= registryv1.Guests_GUESTS_READ
	case Post, Signal:
		return r.guests >= registryv1.Guests_GUESTS_WRITE
	}
	return false
}

// Least tells what an action takes, as a policy has it.
func (r *Rules) Least(a Action) registryv1.Who {
	least := r.least[a]
	if r.Private && least == registryv1.Role_ROLE_MEMBER {
		return registryv1.Who_WHO_EVERYONE // they are all
	}
	return registryv1.Who(least) + registryv1.Who_WHO_EVERYONE
}

// Guests tells what guests may at most.
func (r *Rules) Guests() registryv1.Guests { return r.guests }

// Burst is how many messages of a user may come at once where Rate is set.
func (r *Rules) Burst() int { return max(1, int(r.Rate)) }
