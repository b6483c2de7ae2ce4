package registry

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/run"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// What changes users' rights to be in a room, or to write there, is told to
// the gateways as soon as it is stored; they ask for nobody's rights while a
// session is in a room. An admission that another replica has given of an older
// picture may cross it on its way, so what is in force is told once more a
// moment later.

// againAfter is how much later: longer than a watch takes to bring a change to
// all replicas and a gateway to carry out an admission, and with the first
// telling within the second that a change may take.
const againAfter = 500 * time.Millisecond

// maxAgain bounds how many tellings wait for their moment. What is above is
// told once only.
const maxAgain = 8192

// telling is something to tell again, at a time.
type telling struct {
	at time.Time
	do func()
}

// tell tells a room's members something that is not stored.
func (s *Service) tell(room string, event *busv1.LiveEvent) {
	if err := s.bus.PublishLive(room, event); err != nil {
		s.log.Warn("a room's members were not told of a change", "room", room, "error", err)
	}
}

// tellOut tells that a user is put out; code answers joins that are under way.
func (s *Service) tellOut(room *registryv1.Room, user, reason string, code errs.Code) {
	s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_Out{Out: &busv1.UserOut{
		UserId: user, Reason: reason, Epoch: room.Epoch, Code: string(code),
	}}})
}

// tellMute tells what keeps a user from writing, nil for nothing.
func (s *Service) tellMute(room *registryv1.Room, user string, mute *registryv1.Sanction) {
	until := int64(0)
	switch {
	case mute == nil:
	case mute.Until == nil:
		until = math.MaxInt64
	default:
		until = mute.Until.AsTime().UnixMilli()
	}
	s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_Muted{Muted: &busv1.UserMuted{
		UserId: user, UntilMs: until, Epoch: room.Epoch,
	}}})
}

// tellRole tells which role a user has from now on.
func (s *Service) tellRole(room *registryv1.Room, user string, role registryv1.Role) {
	s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_Role{Role: &busv1.UserRole{
		UserId: user, Role: role, Epoch: room.Epoch,
	}}})
}

// tellGiven tells a user's connections of a room to which the user belongs from
// now on; by is who did it, nil for a back end.
func (s *Service) tellGiven(room *registryv1.Room, user string, by *wirev1.User) {
	event := &busv1.UserEvent{Event: &busv1.UserEvent_RoomGiven{RoomGiven: &busv1.RoomGiven{RoomId: room.Id, By: by}}}
	if err := s.bus.PublishUser(user, event); err != nil {
		s.log.Warn("a user was not told of a room", "room", room.Id, "user", user, "error", err)
	}
}

// tellRecord tells gateways what a room allows, which its members know.
func (s *Service) tellRecord(room *registryv1.Room) {
	s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_Changed{Changed: &busv1.RoomChanged{Revision: room.Revision, Record: room}}})
}

// tellPrivate tells a room that has become private who may stay in it: those
// who belong to it, and whoever has made it so.
func (s *Service) tellPrivate(room *registryv1.Room, a actor) {
	for from, more := "", true; more; {
		members := s.picture.members(room, from, maxPage)
		only := &busv1.MembersOnly{From: from, Epoch: room.Epoch}
		for _, m := range members {
			only.Users = append(only.Users, m.User.Id)
		}
		if more = len(members) == maxPage; more {
			only.To = only.Users[maxPage-1] + "\x00" // the first id that comes after it
		}
		if id := a.user.GetId(); id >= only.From && (only.To == "" || id < only.To) {
			if i, there := slices.BinarySearch(only.Users, id); !there && id != "" {
				only.Users = slices.Insert(only.Users, i, id)
			}
		}
		s.tell(room.Id, &busv1.LiveEvent{Event: &busv1.LiveEvent_MembersOnly{MembersOnly: only}})
		from = only.To
	}
}

// tellAgain tells later what is in force of a user in a room.
func (s *Service) tellAgain(room *registryv1.Room, user string) {
	s.later(func() {
		now := s.picture.room(room.Id)
		if now.GetEpoch() != room.Epoch {
			return
		}
		m := s.picture.standingNow(now, user)
		s.tellMute(now, user, inForce(m.GetMute()))
		s.tellRole(now, user, s.picture.role(now, user))
		switch ban := inForce(m.GetBan()); {
		case ban != nil:
			s.tellOut(now, user, ban.Reason, errs.Banned)
		case isPrivate(now) && s.picture.role(now, user) == none:
			s.tellOut(now, user, "", errs.NotFound)
		}
	})
}

func (s *Service) later(do func()) {
	select {
	case s.again <- telling{time.Now().Add(againAfter), do}:
	default:
		s.log.Warn("a change of rights is told only once, for too many wait", "most", maxAgain)
	}
}

// tellLater does what later was given, until ctx ends.
func (s *Service) tellLater(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-s.again:
			if !run.Sleep(ctx, time.Until(next.at)) {
				return
			}
			next.do()
		}
	}
}
