package fanout

import (
	"context"
	"slices"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// What a member may do was told when it was admitted; the registry tells each
// change of it as a live event, so that nobody has to be asked for a message.

// outOfRoom stands in Membership.muted where the member is in the room no more
// by no doing of its own.
const outOfRoom = -1

// IsOut says whether the member was put out of the room, or the room has ended.
// It may be asked by anybody.
func (m *Membership) IsOut() bool { return m.muted.Load() == outOfRoom }

// MutedUntil is until when the member may not write, milliseconds since 1970;
// 0 where it may. It may be asked by anybody.
func (m *Membership) MutedUntil() int64 { return max(m.muted.Load(), 0) }

// Mute keeps the member from writing until a time, milliseconds since 1970,
// unless something newer is known.
func (m *Membership) Mute(until int64) { m.muted.CompareAndSwap(0, until) }

// Tell has a room of this gateway take in an event as if the bus had brought it.
// Errors: that of ctx, or that the hub is ending.
func (h *Hub) Tell(ctx context.Context, room string, event *busv1.LiveEvent) error {
	return h.feed.Do(ctx, room, func() {
		if r := h.workers[h.feed.Worker(room)].rooms[room]; r != nil {
			r.live(event)
		}
	})
}

// Appoint has a room of this gateway take in which role a user has. Errors: as
// of Tell.
func (h *Hub) Appoint(ctx context.Context, room, user string, role registryv1.Role) error {
	return h.Tell(ctx, room, &busv1.LiveEvent{Event: &busv1.LiveEvent_Role{Role: &busv1.UserRole{UserId: user, Role: role}}})
}

// Reconsider has a room work out anew what a member may do, whose account has
// other roles by now.
func (h *Hub) Reconsider(m *Membership) {
	_ = h.feed.Do(h.ctx, m.room, func() { // fails only when the hub ends
		if r := h.workers[h.feed.Worker(m.room)].rooms[m.room]; r != nil && m.index >= 0 {
			r.allow(m)
			r.putOutStrangers()
		}
	})
}

// rights takes in what changes somebody's rights; false for any other event.
func (r *room) rights(event *busv1.LiveEvent) bool {
	switch e := event.Event.(type) {
	case *busv1.LiveEvent_Out:
		if r.isNow(e.Out.Epoch) {
			r.putOutUsers(e.Out.Reason, errs.Code(e.Out.Code), func(user string) bool { return user == e.Out.UserId })
		}
	case *busv1.LiveEvent_MembersOnly:
		if only := e.MembersOnly; r.isNow(only.Epoch) {
			r.putOutUsers("the room is private now", errs.NotFound, func(user string) bool {
				if user < only.From || only.To != "" && user >= only.To {
					return false
				}
				_, stays := slices.BinarySearch(only.Users, user)
				return !stays
			})
		}
	case *busv1.LiveEvent_Muted:
		if r.isNow(e.Muted.Epoch) {
			r.mute(e.Muted.UserId, e.Muted.UntilMs)
		}
	case *busv1.LiveEvent_Role:
		if r.isNow(e.Role.Epoch) {
			r.appoint(e.Role.UserId, e.Role.Role)
		}
	default:
		return false
	}
	return true
}

// isNow says whether an event that is about a life of the room is about the
// present one; a late word of an earlier life is not.
func (r *room) isNow(epoch string) bool { return epoch == "" || r.epoch == "" || epoch == r.epoch }

// putOutUsers is putOut by user.
func (r *room) putOutUsers(reason string, code errs.Code, which func(user string) bool) {
	r.putOut(reason, code,
		func(m *Membership) bool { return which(m.member.UserID()) },
		func(j *join) bool { return which(j.Member.UserID()) })
}

// putOut takes some members out of the room. Joins under way are answered with
// a code, or go on where there is none.
func (r *room) putOut(reason string, code errs.Code, which func(*Membership) bool, joins func(*join) bool) {
	r.flush()
	word := NewOutgoing(&wirev1.ServerFrame{
		Event: &wirev1.ServerFrame_Kicked{Kicked: &wirev1.Kicked{RoomId: r.id, Reason: optional(reason)}},
	})
	for i := len(r.members) - 1; i >= 0; i-- {
		if m := r.members[i]; which(m) {
			r.remove(m)
			m.muted.Store(outOfRoom)
			m.member.PutOut(r.id, r.worker.only(word), &r.worker.flusher)
		}
	}
	for j := range r.joining {
		if code != "" && joins(j) {
			r.settled(j)
			r.waiting = slices.DeleteFunc(r.waiting, func(w *join) bool { return w == j })
			j.finish(Place{}, errs.New(code, "you were put out of the room %q", r.id))
		}
	}
	r.closeIfEmpty()
}

// mute keeps a user from writing until a time, or lets the user write again.
func (r *room) mute(user string, until int64) {
	for _, m := range r.members {
		if m.member.UserID() == user {
			m.muted.Store(until)
		}
	}
	for j := range r.joining {
		if j.Member.UserID() == user {
			j.MutedUntil = until
		}
	}
}

// remove takes a member off the list.
func (r *room) remove(m *Membership) {
	last := len(r.members) - 1
	r.members[m.index] = r.members[last]
	r.members[m.index].index = m.index
	r.members[last] = nil
	r.members = r.members[:last]
	m.index = -1
}
