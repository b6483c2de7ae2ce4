package fanout

import (
	"context"
	"slices"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
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

// rights takes in what changes somebody's rights; false for any other event.
func (r *room) rights(event *busv1.LiveEvent) bool {
	switch e := event.Event.(type) {
	case *busv1.LiveEvent_Out:
		if r.isNow(e.Out.Epoch) {
			r.putOut(e.Out.Reason, errs.Code(e.Out.Code), func(user string) bool { return user == e.Out.UserId })
		}
	case *busv1.LiveEvent_MembersOnly:
		if only := e.MembersOnly; r.isNow(only.Epoch) {
			r.putOut("the room is private now", errs.NotFound, func(user string) bool {
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
	default:
		return false
	}
	return true
}

// isNow says whether an event that is about a life of the room is about the
// present one; a late word of an earlier life is not.
func (r *room) isNow(epoch string) bool { return epoch == "" || r.epoch == "" || epoch == r.epoch }

// putOut takes some users out of the room. Their joins under way are answered
// with a code, or go on where there is none.
func (r *room) putOut(reason string, code errs.Code, which func(user string) bool) {
	r.flush()
	word := NewOutgoing(&wirev1.ServerFrame{
		Event: &wirev1.ServerFrame_Kicked{Kicked: &wirev1.Kicked{RoomId: r.id, Reason: optional(reason)}},
	})
	for i := len(r.members) - 1; i >= 0; i-- {
		if m := r.members[i]; which(m.member.UserID()) {
			r.remove(m)
			m.muted.Store(outOfRoom)
			m.member.PutOut(r.id, r.worker.only(word), &r.worker.flusher)
		}
	}
	for j := range r.joining {
		if code != "" && which(j.Member.UserID()) {
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
